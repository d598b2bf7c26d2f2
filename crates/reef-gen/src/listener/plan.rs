//! Which listeners a class has, and which service ports meet at one address.
//!
//! Services are visited oldest first, so the oldest wins every conflict. An address and port taken
//! by an egress listener of a `Sidecar` with a port of its own is closed to the one without.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reef_config::Problem;
use reef_mesh::{Interception, IpMode, Service};
use reef_scope::OutboundPolicy;

use super::egress::{Planner, only_default_port};
use super::place::Drafts;
use super::{
    Bind, Chain, ChainMatch, ListenerDefaults, ListenerKey, OutboundListener, Target,
    VirtualOutbound, inbound, logging,
};
use crate::input::{ClassInput, fallback};
use crate::route::Retries;
use crate::xds::dynamic_dns::DnsCache;
use crate::xds::log::Logs;
use crate::xds::trace::TraceSettings;
use crate::{names, xds};

/// The listeners of a class for destinations, and the route configurations they ask for.
#[derive(Debug)]
pub(crate) struct Plan {
    pub listeners: Vec<ListenerKey>,
    pub routes: BTreeMap<Arc<str>, RouteSource>,
    pub problems: Vec<Problem>,
}

/// The listeners of a class for its own ports.
#[derive(Debug, Default)]
pub(crate) struct InboundPlan {
    pub listeners: Vec<ListenerKey>,
    pub problems: Vec<Problem>,
}

/// What a route configuration holds.
#[derive(Debug, Clone)]
pub(crate) enum RouteSource {
    /// Services of an egress listener on this port.
    Port {
        /// Index of the egress listener.
        egress: usize,
        /// The port.
        number: u16,
    },
    /// All services of an egress listener on all ports.
    AllPorts {
        /// Index of the egress listener.
        egress: usize,
    },
    /// One service alone.
    Single {
        service: Arc<Service>,
        /// Number of its port.
        number: u16,
    },
}

/// Plans the listeners of a class for destinations.
pub(crate) fn plan(input: &ClassInput) -> Plan {
    let config = &input.snapshot.settings().config;
    let mut planner = Planner {
        input,
        drafts: Drafts::default(),
        only: None,
    };
    if has_none(input) {
        return Plan {
            listeners: Vec::new(),
            routes: BTreeMap::new(),
            problems: Vec::new(),
        };
    }
    for (index, egress) in input.scope.egress.iter().enumerate() {
        planner.add_egress(index, egress);
    }
    let problems = &mut planner.drafts.problems;
    let defaults = Arc::new(outbound_defaults(input, logging::outbound(input, problems)));
    let (fallback, _) = fallback(input);
    let mut listeners: Vec<ListenerKey> = planner
        .drafts
        .listeners(&fallback, &defaults)
        .map(ListenerKey::Outbound)
        .collect();
    let mut routes = std::mem::take(&mut planner.drafts.routes);
    // Routes of HTTP that lost its listener are asked for by nobody.
    let asked: BTreeSet<&Arc<str>> = listeners.iter().flat_map(routes_of).collect();
    routes.retain(|name, _| asked.contains(name));
    drop(asked);
    let proxy_port = input
        .proxy
        .http_proxy_port
        .unwrap_or(config.proxy_http_port);
    if proxy_port != 0 {
        let proxy = http_proxy(input, proxy_port, &fallback, &defaults);
        if let Some(problem) = planner.drafts.taken(&proxy.bind, proxy_port) {
            planner.drafts.problems.push(problem);
        } else {
            let told = only_default_port(&proxy.name);
            planner.drafts.problems.push(told);
            let egress = catch_all(input);
            let source = RouteSource::AllPorts { egress };
            routes.insert(Arc::from(names::HTTP_PROXY), source);
            listeners.push(ListenerKey::Outbound(proxy));
        }
    }
    if input.proxy.interception != Interception::None {
        listeners.push(ListenerKey::VirtualOutbound(VirtualOutbound {
            port: config.proxy_listen_port,
            fallback,
            defaults,
        }));
    }
    Plan {
        listeners,
        routes,
        problems: planner.drafts.problems,
    }
}

