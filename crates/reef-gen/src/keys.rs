//! The keys of a proxy: what each set of its resources depends on.
//!
//! Clusters and listeners are two sets each. What leads out of a workload is the same for all
//! proxies of a scope that are configured alike, whatever they serve; what leads in follows from
//! the service ports and the policies of each. So their keys are apart, and one outbound set serves
//! a whole scope.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reef_config::{ClusterId, Labels, ObjectKey};
use reef_mesh::{
    AccessLogRule, HeaderPolicy, Interception, IpMode, MeshSnapshot, ProxyIdentity, ServiceKey,
    ServiceTarget, WorkloadCert,
};
use reef_scope::{OutboundPolicy, Scope, ScopeId};

use crate::facts::{ProxyFacts, facts};
use crate::listener::logs_to_service;
use crate::locality::Place;
use crate::security::InboundSecurity;
use crate::xds::trace::TraceTags;

/// A service target by name, so that it outlives versions of the service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetKey {
    /// The service.
    pub service: ServiceKey,
    /// Index of its port.
    pub port: usize,
    /// Port of the workload.
    pub target_port: u16,
}

/// What the set of clusters of a proxy depends on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClustersKey {
    /// Those of destinations, and those every proxy has.
    pub outbound: OutboundClustersKey,
    /// Those of the workload's own ports.
    pub inbound: InboundClustersKey,
}

/// What the clusters of destinations depend on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboundClustersKey {
    /// What load assignments depend on: endpoints written into a cluster are selected alike.
    pub endpoints: Arc<EndpointsKey>,
    /// Address families.
    pub ip_mode: IpMode,
    /// Certificate source.
    pub workload_cert: WorkloadCert,
    /// As [`ProxyFacts::dns_proxy`].
    pub dns_proxy: Option<SocketAddr>,
    /// HTTP/1 headers keep their case; from [`ProxyFacts::headers`].
    pub preserve_case: bool,
}

/// What the clusters of a workload's own ports depend on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboundClustersKey {
    /// The scope.
    pub scope: ScopeId,
    /// As [`ProxyFacts::grpc`].
    pub grpc: bool,
    /// Address families.
    pub ip_mode: IpMode,
    /// Inbound clusters need redirected traffic unless a `Sidecar` declares them.
    pub intercepted: bool,
    /// As [`ProxyFacts::ingress_ips`].
    pub ingress_ips: Arc<[IpAddr]>,
    /// Service targets, only if they decide the inbound clusters.
    pub targets: Arc<[TargetKey]>,
    /// HTTP/1 headers keep their case; from [`ProxyFacts::headers`].
    pub preserve_case: bool,
}

/// What the load assignments of a proxy depend on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointsKey {
    /// The scope.
    pub scope: ScopeId,
    /// As [`ProxyFacts::grpc`].
    pub grpc: bool,
    /// As [`ProxyFacts::node`].
    pub node: Option<Option<Arc<str>>>,
    /// As [`ProxyFacts::networks`].
    pub networks: Option<Arc<[Arc<str>]>>,
    /// As [`ProxyFacts::network`].
    pub network: Option<Arc<str>>,
    /// As [`ProxyFacts::cluster`].
    pub cluster: Option<ClusterId>,
    /// As [`ProxyFacts::place`].
    pub place: Option<Arc<Place>>,
    /// As [`ProxyFacts::shares`].
    pub shares: Option<usize>,
    /// As [`ProxyFacts::selecting_rules`].
    pub selecting_rules: Arc<[ObjectKey]>,
    /// As [`ProxyFacts::certified`].
    pub certified: Option<bool>,
}

/// What the listeners of a proxy depend on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenersKey {
    /// Those for destinations, and the one that takes redirected outbound traffic.
    pub outbound: OutboundListenersKey,
    /// Those of the workload's own ports.
    pub inbound: InboundListenersKey,
}

