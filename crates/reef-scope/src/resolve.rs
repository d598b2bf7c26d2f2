//! Resolves a scope: listeners, the services they lead to, and the rules for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reef_config::istio::{self, OutboundTrafficPolicyMode};
use reef_config::names::{Hostname, Namespace};
use reef_config::{Labels, Problem, istio::OutboundTrafficPolicy};
use reef_mesh::{MeshSnapshot, Registry, Service, SidecarRule};

use crate::egress::{ListenerSpec, with_ports};
use crate::ingress;
use crate::patch;
use crate::scope::{EgressProxy, Interest};
use crate::{EgressListener, OutboundPolicy, Reason, Scope, ScopeId, ScopeSource, ScopedService};

/// Resolves a scope.
///
/// If the `Sidecar` of the id is not there any more the result is that of the default scope.
#[must_use]
pub fn resolve(snapshot: &MeshSnapshot, id: &ScopeId) -> Arc<Scope> {
    let sidecar = sidecar(snapshot, id);
    let mut problems = Vec::new();
    let specs = listener_specs(sidecar.as_deref(), &id.namespace, &mut problems);
    let consumer = &id.namespace;
    let mut services = ServiceList::default();
    let mut egress: Vec<EgressListener> = Vec::new();
    let mut interest = Interest::default();
    for (index, spec) in specs.iter().enumerate() {
        let imported = spec.import(snapshot, consumer);
        let listener = imported.listener;
        for (service, pattern) in listener.services.iter().zip(imported.patterns) {
            interest.services.insert(service.key.clone());
            let reason = if sidecar.is_some() {
                Reason::EgressHost {
                    listener: index,
                    pattern,
                }
            } else {
                Reason::DefaultScope
            };
            services.add(service.clone(), reason);
        }
        add_implied(
            snapshot,
            consumer,
            index,
            spec,
            &listener,
            &mut services,
            &mut interest,
        );
        interest.rules.extend(
            listener
                .virtual_services
                .iter()
                .map(|rule| rule.object.clone()),
        );
        let delegates = listener
            .virtual_services
            .iter()
            .flat_map(|rule| rule.delegates.iter());
        interest.rules.extend(delegates.cloned());
        egress.push(listener);
    }
    let services: Box<[ScopedService]> = services
        .list
        .into_iter()
        .map(|(service, reasons)| ScopedService {
            destination_rules: snapshot.destination_rules(consumer, &service.key).into(),
            service,
            reasons: reasons.into(),
        })
        .collect();
    for scoped in &services {
        interest.services.insert(scoped.service.key.clone());
        interest
            .namespaces
            .insert(scoped.service.key.namespace.clone());
    }
    interest.specs = specs.into();
    let by_host = services
        .iter()
        .enumerate()
        .map(|(at, scoped)| (scoped.service.key.hostname.clone(), at))
        .collect();
    let spec = sidecar.as_deref().map(|rule| &rule.spec);
    let ingress = spec
        .map(|spec| ingress::listeners(spec, &mut problems))
        .unwrap_or_default();
    let outbound_policy = outbound_policy(snapshot, spec, consumer, &mut problems);
    if let Some(rule) = &sidecar {
        for problem in &mut problems {
            problem.object = Some(rule.object.clone());
        }
    }
    problems.sort();
    let http_sources = http_sources(&egress);
    Arc::new(Scope {
        client_labels: client_labels(&egress),
        id: id.clone(),
        services,
        egress: egress.into(),
        ingress,
        outbound_policy,
        inbound_connection_pool: spec
            .and_then(|spec| spec.inbound_connection_pool.clone())
            .map(Arc::new),
        http_sources,
        problems: problems.into(),
        by_host,
        interest,
        sidecar,
    })
}

/// What TLS and TCP routes of imported rules ask of the labels of clients.
fn client_labels(egress: &[EgressListener]) -> Box<[Labels]> {
    let rules = egress
        .iter()
        .flat_map(|listener| &listener.virtual_services);
    let asked: BTreeSet<&Labels> = rules.flat_map(|rule| patch::client_labels(rule)).collect();
    asked.into_iter().cloned().collect()
}

/// Labels that HTTP routes for sidecars ask of clients. A condition that names gateways asks for none.
fn http_sources(egress: &[EgressListener]) -> Box<[Labels]> {
    let rules = egress
        .iter()
        .flat_map(|listener| &listener.virtual_services);
    let sources: BTreeSet<&Labels> = rules.flat_map(|rule| patch::http_sources(rule)).collect();
    sources.into_iter().cloned().collect()
}

fn sidecar(snapshot: &MeshSnapshot, id: &ScopeId) -> Option<Arc<SidecarRule>> {
    let (ScopeSource::Sidecar(key) | ScopeSource::RootSidecar(key)) = &id.source else {
        return None;
    };
    snapshot
        .sidecars(&key.namespace)
        .iter()
        .find(|rule| rule.object == *key)
        .cloned()
}

fn listener_specs(
    sidecar: Option<&SidecarRule>,
    consumer: &Namespace,
    problems: &mut Vec<Problem>,
) -> Vec<ListenerSpec> {
    let Some(rule) = sidecar.filter(|rule| !rule.spec.egress.is_empty()) else {
        return vec![ListenerSpec::everything()];
    };
    let listeners = &rule.spec.egress;
    for (index, listener) in listeners.iter().enumerate() {
        if listener.port.is_none() && index + 1 != listeners.len() {
            let reason = "a listener without port must be the last one";
            problems.push(
                Problem::warning("sidecar-egress", reason).field(format!("spec.egress[{index}]")),
            );
        }
    }
    let parse = |(index, listener)| ListenerSpec::parse(index, listener, consumer, problems);
    listeners.iter().enumerate().map(parse).collect()
}

