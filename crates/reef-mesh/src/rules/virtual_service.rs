//! Resolves the names in a `VirtualService` and collects where its routes lead.

mod clean;
mod delegate;
mod format;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use reef_config::istio::{self, HttpMatchRequest, HttpRoute};
use reef_config::names::Namespace;
use reef_config::{Kind, ObjectKey, Problem};

use super::{Destination, HttpAction, HttpRule, Rule, VirtualServiceRule};
use crate::{ExportTo, MeshSettings};

/// Resolves `rule`; `find` returns the `VirtualService` a delegate names.
pub(crate) fn resolve<'a>(
    rule: &Rule<istio::VirtualService>,
    settings: &MeshSettings,
    find: &dyn Fn(&ObjectKey) -> Option<&'a Arc<Rule<istio::VirtualService>>>,
) -> VirtualServiceRule {
    let own = &rule.object.namespace;
    let mut spec = rule.spec.clone();
    qualify(&mut spec, own, settings);
    let mut found = Found::default();
    let mut delegates = Vec::new();
    for (index, route) in spec.http.iter().enumerate() {
        let place = Place::new(&rule.object, index);
        let Some(delegate) = &route.delegate else {
            found.add(route.clone(), place);
            continue;
        };
        let namespace = delegate
            .namespace
            .as_deref()
            .filter(|namespace| !namespace.is_empty())
            .map_or_else(|| own.clone(), Namespace::from);
        let key = ObjectKey {
            cluster: rule.object.cluster.clone(),
            kind: Kind::VirtualService,
            namespace,
            name: Arc::from(delegate.name.as_str()),
        };
        match usable(find(&key), own, settings) {
            Ok(delegate) => {
                let mut theirs = delegate.spec.clone();
                qualify(&mut theirs, &key.namespace, settings);
                for (index, inner) in theirs.http.into_iter().enumerate() {
                    let inner_place = Place::new(&key, index);
                    match delegate::merge(route, inner) {
                        Ok(merged) => found.add(merged, inner_place),
                        Err(reason) => {
                            let reason = format!("{reason}; {place} delegates to it");
                            inner_place.tell(&mut found.problems, "delegate", "", reason);
                        }
                    }
                }
            }
            Err(reason) => {
                let reason = format!("delegate {key} {reason}, so the route has no effect");
                place.tell(&mut found.problems, "delegate", ".delegate", reason);
            }
        }
        delegates.push(key);
    }
    let mut destinations = BTreeSet::new();
    for rule in &found.rules {
        collect_http(rule, &mut destinations);
    }
    for route in &spec.tcp {
        for to in &route.route {
            destinations.insert(destination(&to.destination, None));
        }
    }
    for route in &spec.tls {
        for to in &route.route {
            destinations.insert(destination(&to.destination, None));
        }
    }
    delegates.sort();
    delegates.dedup();
    found.problems.sort();
    found.problems.dedup();
    VirtualServiceRule {
        object: rule.object.clone(),
        age: rule.age.clone(),
        hosts: spec.hosts.clone().into(),
        gateways: spec.gateways.clone().into(),
        export_to: export_to(rule, settings),
        destinations: destinations.into_iter().collect(),
        delegates: delegates.into(),
        spec,
        http: found.rules.into_iter().map(Arc::new).collect(),
        problems: found.problems.into(),
    }
}

/// The rule a delegate's name leads to, or why it may not be used.
fn usable<'a>(
    found: Option<&'a Arc<Rule<istio::VirtualService>>>,
    root: &Namespace,
    settings: &MeshSettings,
) -> Result<&'a Arc<Rule<istio::VirtualService>>, &'static str> {
    let found = found.ok_or("is not there")?;
    if !found.spec.hosts.is_empty() {
        return Err("has hosts of its own");
    }
    if !export_to(found, settings).includes(root) {
        return Err("is not exported here");
    }
    Ok(found)
}

/// Where a route was written.
#[derive(Debug, Clone)]
struct Place {
    object: ObjectKey,
    field: Arc<str>,
}

impl Place {
    fn new(object: &ObjectKey, index: usize) -> Self {
        Self {
            object: object.clone(),
            field: Arc::from(format!("spec.http[{index}]")),
        }
    }

