//! What generation reads of a proxy, as results: never a label, never a metadata map.
//!
//! [`facts`] drops whatever the proxy's scope makes irrelevant: the node name counts only where a
//! service keeps traffic on its node, own addresses only where they are endpoints of a headless
//! service in scope or a `Sidecar` ingress names them. So proxies that differ only in such things
//! share a class.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reef_config::{ClusterId, Labels, ObjectKey};
use reef_mesh::{
    AccessLogRules, HeaderPolicy, Interception, IpMode, MeshSnapshot, ProxyIdentity, Registry,
    Resolution, Service, ServiceKey, ServiceTarget, WorkloadCert,
};
use reef_scope::{CaptureMode, IngressEndpoint, OutboundPolicy, Scope, ScopeId};

use crate::destination;
use crate::grpc;
use crate::locality::{self, Place, share_rule};
use crate::names::{INBOUND_CAPTURE_PORT, OUTBOUND_CAPTURE_PORT};
use crate::security::{self, InboundSecurity};
use crate::xds::trace::TraceTags;

/// What generation reads of a proxy beyond its scope and its service targets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProxyFacts {
    /// Address families of the proxy.
    pub ip_mode: IpMode,
    /// How traffic reaches it.
    pub interception: Interception,
    /// Where its certificate comes from.
    pub workload_cert: WorkloadCert,
    /// `<namespace>.svc.<cluster domain>`: short names of hosts follow from it.
    pub dns_domain: Arc<str>,
    /// Its node, only if some service in scope keeps traffic on the node; the inner `None` is an
    /// unknown node.
    pub node: Option<Option<Arc<str>>>,
    /// Networks it asked for, sorted; `None` means all.
    pub networks: Option<Arc<[Arc<str>]>>,
    /// Its cluster, only if endpoints of some service in scope are used in their own cluster alone.
    pub cluster: Option<ClusterId>,
    /// Where it is, only if some service in scope prefers near endpoints.
    pub place: Option<Arc<Place>>,
    /// Index of the mesh's rule that shares traffic among localities for proxies like it.
    pub shares: Option<usize>,
    /// Its own addresses that are endpoints of headless services in scope: no listener there.
    pub own_headless: Arc<[IpAddr]>,
    /// Its addresses, only if a `Sidecar` ingress listener names them: the first of each family.
    pub ingress_ips: Arc<[IpAddr]>,
    /// How its ports are secured.
    pub security: InboundSecurity,
    /// Ports its own listeners use, sorted.
    pub reserved_ports: Arc<[u16]>,
    /// Idle timeout of its HTTP and TCP proxies.
    pub idle_timeout: Option<Duration>,
    /// Resolver of names nobody declared, only if the outbound policy has them resolved.
    pub dns_proxy: Option<SocketAddr>,
    /// Accepts HTTP/1.0.
    pub http10: bool,
    /// Port of its explicit HTTP proxy; `None` takes the mesh's.
    pub http_proxy_port: Option<u16>,
    /// Balances accepted inbound connections exactly.
    pub balance_inbound: bool,
    /// Balances accepted outbound connections exactly.
    pub balance_outbound: bool,
    /// It may not bind ports below 1024; known only if it binds any for destinations.
    pub unprivileged: bool,
    /// Its `dns_domain`, only if some service in scope has aliases: they may be server names.
    pub alias_domain: Option<Arc<str>>,
    /// Names are resolved beside it, so that addresses found for hosts without any are in use; known
    /// only if there are such hosts in scope.
    pub auto_addresses: bool,
    /// Its network, only if an agent beside it asks for the table of names.
    pub name_table: Option<Arc<str>>,
    /// What its listeners do with headers that tell of the proxy.
    pub headers: Arc<HeaderPolicy>,
    /// Hundredths of a percent of its requests that are traced.
    pub sampling: u32,
    /// What its spans say of it, only where a tracer is configured.
    pub trace_tags: Option<Arc<TraceTags>>,
    /// What `Telemetry` objects say of its access logs.
    pub logs: Arc<AccessLogRules>,
    /// The `sourceLabels` of TLS and TCP routes in scope that it has; see
    /// [`Scope::client_labels`].
    pub client_labels: Arc<[Labels]>,
    /// The `DestinationRule`s limited to some workloads that are in use because it is one of them:
    /// the first object of each, sorted.
    pub selecting_rules: Arc<[ObjectKey]>,
    /// The `sourceLabels` of HTTP routes in scope that it has; see [`Scope::http_sources`].
    pub http_sources: Arc<[Labels]>,
    /// It has a certificate, only if some rule in its scope demands one: clusters of those who have
    /// none are closed.
    pub certified: Option<bool>,
    /// It is a gRPC client that speaks xDS itself; the room `grpc` is for those.
    pub grpc: bool,
}

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
    /// What load assignments depend on: endpoints written into a cluster are selected alike.
    pub endpoints: EndpointsKey,
    /// Address families.
    pub ip_mode: IpMode,
    /// Inbound clusters need redirected traffic unless a `Sidecar` declares them.
    pub intercepted: bool,
    /// Certificate source.
    pub workload_cert: WorkloadCert,
    /// As [`ProxyFacts::ingress_ips`].
    pub ingress_ips: Arc<[IpAddr]>,
    /// Service targets, only if they decide the inbound clusters.
    pub targets: Arc<[TargetKey]>,
    /// As [`ProxyFacts::dns_proxy`].
    pub dns_proxy: Option<SocketAddr>,
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
    /// As [`ProxyFacts::own_headless`].
    pub own_headless: Arc<[IpAddr]>,
    /// As [`ProxyFacts::ingress_ips`].
    pub ingress_ips: Arc<[IpAddr]>,
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
    /// As [`ProxyFacts::balance_inbound`].
    pub balance_inbound: bool,
    /// As [`ProxyFacts::balance_outbound`].
    pub balance_outbound: bool,
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
    /// As [`ProxyFacts::logs`].
    pub logs: Arc<AccessLogRules>,
    /// As [`ProxyFacts::client_labels`].
    pub client_labels: Arc<[Labels]>,
    /// As [`ProxyFacts::selecting_rules`].
    pub selecting_rules: Arc<[ObjectKey]>,
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
    pub endpoints: EndpointsKey,
    /// For listeners.
    pub listeners: ListenersKey,
    /// For routes.
    pub routes: RoutesKey,
    /// For the table of names; none if nobody asks for it.
    pub names: Option<NamesKey>,
}

