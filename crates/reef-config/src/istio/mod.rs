//! The Istio API (1.27 and later), complete, field by field.
//!
//! `deprecated` fields are kept where Istio still honours them. What a field means is the business of those
//! who read it; here is only its form.

mod common;
mod destination_rule;
mod envoy_filter;
mod gateway;
mod http_route;
mod proxy_config;
mod security;
mod service_entry;
mod sidecar;
mod telemetry;
mod traffic_policy;
mod virtual_service;

pub use common::{
    Destination, Empty, HeaderOperations, Headers, LabelSelector, LabelSelectorRequirement,
    Percent, PolicyTargetReference, PortNumber, StringMatch, WorkloadSelector,
};
pub use destination_rule::{DestinationRule, Subset};
pub use envoy_filter::{
    ApplyTo, ClusterMatch, EnvoyConfigObjectPatch, EnvoyFilter, FilterClass, FilterMatch,
    ListenerFilterChainMatch, ListenerMatch, ObjectMatch, Patch, PatchContext, PatchOperation,
    ProxyMatch, RouteAction, RouteConfigurationMatch, RouteMatch, SubFilterMatch, VirtualHostMatch,
};
pub use gateway::{
    Gateway, Server, ServerPort, ServerTlsMode, ServerTlsSettings, TlsCertificate, TlsProtocol,
};
pub use http_route::{
    Abort, CorsPolicy, Delay, Delegate, DirectResponseBody, HttpDirectResponse, HttpFaultInjection,
    HttpMatchRequest, HttpMirrorPolicy, HttpRedirect, HttpRetry, HttpRewrite, HttpRoute,
    HttpRouteDestination, RedirectPortSelection, RegexRewrite, UnmatchedPreflights,
};
pub use proxy_config::{EnvironmentVariables, ProxyConfig, ProxyImage};
pub use security::{
    AuthorizationAction, AuthorizationPolicy, AuthorizationRule, Condition, ExtensionProviderRef,
    JwtFromHeader, JwtOutputClaim, JwtRule, MutualTls, MutualTlsMode, Operation,
    PeerAuthentication, RequestAuthentication, RuleFrom, RuleTo, Source,
};
pub use service_entry::{
    Location, PortMap, Resolution, ServiceEntry, ServiceEntryAddress, ServiceEntryPort,
    ServiceEntryStatus, WorkloadEntry, WorkloadGroup, WorkloadGroupMeta,
};
pub use sidecar::{
    CaptureMode, IstioEgressListener, IstioIngressListener, OutboundTrafficPolicy,
    OutboundTrafficPolicyMode, Sidecar, SidecarPort,
};
pub use telemetry::{
    AccessLogFilter, AccessLogging, CustomTag, LiteralTag, MetricSelector, Metrics,
    MetricsOverride, NamedTag, ProviderRef, TagOverride, TagOverrideOperation, Telemetry, Tracing,
    TracingSelector, WorkloadMode, WorkloadModeSelector,
};
pub use traffic_policy::{
    ClientTlsMode, ClientTlsSettings, ConnectionPoolSettings, ConsistentHash, CookieAttribute,
    Distribute, Failover, H2UpgradePolicy, Http2KeepAlive, HttpConnectionPool, HttpCookie,
    LoadBalancerSettings, LocalityLoadBalancerSetting, MagLev, OutlierDetection, PortTrafficPolicy,
    ProxyProtocol, ProxyProtocolVersion, RetryBudget, RingHash, SimpleLb, TcpConnectionPool,
    TcpKeepalive, TrafficPolicy, TunnelSettings, WarmupConfiguration, ZoneAwareLoadBalancerSetting,
};
pub use virtual_service::{
    L4Conditions, L4MatchAttributes, RouteDestination, TcpRoute, TlsMatchAttributes, TlsRoute,
    VirtualService,
};
