//! What every room says about xDS resources: their types, names, bytes and versions.
//!
//! ```text
//! xds_api message ──EncodedResource::encode──► one buffer ──► wire_delta()  frames of delta streams
//!                                                    │       wire_any()    frames of state-of-the-world streams
//!                                                    └─ Version (BLAKE3)   what an ACK refers to
//! Any ◄──json::from_json── JSON ◄──json::to_json── Any      config dumps, golden tests
//! ```
//!
//! - [`ResourceType`] names the types an Envoy and the agent beside it subscribe to, in the order they are sent.
//! - [`EncodedResource`] is a resource encoded once and shared by all streams; [`Warm`] has it give its bytes back when
//!   nobody needs them for a while.
//! - [`names`] builds and parses the names that several resources must agree on.
//! - [`json`] shows any resource as JSON.
//!
//! Nothing here knows Kubernetes, streams or an executor; everything is a pure function.

mod canonical;
mod encoded;
pub mod json;
pub mod names;
mod resource_type;
mod warm;

pub use encoded::{EncodedResource, InvalidVersion, Version};
pub use resource_type::{ResourceType, UnknownTypeUrl, XdsResource};
pub use warm::{Source, Warm};

/// Envoy's generated messages, so that users of this crate name one version of them.
pub use xds_api;
pub use xds_api::Any;

/// Encodes `message` as an [`Any`] under its own type URL.
pub fn any<M: prost::Message + prost::Name>(message: &M) -> Any {
    Any::pack(message)
}