impl ProxyKeys {
    /// The services whose ports the proxy serves; a change of one of them changes inbound
    /// resources, whether or not the scope holds it.
    #[must_use]
    pub fn targets(&self) -> &[TargetKey] {
        &self.clusters.targets
    }
}

/// Selects what generation reads of a proxy.
///
/// Costs a walk over the headless services of the scope.
#[must_use]
pub fn facts(snapshot: &MeshSnapshot, scope: &Scope, proxy: &ProxyIdentity) -> ProxyFacts {
    let services = || scope.services.iter().map(|scoped| &scoped.service);
    let networks = (!proxy.network_view.is_empty()).then(|| Arc::from(&*proxy.network_view));
    let settings = snapshot.settings();
    let traced = settings.proxies.tracing;
    let selecting_rules = destination::selecting_rules(scope, &proxy.labels);
    // One walk: a large scope's services are spread over the memory.
    let (mut local_only, mut cluster_local, mut demanding) = (false, false, false);
    let mut near = BTreeSet::new();
    for scoped in &scope.services {
        let service = &scoped.service;
        local_only |= service.local_traffic_only;
        cluster_local = cluster_local || settings.cluster_local.contains(&service.key.hostname);
        let rule = destination::pick(&scoped.destination_rules, &selecting_rules);
        locality::levels(settings, service, rule.map(|rule| &**rule), &mut near);
        demanding = demanding || rule.is_some_and(|rule| destination::demands_certificate(rule));
    }
    let resolves = proxy.flag("DNS_CAPTURE");
    let mut facts = ProxyFacts {
        ip_mode: proxy.ip_mode,
        interception: proxy.interception,
        workload_cert: proxy.workload_cert,
        dns_domain: proxy.dns_domain.clone(),
        node: local_only.then(|| proxy.node_name.clone()),
        networks,
        cluster: cluster_local.then(|| proxy.cluster.clone()),
        place: Place::of(proxy, &near),
        shares: share_rule(settings, &proxy.locality),
        own_headless: own_headless(snapshot, services(), proxy),
        ingress_ips: ingress_ips(scope, proxy),
        security: security::inbound(snapshot, proxy),
        reserved_ports: reserved_ports(proxy),
        idle_timeout: proxy
            .text("IDLE_TIMEOUT")
            .and_then(go_duration)
            .filter(|idle| !idle.is_zero()),
        dns_proxy: (scope.outbound_policy == OutboundPolicy::AllowAnyDynamicDns)
            .then(|| dns_proxy(proxy))
            .flatten(),
        http10: proxy.text("HTTP10") == Some("1"),
        http_proxy_port: proxy
            .text("HTTP_PROXY_PORT")
            .and_then(|port| port.parse().ok()),
        balance_inbound: proxy.flag("INBOUND_LISTENER_EXACT_BALANCE"),
        balance_outbound: proxy.flag("OUTBOUND_LISTENER_EXACT_BALANCE"),
        unprivileged: proxy.flag("UNPRIVILEGED_POD")
            && (proxy.interception == Interception::None || binds_sockets(scope)),
        alias_domain: services()
            .any(|service| !service.aliases.is_empty())
            .then(|| proxy.dns_domain.clone()),
        auto_addresses: resolves && services().any(|service| !service.auto_addresses.is_empty()),
        name_table: resolves.then(|| proxy.network.clone()),
        headers: proxy.settings.headers.clone(),
        sampling: if traced { proxy.settings.sampling } else { 0 },
        trace_tags: (traced && proxy.settings.has_tracer).then(|| Arc::new(trace_tags(proxy))),
        logs: Arc::new(snapshot.access_log_rules(&proxy.namespace, &proxy.labels)),
        client_labels: scope
            .client_labels
            .iter()
            .filter(|asked| asked.selects(&proxy.labels))
            .cloned()
            .collect(),
        http_sources: scope
            .http_sources
            .iter()
            .filter(|labels| labels.selects(&proxy.labels))
            .cloned()
            .collect(),
        selecting_rules,
        certified: demanding.then(|| proxy.workload_cert == WorkloadCert::SdsGrpc),
        grpc: grpc::is_proxyless(proxy),
    };
    if facts.grpc {
        grpc::narrow(&mut facts);
    }
    facts
}

