//! reef-scope (room under construction).
