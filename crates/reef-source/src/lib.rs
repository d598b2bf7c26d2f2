//! reef-source (room under construction).