/// Adds the services that imported `VirtualService`s route to.
///
/// Exclusions are not asked: who imports a route needs its destinations.
fn add_implied(
    snapshot: &MeshSnapshot,
    consumer: &Namespace,
    index: usize,
    spec: &ListenerSpec,
    listener: &EgressListener,
    services: &mut ServiceList,
    interest: &mut Interest,
) {
    for rule in &listener.virtual_services {
        // Host → ports named; `None` once a destination names no port.
        let mut wanted: BTreeMap<&Hostname, Option<BTreeSet<u16>>> = BTreeMap::new();
        for to in &rule.destinations {
            if to
                .only_from
                .as_ref()
                .is_some_and(|from| from.binary_search(consumer).is_err())
            {
                continue;
            }
            let ports = wanted
                .entry(&to.host)
                .or_insert_with(|| Some(BTreeSet::new()));
            match to.port {
                Some(port) => ports.iter_mut().for_each(|set| {
                    set.insert(port);
                }),
                None => *ports = None,
            }
        }
        for (host, ports) in wanted {
            interest.destinations.insert(host.clone());
            let Some(service) = best_visible(snapshot, consumer, host) else {
                continue;
            };
            // Another of the host may be imported already: it takes this one's place when this one goes.
            interest.services.insert(service.key.clone());
            let trimmed = with_ports(service, |number| match (spec.only_port(), &ports) {
                (Some(only), _) => number == only,
                (None, Some(named)) => named.contains(&number),
                (None, None) => true,
            });
            if trimmed.ports.is_empty() && !service.ports.is_empty() {
                continue;
            }
            let reason = Reason::VirtualServiceDestination {
                listener: index,
                rule: rule.object.clone(),
            };
            services.add(trimmed, reason);
        }
    }
}

/// The service a route to `host` means: the consumer namespace's own, else a Kubernetes service,
/// else the oldest.
pub(crate) fn best_visible<'a>(
    snapshot: &'a MeshSnapshot,
    consumer: &Namespace,
    host: &Hostname,
) -> Option<&'a Arc<Service>> {
    snapshot
        .services_of_host(host)
        .filter(|s| s.export_to.includes(consumer))
        .min_by_key(|s| {
            (
                s.key.namespace != *consumer,
                s.registry != Registry::Kubernetes,
                s.order(),
            )
        })
}

/// The scope-wide list: at most one service per host name, in order of first import.
#[derive(Default)]
struct ServiceList {
    list: Vec<(Arc<Service>, Vec<Reason>)>,
    at: BTreeMap<Hostname, usize>,
}

impl ServiceList {
    /// Adds a service or merges it into the one of that host name which is there already.
    fn add(&mut self, new: Arc<Service>, reason: Reason) {
        let Some(&at) = self.at.get(&new.key.hostname) else {
            self.at.insert(new.key.hostname.clone(), self.list.len());
            self.list.push((new, vec![reason]));
            return;
        };
        let (old, reasons) = &mut self.list[at];
        if old.key == new.key {
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
            let missing: Vec<_> = new
                .ports
                .iter()
                .filter(|port| old.port(port.number).is_none())
                .cloned()
                .collect();
            if !missing.is_empty() {
                let mut merged = (**old).clone();
                let mut ports = merged.ports.into_vec();
                ports.extend(missing);
                merged.ports = ports.into();
                *old = Arc::new(merged);
            }
        } else if old.registry != Registry::Kubernetes && new.registry == Registry::Kubernetes {
            *old = new;
            *reasons = vec![reason];
        }
    }
}

fn outbound_policy(
    snapshot: &MeshSnapshot,
    sidecar: Option<&istio::Sidecar>,
    consumer: &Namespace,
    problems: &mut Vec<Problem>,
) -> OutboundPolicy {
    let settings = snapshot.settings();
    let own = sidecar.and_then(|spec| spec.outbound_traffic_policy.as_ref());
    let policy: &OutboundTrafficPolicy = own.unwrap_or(&settings.config.outbound_traffic_policy);
    match policy.mode {
        OutboundTrafficPolicyMode::RegistryOnly => OutboundPolicy::RegistryOnly,
        OutboundTrafficPolicyMode::AllowAnyDynamicDns if own.is_none() => {
            OutboundPolicy::AllowAnyDynamicDns
        }
        mode => {
            if mode == OutboundTrafficPolicyMode::AllowAnyDynamicDns {
                let reason = "ALLOW_ANY_DYNAMIC_DNS is only for the mesh configuration; \
                              ALLOW_ANY is used";
                problems.push(
                    Problem::warning("sidecar-outbound-policy", reason)
                        .field("spec.outboundTrafficPolicy.mode"),
                );
            }
            let egress_proxy = policy.egress_proxy.as_ref().map(|to| EgressProxy {
                host: to.host.resolve(consumer, &settings.domain),
                subset: to
                    .subset
                    .as_deref()
                    .filter(|s| !s.is_empty())
                    .map(Arc::from),
                port: to
                    .port
                    .as_ref()
                    .and_then(|port| u16::try_from(port.number).ok()),
            });
            OutboundPolicy::AllowAny { egress_proxy }
        }
    }
}
