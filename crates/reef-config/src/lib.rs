//! reef-config (room under construction).
