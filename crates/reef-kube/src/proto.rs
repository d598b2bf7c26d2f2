//! Objects in protobuf, as the API server keeps and tells Kubernetes' own kinds: bytes → the types JSON is read into.
//!
//! A message says field numbers where JSON says names, so it is read by [`schema`], a table of the fields somebody
//! looks at, through the same `Deserialize` as JSON: what the two make of an object cannot differ but by the table.
//! Everything else in a message is jumped over, at the cost of its length prefix; texts go from the network's bytes
//! into the object without one in between. What does not fit is rendered as JSON ([`json`]) and told about as such.

mod envelope;
mod read;
mod render;
pub(crate) mod schema;
mod wire;

pub(crate) use envelope::{event, list, unwrapped};
pub(crate) use read::from_slice;
pub(crate) use render::json;

#[cfg(test)]
mod tests;
