//! Which route configurations a class has: those its listeners name, and no others.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use foldhash::fast::FixedState;
use reef_config::Problem;
use reef_config::names::Hostname;
use reef_mesh::{Service, ServicePort, VirtualServiceRule};
use reef_scope::{EgressListener, OutboundPolicy};

use super::hash::HashPolicy;
use super::retry::Retries;
use super::table::{Listener, Table};
use super::{Asked, Frame, Host, HostRoutes, Rest, RouteKey, RoutePolicy, domains};
use crate::input::{ClassInput, fallback, has_cluster};
use crate::listener::RouteSource;
use crate::names;

/// Selects the route configurations of a class, sorted by name.
#[must_use]
pub fn route_keys(input: &ClassInput) -> Vec<RouteKey> {
    if input.proxy.grpc {
        return crate::grpc::route_keys(input);
    }
    selected(input, &input.plan().routes)
}

/// Selects some route configurations of a class, sorted by name.
pub(crate) fn selected(
    input: &ClassInput,
    sources: &BTreeMap<Arc<str>, RouteSource>,
) -> Vec<RouteKey> {
    if sources.is_empty() {
        return Vec::new();
    }
    let (cluster, _) = fallback(input);
    let rest = if input.scope.outbound_policy == OutboundPolicy::AllowAnyDynamicDns {
        Rest::Resolve
    } else if &*cluster == names::BLACK_HOLE {
        Rest::Block
    } else {
        Rest::Allow(cluster)
    };
    let single_frame = Frame::single(policy(input));
    let wanted = numbers(sources);
    let ports = input.scope.egress.iter();
    let ports: Vec<ByPort<'_>> = ports
        .map(|egress| by_port(egress, wanted.as_ref()))
        .collect();
    let all = |egress: usize, number: Option<u16>, ports: &[At<'_>]| {
        let hosts = shared(input, egress, number, ports);
        let asked = Asked {
            dns_domain: input.proxy.dns_domain.clone(),
            ip_mode: input.proxy.ip_mode,
            with_ports: number.is_none(),
        };
        settled(hosts, asked, &single_frame.policy, &rest)
    };
    sources
        .iter()
        .map(|(name, source)| {
            let (hosts, frame) = match source {
                RouteSource::Single { service, number } => {
                    let routes = single(input, service, *number);
                    return RouteKey::single(name.clone(), routes, &single_frame);
                }
                RouteSource::Port { egress, number } => {
                    let own = ports.get(*egress).and_then(|ports| ports.get(number));
                    all(*egress, Some(*number), own.map_or(&[][..], Vec::as_slice))
                }
                RouteSource::AllPorts { egress } => {
                    let own = ports.get(*egress).into_iter().flat_map(BTreeMap::values);
                    let own: Vec<_> = own.flatten().copied().collect();
                    all(*egress, None, &own)
                }
            };
            RouteKey {
                name: name.clone(),
                hosts,
                frame: Arc::new(frame),
            }
        })
        .collect()
}

/// The ports routes are of; `None` if some are of all.
fn numbers(sources: &BTreeMap<Arc<str>, RouteSource>) -> Option<BTreeSet<u16>> {
    let mut found = BTreeSet::new();
    for source in sources.values() {
        match source {
            RouteSource::Port { number, .. } => found.insert(*number),
            RouteSource::AllPorts { .. } => return None,
            RouteSource::Single { .. } => continue,
        };
    }
    Some(found)
}

/// Settles which host has which domain: the first. Then they are in the order of the message.
fn settled(
    all: Vec<HostRoutes>,
    asked: Asked,
    policy: &Arc<RoutePolicy>,
    rest: &Rest,
) -> (Arc<[Arc<HostRoutes>]>, Frame) {
    let services = all
        .iter()
        .filter(|routes| matches!(routes.host, Host::Service(_)));
    let known = services.map(|routes| routes.host.name().clone()).collect();
    let mut names_seen: HashSet<(Hostname, u16), FixedState> = HashSet::default();
    let mut claims = Claims::new(&asked, policy.auto_addresses, known);
    let mut hosts = Vec::with_capacity(all.len());
    for mut routes in all {
        let lost = claims.lost(&routes);
        let name = || (routes.host.name().clone(), routes.number);
        if let Some(lost) = lost
            && names_seen.insert(name())
        {
            routes.lost = lost;
            hosts.push(Arc::new(routes));
        }
    }
    let everything = claims.seen.contains("*");
    hosts.sort_by_cached_key(|routes| routes.name());
    let frame = Frame {
        policy: policy.clone(),
        asked: Some(asked),
        // Only one virtual host may have the domain `*`.
        rest: (!everything).then(|| rest.clone()),
    };
    (hosts.into(), frame)
}

