//! The mesh as one value: a single writer turns objects into immutable snapshots.
//!
//! [`MeshIndex`] is the only thing that changes: it is given batches of typed objects and links
//! them. Each batch that makes a difference yields an [`Arc<MeshSnapshot>`](MeshSnapshot), which
//! readers hold as long as they like, and a [`ChangeReport`] that says exactly what differs.
//!
//! ```text
//! ChangeBatch ─► MeshIndex (objects, reverse indexes) ─► Arc<MeshSnapshot> + ChangeReport
//!                                                          │
//!            services · endpoints · pods · rules ──────────┘
//! ```
//!
//! The cost of a batch follows the batch: an endpoint slice relinks the endpoints of one service
//! and nothing else. The order of arrival never matters. This crate knows neither Envoy, nor
//! files, nor a clock.

mod address;
mod addressed;
mod dump;
mod endpoint;
mod export;
mod identity;
mod index;
mod metadata;
mod networks;
mod protocol;
mod proxy;
mod report;
mod rules;
mod runs;
mod security;
mod service;
mod settings;
mod sharded;
mod snapshot;
mod targets;
mod telemetry;
mod workload;

pub use address::{Address, Cidr};
pub use endpoint::{
    Endpoint, Health, Locality, PortEndpoints, ServiceEndpoints, TlsMode, Workload,
};
pub use export::ExportTo;
pub use identity::{
    Interception, IpMode, ProxyIdentity, WorkloadCert, first_routable, identify, identify_shared,
    settings_around_annotation,
};
pub use index::MeshIndex;
pub use metadata::{MetaValue, Metadata};
pub use networks::{NetworkGateway, NetworkGateways};
pub use protocol::Protocol;
pub use proxy::{NodeError, ProxyKind, ProxyNode};
pub use reef_config::Labels;
pub use report::ChangeReport;
pub use rules::{
    Destination, DestinationPolicy, DestinationRuleIndex, HttpAction, HttpRule, Rule, SidecarRule,
    VirtualServiceRule,
};
pub use security::{MtlsMode, PeerPolicy};
pub use service::{
    Registry, Resolution, Service, ServiceKey, ServicePort, TargetPort, TrafficDistribution,
};
pub use settings::{
    AccessLog, AccessLogFormat, CertDetails, ClusterLocal, Discovery, Distribution, HeaderPolicy,
    HttpConnections, Keepalive, LocalityPreference, LogProviders, MeshDefaults, MeshSettings,
    PathNormalization, ProxySettings, ServerName, TagSource, TlsLimits, Unenforced,
    VisibilityLimit,
};
pub use snapshot::{MeshSnapshot, NamespaceInfo};
pub use targets::ServiceTarget;
pub use telemetry::{AccessLogRule, AccessLogRules};
pub use workload::{NodeInfo, Pod, WorkloadInstance};
