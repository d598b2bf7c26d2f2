//! Listeners: those for destinations in scope, the two that take redirected traffic, and the
//! explicit HTTP proxy.

mod chain;
mod chains;
mod egress;
mod forward;
mod hosts;
mod inbound;
mod logging;
mod outbound;
mod place;
mod plan;
mod plan_at;
mod rules;
mod virtual_inbound;
mod virtual_outbound;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reef_config::{ObjectKey, Problem};
use reef_mesh::{Cidr, HeaderPolicy, PathNormalization, Protocol};
use xds_api::envoy::config::listener::v3 as lds;

use crate::grpc::{self, GrpcListener};
use crate::input::ClassInput;
use crate::names;
use crate::route::Retries;
use crate::security::{InboundTls, PortSecurity};
use crate::xds::dynamic_dns::DnsCache;
use crate::xds::log::Logs;
use crate::xds::trace::TraceSettings;

pub(crate) use logging::{logs_to_service, takes_logs, telemetry_problems};
pub(crate) use plan::{Plan, RouteSource, inbound_plan, plan};
pub(crate) use plan_at::{PlanAt, plan_at};

/// Everything one listener reads. Equality and hashing are by content.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenerKey {
    /// The listener of one destination address and port, or of all addresses of a port.
    Outbound(OutboundListener),
    /// The listener that takes redirected outbound connections.
    VirtualOutbound(VirtualOutbound),
    /// The listener that takes redirected inbound connections.
    VirtualInbound(VirtualInbound),
    /// The listener of a declared port of the workload that binds a socket.
    Inbound(InboundListener),
    /// A listener of a proxyless client.
    Grpc(GrpcListener),
}

/// Settings of the mesh and the class that the listeners of a direction read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ListenerDefaults {
    /// How long to wait for a client's first bytes; zero waits for ever.
    pub detection_timeout: Duration,
    /// Traces requests.
    pub tracing: Option<TraceSettings>,
    /// Access logs of this direction.
    pub logs: Logs,
    /// Normalises paths.
    pub normalization: PathNormalization,
    /// What is done with headers that tell of the proxy.
    pub headers: Arc<HeaderPolicy>,
    /// Idle timeout of HTTP and TCP proxies.
    pub idle_timeout: Option<Duration>,
    /// Accepts HTTP/1.0.
    pub http10: bool,
    /// Balances accepted connections exactly.
    pub balance: bool,
    /// TPROXY: keeps the addresses of packets.
    pub transparent: bool,
    /// The proxy's first family is IPv4.
    pub ipv4: bool,
    /// It has both families.
    pub dual: bool,
    /// When requests that arrived at the workload are sent again; of listeners for its ports.
    pub inbound_retries: Option<Retries>,
    /// Set if hosts nobody declared are resolved, for listeners of destinations: where their names
    /// are kept.
    pub unknown_hosts: Option<Arc<DnsCache>>,
}

/// What an outbound listener binds, or stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Bind {
    /// An address; the unspecified one stands for all that have no listener of their own.
    Ip(IpAddr),
    /// A Unix socket.
    Pipe(Arc<str>),
}

/// Key of an outbound listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OutboundListener {
    pub(crate) name: Arc<str>,
    pub(crate) bind: Bind,
    pub(crate) port: u16,
    /// Further addresses, of the second family.
    pub(crate) extra: Box<[IpAddr]>,
    /// Binds a real socket instead of taking connections from `virtualOutbound`.
    pub(crate) real: bool,
    pub(crate) chains: Vec<Chain>,
    /// Cluster of connections no chain matches.
    pub(crate) fallback: Arc<str>,
    pub(crate) defaults: Arc<ListenerDefaults>,
}

/// One filter chain of an outbound listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Chain {
    pub matches: ChainMatch,
    pub target: Target,
}

/// What connections a chain is for; the default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct ChainMatch {
    /// Only plaintext HTTP, as detected.
    pub plaintext_http: bool,
    /// Only these server names.
    pub server_names: Box<[Arc<str>]>,
    /// Only these destination ranges, host bits cleared.
    pub ranges: Box<[Cidr]>,
}

/// What a chain does with a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// Routes requests by this route configuration.
    Http {
        /// Name of the route configuration.
        route: Arc<str>,
        /// Adds the gRPC-Web filter.
        grpc_web: bool,
        /// The explicit HTTP proxy.
        absolute_url: bool,
        /// Names resolved for wildcard services it may route to.
        caches: Vec<Arc<DnsCache>>,
    },
    /// Forwards bytes.
    Tcp(Arc<Forward>),
}

/// Where a TCP proxy forwards to, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Forward {
    pub to: Destinations,
    /// Name in statistics.
    pub stat_name: Arc<str>,
    /// What stands before.
    pub before: Option<Before>,
    /// What a `DestinationRule` says about its connections.
    pub connections: Connections,
    /// The `VirtualService` that says so.
    pub rule: Option<ObjectKey>,
}

