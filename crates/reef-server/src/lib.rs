//! reef-server (room under construction).
