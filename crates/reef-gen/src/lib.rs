//! reef-gen (room under construction).
