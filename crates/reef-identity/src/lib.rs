//! reef-identity (room under construction).
