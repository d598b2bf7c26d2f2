//! The result of scoping: plain values, comparable, in a deterministic order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use reef_config::istio;
use reef_config::names::{Hostname, Namespace};
use reef_config::{Labels, ObjectKey, Problem};
use reef_mesh::{
    DestinationPolicy, Protocol, Service, ServiceKey, SidecarRule, VirtualServiceRule,
};

use crate::egress::ListenerSpec;

/// What decides a scope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeSource {
    /// A `Sidecar` of the proxy's namespace.
    Sidecar(ObjectKey),
    /// The root namespace's `Sidecar` without selector.
    RootSidecar(ObjectKey),
    /// Nothing: everything visible.
    Default,
}

/// Identity of a scope; proxies with equal ids share one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeId {
    /// Namespace of the proxies.
    pub namespace: Namespace,
    /// What decides.
    pub source: ScopeSource,
}

impl fmt::Display for ScopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            ScopeSource::Sidecar(key) => write!(f, "{key}"),
            ScopeSource::RootSidecar(key) => write!(f, "{key} for namespace {}", self.namespace),
            ScopeSource::Default => write!(f, "default of namespace {}", self.namespace),
        }
    }
}

/// Why a service is in a scope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// No `Sidecar` applies and the service is visible to the namespace.
    DefaultScope,
    /// A host entry of an egress listener matches.
    EgressHost {
        /// Index of the listener.
        listener: usize,
        /// The entry as written.
        pattern: String,
    },
    /// A route of a `VirtualService` in the scope leads there.
    VirtualServiceDestination {
        /// Index of the listener that imports the rule.
        listener: usize,
        /// The rule.
        rule: ObjectKey,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DefaultScope => f.write_str("no Sidecar applies, everything visible is imported"),
            Self::EgressHost { listener, pattern } => {
                write!(f, "egress[{listener}] imports {pattern}")
            }
            Self::VirtualServiceDestination { listener, rule } => {
                write!(f, "{rule}, imported by egress[{listener}], routes to it")
            }
        }
    }
}

/// A service of a scope.
#[derive(Debug, Clone, PartialEq)]
pub struct ScopedService {
    /// The service, with only the ports that are imported.
    pub service: Arc<Service>,
    /// Why it is there, in listener order; never empty.
    pub reasons: Box<[Reason]>,
    /// The `DestinationRule`s for it; see [`Scope::destination_rule`].
    pub destination_rules: Box<[Arc<DestinationPolicy>]>,
}

/// The port of a `Sidecar` listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListenerPort {
    /// Number; 0 for Unix sockets.
    pub number: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Name.
    pub name: Arc<str>,
}

/// How traffic reaches a `Sidecar` listener.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CaptureMode {
    /// As the proxy's interception mode says.
    #[default]
    Default,
    /// By iptables.
    Iptables,
    /// The listener binds a real port.
    None,
}

impl From<istio::CaptureMode> for CaptureMode {
    fn from(mode: istio::CaptureMode) -> Self {
        match mode {
            istio::CaptureMode::Default => Self::Default,
            istio::CaptureMode::Iptables => Self::Iptables,
            istio::CaptureMode::None => Self::None,
        }
    }
}

/// One egress listener with what it imports.
#[derive(Debug, Clone, PartialEq)]
pub struct EgressListener {
    /// Its port; `None` for the catch-all.
    pub port: Option<ListenerPort>,
    /// Address or `unix://…` it binds or matches.
    pub bind: Option<Arc<str>>,
    /// Capture mode.
    pub capture_mode: CaptureMode,
    /// Services imported by its host entries, in creation order; ports trimmed to its own.
    pub services: Box<[Arc<Service>]>,
    /// `VirtualService`s it imports, in order of precedence.
    pub virtual_services: Box<[Arc<VirtualServiceRule>]>,
    /// Host name of an imported service → index into `virtual_services` of the rule with the most
    /// specific host for it.
    pub most_specific: BTreeMap<Hostname, usize>,
    /// Host without wildcard → indices into `virtual_services` of the rules that have it, in order.
    pub rules_by_host: BTreeMap<Hostname, Box<[usize]>>,
}