/// What the listeners for destinations depend on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboundListenersKey {
    /// The scope.
    pub scope: ScopeId,
    /// As [`ProxyFacts::grpc`].
    pub grpc: bool,
    /// Address families.
    pub ip_mode: IpMode,
    /// How traffic is redirected.
    pub interception: Interception,
    /// As [`ProxyFacts::own_headless`].
    pub own_headless: Arc<[IpAddr]>,
    /// As [`ProxyFacts::reserved_ports`].
    pub reserved_ports: Arc<[u16]>,
    /// As [`ProxyFacts::dns_proxy`]: a filter must have the same cache as its cluster.
    pub dns_proxy: Option<SocketAddr>,
    /// As [`ProxyFacts::idle_timeout`].
    pub idle_timeout: Option<Duration>,
    /// As [`ProxyFacts::http10`].
    pub http10: bool,
    /// As [`ProxyFacts::http_proxy_port`].
    pub http_proxy_port: Option<u16>,
    /// As [`ProxyFacts::balance_outbound`].
    pub balance: bool,
    /// As [`ProxyFacts::unprivileged`].
    pub unprivileged: bool,
    /// As [`ProxyFacts::alias_domain`].
    pub alias_domain: Option<Arc<str>>,
    /// As [`ProxyFacts::auto_addresses`].
    pub auto_addresses: bool,
    /// As [`ProxyFacts::headers`].
    pub headers: Arc<HeaderPolicy>,
    /// As [`ProxyFacts::sampling`].
    pub sampling: u32,
    /// As [`ProxyFacts::trace_tags`].
    pub trace_tags: Option<Arc<TraceTags>>,
    /// The rules for what leaves the workload, of [`ProxyFacts::logs`].
    pub logs: Option<Arc<[AccessLogRule]>>,
    /// As [`ProxyFacts::client_labels`].
    pub client_labels: Arc<[Labels]>,
    /// As [`ProxyFacts::selecting_rules`].
    pub selecting_rules: Arc<[ObjectKey]>,
    /// What load assignments depend on, only if it decides whether a cluster is there that a
    /// listener names: that of the egress proxy, or of a service that takes logs.
    pub endpoints: Option<Arc<EndpointsKey>>,
}

/// What the listeners of a workload's own ports depend on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboundListenersKey {
    /// The scope.
    pub scope: ScopeId,
    /// As [`ProxyFacts::grpc`].
    pub grpc: bool,
    /// Address families.
    pub ip_mode: IpMode,
    /// How traffic is redirected.
    pub interception: Interception,
    /// Certificate source.
    pub workload_cert: WorkloadCert,
    /// As [`ProxyFacts::security`].
    pub security: InboundSecurity,
    /// Service targets, only if they decide the inbound chains.
    pub targets: Arc<[TargetKey]>,
    /// As [`ProxyFacts::ingress_ips`].
    pub ingress_ips: Arc<[IpAddr]>,
    /// As [`ProxyFacts::reserved_ports`].
    pub reserved_ports: Arc<[u16]>,
    /// As [`ProxyFacts::idle_timeout`].
    pub idle_timeout: Option<Duration>,
    /// As [`ProxyFacts::http10`].
    pub http10: bool,
    /// As [`ProxyFacts::balance_inbound`].
    pub balance: bool,
    /// As [`ProxyFacts::headers`].
    pub headers: Arc<HeaderPolicy>,
    /// As [`ProxyFacts::sampling`].
    pub sampling: u32,
    /// As [`ProxyFacts::trace_tags`].
    pub trace_tags: Option<Arc<TraceTags>>,
    /// The rules for what arrives at the workload, of [`ProxyFacts::logs`].
    pub logs: Option<Arc<[AccessLogRule]>>,
    /// As [`OutboundListenersKey::endpoints`].
    pub endpoints: Option<Arc<EndpointsKey>>,
    /// What listeners for destinations depend on, only if the scope declares ingress listeners:
    /// those may find their address taken.
    pub beside: Option<Box<OutboundListenersKey>>,
}

