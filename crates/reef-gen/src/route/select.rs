//! Which route configurations a class has: those its listeners name, and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reef_config::Problem;
use reef_config::names::Hostname;
use reef_mesh::{Service, ServicePort, VirtualServiceRule};
use reef_scope::{EgressListener, OutboundPolicy};

use super::hash::HashPolicy;
use super::retry::Retries;
use super::table::{Listener, Table};
use super::{Host, HostRoutes, Hosts, Rest, RouteKey, RoutePolicy};
use crate::input::{ClassInput, fallback, has_cluster};
use crate::listener::RouteSource;
use crate::names;

/// Selects the route configurations of a class, sorted by name.
#[must_use]
pub fn route_keys(input: &ClassInput) -> Vec<RouteKey> {
    if input.proxy.grpc {
        return crate::grpc::route_keys(input);
    }
    let (cluster, _) = fallback(input);
    let rest = if input.scope.outbound_policy == OutboundPolicy::AllowAnyDynamicDns {
        Rest::Resolve
    } else if &*cluster == names::BLACK_HOLE {
        Rest::Block
    } else {
        Rest::Allow(cluster)
    };
    let policy = policy(input);
    let ports: Vec<ByPort<'_>> = input.scope.egress.iter().map(by_port).collect();
    input
        .plan()
        .routes
        .iter()
        .map(|(name, source)| {
            let hosts = match source {
                RouteSource::Single { service, number } => {
                    Hosts::Single(single(input, service, *number))
                }
                RouteSource::Port { egress, number } => {
                    let all = ports.get(*egress).and_then(|ports| ports.get(number));
                    let all = all.map_or(&[][..], Vec::as_slice);
                    shared(input, *egress, Some(*number), all, rest.clone())
                }
                RouteSource::AllPorts { egress } => {
                    let all = ports.get(*egress).into_iter().flat_map(BTreeMap::values);
                    let all: Vec<_> = all.flatten().copied().collect();
                    shared(input, *egress, None, &all, rest.clone())
                }
            };
            RouteKey {
                name: name.clone(),
                hosts,
                policy: policy.clone(),
            }
        })
        .collect()
}

/// What all routes of a class say.
pub(crate) fn policy(input: &ClassInput) -> Arc<RoutePolicy> {
    let mesh = &input.snapshot.settings().config;
    Arc::new(RoutePolicy {
        retries: match &mesh.default_http_retry_policy {
            Some(retries) => Retries::of(retries),
            None => Some(Retries::by_default()),
        },
        attempt_count: input.proxy.headers.attempt_count,
        forwarded_host: input.proxy.headers.forwarded_host,
        auto_addresses: input.proxy.auto_addresses,
        proxyless: input.proxy.grpc,
    })
}

/// The ports of services by number, each list in the order of services; `at` is that order.
type ByPort<'a> = BTreeMap<u16, Vec<At<'a>>>;

/// A port of a service, with the place of the service in its listener.
type At<'a> = (usize, &'a Arc<Service>, &'a ServicePort);

fn by_port(egress: &EgressListener) -> ByPort<'_> {
    let mut found: ByPort<'_> = BTreeMap::new();
    for (at, service) in egress.services.iter().enumerate() {
        for port in &service.ports {
            found
                .entry(port.number)
                .or_default()
                .push((at, service, port));
        }
    }
    found
}

/// True if requests for the port are routed.
fn is_routed(service: &Service, port: &ServicePort) -> bool {
    has_cluster(service, port) && (port.protocol.is_http() || port.protocol.is_auto())
}

