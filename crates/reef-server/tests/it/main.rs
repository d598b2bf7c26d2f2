//! Tests of the discovery server: the protocol as a value, random interleavings, and real tonic on port 0.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test fails the test"
)]

mod connections;
mod floods;
mod harness;
mod kit;
mod over_tonic;
mod questions;
mod reef;
mod sim;
mod slow_reader;
mod subscriptions;
mod tonic_kit;
