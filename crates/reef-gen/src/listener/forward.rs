//! Where TCP proxies forward to: to a service port, or as routes of a `VirtualService` say.

use std::sync::Arc;
use std::time::Duration;

use reef_config::istio::{self, RouteDestination};
use reef_config::names::Hostname;
use reef_config::{ObjectKey, Problem};
use reef_mesh::{
    DestinationPolicy, Protocol, Resolution, Service, ServicePort, VirtualServiceRule,
};

use super::chain::cache;
use super::{Before, Connections, Destinations, Forward, Tunnel};
use crate::destination;
use crate::input::{ClassInput, has_cluster, is_unresolvable};
use crate::names;

/// Envoy refuses a shorter life of connections.
const SHORTEST_LIFE: Duration = Duration::from_millis(1);

/// To a port of a service.
pub(crate) fn to_service(
    input: &ClassInput,
    service: &Service,
    port: &ServicePort,
    protocol: Protocol,
) -> Forward {
    let cluster = names::outbound_cluster(port.number, &service.key.hostname);
    let stat_name = input.outbound_stat_name(service, port);
    Forward {
        stat_name: stat_name.unwrap_or_else(|| cluster.clone()),
        to: Destinations::One(cluster),
        before: before(input, Some(service), protocol),
        connections: connections(input, &service.key.hostname, None),
        rule: None,
    }
}

/// To the destinations of a route. `number` is the listener's port, `place` the route in the rule.
pub(crate) fn by_rule(
    input: &ClassInput,
    rule: &VirtualServiceRule,
    (place, route): (&str, &[RouteDestination]),
    (number, protocol): (u16, Protocol),
    problems: &mut Vec<Problem>,
) -> Forward {
    let object = &rule.object;
    let mut clusters: Vec<(Arc<str>, u32)> = Vec::with_capacity(route.len());
    for (at, to) in route.iter().enumerate() {
        let weight = to.weight.and_then(|weight| u32::try_from(weight).ok());
        let weight = if route.len() == 1 {
            1
        } else {
            weight.unwrap_or(0)
        };
        if weight == 0 {
            continue;
        }
        let target = Target::of(input, &to.destination, number);
        if let Some(reason) = target.missing(input) {
            let field = format!("{place}.route[{at}].destination");
            problems.push(Problem::warning("IST0101", reason).of(object).field(field));
        }
        clusters.push((target.cluster(), weight));
    }
    let Some(first) = route.first() else {
        return nowhere(object, place, "the route has no destination", problems);
    };
    let first_target = Target::of(input, &first.destination, number);
    let (to, stat_name, subset) = match clusters.as_slice() {
        [] => return nowhere(object, place, "no destination has a weight", problems),
        [(only, _)] if route.len() == 1 => (
            Destinations::One(only.clone()),
            first_target
                .stat_name(input)
                .unwrap_or_else(|| only.clone()),
            first_target.subset.clone(),
        ),
        _ => {
            let stat_name = Arc::from(format!("{}.{}", object.name, object.namespace));
            (Destinations::Weighted(clusters.into()), stat_name, None)
        }
    };
    let resolved = route
        .iter()
        .map(|to| Target::of(input, &to.destination, number))
        .find(|target| {
            target
                .service
                .is_some_and(|service| service.resolution == Resolution::DynamicDns)
        });
    let service = resolved.as_ref().unwrap_or(&first_target).service;
    Forward {
        to,
        stat_name,
        before: before(input, service.map(Arc::as_ref), protocol),
        connections: connections(input, &first_target.host, subset.as_deref()),
        rule: Some(object.clone()),
    }
}

/// A route that leads nowhere: its connections are dropped, as no other route is meant for them.
fn nowhere(object: &ObjectKey, place: &str, why: &str, problems: &mut Vec<Problem>) -> Forward {
    let reason = format!("{why}, so its connections are refused");
    problems.push(
        Problem::error("route-without-destination", reason)
            .of(object)
            .field(place.to_owned()),
    );
    let cluster: Arc<str> = Arc::from(names::BLACK_HOLE);
    Forward {
        stat_name: cluster.clone(),
        to: Destinations::One(cluster),
        before: None,
        connections: Connections::default(),
        rule: Some(object.clone()),
    }
}

/// What stands before the proxy.
fn before(input: &ClassInput, service: Option<&Service>, protocol: Protocol) -> Option<Before> {
    match service.and_then(|service| cache(input, service)) {
        Some(cache) => Some(Before::ServerName(cache)),
        None => (protocol == Protocol::Mongo).then_some(Before::Mongo),
    }
}