/// What the spans of a workload say of it, with Istio's words for what is not known.
fn trace_tags(proxy: &ProxyIdentity) -> TraceTags {
    let or = |text: Option<&str>, otherwise: &str| {
        Arc::from(text.filter(|text| !text.is_empty()).unwrap_or(otherwise))
    };
    let label = |name: &str| proxy.labels.get(name).map(|value| &**value);
    TraceTags {
        service: or(label("service.istio.io/canonical-name"), "unknown"),
        revision: or(label("service.istio.io/canonical-revision"), "latest"),
        namespace: or(Some(&proxy.namespace), "default"),
        mesh: or(proxy.text("MESH_ID"), "unknown"),
        cluster: or(proxy.text("CLUSTER_ID"), "unknown"),
        custom: proxy.settings.trace_tags.clone(),
        max_path: proxy.settings.max_path_tag_length,
    }
}

fn binds_sockets(scope: &Scope) -> bool {
    scope
        .egress
        .iter()
        .any(|listener| listener.capture_mode == CaptureMode::None)
}

/// Computes the keys of a proxy. Costs as [`facts`], and a lookup of its service targets.
#[must_use]
pub fn keys(snapshot: &MeshSnapshot, scope: &Scope, proxy: &ProxyIdentity) -> ProxyKeys {
    let facts = facts(snapshot, scope, proxy);
    // Declared ingress listeners replace those of services.
    let targets: Arc<[TargetKey]> = if scope.ingress.is_empty() && !facts.grpc {
        snapshot
            .service_targets(proxy)
            .iter()
            .map(TargetKey::of)
            .collect()
    } else {
        Arc::from([])
    };
    keys_of(scope, &facts, targets)
}

