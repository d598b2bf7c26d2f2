//! reef-admin (room under construction).