/// The routes of one service, whatever host is asked for.
pub(crate) fn single(input: &ClassInput, service: &Arc<Service>, number: u16) -> HostRoutes {
    let host = &service.key.hostname;
    let has = |egress: &&EgressListener| egress.services.iter().any(|one| one.key == service.key);
    let egress = || input.scope.egress.iter();
    let exact = egress()
        .filter(|egress| egress.port.as_ref().map(|port| port.number) == Some(number))
        .find(has);
    let found = exact.or_else(|| egress().filter(|egress| egress.port.is_none()).find(has));
    let table = found.and_then(|egress| {
        let rules = |list: &[usize]| -> Vec<&Arc<VirtualServiceRule>> {
            list.iter()
                .filter_map(|at| egress.virtual_services.get(*at))
                .collect()
        };
        let candidates = match egress.rules_by_host.get(host) {
            Some(list) => rules(list),
            None => rules(
                egress
                    .most_specific
                    .get(host)
                    .map_or(&[], std::slice::from_ref),
            ),
        };
        let listener = Listener::of(number);
        candidates
            .into_iter()
            .find_map(|rule| Table::select(input, rule, listener))
    });
    let port = service.port(number).filter(|_| table.is_none());
    HostRoutes {
        host: Host::Service(service.clone()),
        number,
        table: table.map(Arc::new),
        hash: port.and_then(|port| HashPolicy::of_service(input, service, port)),
    }
}

/// Routes of the services with a port, and of hosts of rules nobody declared.
fn shared(
    input: &ClassInput,
    egress: usize,
    number: Option<u16>,
    ports: &[At<'_>],
    rest: Rest,
) -> Hosts {
    let mut hosts = Vec::with_capacity(ports.len());
    let mut owned: BTreeSet<(&Hostname, u16)> = BTreeSet::new();
    if let Some(egress) = input.scope.egress.get(egress) {
        let registry = Registry::new(egress, ports);
        for (rule, mine) in registry.considered(number) {
            registry.own(input, rule, mine, number, &mut owned, &mut hosts);
        }
    }
    // By age of the service, and of one service in the order of its ports.
    let mut plain: Vec<&At<'_>> = ports
        .iter()
        .filter(|(_, service, port)| {
            is_routed(service, port) && !owned.contains(&(&service.key.hostname, port.number))
        })
        .collect();
    plain.sort_by_key(|(at, service, port)| {
        let place = service
            .ports
            .iter()
            .position(|one| std::ptr::eq(one, *port));
        (*at, place)
    });
    hosts.extend(plain.into_iter().map(|(_, service, port)| HostRoutes {
        host: Host::Service(Arc::clone(service)),
        number: port.number,
        table: None,
        hash: HashPolicy::of_service(input, service, port),
    }));
    Hosts::Shared {
        hosts: hosts.into(),
        dns_domain: input.proxy.dns_domain.clone(),
        ip_mode: input.proxy.ip_mode,
        with_ports: number.is_none(),
        rest,
    }
}

/// The services of a route configuration and the rules of its listener.
struct Registry<'a> {
    egress: &'a EgressListener,
    /// Ports by host of the service.
    by_host: BTreeMap<&'a Hostname, Vec<At<'a>>>,
    /// Hosts from behind, so that those a wildcard covers are neighbours.
    reversed: BTreeSet<Vec<u8>>,
}

/// Services a rule with wildcards owns.
type Covered<'a> = Vec<&'a Hostname>;

