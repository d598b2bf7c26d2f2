//! Names of clusters and other strings Istio's tools and dashboards know.

use std::sync::Arc;

/// Traffic sent here goes nowhere.
pub const BLACK_HOLE: &str = "BlackHoleCluster";
/// Outbound traffic to addresses nobody declared.
pub const PASSTHROUGH: &str = "PassthroughCluster";
/// Outbound HTTP to names nobody declared, where the mesh has them resolved.
pub const ALLOW_ANY_DYNAMIC_DNS: &str = "AllowAnyDynamicDNSCluster";
/// Inbound traffic to ports nobody declared.
pub const INBOUND_PASSTHROUGH: &str = "InboundPassthroughCluster";
/// The listener that takes all redirected outbound connections.
pub const VIRTUAL_OUTBOUND: &str = "virtualOutbound";
/// The listener that takes all redirected inbound connections.
pub const VIRTUAL_INBOUND: &str = "virtualInbound";
/// Port of [`VIRTUAL_OUTBOUND`].
pub const OUTBOUND_CAPTURE_PORT: u16 = 15001;
/// Port of [`VIRTUAL_INBOUND`].
pub const INBOUND_CAPTURE_PORT: u16 = 15006;
/// Route configuration of the explicit HTTP proxy listener.
pub const HTTP_PROXY: &str = "http_proxy";

/// `outbound|<port>||<host>`, the name of a service port's cluster and load assignment.
#[must_use]
pub fn outbound_cluster(port: u16, host: &str) -> Arc<str> {
    Arc::from(format!("outbound|{port}||{host}"))
}

/// `outbound|<port>|<subset>|<host>`, the name of the cluster of a subset of a service port; without
/// subset that of the port.
#[must_use]
pub fn outbound_subset_cluster(port: u16, subset: &str, host: &str) -> Arc<str> {
    Arc::from(format!("outbound|{port}|{subset}|{host}"))
}

/// `inbound|<port>||`, the name of the cluster of a local port.
#[must_use]
pub fn inbound_cluster(port: u16) -> Arc<str> {
    Arc::from(format!("inbound|{port}||"))
}

/// `<host>:<port>`, the name of the route configuration a service has for itself.
#[must_use]
pub fn own_route(host: &str, port: u16) -> Arc<str> {
    Arc::from(format!("{host}:{port}"))
}

/// `outbound_.<port>_.<subset>_.<host>`, by which TLS clients name the cluster they mean.
#[must_use]
pub fn sni(port: u16, subset: &str, host: &str) -> String {
    format!("outbound_.{port}_.{subset}_.{host}")
}
