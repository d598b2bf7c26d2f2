//! `EndpointSlice` and the older `Endpoints`.

use std::sync::Arc;

use crate::labels::{interned, interned_option};

use super::Protocol;

api_structs! {
    /// An `EndpointSlice`; its service is named by the label `kubernetes.io/service-name`.
    pub struct EndpointSlice {
        /// `IPv4`, `IPv6` or `FQDN`.
        #[serde(deserialize_with = "interned")]
        pub address_type: Arc<str>,
        /// The endpoints.
        pub endpoints: Box<[Endpoint]>,
        /// The ports all of them serve.
        pub ports: Box<[EndpointPort]>,
    }

    /// One endpoint of a slice.
    pub struct Endpoint {
        /// Addresses, of which only the first counts, as in Kubernetes.
        pub addresses: Box<[Box<str>]>,
        /// Whether it may be used.
        pub conditions: EndpointConditions,
        /// The node it runs on.
        #[serde(deserialize_with = "interned_option")]
        pub node_name: Option<Arc<str>>,
        /// The pod behind it.
        pub target_ref: Option<ObjectReference>,
    }

    /// `Endpoint.conditions`; an absent condition means what Kubernetes says it means.
    pub struct EndpointConditions {
        /// Ready; absent means yes.
        pub ready: Option<bool>,
        /// Serving, even while terminating; absent means as `ready`.
        pub serving: Option<bool>,
        /// Terminating; absent means no.
        pub terminating: Option<bool>,
    }

    /// A reference to another object.
    pub struct ObjectReference {
        /// Kind, such as `Pod`.
        #[serde(deserialize_with = "interned_option")]
        pub kind: Option<Arc<str>>,
        /// Namespace.
        #[serde(deserialize_with = "interned_option")]
        pub namespace: Option<Arc<str>>,
        /// Name.
        pub name: Option<Box<str>>,
    }

    /// One port of a slice or a subset.
    pub struct EndpointPort {
        /// The name of the service port.
        #[serde(deserialize_with = "interned_option")]
        pub name: Option<Arc<str>>,
        /// Number; absent means all ports.
        pub port: Option<u16>,
        /// Transport protocol.
        pub protocol: Protocol,
        /// Application protocol.
        #[serde(deserialize_with = "interned_option")]
        pub app_protocol: Option<Arc<str>>,
    }

    /// An `Endpoints` object, named as its service.
    pub struct Endpoints {
        /// Address sets with their ports.
        pub subsets: Box<[EndpointSubset]>,
    }

    /// One subset.
    pub struct EndpointSubset {
        /// Addresses that are ready.
        pub addresses: Box<[EndpointAddress]>,
        /// Addresses that are not.
        pub not_ready_addresses: Box<[EndpointAddress]>,
        /// The ports all of them serve.
        pub ports: Box<[EndpointPort]>,
    }

    /// One address of a subset.
    pub struct EndpointAddress {
        /// Address.
        pub ip: Box<str>,
        /// The node.
        #[serde(deserialize_with = "interned_option")]
        pub node_name: Option<Arc<str>>,
        /// The pod behind it.
        pub target_ref: Option<ObjectReference>,
    }
}

impl EndpointSlice {
    /// The label that names the service a slice belongs to.
    pub const SERVICE_LABEL: &'static str = "kubernetes.io/service-name";
}

impl EndpointConditions {
    /// Whether traffic may go there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.unwrap_or(true)
    }
}
