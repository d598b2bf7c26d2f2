//! Core `Service`.

use std::sync::Arc;

use crate::labels::{Labels, interned_option};
use crate::scalar::IntOrString;

use super::Protocol;

api_structs! {
    /// A `Service`.
    pub struct Service {
        /// What is wanted.
        pub spec: ServiceSpec,
        /// What the cluster gave.
        pub status: ServiceStatus,
    }

    /// `Service.spec`.
    pub struct ServiceSpec {
        /// `type`.
        #[serde(rename = "type")]
        pub service_type: ServiceType,
        /// The first virtual address, `None` spelled out for a headless service.
        #[serde(rename = "clusterIP")]
        pub cluster_ip: Option<Box<str>>,
        /// All virtual addresses.
        #[serde(rename = "clusterIPs")]
        pub cluster_ips: Box<[Box<str>]>,
        /// Further addresses that reach the service; those of a gateway between networks are read.
        #[serde(rename = "externalIPs")]
        pub external_ips: Box<[Box<str>]>,
        /// The name an `ExternalName` service stands for.
        pub external_name: Option<Box<str>>,
        /// Ports.
        pub ports: Box<[ServicePort]>,
        /// Labels of the pods behind it; empty means the endpoints are written by someone else.
        pub selector: Labels,
        /// Whether addresses that are not ready are published too.
        pub publish_not_ready_addresses: bool,
        /// `Cluster` (default) or `Local`.
        #[serde(deserialize_with = "interned_option")]
        pub internal_traffic_policy: Option<Arc<str>>,
        /// `PreferClose`, `PreferSameZone` or `PreferSameNode`.
        #[serde(deserialize_with = "interned_option")]
        pub traffic_distribution: Option<Arc<str>>,
    }

    /// One port of a service.
    pub struct ServicePort {
        /// Name; may be absent if there is only one port.
        #[serde(deserialize_with = "interned_option")]
        pub name: Option<Arc<str>>,
        /// Transport protocol.
        pub protocol: Protocol,
        /// Application protocol, such as `http` or `kubernetes.io/h2c`.
        #[serde(deserialize_with = "interned_option")]
        pub app_protocol: Option<Arc<str>>,
        /// The port clients use.
        pub port: u16,
        /// The port of the pods, by number or by name; the same as `port` if absent.
        pub target_port: Option<IntOrString>,
    }

    /// `Service.status`.
    pub struct ServiceStatus {
        /// Addresses of the load balancer.
        pub load_balancer: LoadBalancerStatus,
    }

    /// `Service.status.loadBalancer`.
    pub struct LoadBalancerStatus {
        /// Addresses.
        pub ingress: Box<[LoadBalancerIngress]>,
    }

    /// One address of a load balancer.
    pub struct LoadBalancerIngress {
        /// Address.
        pub ip: Option<Box<str>>,
        /// Host name.
        pub hostname: Option<Box<str>>,
    }
}

api_enum! {
    /// `Service.spec.type`.
    pub enum ServiceType {
        /// A virtual address inside the cluster, the default.
        ClusterIp = "ClusterIP",
        /// A port on every node.
        NodePort = "NodePort",
        /// A load balancer outside.
        LoadBalancer = "LoadBalancer",
        /// An alias of a DNS name.
        ExternalName = "ExternalName",
    } default ClusterIp else
    /// Any other spelling.
    Unknown
}

impl Service {
    /// Whether the service has no virtual address on purpose (`clusterIP: None`).
    #[must_use]
    pub fn is_headless(&self) -> bool {
        self.spec.cluster_ip.as_deref() == Some("None")
            || self
                .spec
                .cluster_ips
                .first()
                .is_some_and(|ip| &**ip == "None")
    }

    /// The virtual addresses, first one first; empty for a headless service or one without any.
    pub fn virtual_ips(&self) -> impl Iterator<Item = &str> {
        let single = if self.spec.cluster_ips.is_empty() {
            &self.spec.cluster_ip
        } else {
            &None
        };
        single
            .iter()
            .chain(&self.spec.cluster_ips)
            .map(|ip| &**ip)
            .filter(|ip| !ip.is_empty() && *ip != "None")
    }
}
