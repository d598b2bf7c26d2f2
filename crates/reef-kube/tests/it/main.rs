//! A source follows an API server through what can go wrong.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of a test binary; a failure is a test failure"
)]

mod faults;
mod follow;
mod kit;
mod limits;
mod panics;
mod reading;
mod restore;
mod status;
