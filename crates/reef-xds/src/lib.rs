//! reef-xds (room under construction).
