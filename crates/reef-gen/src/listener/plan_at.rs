//! What listens where some services did or do, planned again without the rest.
//!
//! Services meet only at one address and port, so a service that changes concerns those that listen
//! where it does. Where more than that decides, nothing is said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reef_mesh::{Protocol, Resolution, Service, ServicePort};
use reef_scope::{EgressListener, ServiceChange};

use super::egress::{Places, Planner};
use super::place::Drafts;
use super::plan::{RouteSource, outbound_defaults, routes_of};
use super::{Bind, ListenerKey, logging};
use crate::input::{ClassInput, fallback};
use crate::names;
use crate::route::port_route;

/// The listeners at some places.
#[derive(Debug)]
pub(crate) struct PlanAt {
    /// Those that are there now.
    pub listeners: Vec<ListenerKey>,
    /// Names of all that were or are there.
    pub names: Vec<Arc<str>>,
    /// The route configurations they ask for.
    pub routes: BTreeMap<Arc<str>, RouteSource>,
    /// Names of route configurations they or those before them may have asked for.
    pub asked: BTreeSet<Arc<str>>,
}

/// Plans the listeners where changed services were or are; `None` if others may differ.
pub(crate) fn plan_at(input: &ClassInput, changes: &[ServiceChange]) -> Option<PlanAt> {
    let config = &input.snapshot.settings().config;
    let [egress] = &*input.scope.egress else {
        return None;
    };
    let proxy_port = input
        .proxy
        .http_proxy_port
        .unwrap_or(config.proxy_http_port);
    let alone = egress.port.is_none()
        && egress.bind.is_none()
        && input.scope.ingress.is_empty()
        && config.proxy_listen_port != 0
        && proxy_port == 0;
    let rules = &egress.virtual_services;
    if !alone
        || rules
            .iter()
            .any(|rule| !rule.spec.tls.is_empty() || !rule.spec.tcp.is_empty())
    {
        return None;
    }
    let mut planner = Planner {
        input,
        drafts: Drafts::default(),
        only: None,
    };
    let mut places = Places::new();
    let mut asked = BTreeSet::new();
    for service in changes
        .iter()
        .flat_map(|change| [&change.before, &change.after])
    {
        // These listen where their endpoints are.
        if service.resolution == Resolution::Passthrough {
            return None;
        }
        places.extend(planner.places_of(egress, service));
        let ports = service.ports.iter().filter(|port| port.protocol.is_auto());
        asked.extend(ports.map(|port| names::own_route(&service.key.hostname, port.number)));
    }
    places.retain(|place| !stays(&planner, egress, changes, place));
    planner.only = Some(places.clone());
    planner.add_egress(0, egress);
    let logs = logging::outbound(input, &mut Vec::new());
    let defaults = Arc::new(outbound_defaults(input, logs));
    let (fallback, _) = fallback(input);
    let listeners: Vec<ListenerKey> = planner
        .drafts
        .listeners(&fallback, &defaults)
        .map(ListenerKey::Outbound)
        .collect();
    let mut routes = std::mem::take(&mut planner.drafts.routes);
    asked.extend(routes.keys().cloned());
    let wide = places.iter().filter(|(bind, _)| bind.is_wildcard());
    asked.extend(wide.map(|(_, number)| port_route(*number)));
    let now: BTreeSet<&Arc<str>> = listeners.iter().flat_map(routes_of).collect();
    routes.retain(|name, _| now.contains(name));
    drop(now);
    let names = places.iter();
    Some(PlanAt {
        listeners,
        names: names
            .map(|(bind, number)| bind.listener_name(*number))
            .collect(),
        routes,
        asked,
    })
}

/// True if the listener at a place is what it was, as changed services only ever join it: some other
/// service opened it for HTTP, and they bring nothing but virtual hosts.
fn stays(
    planner: &Planner<'_>,
    egress: &EgressListener,
    changes: &[ServiceChange],
    (bind, number): &(Bind, u16),
) -> bool {
    let is_plain =
        |port: &ServicePort| port.protocol.is_http() && port.protocol != Protocol::HttpProxy;
    // Whether a service is there, and with plain HTTP only.
    let of_number = |service: &Service| {
        let ports = service.ports.iter();
        let here: Vec<&ServicePort> = ports.filter(|port| port.number == *number).collect();
        (!here.is_empty()).then(|| here.into_iter().all(is_plain))
    };
    let versions = || changes.iter().flat_map(|it| [&it.before, &it.after]);
    let joins = |service: &Service| {
        of_number(service) != Some(false) && service.resolution != Resolution::DynamicDns
    };
    if !versions().all(|service| joins(service)) {
        return false;
    }
    let place = (bind.clone(), *number);
    for service in &egress.services {
        if let Some(change) = changes.iter().find(|it| it.after.key == service.key) {
            // One that was first or is may have opened it.
            let versions = [&change.before, &change.after];
            if versions.iter().any(|it| of_number(it).is_some()) {
                return false;
            }
        } else if let Some(is_http) = of_number(service)
            && planner.places_of(egress, service).contains(&place)
        {
            return is_http;
        }
    }
    false
}
