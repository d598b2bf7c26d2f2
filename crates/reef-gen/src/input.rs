//! One class of equal proxies, as the input of key selection.

use std::sync::{Arc, OnceLock};

use reef_config::{Kind, Labels, Problem};
use reef_mesh::{MeshSnapshot, Protocol, Resolution, Service, ServicePort, ServiceTarget};
use reef_scope::{OutboundPolicy, Scope};

use crate::cluster::dynamic::Lookup;
use crate::cluster::{ClusterDefaults, panic_percent};
use crate::destination::{self, Effective, traffic_policy};
use crate::endpoint::Selection;
use crate::facts::ProxyFacts;
use crate::listener::Plan;
use crate::locality::{Place, Setting};
use crate::names;
use crate::network::Ways;
use crate::security;
use crate::stat_name::Named;

/// A class of proxies: whatever their resources are selected from.
///
/// Only the functions that select keys see it. What they find out goes into the key of each
/// resource, and building reads nothing else.
#[derive(Debug, Clone)]
pub struct ClassInput {
    /// The mesh.
    pub snapshot: Arc<MeshSnapshot>,
    /// What the proxies can see.
    pub scope: Arc<Scope>,
    /// What they are.
    pub proxy: Arc<ProxyFacts>,
    /// Service ports their workloads serve, oldest service first; read only if the scope declares
    /// no ingress listener.
    pub targets: Vec<ServiceTarget>,
    /// Listeners and routes are planned together, once.
    plan: OnceLock<Arc<Plan>>,
}

/// The kinds whose objects have an effect on what proxies receive today. Others are accepted and
/// reported as not yet applied.
#[must_use]
pub fn applied_kinds() -> &'static [Kind] {
    &[
        Kind::Namespace,
        Kind::Node,
        Kind::Pod,
        Kind::Service,
        Kind::EndpointSlice,
        Kind::Endpoints,
        Kind::ConfigMap,
        Kind::ServiceEntry,
        Kind::WorkloadEntry,
        Kind::Sidecar,
        Kind::VirtualService,
        Kind::DestinationRule,
        Kind::PeerAuthentication,
        Kind::Telemetry,
    ]
}

/// What of this class is not sent as configured. Sorted, without duplicates.
///
/// Listener conflicts, clusters that can't be, and parts Reef does not build yet.
#[must_use]
pub fn problems(input: &ClassInput) -> Vec<Problem> {
    let mut found = outbound_problems(input);
    found.extend(inbound_problems(input));
    found.sort();
    found.dedup();
    found
}

