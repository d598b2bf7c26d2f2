//! What tests of several rooms share: objects of YAML, cases of validation, meshes whose objects come and go and, with the feature `client`, a client of the
//! delta protocol that behaves as Envoy does and one that does not.
//!
//! Never in `[dependencies]` of anything that is shipped.

mod cases;
#[cfg(feature = "client")]
mod delta;
#[cfg(feature = "fake-api")]
pub mod fake_api;
mod following;
mod objects;
#[cfg(feature = "client")]
mod raw;

pub use cases::{RuleCase, assert_rules, assert_table, told as told_by};
#[cfg(feature = "client")]
pub use delta::{Answer, DeltaClient};
pub use following::{Followed, Step, Steps, told};
pub use objects::objects;
#[cfg(feature = "client")]
pub use raw::RawStream;

/// The status of a stream; re-exported so that tests of rooms without tonic can name it.
#[cfg(feature = "client")]
pub use tonic::{Code, Status};