/// Plans the listeners of a class for its own ports. Those that bind a socket need an address that
/// no listener for destinations has, so there the plan of those is made, too.
pub(crate) fn inbound_plan(input: &ClassInput) -> InboundPlan {
    let mut plan = InboundPlan::default();
    if has_none(input) {
        return plan;
    }
    let problems = &mut plan.problems;
    let defaults = Arc::new(inbound_defaults(input, logging::inbound(input, problems)));
    let inbound = inbound::inbound(input, &defaults, problems);
    let captured = inbound.captured.map(ListenerKey::VirtualInbound);
    plan.listeners.extend(captured);
    if inbound.real.is_empty() {
        return plan;
    }
    let beside = input.plan().listeners.iter();
    let taken: BTreeSet<Arc<str>> = beside
        .chain(&plan.listeners)
        .map(ListenerKey::name)
        .collect();
    for listener in inbound.real {
        if taken.contains(&listener.name) {
            let number = listener.port.number;
            let refused = inbound::refused(input, number, "has its address taken");
            plan.problems.push(refused);
        } else {
            plan.listeners.push(ListenerKey::Inbound(listener));
        }
    }
    plan
}

/// Istio's switch for "no listeners at all".
fn has_none(input: &ClassInput) -> bool {
    input.snapshot.settings().config.proxy_listen_port == 0
}

pub(super) fn routes_of(listener: &ListenerKey) -> impl Iterator<Item = &Arc<str>> {
    let chains = match listener {
        ListenerKey::Outbound(listener) => &listener.chains[..],
        ListenerKey::VirtualOutbound(_)
        | ListenerKey::VirtualInbound(_)
        | ListenerKey::Inbound(_)
        | ListenerKey::Grpc(_) => &[],
    };
    chains.iter().filter_map(|chain| match &chain.target {
        Target::Http { route, .. } => Some(route),
        Target::Tcp(_) => None,
    })
}

/// Settings of listeners for destinations.
pub(super) fn outbound_defaults(input: &ClassInput, logs: Logs) -> ListenerDefaults {
    let resolves = input.scope.outbound_policy == OutboundPolicy::AllowAnyDynamicDns;
    ListenerDefaults {
        balance: input.proxy.balance_outbound,
        unknown_hosts: resolves.then(|| Arc::new(DnsCache::of_unknown_hosts(input.any_lookup()))),
        ..defaults(input, logs)
    }
}

/// Settings of listeners for the workload's own ports.
fn inbound_defaults(input: &ClassInput, logs: Logs) -> ListenerDefaults {
    let config = &input.snapshot.settings().config;
    ListenerDefaults {
        balance: input.proxy.balance_inbound,
        inbound_retries: Retries::inbound(config.default_inbound_http_retry_policy.as_ref()),
        ..defaults(input, logs)
    }
}

/// Settings that both have.
fn defaults(input: &ClassInput, logs: Logs) -> ListenerDefaults {
    let mesh = &input.snapshot.settings().proxies;
    ListenerDefaults {
        detection_timeout: mesh.detection_timeout,
        tracing: mesh.tracing.then(|| TraceSettings {
            sampling: input.proxy.sampling,
            workload: input.proxy.trace_tags.clone(),
        }),
        logs,
        normalization: mesh.normalization,
        headers: input.proxy.headers.clone(),
        idle_timeout: input.proxy.idle_timeout,
        http10: input.proxy.http10,
        balance: false,
        transparent: input.proxy.interception == Interception::Tproxy,
        ipv4: input.proxy.ip_mode != IpMode::V6,
        dual: input.proxy.ip_mode == IpMode::Dual,
        inbound_retries: None,
        unknown_hosts: None,
    }
}

/// The egress listener for all ports; beyond all if there is none.
fn catch_all(input: &ClassInput) -> usize {
    let egress = &input.scope.egress;
    egress
        .iter()
        .position(|egress| egress.port.is_none())
        .unwrap_or(usize::MAX)
}

fn http_proxy(
    input: &ClassInput,
    port: u16,
    fallback: &Arc<str>,
    defaults: &Arc<ListenerDefaults>,
) -> OutboundListener {
    let bind = Bind::Ip(xds::loopback(defaults.ipv4));
    let extra = defaults.dual.then(|| xds::loopback(false));
    let services = input.scope.egress.get(catch_all(input));
    let services = services.map_or(&[][..], |egress| &egress.services);
    OutboundListener {
        name: bind.listener_name(port),
        bind,
        port,
        extra: extra.into_iter().collect(),
        real: true,
        chains: vec![Chain {
            matches: ChainMatch::default(),
            target: Target::Http {
                route: Arc::from(names::HTTP_PROXY),
                grpc_web: false,
                absolute_url: true,
                caches: services
                    .iter()
                    .filter_map(|service| super::chain::cache(input, service))
                    .collect(),
            },
        }],
        fallback: fallback.clone(),
        defaults: defaults.clone(),
    }
}
