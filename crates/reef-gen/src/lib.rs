//! From the mesh to xDS: what one class of proxies receives, in Istio's shapes and names.
//!
//! Generation has two steps. *Selecting* reads the snapshot, the scope and the facts of a class and
//! yields one key per resource; *building* turns a key into its message and reads nothing else. So
//! equal keys give equal bytes, and one encoded resource serves every class that has its key.
//!
//! ```text
//! ProxyIdentity ─ ScopeFacts::facts ─► ProxyFacts ─► ProxyKeys (the class)
//! ClassInput ─┬─ cluster_keys  ─► ClusterKey  ─ build_cluster   ─► Cluster
//!             ├─ endpoint_keys ─► EndpointKey ─ build_endpoints ─► ClusterLoadAssignment
//!             ├─ listener_keys ─► ListenerKey ─ build_listener  ─► Listener
//!             ├─ route_keys    ─► RouteKey    ─ build_route     ─► RouteConfiguration
//!             └─ name_table_keys ─► NameTableKey ─ build_name_table ─► NameTable, for agents
//! ```
//!
//! After a change most keys are what they were: [`Reach`] says which resources a change can reach,
//! and only their keys are selected again.
//!
//! No caches, no clock, no IO. Configuration never fails generation: what can't be sent is among
//! [`problems`]. Which kinds have an effect: [`applied_kinds`].

mod cluster;
mod destination;
mod endpoint;
mod facts;
mod grpc;
mod input;
mod keys;
mod listener;
mod locality;
mod name_table;
pub mod names;
mod network;
mod reach;
mod route;
mod security;
mod stat_name;
mod xds;

pub use cluster::{
    ClusterKey, FixedCluster, InboundCluster, OutboundCluster, build_cluster, cluster_keys,
    inbound_cluster_keys, outbound_cluster_keys,
};
pub use endpoint::{EndpointKey, build_endpoints, endpoint_key, endpoint_keys};
pub use facts::{ProxyFacts, ScopeFacts, facts};
pub use grpc::{GrpcCluster, GrpcListener};
pub use input::{ClassInput, applied_kinds, inbound_problems, outbound_problems, problems};
pub use keys::{
    ClustersKey, EndpointsKey, InboundClustersKey, InboundListenersKey, ListenersKey, NamesKey,
    OutboundClustersKey, OutboundListenersKey, ProxyKeys, RoutesKey, TargetKey, keys,
};
pub use listener::{
    ListenerKey, build_listener, inbound_listener_keys, listener_keys, outbound_listener_keys,
};
pub use locality::Place;
pub use name_table::{NameTableKey, build_name_table, name_table_keys, names_endpoints};
pub use reach::{Reach, Reached};
pub use route::{RouteKey, build_route, encode_route, route_keys};
pub use security::{Denied, InboundSecurity, PortSecurity, policy_problems};
pub use xds::trace::TraceTags;