impl<'a> Registry<'a> {
    fn new(egress: &'a EgressListener, ports: &[At<'a>]) -> Self {
        let mut by_host: BTreeMap<&Hostname, Vec<At<'a>>> = BTreeMap::new();
        for port in ports {
            by_host.entry(&port.1.key.hostname).or_default().push(*port);
        }
        let wild = egress
            .virtual_services
            .iter()
            .any(|rule| rule.hosts.iter().any(Hostname::is_wildcard));
        let reversed = by_host.keys().filter(|_| wild);
        Self {
            reversed: reversed.map(|host| host.bytes().rev().collect()).collect(),
            by_host,
            egress,
        }
    }

    /// The rules that count, in order, with the services their wildcards are for. On port 80 all do,
    /// elsewhere those with a host that has the port.
    fn considered(
        &self,
        number: Option<u16>,
    ) -> impl Iterator<Item = (&'a Arc<VirtualServiceRule>, Covered<'a>)> {
        let mut found: BTreeMap<usize, Covered<'a>> = BTreeMap::new();
        for host in self.by_host.keys() {
            if let Some(list) = self.egress.rules_by_host.get(*host) {
                for at in list {
                    found.entry(*at).or_default();
                }
            } else if let Some(at) = self.egress.most_specific.get(*host) {
                found.entry(*at).or_default().push(host);
            }
        }
        if number == Some(80) {
            for at in 0..self.egress.virtual_services.len() {
                found.entry(at).or_default();
            }
        }
        let rules = &self.egress.virtual_services;
        found
            .into_iter()
            .filter_map(|(at, covered)| Some((rules.get(at)?, covered)))
    }

    /// Adds the hosts a rule owns; none if it has no route for this class.
    fn own(
        &self,
        input: &ClassInput,
        rule: &'a Arc<VirtualServiceRule>,
        covered: Covered<'a>,
        number: Option<u16>,
        owned: &mut BTreeSet<(&'a Hostname, u16)>,
        hosts: &mut Vec<HostRoutes>,
    ) {
        let (declared, unknown): (Vec<&Hostname>, Vec<&Hostname>) = rule
            .hosts
            .iter()
            .partition(|host| self.by_host.contains_key(host));
        let declared = declared
            .into_iter()
            .filter(|host| !host.is_wildcard())
            .chain(covered);
        let mine: Vec<At<'a>> = declared
            .filter_map(|host| self.by_host.get(host))
            .flatten()
            .filter(|(_, service, port)| is_routed(service, port))
            .copied()
            .collect();
        let mut numbers: BTreeSet<u16> = mine.iter().map(|(_, _, port)| port.number).collect();
        if numbers.is_empty() && number == Some(80) {
            numbers.insert(80);
        }
        for port in numbers {
            let listener = match number {
                Some(number) => Listener::of(number),
                None => Listener::of_all(port),
            };
            let Some(table) = Table::select(input, rule, listener) else {
                continue;
            };
            let table = Some(Arc::new(table));
            let named = unknown.iter().filter(|host| !self.covers_some(host));
            for host in named {
                if owned.insert((host, port)) {
                    hosts.push(HostRoutes {
                        host: Host::Named((*host).clone()),
                        number: port,
                        table: table.clone(),
                        hash: None,
                    });
                }
            }
            for (_, service, _) in mine.iter().filter(|(_, _, mine)| mine.number == port) {
                if owned.insert((&service.key.hostname, port)) {
                    hosts.push(HostRoutes {
                        host: Host::Service(Arc::clone(service)),
                        number: port,
                        table: table.clone(),
                        hash: None,
                    });
                }
            }
        }
    }

    /// True if the host is a wildcard that stands for some service here.
    fn covers_some(&self, host: &Hostname) -> bool {
        let Some(suffix) = host.strip_prefix('*') else {
            return false;
        };
        let from: Vec<u8> = suffix.bytes().rev().collect();
        self.reversed
            .range(from.clone()..)
            .next()
            .is_some_and(|first| first.starts_with(&from))
    }
}

/// Destinations of routes in use that lead to no cluster of the class. Sorted, without duplicates.
pub(crate) fn problems(input: &ClassInput) -> Vec<Problem> {
    let mut tables: Vec<Arc<Table>> = Vec::new();
    for key in route_keys(input) {
        match key.hosts {
            Hosts::Single(routes) => tables.extend(routes.table),
            Hosts::Shared { hosts, .. } => {
                let some = hosts.into_iter().filter_map(|routes| routes.table);
                for table in some {
                    // Hosts of one rule follow each other.
                    if tables.last().is_none_or(|last| !Arc::ptr_eq(last, &table)) {
                        tables.push(table);
                    }
                }
            }
        }
    }
    if tables.is_empty() {
        return Vec::new();
    }
    let sent: BTreeSet<Arc<str>> = crate::cluster::cluster_keys(input)
        .iter()
        .map(crate::cluster::ClusterKey::name)
        .collect();
    let mut found: Vec<Problem> = tables
        .iter()
        .flat_map(|table| table.missing(input, &sent))
        .collect();
    found.sort();
    found.dedup();
    found
}
