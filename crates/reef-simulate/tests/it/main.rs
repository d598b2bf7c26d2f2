//! Tests of simulation on recorded configurations.

#![expect(clippy::panic, reason = "helpers of tests fail by panicking")]

mod expect;
mod golden;
