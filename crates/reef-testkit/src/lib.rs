//! What tests of several rooms share: a client of the delta protocol that behaves as Envoy does, and one that does not.
//!
//! Never in `[dependencies]` of anything that is shipped.

mod delta;
mod raw;

pub use delta::{Answer, DeltaClient};
pub use raw::RawStream;

/// The status of a stream; re-exported so that tests of rooms without tonic can name it.
pub use tonic::{Code, Status};
