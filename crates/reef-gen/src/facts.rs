//! What generation reads of a proxy, as results: never a label, never a metadata map.
//!
//! [`facts`] drops whatever the proxy's scope makes irrelevant: the node name counts only where a
//! service keeps traffic on its node, own addresses only where they are endpoints of a headless
//! service in scope or a `Sidecar` ingress names them. So proxies that differ only in such things
//! share a class.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reef_config::{ClusterId, Labels, ObjectKey};
use reef_mesh::{
    AccessLogRules, DestinationPolicy, HeaderPolicy, Interception, IpMode, MeshSettings,
    MeshSnapshot, ProxyIdentity, Registry, Resolution, Service, WorkloadCert,
};
use reef_scope::{CaptureMode, IngressEndpoint, OutboundPolicy, Scope, ScopedService};

use crate::destination;
use crate::grpc;
use crate::locality::{self, Level, Place, share_rule};
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
    /// Its network, only if that has gateways: it reaches what is in there directly, and others do not.
    pub network: Option<Arc<str>>,
    /// Its cluster, only if endpoints of some service in scope are used in their own cluster alone.
    pub cluster: Option<ClusterId>,
    /// Where it is, only if some service in scope prefers near endpoints.
    pub place: Option<Arc<Place>>,
    /// Index of the mesh's rule that shares traffic among localities for proxies like it.
    pub shares: Option<usize>,
    /// Its own addresses that are endpoints of headless services in scope: no listener there.
    pub own_headless: Arc<[IpAddr]>,
    /// Its addresses, only if a `Sidecar` ingress listener names them: the first of each family, and the first others
    /// can route to.
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

/// What facts read of a scope, whoever the proxy is: made once for all proxies in it, and again
/// when the scope or the mesh settings change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeFacts {
    /// What services tell of which every client uses the same rule.
    general: Told,
    /// Places of the services that have rules for some clients only.
    selective: Box<[usize]>,
    /// Places of the services that clients address endpoint by endpoint.
    headless: Box<[usize]>,
    /// Some service has aliases.
    aliases: bool,
    /// Some host without addresses was given some.
    found_addresses: bool,
    /// Some egress listener binds a socket.
    binds_sockets: bool,
    /// An ingress listener names an address of the proxy.
    names_proxy: bool,
}

/// What facts read of services and the rules in use for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    /// Some keeps traffic on its node.
    local_only: bool,
    /// Some keeps it in its cluster.
    cluster_local: bool,
    /// Some rule demands a certificate.
    demanding: bool,
    /// What preferences compare.
    near: BTreeSet<Level>,
}

impl Told {
    fn add(
        &mut self,
        settings: &MeshSettings,
        service: &Service,
        rule: Option<&Arc<DestinationPolicy>>,
    ) {
        self.local_only |= service.local_traffic_only;
        self.cluster_local =
            self.cluster_local || settings.cluster_local.contains(&service.key.hostname);
        locality::levels(settings, service, rule.map(|rule| &**rule), &mut self.near);
        self.demanding =
            self.demanding || rule.is_some_and(|rule| destination::demands_certificate(rule));
    }
}

impl ScopeFacts {
    /// Walks over the services of a scope.
    #[must_use]
    pub fn of(settings: &MeshSettings, scope: &Scope) -> Self {
        let mut general = Told::default();
        let (mut selective, mut headless) = (Vec::new(), Vec::new());
        let (mut aliases, mut found_addresses) = (false, false);
        // One walk: a large scope's services are spread over the memory.
        for (at, scoped) in scope.services.iter().enumerate() {
            let service = &*scoped.service;
            let mut rules = scoped.destination_rules.iter();
            if rules.any(|rule| rule.selector.is_some()) {
                selective.push(at);
            } else {
                let rule = destination::general(&scoped.destination_rules);
                general.add(settings, service, rule);
            }
            if service.resolution == Resolution::Passthrough {
                headless.push(at);
            }
            aliases |= !service.aliases.is_empty();
            found_addresses |= !service.auto_addresses.is_empty();
        }
        let mut egress = scope.egress.iter();
        let mut ingress = scope.ingress.iter();
        Self {
            general,
            selective: selective.into(),
            headless: headless.into(),
            aliases,
            found_addresses,
            binds_sockets: egress.any(|listener| listener.capture_mode == CaptureMode::None),
            names_proxy: ingress.any(|listener| {
                listener.bind.is_none() || matches!(listener.endpoint, IngressEndpoint::Instance(_))
            }),
        }
    }

