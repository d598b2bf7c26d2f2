//! Where would this request go? Answers from Envoy's configuration as Envoy would, without an Envoy.
//!
//! ```text
//!   Config   listeners, routes, clusters, load assignments
//!   Request ─► listener   by the destination, as `use_original_dst` hands connections on
//!           ─► chain      what the inspectors see, then Envoy's order of matching
//!           ─► route      virtual host, then the first route that matches      (HTTP)
//!           ─► filters    faults, cross-origin requests
//!           ─► cluster    what is sent there: path, host, headers; or the answer given instead
//!           ─► endpoints  by priority, locality, health and weight
//!   Answer   one outcome per way that chance can take, each with its probability
//! ```
//!
//! [`simulate`] is the one entry. Nothing here knows objects of Istio, except by the names that metadata in
//! the configuration gives. What is not evaluated is told in [`Outcome::notes`], never guessed.

mod action;
mod address;
mod answer;
mod chain;
mod cluster;
mod config;
mod cors;
mod fault;
mod format;
mod headers;
mod host;
mod http;
mod listener;
mod matcher;
mod network;
mod objects;
mod path;
mod rbac;
mod redirect;
mod request;
mod route;
mod simulate;

pub use answer::{Answer, Delay, EndpointShare, Fate, Outcome};
pub use config::{Config, ConfigError};
pub use headers::{HeaderChanges, Headers};
pub use request::{Direction, Protocol, Request};
pub use simulate::simulate;

#[cfg(test)]
mod tests;
