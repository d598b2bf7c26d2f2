//! The only room that talks to a Kubernetes API server.
//!
//! [`Cluster`] is a connected client, cheap to clone; everything else here takes one.

mod cluster;

pub use cluster::{Cluster, ClusterOptions, ConnectError};
