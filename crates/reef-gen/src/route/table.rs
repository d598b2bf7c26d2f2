//! The routes of one `VirtualService` that are in use: for one class of clients, on one port.

use std::collections::BTreeSet;
use std::sync::Arc;

use reef_config::istio::{self, HttpMatchRequest, StringMatch};
use reef_config::{ObjectKey, Problem};
use reef_mesh::{HttpRule, Resolution, Service, VirtualServiceRule};

use super::hash::HashPolicy;
use crate::input::{ClassInput, has_cluster, is_unresolvable};
use crate::names;

/// Which listener routes are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listener {
    /// Its port; 0 if it is for all ports.
    pub port: u16,
    /// The port of destinations that name none and have several.
    pub destination: u16,
}

impl Listener {
    /// The listener of one port.
    pub(crate) fn of(port: u16) -> Self {
        Self {
            port,
            destination: port,
        }
    }

    /// The listener of all ports, for requests to this one.
    pub(crate) fn of_all(port: u16) -> Self {
        Self {
            port: 0,
            destination: port,
        }
    }
}

/// The routes of a `VirtualService` in use, in order; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// The `VirtualService`.
    pub object: ObjectKey,
    /// Where they are used.
    pub listener: Listener,
    /// What the class can match, up to the first that always matches.
    pub routes: Box<[TableRoute]>,
}

/// Whether a `VirtualService` has routes for a class, whatever the listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Always,
    Never,
    /// On some ports.
    Depends,
}

impl Presence {
    pub(crate) fn of(input: &ClassInput, rule: &VirtualServiceRule) -> Self {
        let mut found = Self::Never;
        for http in &rule.http {
            let Some(condition) = &http.condition else {
                return Self::Always;
            };
            let wanted = condition.port.filter(|port| *port != 0);
            match wanted.map(u16::try_from) {
                None if fits(input, condition, 0) => return Self::Always,
                Some(Ok(port)) if fits(input, condition, port) => found = Self::Depends,
                _ => {}
            }
        }
        found
    }
}

/// A route in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableRoute {
    /// The route.
    pub rule: Arc<HttpRule>,
    /// Clusters of its destinations, in order.
    pub destinations: Box<[Arc<str>]>,
    /// Cluster of `mirror`.
    pub mirror: Option<Arc<str>>,
    /// Clusters of `mirrors`, in order.
    pub mirrors: Box<[Arc<str>]>,
    /// What is hashed of requests, by destination.
    pub hashes: Box<[HashPolicy]>,
}

impl Table {
    /// The routes of `rule` for this class; `None` if there is none.
    pub(crate) fn select(
        input: &ClassInput,
        rule: &VirtualServiceRule,
        listener: Listener,
    ) -> Option<Self> {
        let mut routes = Vec::new();
        for http in &rule.http {
            let condition = http.condition.as_ref();
            if condition.is_some_and(|condition| !fits(input, condition, listener.port)) {
                continue;
            }
            routes.push(TableRoute::new(input, http, listener));
            if condition.is_none_or(always) {
                break;
            }
        }
        (!routes.is_empty()).then(|| Self {
            object: rule.object.clone(),
            listener,
            routes: routes.into(),
        })
    }

    /// Destinations that lead to no cluster of the class; `sent` names those there are.
    pub(crate) fn missing(&self, input: &ClassInput, sent: &BTreeSet<Arc<str>>) -> Vec<Problem> {
        let mut found = Vec::new();
        for route in &self.routes {
            let action = &route.rule.action;
            let main = action.route.route.iter().map(|to| &to.destination);
            let mirrors = action.route.mirrors.iter().map(|to| &to.destination);
            let all = main.chain(&action.route.mirror).chain(mirrors);
            let clusters = route.destinations.iter();
            let clusters = clusters.chain(&route.mirror).chain(&route.mirrors);
            for (to, cluster) in all.zip(clusters) {
                if sent.contains(cluster) {
                    continue;
                }
                let why = why_missing(input, to, self.listener);
                let reason = format!("destination {cluster} is not there: {why}");
                found.push(
                    Problem::warning("IST0101", reason)
                        .of(&action.object)
                        .field(action.field.to_string()),
                );
            }
        }
        found
    }
}

