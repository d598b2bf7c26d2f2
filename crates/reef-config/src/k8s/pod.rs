//! `Pod`, `Node`, `Namespace` and `ConfigMap`, as far as they are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::labels::interned_option;

use super::Protocol;

api_structs! {
    /// A `Pod`.
    pub struct Pod {
        /// What runs.
        pub spec: PodSpec,
        /// How it runs.
        pub status: PodStatus,
    }

    /// `Pod.spec`.
    pub struct PodSpec {
        /// The node.
        #[serde(deserialize_with = "interned_option")]
        pub node_name: Option<Arc<str>>,
        /// The service account, `default` if absent.
        #[serde(deserialize_with = "interned_option")]
        pub service_account_name: Option<Arc<str>>,
        /// Whether the pod shares the node's network.
        pub host_network: bool,
        /// Host name.
        pub hostname: Option<Box<str>>,
        /// Subdomain, which is the name of a headless service.
        pub subdomain: Option<Box<str>>,
        /// Containers.
        pub containers: Vec<Container>,
        /// Init containers.
        pub init_containers: Vec<Container>,
    }

    /// A container with its ports.
    pub struct Container {
        /// Name.
        pub name: Box<str>,
        /// Ports.
        pub ports: Vec<ContainerPort>,
        /// `Always` makes an init container a sidecar, which keeps running and serves ports.
        pub restart_policy: Option<ContainerRestartPolicy>,
    }

    /// A port of a container.
    pub struct ContainerPort {
        /// Name a service port may refer to.
        pub name: Option<Box<str>>,
        /// Number.
        pub container_port: u16,
        /// Transport protocol.
        pub protocol: Protocol,
    }

    /// `Pod.status`.
    pub struct PodStatus {
        /// Phase.
        pub phase: PodPhase,
        /// First address.
        #[serde(rename = "podIP")]
        pub pod_ip: Option<Box<str>>,
        /// All addresses.
        #[serde(rename = "podIPs")]
        pub pod_ips: Vec<PodIp>,
        /// Conditions.
        pub conditions: Vec<PodCondition>,
    }

    /// One address of a pod.
    pub struct PodIp {
        /// Address.
        pub ip: Box<str>,
    }

    /// One condition of a pod.
    pub struct PodCondition {
        /// `type`, such as `Ready`.
        #[serde(rename = "type")]
        pub condition_type: Box<str>,
        /// `True`, `False` or `Unknown`.
        pub status: Box<str>,
    }

    /// A `Node`; region and zone are labels.
    pub struct Node {
        /// What is wanted.
        pub spec: NodeSpec,
        /// What the node reports.
        pub status: NodeStatus,
    }

    /// `Node.spec`.
    pub struct NodeSpec {
        /// Name given by the cloud.
        #[serde(rename = "providerID")]
        pub provider_id: Option<Box<str>>,
    }

    /// `Node.status`.
    pub struct NodeStatus {
        /// Addresses.
        pub addresses: Vec<NodeAddress>,
    }

    /// One address of a node.
    pub struct NodeAddress {
        /// `type`, such as `InternalIP`.
        #[serde(rename = "type")]
        pub address_type: Box<str>,
        /// Address.
        pub address: Box<str>,
    }

    /// A `Namespace`; all that is read are its labels and annotations.
    pub struct Namespace {
    }

    /// A `ConfigMap`.
    pub struct ConfigMap {
        /// Texts by name.
        pub data: BTreeMap<String, String>,
    }
}

api_enum! {
    /// `restartPolicy` of a container.
    pub enum ContainerRestartPolicy {
        /// Restarted whenever it ends.
        Always = "Always",
        /// Restarted when it fails.
        OnFailure = "OnFailure",
        /// Not restarted.
        Never = "Never",
    } default Never else
    /// Any other spelling.
    Unknown
}

api_enum! {
    /// `Pod.status.phase`.
    pub enum PodPhase {
        /// Accepted, not yet running.
        Pending = "Pending",
        /// Running.
        Running = "Running",
        /// Ended well.
        Succeeded = "Succeeded",
        /// Ended badly.
        Failed = "Failed",
        /// Not known, or not said (a pod written by hand into a file).
        Unknown = "Unknown",
    } default Unknown
}

impl Pod {
    /// The addresses, first one first.
    pub fn ips(&self) -> impl Iterator<Item = &str> {
        let single = if self.status.pod_ips.is_empty() {
            &self.status.pod_ip
        } else {
            &None
        };
        single
            .iter()
            .map(|ip| &**ip)
            .chain(self.status.pod_ips.iter().map(|ip| &*ip.ip))
            .filter(|ip| !ip.is_empty())
    }

    /// The condition `Ready`; `None` if the pod does not say.
    #[must_use]
    pub fn is_ready(&self) -> Option<bool> {
        let ready = self
            .status
            .conditions
            .iter()
            .find(|c| &*c.condition_type == "Ready")?;
        Some(&*ready.status == "True")
    }

    /// The service account, `default` if the pod names none.
    #[must_use]
    pub fn service_account(&self) -> &str {
        self.spec
            .service_account_name
            .as_deref()
            .filter(|name| !name.is_empty())
            .unwrap_or("default")
    }
}