/// The problems of what leads out of the workload. They follow from the keys of its outbound
/// clusters and listeners and of its routes. Sorted, without duplicates.
#[must_use]
pub fn outbound_problems(input: &ClassInput) -> Vec<Problem> {
    if input.proxy.grpc {
        return Vec::new();
    }
    let mut found = input.plan().problems.clone();
    let (_, policy) = fallback(input);
    found.extend(policy);
    found.extend(crate::route::problems(input));
    for scoped in &input.scope.services {
        for port in &scoped.service.ports {
            found.extend(cluster_problem(input, &scoped.service, port));
        }
        if !scoped.destination_rules.is_empty() {
            destination::problems(input, &scoped.service, &mut found);
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The problems of what leads into it. Sorted, without duplicates.
#[must_use]
pub fn inbound_problems(input: &ClassInput) -> Vec<Problem> {
    if input.proxy.grpc {
        return Vec::new();
    }
    let mut found = crate::listener::inbound_plan(input).problems;
    found.extend(security::problems(input));
    found.sort();
    found.dedup();
    found
}

impl ClassInput {
    /// A class. What it reads must not be changed once keys were selected from it.
    #[must_use]
    pub fn new(
        snapshot: Arc<MeshSnapshot>,
        scope: Arc<Scope>,
        proxy: impl Into<Arc<ProxyFacts>>,
        targets: Vec<ServiceTarget>,
    ) -> Self {
        Self {
            snapshot,
            scope,
            proxy: proxy.into(),
            targets,
            plan: OnceLock::new(),
        }
    }

    /// True if the proxies have the labels a condition of an imported `VirtualService` asks of
    /// clients.
    pub(crate) fn has_client_labels(&self, asked: &Labels) -> bool {
        asked.is_empty() || self.proxy.client_labels.binary_search(asked).is_ok()
    }

    /// The listeners for destinations, and the routes.
    pub(crate) fn plan(&self) -> &Plan {
        self.plan
            .get_or_init(|| Arc::new(crate::listener::plan(self)))
    }

    /// Name of a service port in statistics, if the mesh has a pattern for outbound clusters.
    pub(crate) fn outbound_stat_name(
        &self,
        service: &Service,
        port: &ServicePort,
    ) -> Option<Arc<str>> {
        self.subset_stat_name(service, port, "")
    }

    /// The same for a subset of it.
    pub(crate) fn subset_stat_name(
        &self,
        service: &Service,
        port: &ServicePort,
        subset: &str,
    ) -> Option<Arc<str>> {
        let pattern = self
            .snapshot
            .settings()
            .proxies
            .outbound_stat_name
            .as_ref()?;
        let named = Named {
            subset,
            ..Named::of(service, port, None)
        };
        Some(named.fill(pattern))
    }

    /// Name of a local port in statistics, if the mesh has a pattern for inbound clusters.
    pub(crate) fn inbound_stat_name(&self, named: &Named<'_>) -> Option<Arc<str>> {
        let pattern = self
            .snapshot
            .settings()
            .proxies
            .inbound_stat_name
            .as_ref()?;
        Some(named.fill(pattern))
    }

    /// Mesh settings clusters read.
    pub(crate) fn cluster_defaults(&self) -> ClusterDefaults {
        let mesh = &self.snapshot.settings().proxies;
        ClusterDefaults {
            connect_timeout: mesh.connect_timeout,
            keepalive: mesh.keepalive,
            dns_refresh: mesh.dns_refresh,
            h2_upgrade: mesh.h2_upgrade,
            preserve_case: self.proxy.headers.preserve_case,
        }
    }

    /// How declared names are resolved.
    pub(crate) fn lookup(&self) -> Lookup {
        Lookup {
            ip_mode: self.proxy.ip_mode,
            refresh: self.snapshot.settings().proxies.dns_refresh,
            resolver: None,
        }
    }

    /// How names nobody declared are resolved.
    pub(crate) fn any_lookup(&self) -> Lookup {
        Lookup {
            resolver: self.proxy.dns_proxy,
            ..self.lookup()
        }
    }

    /// Which endpoints of a service this class may use, rules aside.
    pub(crate) fn selection(&self, service: &Service) -> Selection {
        self.selection_by(service, &Effective::default(), None)
    }

    /// Which endpoints of a port this class may use: of the subset with these labels, if it is one.
    pub(crate) fn selection_by(
        &self,
        service: &Service,
        effective: &Effective<'_>,
        subset: Option<&Labels>,
    ) -> Selection {
        let settings = self.snapshot.settings();
        let prefer = Setting::of(settings, service, effective).and_then(|setting| {
            let place = self.proxy.place.as_deref();
            setting.prefer(place.unwrap_or(&Place::default()), self.proxy.shares)
        });
        // A service that prefers near endpoints takes what there is near.
        let healthy = service.traffic_distribution.is_none()
            && effective
                .outlier_detection
                .is_some_and(|outlier| panic_percent(outlier) > 0);
        Selection {
            node: if service.local_traffic_only {
                Some(self.proxy.node.clone().unwrap_or_default())
            } else {
                None
            },
            networks: self.proxy.networks.clone(),
            ways: self.ways(service),
            cluster: self
                .proxy
                .cluster
                .clone()
                .filter(|_| settings.cluster_local.contains(&service.key.hostname)),
            labels: subset.filter(|labels| !labels.is_empty()).cloned(),
            healthy,
            prefer: prefer.map(Arc::new),
        }
    }
}

impl ClassInput {
    /// The ways to those endpoints of a service that are in other networks.
    fn ways(&self, service: &Service) -> Option<Arc<Ways>> {
        let gateways = self.snapshot.network_gateways();
        if gateways.is_empty() {
            return None;
        }
        let own = self.proxy.network.as_deref().unwrap_or_default();
        let endpoints = self.snapshot.endpoints(&service.key)?;
        Ways::of(gateways, own, endpoints, service.has_inline_endpoints())
    }
}

/// True if proxies route to the port: neither UDP nor an alias of another service, nor a name to be
/// resolved on demand.
pub(crate) fn is_routable(service: &Service, port: &ServicePort) -> bool {
    port.protocol != Protocol::Udp
        && !matches!(
            service.resolution,
            Resolution::Alias | Resolution::DynamicDns
        )
}

/// True if the port has an outbound cluster. Names a wildcard stands for can be told from requests
/// and from TLS only.
pub(crate) fn has_cluster(service: &Service, port: &ServicePort) -> bool {
    match service.resolution {
        Resolution::DynamicDns => {
            service.key.hostname.is_wildcard()
                && matches!(
                    port.protocol,
                    Protocol::Http | Protocol::Http2 | Protocol::Grpc | Protocol::Tls
                )
        }
        _ => is_routable(service, port),
    }
}

/// The cluster that gets traffic for unknown destinations, and what is wrong with the policy.
pub(crate) fn fallback(input: &ClassInput) -> (Arc<str>, Option<Problem>) {
    let passthrough = || Arc::from(names::PASSTHROUGH);
    match &input.scope.outbound_policy {
        OutboundPolicy::RegistryOnly => (Arc::from(names::BLACK_HOLE), None),
        OutboundPolicy::AllowAny { egress_proxy: None } => (passthrough(), None),
        OutboundPolicy::AllowAny {
            egress_proxy: Some(proxy),
        } => {
            let service = input.scope.service(&proxy.host);
            let service = service.map(|scoped| &scoped.service);
            let subset = proxy.subset.as_deref();
            // Without a number only a single port is meant for sure.
            let number = proxy.port.or_else(|| match service.map(|it| &*it.ports) {
                Some([only]) => Some(only.number),
                _ => None,
            });
            let port = service
                .zip(number)
                .and_then(|(service, number)| Some((service, service.port(number)?)))
                .filter(|(service, port)| is_sent(input, service, port, subset));
            port.map_or_else(
                || {
                    let reason = format!(
                        "egress proxy `{}` is no service port in scope, or has no such subset; \
                         unknown destinations are refused",
                        proxy.host
                    );
                    let problem = Problem::warning("egress-proxy", reason);
                    (Arc::from(names::BLACK_HOLE), Some(problem))
                },
                |(_, port)| {
                    let subset = subset.unwrap_or_default();
                    let name = names::outbound_subset_cluster(port.number, subset, &proxy.host);
                    (name, None)
                },
            )
        }
        // What names no host can only go where it was going.
        OutboundPolicy::AllowAnyDynamicDns => (passthrough(), None),
    }
}

/// True if a DNS cluster has no name to resolve; Envoy would refuse it.
pub(crate) fn is_unresolvable(input: &ClassInput, service: &Service, port: &ServicePort) -> bool {
    is_unresolvable_by(input, service, port, || input.selection(service))
}

/// The same where only some endpoints may be used.
pub(crate) fn is_unresolvable_by(
    input: &ClassInput,
    service: &Service,
    port: &ServicePort,
    only: impl Fn() -> Selection,
) -> bool {
    service.has_inline_endpoints()
        && input
            .snapshot
            .endpoints(&service.key)
            .is_none_or(|endpoints| {
                let endpoints = endpoints.of_port(&port.name);
                let only = only();
                !endpoints.iter().any(|one| only.admits(one))
            })
}

/// True if there is a cluster of the port, or of a subset there: one that nothing defines has none.
pub(crate) fn is_sent(
    input: &ClassInput,
    service: &Service,
    port: &ServicePort,
    subset: Option<&str>,
) -> bool {
    if !has_cluster(service, port) {
        return false;
    }
    let Some(name) = subset else {
        return !is_unresolvable(input, service, port);
    };
    let rule = destination::policy(input, &service.key);
    rule.as_deref().is_some_and(|rule| {
        let subset = rule.spec.subsets.iter().find(|known| known.name == name);
        subset.is_some_and(|subset| {
            service.resolution != Resolution::DynamicDns
                && !is_unresolvable_by(input, service, port, || {
                    let effective = traffic_policy(rule, port.number, Some(name));
                    input.selection_by(service, &effective, Some(&subset.labels))
                })
        })
    })
}

fn cluster_problem(input: &ClassInput, service: &Service, port: &ServicePort) -> Option<Problem> {
    let number = port.number;
    if service.resolution == Resolution::DynamicDns && !has_cluster(service, port) {
        let reason = format!(
            "port {number} of {} has no cluster: names are resolved dynamically for wildcard hosts \
             and the protocols HTTP, HTTP2, GRPC and TLS",
            service.key.hostname
        );
        return Some(Problem::warning("dynamic-dns", reason).of(&service.object));
    }
    (is_routable(service, port) && is_unresolvable(input, service, port)).then(|| {
        let reason = format!("port {number} has no endpoint to resolve, so it has no cluster");
        Problem::warning("no-endpoints", reason).of(&service.object)
    })
}