/// The cluster of a TCP proxy, or several.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Destinations {
    /// One.
    One(Arc<str>),
    /// By weight; no weight is 0.
    Weighted(Box<[(Arc<str>, u32)]>),
}

/// How a TCP proxy treats its connections; the default leaves it to the proxy's own settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Connections {
    /// Longest silence.
    pub idle_timeout: Option<Duration>,
    /// Longest life.
    pub longest: Option<Duration>,
    /// Connections of one client address go to one endpoint.
    pub by_source: bool,
    /// They go through an HTTP tunnel.
    pub tunnel: Option<Tunnel>,
}

/// An HTTP tunnel for connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Tunnel {
    /// Where it leads: `host:port`.
    pub target: Arc<str>,
    /// Opened by POST rather than CONNECT.
    pub post: bool,
}

/// A network filter before a TCP proxy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Before {
    /// Reads the Mongo protocol for statistics.
    Mongo,
    /// Resolves the server name the client sent.
    ServerName(Arc<DnsCache>),
}

/// Key of `virtualOutbound`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VirtualOutbound {
    pub(crate) port: u16,
    pub(crate) fallback: Arc<str>,
    pub(crate) defaults: Arc<ListenerDefaults>,
}

/// Key of `virtualInbound`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VirtualInbound {
    pub(crate) port: u16,
    /// How ports nobody declares are secured.
    pub(crate) rest: PortSecurity,
    /// Ports nobody declares that are secured otherwise, ascending.
    pub(crate) undeclared: Box<[(u16, PortSecurity)]>,
    /// Ports with chains of their own, ascending.
    pub(crate) ports: Box<[InboundPort]>,
    /// What mesh TLS is terminated with; only if some chain does.
    pub(crate) tls: Option<Arc<InboundTls>>,
    pub(crate) defaults: Arc<ListenerDefaults>,
}

/// Key of an inbound listener that binds a socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InboundListener {
    pub(crate) name: Arc<str>,
    pub(crate) bind: Bind,
    pub(crate) port: InboundPort,
    /// What mesh TLS is terminated with; only if some chain does.
    pub(crate) tls: Option<Arc<InboundTls>>,
    pub(crate) defaults: Arc<ListenerDefaults>,
}

/// A port of the workload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct InboundPort {
    /// Name of its chains.
    pub chain: Arc<str>,
    /// Destination port of connections.
    pub number: u16,
    pub protocol: Protocol,
    pub cluster: Arc<str>,
    /// Name in statistics, if it is not the cluster's.
    pub stat_name: Option<Arc<str>>,
    /// Host and port that name the operation in traces.
    pub host: Arc<str>,
    pub service_port: u16,
    pub security: PortSecurity,
}

impl ListenerKey {
    /// The listener's name.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        match self {
            Self::Outbound(key) => key.name.clone(),
            Self::VirtualOutbound(_) => Arc::from(names::VIRTUAL_OUTBOUND),
            Self::VirtualInbound(_) => Arc::from(names::VIRTUAL_INBOUND),
            Self::Inbound(key) => key.name.clone(),
            Self::Grpc(key) => key.name.clone(),
        }
    }
}

impl Bind {
    /// True if it stands for all addresses.
    pub(crate) fn is_wildcard(&self) -> bool {
        matches!(self, Self::Ip(ip) if ip.is_unspecified())
    }

    /// The listener's name: `<address>_<port>`.
    pub(crate) fn listener_name(&self, port: u16) -> Arc<str> {
        Arc::from(match self {
            Self::Ip(ip) => format!("{ip}_{port}"),
            Self::Pipe(path) => format!("{path}_0"),
        })
    }
}

/// Selects the listeners of a class: outbound by address, then the two virtual ones, then
/// inbound ones that bind a socket.
#[must_use]
pub fn listener_keys(input: &ClassInput) -> Vec<ListenerKey> {
    let mut keys = outbound_listener_keys(input);
    keys.extend(inbound_listener_keys(input));
    keys
}

/// Selects the listeners of a class for destinations. No other has the name of one of these.
#[must_use]
pub fn outbound_listener_keys(input: &ClassInput) -> Vec<ListenerKey> {
    if input.proxy.grpc {
        return grpc::listener_keys(input);
    }
    input.plan().listeners.clone()
}

/// Selects the listeners of a class for its own ports.
#[must_use]
pub fn inbound_listener_keys(input: &ClassInput) -> Vec<ListenerKey> {
    if input.proxy.grpc {
        return Vec::new();
    }
    inbound_plan(input).listeners
}

/// Builds the listener.
#[must_use]
pub fn build_listener(key: &ListenerKey) -> (lds::Listener, Vec<Problem>) {
    let listener = match key {
        ListenerKey::Outbound(key) => outbound::build(key),
        ListenerKey::VirtualOutbound(key) => virtual_outbound::build(key),
        ListenerKey::VirtualInbound(key) => virtual_inbound::build(key),
        ListenerKey::Inbound(key) => virtual_inbound::build_real(key),
        ListenerKey::Grpc(key) => grpc::listener(key),
    };
    (listener, Vec::new())
}
