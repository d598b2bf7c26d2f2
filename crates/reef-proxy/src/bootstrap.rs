//! The bootstrap of a plain Envoy sidecar, as a pure function of [`BootstrapOptions`].
//!
//! Node id and metadata have Istio's form, so that whatever reads them elsewhere can. Istio's own
//! Envoy extensions are not used. Nothing here is pushed later: what can be, comes over xDS.

mod fixed;
mod node;
mod probes;
mod secure;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use serde::Serialize;
use serde_json::{Value, json};

pub use probes::AppProbe;
pub use secure::{Authority, SecureChannel, TOKEN_FILE};

/// Name of the static cluster through which Envoy reaches Reef.
pub const XDS_CLUSTER: &str = "reef-xds";

/// Everything a bootstrap is made of.
#[derive(Debug, Clone)]
pub struct BootstrapOptions {
    /// Name of the pod.
    pub pod: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Addresses of the pod; the first identifies the workload. At least one.
    pub ips: Vec<IpAddr>,
    /// Where Reef listens.
    pub discovery: DiscoveryAddress,
    /// How the proxy and Reef know each other; `None` is plaintext.
    pub secure: Option<SecureChannel>,
    /// Suffix of Service names; default `cluster.local`.
    pub cluster_domain: String,
    /// Which cluster's objects describe this proxy; default `Kubernetes`.
    pub cluster_id: String,
    /// Name of the mesh; default `cluster.local`.
    pub mesh_id: String,
    /// Network of the pod, where the mesh has several.
    pub network: Option<String>,
    /// Labels of the pod.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pod.
    pub annotations: BTreeMap<String, String>,
    /// Service account of the pod; default `default`.
    pub service_account: String,
    /// Name of the Deployment or the like that owns the pod.
    pub workload_name: Option<String>,
    /// Name of the node the pod runs on.
    pub node_name: Option<String>,
    /// Ports the pod's containers declare.
    pub pod_ports: Vec<PodPort>,
    /// Where the pod is.
    pub locality: Locality,
    /// How traffic gets into the proxy.
    pub interception: InterceptionMode,
    /// Where the workload's certificate comes from.
    pub workload_cert: WorkloadCert,
    /// Port of Envoy's admin interface on loopback; default 15000.
    pub admin_port: u16,
    /// Port of the readiness listener; default 15021.
    pub status_port: u16,
    /// Port of the Prometheus listener; default 15090.
    pub prometheus_port: u16,
    /// Probes of the application that the proxy hands on; the kubelet sends them to `probe_port`.
    pub app_probes: Vec<AppProbe>,
    /// Port of the listener for them, which is there if there are any; default 15020.
    pub probe_port: u16,
    /// If set, Envoy marks its upstream sockets with this number, so that interception can tell
    /// them from the application's where both run as the same user. Needs `CAP_NET_ADMIN`.
    pub socket_mark: Option<u32>,
}

impl BootstrapOptions {
    /// Options of a pod with everything else at its default.
    pub fn new(pod: &str, namespace: &str, ip: IpAddr, discovery: DiscoveryAddress) -> Self {
        Self {
            pod: pod.to_owned(),
            namespace: namespace.to_owned(),
            ips: vec![ip],
            discovery,
            secure: None,
            cluster_domain: "cluster.local".to_owned(),
            cluster_id: "Kubernetes".to_owned(),
            mesh_id: "cluster.local".to_owned(),
            network: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            service_account: "default".to_owned(),
            workload_name: None,
            node_name: None,
            pod_ports: Vec::new(),
            locality: Locality::default(),
            interception: InterceptionMode::Redirect,
            workload_cert: WorkloadCert::None,
            admin_port: 15000,
            status_port: 15021,
            prometheus_port: 15090,
            app_probes: Vec::new(),
            probe_port: 15020,
            socket_mark: None,
        }
    }
}

/// A port of the pod's containers, as in the pod's spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodPort {
    /// Its name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The number.
    pub container_port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
}

/// Region, zone and sub-zone; an empty part is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locality {
    /// For example `eu-west`.
    pub region: String,
    /// For example `eu-west-1b`.
    pub zone: String,
    /// For example `rack7`.
    pub sub_zone: String,
}

impl FromStr for Locality {
    type Err = BootstrapError;