impl TableRoute {
    fn new(input: &ClassInput, rule: &Arc<HttpRule>, listener: Listener) -> Self {
        let route = &rule.action.route;
        let cluster = |to: &istio::Destination| {
            let (port, host) = resolved(input, to, listener);
            names::outbound_subset_cluster(port, to.subset.as_deref().unwrap_or_default(), &host)
        };
        let single = route.route.len() == 1;
        let used = |to: &&istio::HttpRouteDestination| single || to.weight.unwrap_or_default() > 0;
        Self {
            rule: rule.clone(),
            hashes: route
                .route
                .iter()
                .filter(used)
                .filter_map(|to| HashPolicy::of_destination(input, &to.destination))
                .collect(),
            destinations: route
                .route
                .iter()
                .map(|to| cluster(&to.destination))
                .collect(),
            mirror: route.mirror.as_ref().map(cluster),
            mirrors: route
                .mirrors
                .iter()
                .map(|to| cluster(&to.destination))
                .collect(),
        }
    }
}

/// What of a condition is known before any request: port, gateways and the client.
fn fits(input: &ClassInput, condition: &HttpMatchRequest, port: u16) -> bool {
    let wanted = condition.port.filter(|port| *port != 0);
    if wanted.is_some_and(|wanted| wanted != u32::from(port)) {
        return false;
    }
    if !condition.gateways.is_empty() {
        return condition.gateways.iter().any(|gateway| gateway == "mesh");
    }
    let labels = &condition.source_labels;
    let namespace = condition.source_namespace.as_deref().unwrap_or_default();
    (labels.is_empty() || input.proxy.http_sources.binary_search(labels).is_ok())
        && (namespace.is_empty() || *namespace == *input.scope.id.namespace)
}

/// True if every request fulfils the condition.
fn always(condition: &HttpMatchRequest) -> bool {
    let path = match &condition.uri {
        None | Some(StringMatch::Present) => true,
        Some(StringMatch::Prefix(prefix)) => prefix == "/",
        Some(StringMatch::Regex(pattern)) => pattern == ".*",
        Some(StringMatch::Exact(_)) => false,
    };
    path && condition.headers.is_empty()
        && condition.without_headers.is_empty()
        && condition.query_params.is_empty()
        && condition.method.is_none()
        && condition.authority.is_none()
        && condition.scheme.is_none()
}

/// Port and host of a destination's cluster.
fn resolved(
    input: &ClassInput,
    to: &istio::Destination,
    listener: Listener,
) -> (u16, reef_config::names::Hostname) {
    let service = input.scope.service(&to.host).map(|scoped| &scoped.service);
    let named = to
        .port
        .as_ref()
        .and_then(|port| u16::try_from(port.number).ok())
        .filter(|port| *port != 0);
    let only = || match service.map(|service| &*service.ports) {
        Some([port]) => Some(port.number),
        _ => None,
    };
    let port = named.or_else(only).unwrap_or(listener.destination);
    let alias = service.filter(|service| service.resolution == Resolution::Alias);
    let host = alias.and_then(|service| service.external_name.as_ref());
    (port, host.unwrap_or(&to.host).clone())
}

/// Why a destination has no cluster.
fn why_missing(input: &ClassInput, to: &istio::Destination, listener: Listener) -> String {
    let (number, host) = resolved(input, to, listener);
    let Some(scoped) = input.scope.service(&host) else {
        let clients = &input.scope.id.namespace;
        return format!("clients in {clients} know no service {host}");
    };
    let service: &Service = &scoped.service;
    let usable = service
        .port(number)
        .filter(|port| has_cluster(service, port) && !is_unresolvable(input, service, port));
    match to.subset.as_deref() {
        Some(subset) if usable.is_some() => {
            format!("no DestinationRule in use for {host} has the subset {subset}")
        }
        _ => format!("{host} has no port {number} that can be routed to"),
    }
}