    /// What the services tell a proxy for which these rules with a selector fit.
    fn told(
        &self,
        settings: &MeshSettings,
        scope: &Scope,
        selecting_rules: &[ObjectKey],
    ) -> Cow<'_, Told> {
        let mut told = Cow::Borrowed(&self.general);
        for scoped in at(scope, &self.selective) {
            let rule = destination::pick(&scoped.destination_rules, selecting_rules);
            told.to_mut().add(settings, &scoped.service, rule);
        }
        told
    }

    /// Selects what generation reads of a proxy in this scope, of which these facts are.
    ///
    /// Costs a walk over the headless services of the scope, and those with rules that select.
    #[must_use]
    pub fn facts(
        &self,
        snapshot: &MeshSnapshot,
        scope: &Scope,
        proxy: &ProxyIdentity,
    ) -> ProxyFacts {
        let networks = (!proxy.network_view.is_empty()).then(|| Arc::from(&*proxy.network_view));
        let gateways = snapshot.network_gateways();
        let settings = snapshot.settings();
        let traced = settings.proxies.tracing;
        let selecting_rules = destination::selecting_rules(
            at(scope, &self.selective),
            &scope.id.namespace,
            &proxy.labels,
        );
        let told = self.told(settings, scope, &selecting_rules);
        let resolves = proxy.flag("DNS_CAPTURE");
        let mut facts = ProxyFacts {
            ip_mode: proxy.ip_mode,
            interception: proxy.interception,
            workload_cert: proxy.workload_cert,
            dns_domain: proxy.dns_domain.clone(),
            node: told.local_only.then(|| proxy.node_name.clone()),
            networks,
            network: gateways.has(&proxy.network).then(|| proxy.network.clone()),
            cluster: told.cluster_local.then(|| proxy.cluster.clone()),
            place: Place::of(proxy, &told.near),
            shares: share_rule(settings, &proxy.locality),
            own_headless: own_headless(snapshot, at(scope, &self.headless), proxy),
            ingress_ips: if self.names_proxy {
                first_ips(proxy)
            } else {
                Arc::default()
            },
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
                && (proxy.interception == Interception::None || self.binds_sockets),
            alias_domain: self.aliases.then(|| proxy.dns_domain.clone()),
            auto_addresses: resolves && self.found_addresses,
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
            certified: told
                .demanding
                .then(|| proxy.workload_cert == WorkloadCert::SdsGrpc),
            selecting_rules,
            grpc: grpc::is_proxyless(proxy),
        };
        if facts.grpc {
            grpc::narrow(&mut facts);
        }
        facts
    }
}

/// The services of a scope at some places.
fn at<'a>(scope: &'a Scope, places: &[usize]) -> impl Iterator<Item = &'a ScopedService> {
    places.iter().filter_map(|at| scope.services.get(*at))
}

/// Selects what generation reads of a proxy. Whoever asks for several proxies of a scope keeps its
/// [`ScopeFacts`].
#[must_use]
pub fn facts(snapshot: &MeshSnapshot, scope: &Scope, proxy: &ProxyIdentity) -> ProxyFacts {
    ScopeFacts::of(snapshot.settings(), scope).facts(snapshot, scope, proxy)
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
    headless: impl Iterator<Item = &'a ScopedService>,
    proxy: &ProxyIdentity,
) -> Arc<[IpAddr]> {
    let found: BTreeSet<IpAddr> = headless
        .filter_map(|scoped| snapshot.endpoints(&scoped.service.key))
        .flat_map(|endpoints| {
            endpoints
                .iter()
                .filter_map(|endpoint| endpoint.address.ip())
        })
        .filter(|ip| proxy.ips.contains(ip))
        .collect();
    found.into_iter().collect()
}

/// Its first address of each family.
fn first_ips(proxy: &ProxyIdentity) -> Arc<[IpAddr]> {
    let first = |v4: bool| proxy.ips.iter().find(|ip| ip.is_ipv4() == v4).copied();
    // The order of the proxy's own list decides which one names the listener: the first that is routable.
    let mut all: Vec<IpAddr> = first(true).into_iter().chain(first(false)).collect();
    all.extend(proxy.routable_ip());
    all.sort_by_key(|ip| proxy.ips.iter().position(|known| known == ip));
    all.dedup();
    all.into()
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
