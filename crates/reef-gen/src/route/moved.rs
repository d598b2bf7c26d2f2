//! Route configurations of a port after services changed: the virtual hosts of all others stand as
//! they stood.
//!
//! Virtual hosts meet only in their domains: the first to name one has it. So where no name a
//! changed service has or had is a name of anybody else, nobody gains or loses by the change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reef_config::names::Hostname;
use reef_mesh::{Address, Service, ServiceKey};
use reef_scope::{EgressListener, ServiceChange};

use super::hash::HashPolicy;
use super::select::{Claims, is_routed, lower};
use super::{Asked, Host, HostRoutes, RouteKey, domains};
use crate::input::ClassInput;

/// Changes looked at together; selecting all costs less than comparing many with all.
const MOST_CHANGES: usize = 16;

/// The route configuration of a port as it was `before`, with the virtual hosts services have after
/// they changed; `None` if that can't be told from them alone.
pub(crate) fn moved(
    input: &ClassInput,
    changes: &[ServiceChange],
    number: u16,
    before: &RouteKey,
) -> Option<RouteKey> {
    let [egress] = &*input.scope.egress else {
        return None;
    };
    let asked = before.frame.asked.as_ref().filter(|it| !it.with_ports)?;
    if changes.len() > MOST_CHANGES {
        return None;
    }
    let auto = before.frame.policy.auto_addresses;
    let mut names = Names::default();
    let mut moves = Vec::with_capacity(changes.len());
    for (at, change) in changes.iter().enumerate() {
        let both = [&change.before, &change.after];
        let versions = both.map(|it| routes(input, it, number));
        let host = &change.after.key.hostname;
        let ruled =
            egress.rules_by_host.contains_key(host) || egress.most_specific.contains_key(host);
        // Which hosts of a rule have the port, and which are routed there, decides what it routes.
        let [had, has] = both.map(|it| it.port(number).is_some());
        let [was, is] = versions.each_ref().map(Option::is_some);
        if ruled && (had != has || was != is) {
            return None;
        }
        if !was && !is {
            continue;
        }
        for version in versions.iter().flatten() {
            names.add(at, version, asked, auto)?;
        }
        moves.push(versions);
    }
    if !names.are_free(egress, changes, (number, asked, auto)) {
        return None;
    }
    let mut hosts = before.hosts.to_vec();
    for [was, is] in moves {
        let name = was.as_ref().or(is.as_ref())?.name();
        let found = hosts.binary_search_by(|known| known.name().cmp(&name));
        let (at, table) = match (found, was.is_some()) {
            (Ok(at), true) => (at, hosts.remove(at).table.clone()),
            (Err(at), false) => (at, None),
            _ => return None,
        };
        if let Some(mut routes) = is {
            if let Some(table) = table {
                routes = routes.with_table(table);
            }
            let known = std::iter::once(routes.host.name().clone()).collect();
            routes.lost = Claims::new(asked, auto, known).lost(&routes)?;
            hosts.insert(at, Arc::new(routes));
        }
    }
    Some(RouteKey {
        hosts: hosts.into(),
        ..before.clone()
    })
}

/// The virtual host of a service on a port, without rules; `None` if requests are not routed there.
fn routes(input: &ClassInput, service: &Arc<Service>, number: u16) -> Option<HostRoutes> {
    let mut ports = service.ports.iter();
    let port = ports.find(|port| port.number == number && is_routed(service, port))?;
    let hash = HashPolicy::of_service(input, service, port);
    Some(HostRoutes::new(
        Host::Service(service.clone()),
        number,
        None,
        hash,
    ))
}

/// Names of services that changed.
#[derive(Debug, Default)]
struct Names {
    /// Domains, each with the change it is of.
    domains: BTreeMap<String, usize>,
    /// What hosts with such a domain are called, or begin with.
    stems: BTreeSet<String>,
    addresses: BTreeSet<Address>,
}

impl Names {
    /// Adds those of a version of a service; `None` if another's is the same, or stands for all.
    fn add(&mut self, change: usize, routes: &HostRoutes, asked: &Asked, auto: bool) -> Option<()> {
        for domain in domains::candidates(routes, asked, auto) {
            let text = lower(domain.text);
            if text == "*" {
                return None;
            }
            self.stems.insert(stem(&text).to_owned());
            // The host of an entry may be an address.
            let bare = text.trim_matches(['[', ']']);
            self.addresses.extend(bare.parse().ok().map(Address::Ip));
            if *self.domains.entry(text).or_insert(change) != change {
                return None;
            }
        }
        if let Host::Service(service) = &routes.host {
            let addresses = service.virtual_addresses(auto);
            self.addresses.extend(addresses.iter().cloned());
        }
        Some(())
    }

    /// True if nobody else has such a name: no host of a rule, and no service with the port.
    fn are_free(
        &self,
        egress: &EgressListener,
        changes: &[ServiceChange],
        (number, asked, auto): (u16, &Asked, bool),
    ) -> bool {
        let changed: BTreeSet<&ServiceKey> =
            changes.iter().map(|change| &change.after.key).collect();
        let hosts: BTreeSet<&Hostname> = changed.iter().map(|key| &key.hostname).collect();
        let of_rules = egress.virtual_services.iter().flat_map(|rule| &rule.hosts);
        // A rule for a changed service has no host of its own for it.
        let of_rules = of_rules.filter(|host| !hosts.contains(host));
        let others = egress.services.iter().filter(|service| {
            let mut ports = service.ports.iter();
            ports.any(|port| port.number == number)
        });
        of_rules
            .map(|host| HostRoutes::new(Host::Named(host.clone()), number, None, None))
            .all(|routes| !self.meet(&routes, asked, auto))
            && others
                .filter(|service| self.may_meet(service, auto) && !changed.contains(&service.key))
                .map(|service| HostRoutes::new(Host::Service(service.clone()), number, None, None))
                .all(|routes| !self.meet(&routes, asked, auto))
    }

    /// False if a service has none of the domains for sure.
    fn may_meet(&self, service: &Service, auto: bool) -> bool {
        let host: &str = &service.key.hostname;
        // Short forms of a host are what it begins with.
        let begins = |stem: &String| {
            let head = host.as_bytes().get(..stem.len());
            head.is_some_and(|head| head.eq_ignore_ascii_case(stem.as_bytes()))
                && matches!(host.as_bytes().get(stem.len()), None | Some(b'.'))
        };
        host.starts_with('*')
            || !host.is_ascii()
            || host.contains(':')
            || !service.aliases.is_empty()
            || self.stems.iter().any(begins)
            || service
                .virtual_addresses(auto)
                .iter()
                .any(|address| self.addresses.contains(address))
    }

    /// True if a virtual host would have one of the domains.
    fn meet(&self, routes: &HostRoutes, asked: &Asked, auto: bool) -> bool {
        let domains = domains::candidates(routes, asked, auto).into_iter();
        domains
            .map(|domain| lower(domain.text))
            .any(|text| self.domains.contains_key(&text))
    }
}

/// A domain without what stands for names below, and without the dot of an absolute name.
fn stem(domain: &str) -> &str {
    let below = domain.strip_prefix("*.").unwrap_or(domain);
    below.strip_suffix('.').unwrap_or(below)
}
