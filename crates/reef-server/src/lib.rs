//! ADS for one proxy per stream: subscriptions, ACK and NACK, order of types, frames.
//!
//! - [`provider`]: the traits whoever makes resources implements.
//! - [`status`]: the one place where a gRPC status is chosen.

pub mod provider;
pub mod status;
