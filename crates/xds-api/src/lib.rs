//! xds-api (room under construction).
