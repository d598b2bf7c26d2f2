//! The whole program in this process: a directory, real gRPC on port 0, a client that behaves as Envoy does.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of a test binary; a failure is a test failure"
)]

mod commands;
mod diff;
mod docs;
mod draining;
mod following;
mod garbage;
mod handing_over;
mod mesh;
mod options;
mod pages;
mod secure;
mod serving;
mod simulate;
mod wire;
