//! Tests of generation from objects to messages.

#![expect(clippy::panic, reason = "helpers of tests fail by panicking")]

mod golden;
mod keys;
mod prop;
mod semantic;
mod world;