/// What the route configurations of a proxy depend on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoutesKey {
    /// The scope.
    pub scope: ScopeId,
    /// As [`ProxyFacts::grpc`].
    pub grpc: bool,
    /// Address families: they select the addresses among the domains.
    pub ip_mode: IpMode,
    /// As [`ProxyFacts::dns_domain`].
    pub dns_domain: Arc<str>,
    /// How traffic is redirected: it decides which listeners, hence which routes, there are.
    pub interception: Interception,
    /// As [`ProxyFacts::own_headless`]: no listener, no route.
    pub own_headless: Arc<[IpAddr]>,
    /// As [`ProxyFacts::reserved_ports`].
    pub reserved_ports: Arc<[u16]>,
    /// As [`ProxyFacts::http_proxy_port`].
    pub http_proxy_port: Option<u16>,
    /// As [`ProxyFacts::unprivileged`].
    pub unprivileged: bool,
    /// As [`ProxyFacts::auto_addresses`].
    pub auto_addresses: bool,
    /// Requests tell how often they were tried; from [`ProxyFacts::headers`].
    pub attempt_count: bool,
    /// Requests tell which host was asked for; from [`ProxyFacts::headers`].
    pub forwarded_host: bool,
    /// As [`ProxyFacts::client_labels`].
    pub client_labels: Arc<[Labels]>,
    /// As [`ProxyFacts::selecting_rules`].
    pub selecting_rules: Arc<[ObjectKey]>,
    /// As [`ProxyFacts::http_sources`].
    pub http_sources: Arc<[Labels]>,
    /// As [`OutboundListenersKey::endpoints`], for the egress proxy.
    pub endpoints: Option<Arc<EndpointsKey>>,
}

/// What the table of names of a proxy depends on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamesKey {
    /// The scope.
    pub scope: ScopeId,
    /// Address families.
    pub ip_mode: IpMode,
    /// As [`ProxyFacts::name_table`].
    pub network: Arc<str>,
}

/// All keys of a proxy; proxies with equal keys are one class and share every resource.
///
/// Equality is by content. None of it holds a service, so a class outlives snapshots; what a class
/// was made from (its scope's services and [`ProxyKeys::targets`]) says when to make it again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProxyKeys {
    /// For clusters.
    pub clusters: ClustersKey,
    /// For load assignments.
    pub endpoints: Arc<EndpointsKey>,
    /// For listeners.
    pub listeners: ListenersKey,
    /// For routes.
    pub routes: RoutesKey,
    /// For the table of names; none if nobody asks for it.
    pub names: Option<NamesKey>,
}

impl TargetKey {
    /// The key of a service target.
    #[must_use]
    pub fn of(target: &ServiceTarget) -> Self {
        Self {
            service: target.service.key.clone(),
            port: target.port,
            target_port: target.target_port,
        }
    }
}

/// Computes the keys of a proxy. Costs as [`facts`], and a lookup of its service targets.
#[must_use]
pub fn keys(snapshot: &MeshSnapshot, scope: &Scope, proxy: &ProxyIdentity) -> ProxyKeys {
    ProxyKeys::of(snapshot, scope, &facts(snapshot, scope, proxy), proxy)
}

impl ProxyKeys {
    /// The keys of a proxy with these facts.
    #[must_use]
    pub fn of(
        snapshot: &MeshSnapshot,
        scope: &Scope,
        facts: &ProxyFacts,
        proxy: &ProxyIdentity,
    ) -> Self {
        // Declared ingress listeners replace those of services.
        let targets: Arc<[TargetKey]> = if scope.ingress.is_empty() && !facts.grpc {
            let targets = snapshot.service_targets(proxy);
            targets.iter().map(TargetKey::of).collect()
        } else {
            Arc::from([])
        };
        let endpoints = Arc::new(EndpointsKey::of(scope, facts));
        Self {
            clusters: ClustersKey {
                outbound: OutboundClustersKey {
                    endpoints: endpoints.clone(),
                    ip_mode: facts.ip_mode,
                    workload_cert: facts.workload_cert,
                    dns_proxy: facts.dns_proxy,
                    preserve_case: facts.headers.preserve_case,
                },
                inbound: InboundClustersKey {
                    scope: scope.id.clone(),
                    grpc: facts.grpc,
                    ip_mode: facts.ip_mode,
                    intercepted: facts.interception != Interception::None,
                    ingress_ips: facts.ingress_ips.clone(),
                    targets: targets.clone(),
                    preserve_case: facts.headers.preserve_case,
                },
            },
            listeners: ListenersKey::of(snapshot, scope, facts, (&endpoints, targets)),
            routes: RoutesKey::of(scope, facts, &endpoints),
            names: facts.name_table.as_ref().map(|network| NamesKey {
                scope: scope.id.clone(),
                ip_mode: facts.ip_mode,
                network: network.clone(),
            }),
            endpoints,
        }
    }

    /// The services whose ports the proxy serves; a change of one of them changes inbound
    /// resources, whether or not the scope holds it.
    #[must_use]
    pub const fn targets(&self) -> &Arc<[TargetKey]> {
        &self.clusters.inbound.targets
    }
}

