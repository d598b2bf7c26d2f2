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
        pub containers: Box<[Container]>,
        /// Init containers.
        pub init_containers: Box<[Container]>,
    }

    /// A container with its ports.
    pub struct Container {
        /// Ports.
        pub ports: Box<[ContainerPort]>,
        /// `Always` makes an init container a sidecar, which keeps running and serves ports.
        pub restart_policy: Option<ContainerRestartPolicy>,
    }

    /// A port of a container.
    pub struct ContainerPort {
        /// Name a service port may refer to.
        #[serde(deserialize_with = "interned_option")]
        pub name: Option<Arc<str>>,
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
        pub pod_ips: Box<[PodIp]>,
    }

    /// One address of a pod.
    pub struct PodIp {
        /// Address.
        pub ip: Box<str>,
    }

    /// A `Node`; all that is read are its labels: region and zone.
    pub struct Node {
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
