//! reef-testkit (room under construction).
