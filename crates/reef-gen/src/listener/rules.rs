//! What the `tls` and `tcp` routes of `VirtualService`s mean for a port.
//!
//! A match has conditions on the client, the gateway and the port, which are decided here, and on
//! server names and destination ranges, which the proxy decides. What a rule means for a port is
//! found out once, however many services share it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use reef_config::Problem;
use reef_config::istio::L4Conditions;
use reef_config::names::Hostname;
use reef_mesh::{Address, Cidr, Protocol, VirtualServiceRule};

use super::Forward;
use super::chain::masked;
use super::forward::by_rule;
use super::hosts::HostIndex;
use crate::input::ClassInput;

/// The TLS and TCP routes of one egress listener's rules.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Box<[Arc<VirtualServiceRule>]>,
    index: HostIndex,
    /// By rule and port.
    tls: BTreeMap<(usize, u16), Arc<Routes>>,
    tcp: BTreeMap<(usize, u16, Protocol), Arc<Routes>>,
}

/// A route that may be taken.
#[derive(Debug)]
pub(crate) struct Route {
    /// Server names; none stands for all.
    pub names: Box<[Arc<str>]>,
    /// Destination ranges; none stands for those of the service.
    pub ranges: Box<[Cidr]>,
    pub forward: Arc<Forward>,
}

/// The routes of a rule for a port.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    pub list: Vec<Route>,
    /// The last route takes what no other does.
    pub complete: bool,
    /// Pairs of a name and a range its chains match.
    pub pairs: usize,
}

impl Routes {
    fn new(list: Vec<Route>, complete: bool) -> Self {
        let pairs = |route: &Route| {
            let names = route.names.len().max(1);
            names.saturating_mul(route.ranges.len().max(1))
        };
        Self {
            pairs: list.iter().map(pairs).fold(0, usize::saturating_add),
            list,
            complete,
        }
    }
}

impl Rules {
    /// The rules of an egress listener, in order of precedence.
    pub(crate) fn new(rules: &[Arc<VirtualServiceRule>]) -> Self {
        Self {
            index: HostIndex::new(rules),
            rules: rules.into(),
            ..Self::default()
        }
    }

    /// The rules for a host.
    pub(crate) fn of_host(&self, host: &Hostname) -> Vec<usize> {
        self.index.of_host(host)
    }

    /// What the `tls` routes of a rule mean for a port, in their order.
    pub(crate) fn tls(
        &mut self,
        input: &ClassInput,
        at: usize,
        number: u16,
        problems: &mut Vec<Problem>,
    ) -> Arc<Routes> {
        let Some(rule) = self.rules.get(at) else {
            return Arc::default();
        };
        let rule = rule.clone();
        self.tls
            .entry((at, number))
            .or_insert_with(|| {
                let routes = tls_routes(input, &rule, number, problems);
                Arc::new(Routes::new(routes, false))
            })
            .clone()
    }

    /// What the `tcp` routes of a rule mean for a port, in their order.
    pub(crate) fn tcp(
        &mut self,
        input: &ClassInput,
        at: usize,
        (number, protocol): (u16, Protocol),
        problems: &mut Vec<Problem>,
    ) -> Arc<Routes> {
        let Some(rule) = self.rules.get(at) else {
            return Arc::default();
        };
        let rule = rule.clone();
        self.tcp
            .entry((at, number, protocol))
            .or_insert_with(|| Arc::new(tcp_routes(input, &rule, (number, protocol), problems)))
            .clone()
    }
}

/// Decides what of a match is known before the proxy sees a connection.
fn hold(asked: L4Conditions<'_>, input: &ClassInput, number: u16) -> bool {
    let port = asked.port.unwrap_or(0);
    let namespace = asked.namespace.unwrap_or_default();
    (port == 0 || port == u32::from(number))
        && (asked.gateways.is_empty() || asked.gateways.iter().any(|gateway| gateway == "mesh"))
        && (namespace.is_empty() || input.scope.id.namespace == namespace)
        && input.has_client_labels(asked.labels)
}

