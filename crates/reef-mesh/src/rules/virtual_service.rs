//! Resolves the names in a `VirtualService` and collects where its routes lead.

use std::collections::BTreeSet;
use std::sync::Arc;

use reef_config::istio::{self, HttpRoute};
use reef_config::names::Namespace;
use reef_config::{Kind, ObjectKey};

use super::{Destination, Rule, VirtualServiceRule};
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
    let mut destinations = BTreeSet::new();
    let mut delegates = Vec::new();
    for route in &spec.http {
        collect_http(route, &mut destinations);
        let Some(delegate) = &route.delegate else {
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
        let usable = find(&key).filter(|found| {
            found.spec.hosts.is_empty() && export_to(found, settings).includes(own)
        });
        if let Some(found) = usable {
            let mut theirs = found.spec.clone();
            qualify(&mut theirs, &key.namespace, settings);
            let mut reached = BTreeSet::new();
            theirs
                .http
                .iter()
                .for_each(|inner| collect_http(inner, &mut reached));
            let clients = source_namespaces(route);
            destinations.extend(
                reached
                    .into_iter()
                    .filter_map(|to| narrowed(to, clients.as_deref())),
            );
        }
        delegates.push(key);
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
    VirtualServiceRule {
        object: rule.object.clone(),
        age: rule.age.clone(),
        hosts: spec.hosts.clone().into(),
        gateways: spec.gateways.clone().into(),
        export_to: export_to(rule, settings),
        destinations: destinations.into_iter().collect(),
        delegates: delegates.into(),
        spec,
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

/// The client namespaces a route is for, if every condition of it names one.
fn source_namespaces(route: &HttpRoute) -> Option<Box<[Namespace]>> {
    let sources: Option<BTreeSet<Namespace>> = route
        .matches
        .iter()
        .map(|m| {
            m.source_namespace
                .as_deref()
                .filter(|ns| !ns.is_empty())
                .map(Namespace::from)
        })
        .collect();
    sources
        .filter(|all| !all.is_empty())
        .map(|all| all.into_iter().collect())
}

/// A destination of a delegate, for the clients the root's route is for; `None` if no client may
/// be meant by both.
fn narrowed(mut to: Destination, clients: Option<&[Namespace]>) -> Option<Destination> {
    let Some(clients) = clients else {
        return Some(to);
    };
    let both: Box<[Namespace]> = match &to.only_from {
        None => clients.into(),
        Some(theirs) => theirs
            .iter()
            .filter(|ns| clients.contains(ns))
            .cloned()
            .collect(),
    };
    let meant = !both.is_empty();
    to.only_from = Some(both);
    meant.then_some(to)
}

fn collect_http(route: &HttpRoute, into: &mut BTreeSet<Destination>) {
    let only_from = source_namespaces(route);
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
