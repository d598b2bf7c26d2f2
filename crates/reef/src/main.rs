//! reef (room under construction).
fn main() {}
