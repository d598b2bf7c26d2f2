//! The only room that talks to a Kubernetes API server.
//!
//! - [`Cluster`] is a connected client, cheap to clone; everything else here takes one.
//! - [`KubeSource`] follows a cluster as a `reef_source::Source`: every kind Reef reads, each by a list and a watch.
//! - [`read_once`] is the same for commands that look and leave.
//! - [`status::StatusWriter`] tells problems to the users of a cluster, if this process is the [`leader::Leader`].
//! - [`KindStates`] say how each kind is followed, for readiness, metrics and pages.
//!
//! ```text
//! API server ──lines, frames──► event ──► decode ──► known (what differs) ──┐
//!     ▲                                                                      ├─► hub ──► ChangeBatch
//!     └── list, watch, pace (one follower per kind) ◄── discovery            ┘
//! ```
//!
//! Objects are read into the slim types of `reef-config` as they come from the wire, in protobuf or in JSON ([`Encoding`]);
//! this room keeps a version per object and nothing else. An outage freezes what was told: only a complete list or a deletion takes anything away.

mod api;
mod cluster;
mod decode;
mod discovery;
mod encoding;
mod event;
mod events;
mod follow;
mod guard;
mod hub;
mod known;
mod metrics;
mod once;
mod pace;
mod page;
mod proto;
mod reading;
mod resource;
mod source;
mod states;
mod webhook_config;

pub use cluster::{Cluster, ClusterOptions, ConnectError};
pub use encoding::Encoding;
pub use metrics::KubeMetrics;
pub use once::{ReadError, read_once};
pub use source::{KubeOptions, KubeSource, Times};
pub use states::{KindState, KindStates, KindStatus};
pub use webhook_config::{CaBundle, WebhookConfigError, WebhookKind};

pub mod leader;
pub mod lease;
pub mod secret;
pub mod status;
pub mod token_review;