fn tls_routes(
    input: &ClassInput,
    rule: &VirtualServiceRule,
    number: u16,
    problems: &mut Vec<Problem>,
) -> Vec<Route> {
    let mut found = Vec::new();
    for (at, tls) in rule.spec.tls.iter().enumerate() {
        let place = format!("spec.tls[{at}]");
        let mut forward: Option<Arc<Forward>> = None;
        for (nth, asked) in tls.matches.iter().enumerate() {
            if !hold(asked.conditions(), input, number) {
                continue;
            }
            let field = format!("{place}.match[{nth}]");
            let Some(names) = server_names(rule, &asked.sni_hosts, &field, problems) else {
                continue;
            };
            let Some(ranges) = ranges(rule, &asked.destination_subnets, number, &field, problems)
            else {
                continue;
            };
            let forward = forward.get_or_insert_with(|| {
                let way = (place.as_str(), &*tls.route);
                Arc::new(by_rule(input, rule, way, (number, Protocol::Tls), problems))
            });
            found.push(Route {
                names,
                ranges,
                forward: forward.clone(),
            });
        }
    }
    found
}

fn tcp_routes(
    input: &ClassInput,
    rule: &VirtualServiceRule,
    (number, protocol): (u16, Protocol),
    problems: &mut Vec<Problem>,
) -> Routes {
    let mut found = Vec::new();
    for (at, tcp) in rule.spec.tcp.iter().enumerate() {
        let place = format!("spec.tcp[{at}]");
        let mut only: Vec<Cidr> = Vec::new();
        let mut all = tcp.matches.is_empty();
        for (nth, asked) in tcp.matches.iter().enumerate() {
            if !hold(asked.conditions(), input, number) {
                continue;
            }
            let field = format!("{place}.match[{nth}]");
            match ranges(rule, &asked.destination_subnets, number, &field, problems) {
                None => {}
                Some(ranges) if ranges.is_empty() => {
                    all = true;
                    break;
                }
                Some(ranges) => only.extend(ranges),
            }
        }
        if !all && only.is_empty() {
            continue;
        }
        let way = (place.as_str(), &*tcp.route);
        let forward = by_rule(input, rule, way, (number, protocol), problems);
        if all {
            only.clear();
        }
        only.sort();
        only.dedup();
        found.push(Route {
            names: Box::default(),
            ranges: only.into(),
            forward: Arc::new(forward),
        });
        if all {
            return Routes::new(found, true);
        }
    }
    Routes::new(found, false)
}

/// The server names of a match; `*` stands for all. `None` if Envoy can match none of them.
fn server_names(
    rule: &VirtualServiceRule,
    hosts: &[Hostname],
    field: &str,
    problems: &mut Vec<Problem>,
) -> Option<Box<[Arc<str>]>> {
    if hosts.is_empty() || hosts.iter().any(|host| **host == *"*") {
        return Some(Box::default());
    }
    let mut names = Vec::with_capacity(hosts.len());
    for host in hosts {
        if is_server_name(host) {
            names.push(host.shared().clone());
            continue;
        }
        let reason = format!("`{host}` is no TLS server name, so it is left out");
        problems.push(
            Problem::warning("sni-host", reason)
                .of(&rule.object)
                .field(format!("{field}.sniHosts")),
        );
    }
    names.sort();
    names.dedup();
    (!names.is_empty()).then(|| names.into())
}

/// True for names Envoy takes: wildcards are whole labels at the beginning.
pub(crate) fn is_server_name(name: &str) -> bool {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    !rest.is_empty() && !rest.contains('*')
}

/// The ranges of a match; none on a Unix socket. `None` if no range of several is valid.
fn ranges(
    rule: &VirtualServiceRule,
    subnets: &[String],
    number: u16,
    field: &str,
    problems: &mut Vec<Problem>,
) -> Option<Box<[Cidr]>> {
    if subnets.is_empty() || number == 0 {
        return Some(Box::default());
    }
    let mut found = Vec::with_capacity(subnets.len());
    for subnet in subnets {
        match Address::parse(subnet) {
            Address::Cidr(cidr) => found.push(masked(cidr)),
            Address::Ip(ip) => found.push(single(ip)),
            Address::Host(_) | Address::Pipe(_) => {
                let reason = format!("`{subnet}` is no address range, so it is left out");
                problems.push(
                    Problem::warning("destination-subnet", reason)
                        .of(&rule.object)
                        .field(format!("{field}.destinationSubnets")),
                );
            }
        }
    }
    found.sort();
    found.dedup();
    (!found.is_empty()).then(|| found.into())
}

/// The range of one address.
fn single(ip: IpAddr) -> Cidr {
    let prefix = if ip.is_ipv4() { 32 } else { 128 };
    Cidr { ip, prefix }
}