/// Where an ingress listener forwards to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum IngressEndpoint {
    /// The port itself on the workload's own address: no endpoint given.
    Same,
    /// `127.0.0.1:p`, `[::1]:p`.
    Loopback(SocketAddr),
    /// `0.0.0.0:p`, `[::]:p`: the workload's own address.
    Instance(SocketAddr),
    /// A Unix socket.
    Pipe(Arc<str>),
}

/// One ingress listener.
#[derive(Debug, Clone, PartialEq)]
pub struct IngressListener {
    /// Its port.
    pub port: ListenerPort,
    /// Address it binds; `None` is the wildcard.
    pub bind: Option<Arc<str>>,
    /// Capture mode.
    pub capture_mode: CaptureMode,
    /// Where it forwards to.
    pub endpoint: IngressEndpoint,
    /// Limits of this port, else those of the `Sidecar`.
    pub connection_pool: Option<Arc<istio::ConnectionPoolSettings>>,
}

/// What happens to traffic for unknown destinations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum OutboundPolicy {
    /// It is refused.
    RegistryOnly,
    /// It passes, or goes to the proxy named.
    AllowAny {
        /// Service that gets it instead.
        egress_proxy: Option<EgressProxy>,
    },
    /// The name asked for is resolved.
    AllowAnyDynamicDns,
}

/// The service that gets traffic for unknown destinations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EgressProxy {
    /// Fully qualified host.
    pub host: Hostname,
    /// Subset.
    pub subset: Option<Arc<str>>,
    /// Port.
    pub port: Option<u16>,
}

/// What one proxy can see.
#[derive(Debug, Clone, PartialEq)]
pub struct Scope {
    /// Identity.
    pub id: ScopeId,
    /// The `Sidecar` it comes from.
    pub sidecar: Option<Arc<SidecarRule>>,
    /// Every service it can call, in the order clusters are sent; at most one per host name.
    pub services: Box<[ScopedService]>,
    /// Egress listeners in order; never empty.
    pub egress: Box<[EgressListener]>,
    /// Ingress listeners; empty means inbound ports follow from service targets.
    pub ingress: Box<[IngressListener]>,
    /// Policy for unknown destinations.
    pub outbound_policy: OutboundPolicy,
    /// Limits of inbound connections.
    pub inbound_connection_pool: Option<Arc<istio::ConnectionPoolSettings>>,
    /// The `sourceLabels` that TLS and TCP routes of imported `VirtualService`s ask of clients: each
    /// once, sorted, none empty.
    pub client_labels: Box<[Labels]>,
    /// Those that HTTP routes ask of clients, delegates' included: each once, sorted, none empty.
    pub http_sources: Box<[Labels]>,
    /// What is wrong with the `Sidecar`.
    pub problems: Box<[Problem]>,
    pub(crate) by_host: BTreeMap<Hostname, usize>,
    /// Hosts and rules whose change can alter this scope.
    pub(crate) interest: Interest,
}

/// What a scope was made from, for [`Scope::depends_on`].
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Interest {
    /// The listeners' entries.
    pub(crate) specs: Box<[ListenerSpec]>,
    /// Services in the scope and in its listeners, and those its routes mean.
    pub(crate) services: BTreeSet<ServiceKey>,
    /// Namespaces of the services in the scope.
    pub(crate) namespaces: BTreeSet<Namespace>,
    /// `VirtualService`s in it and the delegates they name.
    pub(crate) rules: BTreeSet<ObjectKey>,
    /// Destination hosts of its `VirtualService`s, there or not.
    pub(crate) destinations: BTreeSet<Hostname>,
}

impl Scope {
    /// The service of this host name.
    #[must_use]
    pub fn service(&self, host: &Hostname) -> Option<&ScopedService> {
        self.by_host.get(host).and_then(|at| self.services.get(*at))
    }

    /// The `DestinationRule` that applies to a service for a proxy with these labels: the first
    /// whose selector matches, else the last without selector.
    #[must_use]
    pub fn destination_rule(
        &self,
        host: &Hostname,
        proxy_labels: &Labels,
    ) -> Option<&Arc<DestinationPolicy>> {
        let rules = &self.service(host)?.destination_rules;
        let selected = rules.iter().find(|rule| {
            rule.namespace == self.id.namespace
                && rule
                    .selector
                    .as_ref()
                    .is_some_and(|selector| selector.selects(proxy_labels))
        });
        selected.or_else(|| rules.iter().rev().find(|rule| rule.selector.is_none()))
    }
}