    /// Reads `region[/zone[/subzone]]`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let locality = Self {
            region: next(),
            zone: next(),
            sub_zone: next(),
        };
        if parts.next().is_some() {
            return Err(BootstrapError::Locality(text.to_owned()));
        }
        Ok(locality)
    }
}

/// How traffic gets into the proxy; written to the metadata for Reef to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterceptionMode {
    /// By iptables REDIRECT.
    Redirect,
    /// By iptables TPROXY.
    Tproxy,
    /// Not at all: applications address the proxy's ports.
    None,
}

impl InterceptionMode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Redirect => "REDIRECT",
            Self::Tproxy => "TPROXY",
            Self::None => "NONE",
        }
    }
}

/// Where the workload's certificate comes from.
///
/// Reef reads this and refers to the cluster `sds-grpc` only where it is: a listener that waits
/// for a missing secret source warms for ever, without a rejection anyone would see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkloadCert {
    /// There is none: plain text.
    None,
    /// From an agent behind this Unix socket, by the static cluster `sds-grpc`.
    SdsGrpc {
        /// Path of the socket.
        socket: String,
    },
}

/// `host:port` of Reef. An address is used as it is, a name is looked up by Envoy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryAddress {
    host: String,
    port: u16,
}

impl FromStr for DiscoveryAddress {
    type Err = BootstrapError;

    /// Reads `host:port`; an IPv6 address is in brackets.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BootstrapError::Discovery(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or_else(bad)?;
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let is_good = match bracketed {
            Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains([':', '/', '[', ']']),
        };
        if !is_good {
            return Err(bad());
        }
        let host = bracketed.unwrap_or(host);
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// Why a bootstrap cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// The discovery address is not `host:port`.
    #[error("discovery address {0:?} is not host:port (an IPv6 address goes in brackets)")]
    Discovery(String),
    /// A locality has more than three parts.
    #[error("locality {0:?} is not region[/zone[/subzone]]")]
    Locality(String),
    /// A part of the node id is empty or would break the id apart.
    #[error("{what} {value:?} is empty or contains `~`")]
    Name {
        /// Which option.
        what: &'static str,
        /// Its value.
        value: String,
    },
    /// Reef is reached by an address, and nobody says which name its certificate has.
    #[error(
        "{0} is an address: the name in the certificate of the control plane must be given (--server-name)"
    )]
    ServerName(String),
    /// The pod has no address.
    #[error("the pod has no address")]
    NoAddress,
}

/// Builds the bootstrap.
///
/// # Errors
/// [`BootstrapError::NoAddress`] and [`BootstrapError::Name`], where the node id could not be
/// read by a control plane.
pub fn build(options: &BootstrapOptions) -> Result<Value, BootstrapError> {
    for (what, value) in [
        ("pod name", &options.pod),
        ("namespace", &options.namespace),
        ("cluster domain", &options.cluster_domain),
    ] {
        if value.is_empty() || value.contains('~') {
            let value = value.clone();
            return Err(BootstrapError::Name { what, value });
        }
    }
    let ip = *options.ips.first().ok_or(BootstrapError::NoAddress)?;
    let mut bootstrap = json!({
        "node": node::node(options, ip),
        "admin": fixed::admin(options.admin_port),
        "dynamic_resources": fixed::dynamic_resources(options),
        "static_resources": {
            "clusters": fixed::clusters(options),
            "listeners": fixed::listeners(options, ip),
        },
        "cluster_manager": { "enable_deferred_cluster_creation": true },
        "deferred_stat_options": { "enable_deferred_creation_stats": true },
        "layered_runtime": fixed::runtime(),
        "memory_allocator_manager": {
            // Gives memory back after a scope narrowed, 50 MB a second at most.
            "bytes_to_release": 52_428_800,
            "memory_release_interval": "1s",
        },
        "overload_manager": fixed::overload(),
        "stats_config": fixed::stats(),
    });
    probes::add(options, ip, &mut bootstrap["static_resources"]);
    if let Some(mark) = options.socket_mark {
        bootstrap["cluster_manager"]["upstream_bind_config"] = fixed::marked_sockets(mark);
    }
    Ok(bootstrap)
}

#[cfg(test)]
mod tests;
