//! The subset of Kubernetes objects that a sidecar's configuration depends on.
//!
//! Fields nothing reads are not kept, so unknown fields here are normal and not reported.

mod endpoints;
mod pod;
mod service;

pub use endpoints::{
    Endpoint, EndpointAddress, EndpointConditions, EndpointPort, EndpointSlice, EndpointSubset,
    Endpoints, ObjectReference,
};
pub use pod::{
    ConfigMap, Container, ContainerPort, ContainerRestartPolicy, Namespace, Node, Pod, PodIp,
    PodPhase, PodSpec, PodStatus,
};
pub use service::{
    LoadBalancerIngress, LoadBalancerStatus, Service, ServicePort, ServiceSpec, ServiceStatus,
    ServiceType,
};

api_enum! {
    /// A transport protocol.
    pub enum Protocol {
        /// TCP, the default.
        Tcp = "TCP",
        /// UDP.
        Udp = "UDP",
        /// SCTP.
        Sctp = "SCTP",
    } default Tcp else
    /// Any other spelling.
    Unknown
}
