//! reef-proxy (room under construction).
