//! reef-push (room under construction).
