//! ADS for one proxy per stream: subscriptions, ACK and NACK, order of types, frames.
//!
//! ```text
//!  tonic ─► service (one task per stream) ─► protocol (a value: event, now ─► responses)
//!                │                                ▲
//!                └── open(node, peer) ─► ResourceProvider ─► ProxySession ─► watch of ResourceView
//! ```
//!
//! - [`protocol`]: one stream as a value, without IO or clock; all rules of the protocol are there.
//! - [`provider`]: the traits whoever makes resources implements.
//! - [`service`]: the tonic services, limits, the life of connections.
//! - [`debug`]: questions of `istioctl`, answered on the same port.
//! - [`status`]: the one place where a gRPC status is chosen.
//! - [`metrics`]: what is counted.

pub mod debug;
#[cfg(feature = "shell")]
pub mod metrics;
pub mod protocol;
pub mod provider;
#[cfg(feature = "shell")]
pub mod service;
pub mod status;
