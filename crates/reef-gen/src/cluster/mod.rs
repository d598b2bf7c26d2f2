//! Clusters: one per service port in scope, one per local port, and the fixed ones.

mod balance;
pub(crate) mod dynamic;
mod fixed;
mod inbound;
mod outbound;
mod outlier;
mod policy;
mod pool;
mod protocol;
mod select;

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reef_config::Problem;
use reef_mesh::{IpMode, Keepalive, Protocol, Service, ServiceEndpoints};
use xds_api::envoy::config::cluster::v3 as cds;

use crate::endpoint::Selection;
use crate::grpc::{self, GrpcCluster};
use crate::names;
use crate::security::{Plaintext, Upstream};
use dynamic::Lookup;
use policy::ClusterPolicy;
use pool::Pool;

pub(crate) use balance::{is_ring_size, is_table_size};
pub(crate) use outbound::is_logical;
pub(crate) use outlier::panic as panic_percent;
pub(crate) use protocol::{AutoSni, discovery, unlimited};
pub use select::{cluster_keys, inbound_cluster_keys, outbound_cluster_keys};
pub(crate) use select::{
    clusters_of, declared_identity, declared_stat_name, secured, served_stat_name,
};

/// Everything one cluster reads.
///
/// Equality is by content, and cheap where the snapshot shares services by pointer. Hashing reads
/// the name only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterKey {
    /// The cluster of a service port.
    Outbound(OutboundCluster),
    /// The cluster of a port of the workload itself.
    Inbound(InboundCluster),
    /// A cluster every sidecar has.
    Fixed(FixedCluster),
    /// A cluster of a proxyless client.
    Grpc(GrpcCluster),
}

/// Mesh-wide settings clusters read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ClusterDefaults {
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// TCP keepalive of upstream connections.
    pub keepalive: Option<Keepalive>,
    /// How often names are resolved again if their TTL says nothing.
    pub dns_refresh: Duration,
    /// Ports declared HTTP are spoken to in HTTP/2.
    pub h2_upgrade: bool,
    /// Ports declared HTTP get headers in the case they were received in.
    pub preserve_case: bool,
}

/// Key of the cluster of a service port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundCluster {
    pub(crate) name: Arc<str>,
    pub(crate) service: Arc<Service>,
    pub(crate) port: usize,
    /// Endpoints, only where they are part of the cluster, and which of them.
    pub(crate) inline: Option<(Arc<ServiceEndpoints>, Selection)>,
    /// How localities are weighed.
    pub(crate) localities: Localities,
    /// Its name in statistics, if it is another one.
    pub(crate) stat_name: Option<Arc<str>>,
    /// How names are resolved, only where they are.
    pub(crate) lookup: Option<Lookup>,
    /// Which inline endpoints get plaintext although they could do mTLS.
    pub(crate) plaintext: Plaintext,
    /// How its connections are secured.
    pub(crate) tls: Upstream,
    /// What a rule or the mesh says of connections to it.
    pub(crate) policy: Arc<ClusterPolicy>,
    pub(crate) defaults: Arc<ClusterDefaults>,
}

/// How a cluster weighs localities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Localities {
    /// Not: all endpoints are alike.
    #[default]
    Alike,
    /// By weights they are sent with.
    Weighted,
    /// The proxy prefers its own zone, with at least this many hosts.
    Zones(Option<u32>),
}

/// Host, name and namespace of a service, as telemetry knows it.
pub(crate) type Identity = (Arc<str>, Arc<str>, Arc<str>);

/// Key of the cluster of a local port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundCluster {
    pub(crate) name: Arc<str>,
    pub(crate) protocol: Protocol,
    /// (host, name, namespace) of the services the port serves, oldest first.
    pub(crate) services: Box<[Identity]>,
    pub(crate) target: InboundTarget,
    /// Its name in statistics, if it is another one.
    pub(crate) stat_name: Option<Arc<str>>,
    pub(crate) pool: Pool,
    pub(crate) ip_mode: IpMode,
    pub(crate) defaults: Arc<ClusterDefaults>,
}

/// Where an inbound cluster connects to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum InboundTarget {
    /// The address the client meant.
    OriginalDestination,
    /// A socket. `from_inbound` binds the source to 127.0.0.6, which iptables lets pass.
    Socket {
        /// Address.
        ip: IpAddr,
        /// Port.
        port: u16,
        /// Binds the source address.
        from_inbound: bool,
    },
    /// A Unix socket.
    Pipe(Arc<str>),
}

/// Key of a cluster every sidecar has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedCluster {
    pub(crate) kind: FixedKind,
    /// Limits of the passthrough clusters.
    pub(crate) pool: Pool,
    pub(crate) defaults: Arc<ClusterDefaults>,
}

/// Which fixed cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FixedKind {
    /// No endpoints.
    BlackHole,
    /// To the original destination.
    Passthrough,
    /// To the name the request asks for.
    AllowAnyDynamicDns(Lookup),
    /// To the original destination, from 127.0.0.6.
    InboundPassthrough(IpMode),
}

impl ClusterKey {
    /// The cluster's name.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        match self {
            Self::Outbound(key) => key.name.clone(),
            Self::Inbound(key) => key.name.clone(),
            Self::Fixed(key) => Arc::from(key.kind.name()),
            Self::Grpc(key) => key.name.clone(),
        }
    }
}

impl FixedKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BlackHole => names::BLACK_HOLE,
            Self::Passthrough => names::PASSTHROUGH,
            Self::AllowAnyDynamicDns(_) => names::ALLOW_ANY_DYNAMIC_DNS,
            Self::InboundPassthrough(_) => names::INBOUND_PASSTHROUGH,
        }
    }
}

impl Hash for ClusterKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Outbound(key) => key.name.hash(state),
            Self::Inbound(key) => key.name.hash(state),
            Self::Fixed(key) => key.kind.hash(state),
            Self::Grpc(key) => key.hash(state),
        }
    }
}

/// Builds the cluster.
#[must_use]
pub fn build_cluster(key: &ClusterKey) -> (cds::Cluster, Vec<Problem>) {
    let cluster = match key {
        ClusterKey::Outbound(key) => outbound::build(key),
        ClusterKey::Inbound(key) => inbound::build(key),
        ClusterKey::Fixed(key) => fixed::build(key),
        ClusterKey::Grpc(key) => grpc::cluster(key),
    };
    (cluster, Vec::new())
}