/// Domains as they are given to virtual hosts.
pub(super) struct Claims<'a> {
    asked: &'a Asked,
    auto: bool,
    /// Hosts of services: a short form that is one of them means it.
    known: HashSet<Hostname, FixedState>,
    /// Given away.
    seen: HashSet<String, FixedState>,
}

impl<'a> Claims<'a> {
    pub(super) fn new(asked: &'a Asked, auto: bool, known: HashSet<Hostname, FixedState>) -> Self {
        Self {
            asked,
            auto,
            known,
            seen: HashSet::default(),
        }
    }

    /// Gives a virtual host its domains: the places of those it does not get, `None` if it gets none.
    pub(super) fn lost(&mut self, routes: &HostRoutes) -> Option<Box<[u32]>> {
        let candidates = domains::candidates(routes, self.asked, self.auto);
        let count = candidates.len();
        let lost: Box<[u32]> = (0u32..)
            .zip(candidates)
            .filter_map(|(at, domain)| {
                let short = domain.short.and_then(|short| domain.text.get(short));
                let meant = short.is_some_and(|short| self.known.contains(short));
                (meant || !self.seen.insert(lower(domain.text))).then_some(at)
            })
            .collect();
        (lost.len() < count).then_some(lost)
    }
}

/// Names are compared without regard to case.
pub(super) fn lower(text: String) -> String {
    let is_lower = text
        .bytes()
        .all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
    if is_lower { text } else { text.to_lowercase() }
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

/// Those of some numbers, or of all.
fn by_port<'a>(egress: &'a EgressListener, wanted: Option<&BTreeSet<u16>>) -> ByPort<'a> {
    let mut found: ByPort<'_> = BTreeMap::new();
    for (at, service) in egress.services.iter().enumerate() {
        let ports = service.ports.iter();
        for port in ports.filter(|port| wanted.is_none_or(|some| some.contains(&port.number))) {
            found
                .entry(port.number)
                .or_default()
                .push((at, service, port));
        }
    }
    found
}

/// True if requests for the port are routed.
pub(super) fn is_routed(service: &Service, port: &ServicePort) -> bool {
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
    let hash = port.and_then(|port| HashPolicy::of_service(input, service, port));
    let host = Host::Service(service.clone());
    HostRoutes::new(host, number, table.map(Arc::new), hash)
}

/// Routes of the services with a port, and of hosts of rules nobody declared.
fn shared(
    input: &ClassInput,
    egress: usize,
    number: Option<u16>,
    ports: &[At<'_>],
) -> Vec<HostRoutes> {
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
    hosts.extend(plain.into_iter().map(|(_, service, port)| {
        let host = Host::Service(Arc::clone(service));
        let hash = HashPolicy::of_service(input, service, port);
        HostRoutes::new(host, port.number, None, hash)
    }));
    hosts
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
                    let host = Host::Named((*host).clone());
                    hosts.push(HostRoutes::new(host, port, table.clone(), None));
                }
            }
            for (_, service, _) in mine.iter().filter(|(_, _, mine)| mine.number == port) {
                if owned.insert((&service.key.hostname, port)) {
                    let host = Host::Service(Arc::clone(service));
                    hosts.push(HostRoutes::new(host, port, table.clone(), None));
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
    let keys = route_keys(input);
    let mut known: HashSet<*const Table, FixedState> = HashSet::default();
    let tables: Vec<&Arc<Table>> = keys
        .iter()
        .flat_map(|key| &*key.hosts)
        .filter_map(|routes| routes.table.as_ref())
        .filter(|table| known.insert(Arc::as_ptr(table)))
        .collect();
    if tables.is_empty() {
        return Vec::new();
    }
    let sent: BTreeSet<Arc<str>> = crate::cluster::outbound_cluster_keys(input)
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
