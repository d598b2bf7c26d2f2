//! Pods and nodes, reduced to what a mesh reads of them.

use std::net::IpAddr;
use std::sync::Arc;

use reef_config::ObjectKey;
use reef_config::names::Namespace;
use reef_config::proxy_config::MeshProxyConfig;

use reef_config::{Labels, Uid};

use crate::sharded::{self, Ranked};
use crate::{Address, Interception, Locality, TlsMode, Workload};

/// A pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Pod {
    /// Namespace.
    pub namespace: Namespace,
    /// Name.
    pub name: Arc<str>,
    /// Which of the pods that have had this name.
    pub uid: Option<Uid>,
    /// Addresses, primary first; empty until it has some.
    pub ips: Box<[IpAddr]>,
    /// Labels.
    pub labels: Labels,
    /// Node it runs on.
    pub node: Option<Arc<str>>,
    /// Service account name; `default` if it names none.
    pub service_account: Arc<str>,
    /// From its locality label, else its node.
    pub locality: Arc<Locality>,
    /// From label `topology.istio.io/network`, else empty.
    pub network: Arc<str>,
    /// From label `security.istio.io/tlsMode`.
    pub tls_mode: TlsMode,
    /// Container ports: name (may be empty) and number; pods of one deployment share them.
    pub ports: Arc<[(Arc<str>, u16)]>,
    /// True if it has finished or failed: it serves nothing and its address may be reused.
    pub finished: bool,
    /// True on the host's network, where its IP names the node rather than the pod.
    pub host_network: bool,
    /// Annotation `proxy.istio.io/config`: settings of its proxy.
    pub proxy_config: Option<Arc<MeshProxyConfig>>,
    /// Annotation `sidecar.istio.io/interceptionMode`.
    pub interception: Option<Interception>,
    /// Facts its endpoints share.
    pub workload: Arc<Workload>,
}

impl Ranked for Arc<Pod> {
    type Rank<'a> = (&'a Namespace, &'a str);

    fn rank(&self) -> Self::Rank<'_> {
        (&self.namespace, &self.name)
    }
}

/// The hash by which a pod is found by name.
pub(crate) fn hash(namespace: &Namespace, name: &str) -> u32 {
    sharded::hash((namespace, name))
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeInfo {
    /// Name.
    pub name: Arc<str>,
    /// From its topology labels.
    pub locality: Arc<Locality>,
}

/// A `WorkloadEntry` object: a workload outside Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkloadInstance {
    /// The object.
    pub object: ObjectKey,
    /// Namespace.
    pub namespace: Namespace,
    /// Its address.
    pub address: Address,
    /// Labels: those of its content overlaid by those of its metadata.
    pub labels: Labels,
    /// Ports by name of the service port.
    pub ports: Box<[(Arc<str>, u16)]>,
    /// Load-balancing weight, at least 1.
    pub weight: u32,
    /// Locality.
    pub locality: Arc<Locality>,
    /// Network; empty is the default network.
    pub network: Arc<str>,
    /// Whether it accepts mesh mTLS.
    pub tls_mode: TlsMode,
    /// Facts its endpoints share.
    pub workload: Arc<Workload>,
}

impl WorkloadInstance {
    /// The port it serves the service port called `name` on, if it says.
    #[must_use]
    pub fn port_of(&self, name: &str) -> Option<u16> {
        self.ports
            .iter()
            .find(|(known, _)| **known == *name)
            .map(|(_, number)| *number)
    }
}
