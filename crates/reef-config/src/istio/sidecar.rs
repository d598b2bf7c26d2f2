//! `Sidecar`.

use super::{ConnectionPoolSettings, Destination, ServerTlsSettings, WorkloadSelector};

api_structs! {
    /// A `Sidecar`.
    pub struct Sidecar {
        /// Workloads it is for; absent means the whole namespace.
        pub workload_selector: Option<WorkloadSelector>,
        /// Inbound listeners; empty means those of the workload's services.
        pub ingress: Vec<IstioIngressListener>,
        /// Outbound listeners; empty means everything visible.
        pub egress: Vec<IstioEgressListener>,
        /// Limits of inbound connections.
        pub inbound_connection_pool: Option<ConnectionPoolSettings>,
        /// What happens to unknown destinations; absent means the mesh default.
        pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    }

    /// `IstioIngressListener`.
    pub struct IstioIngressListener {
        /// Port.
        pub port: Option<SidecarPort>,
        /// Address to bind; absent means any.
        pub bind: Option<String>,
        /// How traffic gets there.
        pub capture_mode: CaptureMode,
        /// `127.0.0.1:PORT`, `0.0.0.0:PORT`, `[::1]:PORT`, `[::]:PORT` or `unix:///path`.
        pub default_endpoint: Option<String>,
        /// TLS of the listener.
        pub tls: Option<ServerTlsSettings>,
        /// Limits of this port; override the Sidecar's.
        pub connection_pool: Option<ConnectionPoolSettings>,
    }

    /// `IstioEgressListener`.
    pub struct IstioEgressListener {
        /// Port; absent means every port of the imported services.
        pub port: Option<SidecarPort>,
        /// Address to bind, or `unix:///path`.
        pub bind: Option<String>,
        /// How traffic gets there.
        pub capture_mode: CaptureMode,
        /// `namespace/dnsName` entries, exclusions with `~`.
        pub hosts: Vec<String>,
    }

    /// `SidecarPort`.
    pub struct SidecarPort {
        /// Number.
        pub number: u32,
        /// Protocol.
        pub protocol: String,
        /// Name.
        pub name: String,
        /// Accepted and without effect, as in Istio.
        pub target_port: Option<u32>,
    }

    /// `OutboundTrafficPolicy`.
    pub struct OutboundTrafficPolicy {
        /// Mode; if the policy is there and the mode is not, it is `REGISTRY_ONLY`.
        pub mode: OutboundTrafficPolicyMode,
        /// Where unknown traffic goes.
        pub egress_proxy: Option<Destination>,
    }
}

api_enum! {
    /// `CaptureMode`.
    pub enum CaptureMode {
        /// As the proxy's interception mode says.
        Default = "DEFAULT",
        /// By iptables.
        Iptables = "IPTABLES",
        /// Not captured: the listener binds its port.
        None = "NONE",
    } default Default
}

api_enum! {
    /// `OutboundTrafficPolicy.Mode`.
    pub enum OutboundTrafficPolicyMode {
        /// Unknown destinations are refused.
        RegistryOnly = "REGISTRY_ONLY",
        /// Unknown destinations are passed through.
        AllowAny = "ALLOW_ANY",
        /// Unknown destinations are resolved by name; mesh configuration only.
        AllowAnyDynamicDns = "ALLOW_ANY_DYNAMIC_DNS",
    } default RegistryOnly
}