fn keys_of(scope: &Scope, facts: &ProxyFacts, targets: Arc<[TargetKey]>) -> ProxyKeys {
    let endpoints = EndpointsKey {
        scope: scope.id.clone(),
        grpc: facts.grpc,
        node: facts.node.clone(),
        networks: facts.networks.clone(),
        cluster: facts.cluster.clone(),
        place: facts.place.clone(),
        shares: facts.shares,
        selecting_rules: facts.selecting_rules.clone(),
        certified: facts.certified,
    };
    ProxyKeys {
        clusters: ClustersKey {
            endpoints: endpoints.clone(),
            ip_mode: facts.ip_mode,
            intercepted: facts.interception != Interception::None,
            workload_cert: facts.workload_cert,
            ingress_ips: facts.ingress_ips.clone(),
            targets: targets.clone(),
            dns_proxy: facts.dns_proxy,
            preserve_case: facts.headers.preserve_case,
        },
        endpoints,
        listeners: ListenersKey {
            scope: scope.id.clone(),
            grpc: facts.grpc,
            ip_mode: facts.ip_mode,
            interception: facts.interception,
            workload_cert: facts.workload_cert,
            security: facts.security.clone(),
            targets,
            own_headless: facts.own_headless.clone(),
            ingress_ips: facts.ingress_ips.clone(),
            reserved_ports: facts.reserved_ports.clone(),
            dns_proxy: facts.dns_proxy,
            idle_timeout: facts.idle_timeout,
            http10: facts.http10,
            http_proxy_port: facts.http_proxy_port,
            balance_inbound: facts.balance_inbound,
            balance_outbound: facts.balance_outbound,
            unprivileged: facts.unprivileged,
            alias_domain: facts.alias_domain.clone(),
            auto_addresses: facts.auto_addresses,
            headers: facts.headers.clone(),
            sampling: facts.sampling,
            trace_tags: facts.trace_tags.clone(),
            logs: facts.logs.clone(),
            client_labels: facts.client_labels.clone(),
            selecting_rules: facts.selecting_rules.clone(),
        },
        routes: RoutesKey {
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
        },
        names: facts.name_table.as_ref().map(|network| NamesKey {
            scope: scope.id.clone(),
            ip_mode: facts.ip_mode,
            network: network.clone(),
        }),
    }
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

/// Host, name and namespace of a service as telemetry knows it: the name of a service entry's
/// service is its host.
pub(crate) fn identity(service: &Service) -> (Arc<str>, Arc<str>, Arc<str>) {
    let host = service.key.hostname.shared();
    let name = match service.registry {
        Registry::Kubernetes => &service.name,
        Registry::ServiceEntry => host,
    };
    (
        host.clone(),
        name.clone(),
        service.key.namespace.shared().clone(),
    )
}

fn own_headless<'a>(
    snapshot: &MeshSnapshot,
    services: impl Iterator<Item = &'a Arc<Service>>,
    proxy: &ProxyIdentity,
) -> Arc<[IpAddr]> {
    let found: BTreeSet<IpAddr> = services
        .filter(|service| service.resolution == Resolution::Passthrough)
        .filter_map(|service| snapshot.endpoints(&service.key))
        .flat_map(|endpoints| {
            endpoints
                .iter()
                .filter_map(|endpoint| endpoint.address.ip())
        })
        .filter(|ip| proxy.ips.contains(ip))
        .collect();
    found.into_iter().collect()
}

fn ingress_ips(scope: &Scope, proxy: &ProxyIdentity) -> Arc<[IpAddr]> {
    let named = scope.ingress.iter().any(|listener| {
        listener.bind.is_none() || matches!(listener.endpoint, IngressEndpoint::Instance(_))
    });
    if !named {
        return Arc::from([]);
    }
    let first = |v4: bool| proxy.ips.iter().find(|ip| ip.is_ipv4() == v4).copied();
    // The order of the proxy's own list decides which one names the listener.
    let mut both: Vec<IpAddr> = first(true).into_iter().chain(first(false)).collect();
    both.sort_by_key(|ip| proxy.ips.iter().position(|known| known == ip));
    both.into()
}

fn reserved_ports(proxy: &ProxyIdentity) -> Arc<[u16]> {
    let keys = [
        "ENVOY_STATUS_PORT",
        "ENVOY_PROMETHEUS_PORT",
        "ENVOY_SECURE_METRICS_PORT",
        "ENVOY_SECURE_MERGED_METRICS_PORT",
    ];
    let mut ports: Vec<u16> = keys
        .iter()
        .filter_map(|key| metadata_port(proxy, key))
        .chain([OUTBOUND_CAPTURE_PORT, INBOUND_CAPTURE_PORT])
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports.into()
}

/// The resolver beside the proxy: an address and port, or a name for this machine and a port.
fn dns_proxy(proxy: &ProxyIdentity) -> Option<SocketAddr> {
    let text = proxy.text("DNS_PROXY_ADDR")?;
    let local = text
        .strip_prefix("localhost:")
        .map(|port| format!("127.0.0.1:{port}"));
    local.as_deref().unwrap_or(text).parse().ok()
}

/// A port in metadata: a number, or text as the agent writes it.
fn metadata_port(proxy: &ProxyIdentity, key: &str) -> Option<u16> {
    match proxy.metadata.metadata.get(key)? {
        reef_mesh::MetaValue::Number(number) => format!("{number:.0}").parse().ok(),
        reef_mesh::MetaValue::String(text) => text.parse().ok(),
        _ => None,
    }
    .filter(|port| *port != 0)
}

/// Go's duration syntax, such as `1h30m` or `500ms`; `None` if it is not valid.
fn go_duration(text: &str) -> Option<Duration> {
    reef_config::ApiDuration::parse(text).map(|duration| duration.0)
}