/// The cluster a destination means.
struct Target<'a> {
    host: Hostname,
    subset: Option<Arc<str>>,
    port: u16,
    service: Option<&'a Arc<Service>>,
}

impl<'a> Target<'a> {
    /// The port is the one it names, else the service's only one, else that of the listener. An
    /// alias means the host it stands for.
    fn of(input: &'a ClassInput, to: &istio::Destination, number: u16) -> Self {
        let find = |host: &Hostname| input.scope.service(host).map(|scoped| &scoped.service);
        let mut host = to.host.clone();
        let mut service = find(&host);
        let named = to
            .port
            .as_ref()
            .and_then(|port| u16::try_from(port.number).ok())
            .filter(|port| *port != 0);
        let only = match service.map(|service| &*service.ports) {
            Some([only]) => Some(only.number),
            _ => None,
        };
        if let Some(real) = service.and_then(|service| service.external_name.clone()) {
            service = find(&real);
            host = real;
        }
        Self {
            host,
            subset: to
                .subset
                .as_deref()
                .filter(|subset| !subset.is_empty())
                .map(Arc::from),
            port: named.or(only).unwrap_or(number),
            service,
        }
    }

    fn cluster(&self) -> Arc<str> {
        let subset = self.subset.as_deref().unwrap_or_default();
        names::outbound_subset_cluster(self.port, subset, &self.host)
    }

    fn stat_name(&self, input: &ClassInput) -> Option<Arc<str>> {
        let service = self.service?;
        let subset = self.subset.as_deref().unwrap_or_default();
        input.subset_stat_name(service, service.port(self.port)?, subset)
    }

    /// Why there is no such cluster. Envoy takes the listener nevertheless and refuses connections.
    fn missing(&self, input: &ClassInput) -> Option<String> {
        let Self { host, port, .. } = self;
        let lost = format!("port {port} has no cluster, so connections are refused");
        let Some(service) = self.service else {
            return Some(format!("host `{host}` is not in scope: {lost}"));
        };
        let usable = service.port(*port).is_some_and(|port| {
            has_cluster(service, port) && !is_unresolvable(input, service, port)
        });
        if !usable {
            return Some(format!("`{host}`: {lost}"));
        }
        let subset = self.subset.as_deref()?;
        let known = policy(input, host)
            .is_some_and(|policy| policy.spec.subsets.iter().any(|known| known.name == subset));
        (!known).then(|| format!("subset `{subset}` of `{host}` is not defined: {lost}"))
    }
}

/// The policy of this class for a host.
fn policy<'a>(input: &'a ClassInput, host: &Hostname) -> Option<&'a Arc<DestinationPolicy>> {
    let rules = &input.scope.service(host)?.destination_rules;
    destination::pick(rules, &input.proxy.selecting_rules)
}

/// What the `DestinationRule` of a host says about connections. Only what it says of the whole host
/// counts, but that a subset may hash or tunnel otherwise.
fn connections(input: &ClassInput, host: &Hostname, subset: Option<&str>) -> Connections {
    let Some(policy) = policy(input, host) else {
        return Connections::default();
    };
    let whole = policy.spec.traffic_policy.as_ref();
    let own = subset
        .and_then(|name| policy.spec.subsets.iter().find(|known| known.name == name))
        .and_then(|subset| subset.traffic_policy.as_ref());
    let tcp = whole
        .and_then(|whole| whole.connection_pool.as_ref())
        .and_then(|pool| pool.tcp.as_ref());
    let balancer = own
        .and_then(|own| own.load_balancer.as_ref())
        .or_else(|| whole.and_then(|whole| whole.load_balancer.as_ref()));
    let tunnel = own
        .and_then(|own| own.tunnel.as_ref())
        .or_else(|| whole.and_then(|whole| whole.tunnel.as_ref()));
    Connections {
        idle_timeout: tcp.and_then(|tcp| tcp.idle_timeout).map(|time| time.0),
        longest: tcp
            .and_then(|tcp| tcp.max_connection_duration)
            .map(|time| time.0)
            .filter(|time| *time >= SHORTEST_LIFE),
        by_source: balancer
            .and_then(|balancer| balancer.consistent_hash.as_ref())
            .and_then(|hash| hash.use_source_ip)
            .unwrap_or_default(),
        tunnel: tunnel.map(|tunnel| Tunnel {
            target: target(&tunnel.target_host, tunnel.target_port),
            post: tunnel.protocol.as_deref() == Some("POST"),
        }),
    }
}

/// `host:port`, an IPv6 address in brackets.
fn target(host: &str, port: u32) -> Arc<str> {
    Arc::from(if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    })
}