    fn tell(
        &self,
        problems: &mut Vec<Problem>,
        code: &'static str,
        at: &str,
        reason: impl Into<String>,
    ) {
        let field = format!("{}{at}", self.field);
        problems.push(Problem::warning(code, reason).of(&self.object).field(field));
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.object, self.field)
    }
}

/// The routes of one `VirtualService`, one for each condition.
#[derive(Debug, Default)]
struct Found {
    rules: Vec<HttpRule>,
    problems: Vec<Problem>,
}

impl Found {
    /// Adds what of a route can be done.
    fn add(&mut self, mut route: HttpRoute, place: Place) {
        let mut told = clean::Told::new(&place, &mut self.problems);
        if !clean::action(&mut route, &mut told) {
            return;
        }
        let matches = std::mem::take(&mut route.matches);
        let conditions: Vec<Option<HttpMatchRequest>> = if matches.is_empty() {
            vec![None]
        } else {
            let good = |(index, mut condition)| {
                clean::condition(&mut condition, index, &mut told).then_some(Some(condition))
            };
            matches.into_iter().enumerate().filter_map(good).collect()
        };
        let action = Arc::new(HttpAction {
            route,
            object: place.object,
            field: place.field,
        });
        self.rules
            .extend(conditions.into_iter().map(|condition| HttpRule {
                condition,
                action: action.clone(),
            }));
    }
}

fn export_to(rule: &Rule<istio::VirtualService>, settings: &MeshSettings) -> ExportTo {
    ExportTo::resolve(
        rule.spec.export_to.iter().map(String::as_str),
        &rule.object.namespace,
        &settings.config.default_virtual_service_export_to,
    )
}

/// Makes every short name in `spec` a full one.
fn qualify(spec: &mut istio::VirtualService, own: &Namespace, settings: &MeshSettings) {
    let domain = &*settings.domain;
    let full = |to: &mut istio::Destination| to.host = to.host.resolve(own, domain);
    for host in &mut spec.hosts {
        *host = host.resolve(own, domain);
    }
    for route in &mut spec.http {
        route
            .route
            .iter_mut()
            .for_each(|to| full(&mut to.destination));
        route.mirror.iter_mut().for_each(full);
        route
            .mirrors
            .iter_mut()
            .for_each(|to| full(&mut to.destination));
        for matching in &mut route.matches {
            qualify_gateways(&mut matching.gateways, own);
        }
    }
    for route in &mut spec.tcp {
        route
            .route
            .iter_mut()
            .for_each(|to| full(&mut to.destination));
        route
            .matches
            .iter_mut()
            .for_each(|m| qualify_gateways(&mut m.gateways, own));
    }
    for route in &mut spec.tls {
        route
            .route
            .iter_mut()
            .for_each(|to| full(&mut to.destination));
        route
            .matches
            .iter_mut()
            .for_each(|m| qualify_gateways(&mut m.gateways, own));
    }
    if spec.gateways.is_empty() {
        spec.gateways.push("mesh".to_owned());
    }
    qualify_gateways(&mut spec.gateways, own);
}

/// `name` becomes `namespace/name`; `mesh` and full names stay.
fn qualify_gateways(gateways: &mut [String], own: &Namespace) {
    for gateway in gateways {
        if gateway != "mesh" && !gateway.contains('/') {
            *gateway = format!("{own}/{gateway}");
        }
    }
}

fn collect_http(rule: &HttpRule, into: &mut BTreeSet<Destination>) {
    let source = rule
        .condition
        .as_ref()
        .and_then(|condition| condition.source_namespace.as_deref())
        .filter(|namespace| !namespace.is_empty());
    let only_from = source.map(|namespace| Box::from([Namespace::from(namespace)]));
    let route = &rule.action.route;
    let all = route
        .route
        .iter()
        .map(|to| &to.destination)
        .chain(&route.mirror)
        .chain(route.mirrors.iter().map(|to| &to.destination));
    for to in all {
        into.insert(destination(to, only_from.clone()));
    }
}

fn destination(to: &istio::Destination, only_from: Option<Box<[Namespace]>>) -> Destination {
    let port = to
        .port
        .as_ref()
        .and_then(|port| u16::try_from(port.number).ok());
    Destination {
        host: to.host.clone(),
        port: port.filter(|port| *port != 0),
        only_from,
    }
}

#[cfg(test)]
mod tests;
