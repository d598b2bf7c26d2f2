//! What other rooms rely on: equal bytes for equal messages, names that round-trip, JSON that shows
//! everything.

#![expect(
    clippy::unwrap_used,
    reason = "check functions of tests fail by panicking"
)]

mod canonical;
mod determinism;
mod encoded;
mod json;
mod names;
mod resource_type;
mod samples;
mod warm;