impl EndpointsKey {
    fn of(scope: &Scope, facts: &ProxyFacts) -> Self {
        Self {
            scope: scope.id.clone(),
            grpc: facts.grpc,
            node: facts.node.clone(),
            networks: facts.networks.clone(),
            network: facts.network.clone(),
            cluster: facts.cluster.clone(),
            place: facts.place.clone(),
            shares: facts.shares,
            selecting_rules: facts.selecting_rules.clone(),
            certified: facts.certified,
        }
    }
}

impl ListenersKey {
    fn of(
        snapshot: &MeshSnapshot,
        scope: &Scope,
        facts: &ProxyFacts,
        (endpoints, targets): (&Arc<EndpointsKey>, Arc<[TargetKey]>),
    ) -> Self {
        let settings = snapshot.settings();
        let (outbound, inbound) = (&facts.logs.outbound, &facts.logs.inbound);
        let told = |rules: &Option<Arc<[AccessLogRule]>>| {
            let named = rules.as_deref().unwrap_or_default().iter();
            named
                .into_iter()
                .any(|rule| logs_to_service(settings, rule))
        };
        let read = |wanted: bool| wanted.then(|| endpoints.clone());
        let outbound = OutboundListenersKey {
            scope: scope.id.clone(),
            grpc: facts.grpc,
            ip_mode: facts.ip_mode,
            interception: facts.interception,
            own_headless: facts.own_headless.clone(),
            reserved_ports: facts.reserved_ports.clone(),
            dns_proxy: facts.dns_proxy,
            idle_timeout: facts.idle_timeout,
            http10: facts.http10,
            http_proxy_port: facts.http_proxy_port,
            balance: facts.balance_outbound,
            unprivileged: facts.unprivileged,
            alias_domain: facts.alias_domain.clone(),
            auto_addresses: facts.auto_addresses,
            headers: facts.headers.clone(),
            sampling: facts.sampling,
            trace_tags: facts.trace_tags.clone(),
            logs: outbound.clone(),
            client_labels: facts.client_labels.clone(),
            selecting_rules: facts.selecting_rules.clone(),
            endpoints: read(has_egress_proxy(scope) || told(outbound)),
        };
        let inbound = InboundListenersKey {
            scope: scope.id.clone(),
            grpc: facts.grpc,
            ip_mode: facts.ip_mode,
            interception: facts.interception,
            workload_cert: facts.workload_cert,
            security: facts.security.clone(),
            targets,
            ingress_ips: facts.ingress_ips.clone(),
            reserved_ports: facts.reserved_ports.clone(),
            idle_timeout: facts.idle_timeout,
            http10: facts.http10,
            balance: facts.balance_inbound,
            headers: facts.headers.clone(),
            sampling: facts.sampling,
            trace_tags: facts.trace_tags.clone(),
            logs: inbound.clone(),
            endpoints: read(told(inbound)),
            beside: (!scope.ingress.is_empty()).then(|| Box::new(outbound.clone())),
        };
        Self { outbound, inbound }
    }
}

impl RoutesKey {
    fn of(scope: &Scope, facts: &ProxyFacts, endpoints: &Arc<EndpointsKey>) -> Self {
        Self {
            scope: scope.id.clone(),
            grpc: facts.grpc,
            ip_mode: facts.ip_mode,
            dns_domain: facts.dns_domain.clone(),
            interception: facts.interception,
            own_headless: facts.own_headless.clone(),
            reserved_ports: facts.reserved_ports.clone(),
            http_proxy_port: facts.http_proxy_port,
            unprivileged: facts.unprivileged,
            auto_addresses: facts.auto_addresses,
            attempt_count: facts.headers.attempt_count,
            forwarded_host: facts.headers.forwarded_host,
            client_labels: facts.client_labels.clone(),
            selecting_rules: facts.selecting_rules.clone(),
            http_sources: facts.http_sources.clone(),
            endpoints: has_egress_proxy(scope).then(|| endpoints.clone()),
        }
    }
}

fn has_egress_proxy(scope: &Scope) -> bool {
    matches!(
        scope.outbound_policy,
        OutboundPolicy::AllowAny {
            egress_proxy: Some(_)
        }
    )
}
