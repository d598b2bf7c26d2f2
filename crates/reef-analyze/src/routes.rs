//! `VirtualService`s: where they lead, who else has their hosts, whom they delegate to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reef_config::istio::{Destination, VirtualService};
use reef_config::{Hostname, Kind, Namespace, Object, ObjectKey, Spec};
use reef_mesh::ExportTo;

use crate::Findings;
use crate::view::{Found, View, overlap};

reef_config::validation_rules! {
    [Kind::VirtualService];
    Warning ("IST0101") HOST_UNKNOWN "vs-host-unknown" "A destination is a host some service has";
    Warning ("IST0101") HOST_HIDDEN "vs-host-hidden" "A destination is a host whose service is exported to the VirtualService's namespace";
    Warning ("IST0101") SUBSET_UNKNOWN "vs-subset-unknown" "A subset of a destination is defined by the DestinationRule of its host";
    Warning ("IST0112") PORT_NEEDED "vs-port-needed" "A destination with several ports names one of them";
    Warning (own) PORT_UNKNOWN "vs-port-unknown" "The port of a destination is one of its service's";
    Warning ("IST0101") GATEWAY_UNKNOWN "vs-gateway-unknown" "A gateway that is named is there";
    Warning ("IST0132") GATEWAY_HOST "vs-gateway-host" "A gateway that is named serves a host of the VirtualService";
    Warning ("IST0109") HOST_CONFLICT "vs-host-conflict" "Two VirtualServices for sidecars that the same clients see have no host in common; the older one counts";
    Warning ("IST0101") DELEGATE_UNKNOWN "vs-delegate-unknown" "A VirtualService that is delegated to is there";
    Warning (own) DELEGATE_ROOT "vs-delegate-root" "A VirtualService that is delegated to has no hosts";
    Warning (own) DELEGATE_HIDDEN "vs-delegate-hidden" "A VirtualService that is delegated to is exported to the namespace of its root";
    Info (own) DELEGATE_UNUSED "vs-delegate-unused" "A VirtualService without hosts is delegated to";
}

/// Looks at all `VirtualService`s.
pub(crate) fn analyze(view: &View<'_>, findings: &mut Findings) {
    let mut used: BTreeSet<ObjectKey> = BTreeSet::new();
    let mut by_host: BTreeMap<Hostname, Vec<(&Object, ExportTo)>> = BTreeMap::new();
    let default = &view
        .snapshot
        .settings()
        .config
        .default_virtual_service_export_to;
    for object in view.objects {
        let Spec::VirtualService(service) = &object.spec else {
            continue;
        };
        destinations(view, findings, object, service);
        gateways(view, findings, object, service);
        delegates(view, findings, object, service, &mut used);
        let mesh = service.gateways.is_empty() || service.gateways.iter().any(|g| g == "mesh");
        for host in service.hosts.iter().filter(|_| mesh) {
            let full = view.full(host, &object.key.namespace);
            let exports = view.exports(object, &service.export_to, default);
            by_host.entry(full).or_default().push((object, exports));
        }
    }
    for (host, mut all) in by_host {
        all.sort_by_key(|(object, _)| object.age());
        for (index, (object, exports)) in all.iter().enumerate() {
            let older = all
                .iter()
                .take(index)
                .find(|(other, seen)| other.key != object.key && overlap(exports, seen));
            if let Some((older, _)) = older {
                let reason = format!("{} has the host {host}, too, and is older", older.key);
                findings.tell(&HOST_CONFLICT, object, "spec.hosts", reason);
            }
        }
    }
    for object in view.objects {
        if let Spec::VirtualService(service) = &object.spec
            && service.hosts.is_empty()
            && !used.contains(&object.key)
        {
            let reason = "no virtual service delegates to this one".to_owned();
            findings.tell(&DELEGATE_UNUSED, object, "spec.hosts", reason);
        }
    }
}

fn destinations(
    view: &View<'_>,
    findings: &mut Findings,
    object: &Object,
    service: &VirtualService,
) {
    for (index, route) in service.http.iter().enumerate() {
        let at = format!("spec.http[{index}]");
        // A route for one port sends what comes there to the same port.
        let ports = route.matches.iter().all(|m| m.port.is_some()) && !route.matches.is_empty();
        for (number, to) in route.route.iter().enumerate() {
            let at = format!("{at}.route[{number}].destination");
            destination(view, findings, object, &at, &to.destination, ports);
        }
        if let Some(to) = &route.mirror {
            destination(view, findings, object, &format!("{at}.mirror"), to, ports);
        }
        for (number, to) in route.mirrors.iter().enumerate() {
            let at = format!("{at}.mirrors[{number}].destination");
            destination(view, findings, object, &at, &to.destination, ports);
        }
    }
    for (index, route) in service.tls.iter().enumerate() {
        let ports = route.matches.iter().all(|m| m.port.is_some());
        for (number, to) in route.route.iter().enumerate() {
            let at = format!("spec.tls[{index}].route[{number}].destination");
            destination(view, findings, object, &at, &to.destination, ports);
        }
    }
    for (index, route) in service.tcp.iter().enumerate() {
        let ports = route.matches.iter().all(|m| m.port.is_some()) && !route.matches.is_empty();
        for (number, to) in route.route.iter().enumerate() {
            let at = format!("spec.tcp[{index}].route[{number}].destination");
            destination(view, findings, object, &at, &to.destination, ports);
        }
    }
}

fn destination(
    view: &View<'_>,
    findings: &mut Findings,
    object: &Object,
    at: &str,
    to: &Destination,
    port_matched: bool,
) {
    let own = &object.key.namespace;
    let host = view.full(&to.host, own);
    let service = match view.find(&host, own) {
        Found::Service(service) => service,
        Found::Hidden => {
            let reason = format!("{host} is not exported to namespace {own}");
            findings.tell(&HOST_HIDDEN, object, format!("{at}.host"), reason);
            return;
        }
        Found::Nothing => {
            let reason = format!("no service has the host {host}");
            findings.tell(&HOST_UNKNOWN, object, format!("{at}.host"), reason);
            return;
        }
    };
    match &to.port {
        None if service.ports.len() > 1 && !port_matched => {
            let numbers: Vec<String> = service
                .ports
                .iter()
                .map(|port| port.number.to_string())
                .collect();
            let reason = format!("{host} has the ports {}; name one", numbers.join(", "));
            findings.tell(&PORT_NEEDED, object, at, reason);
        }
        Some(port) => {
            let known = u16::try_from(port.number).is_ok_and(|port| service.port(port).is_some());
            if !known {
                let reason = format!("{host} has no port {}", port.number);
                findings.tell(&PORT_UNKNOWN, object, format!("{at}.port"), reason);
            }
        }
        None => {}
    }
    if let Some(subset) = to.subset.as_deref().filter(|subset| !subset.is_empty()) {
        let policies = view.snapshot.destination_rules(own, &service.key);
        let defined = policies
            .iter()
            .any(|policy| policy.spec.subsets.iter().any(|known| known.name == subset));
        if !defined {
            let reason = format!("no destination rule of {host} defines the subset {subset}");
            findings.tell(&SUBSET_UNKNOWN, object, format!("{at}.subset"), reason);
        }
    }
}

/// The key of a gateway as a rule of `own` names it.
fn gateway_key(object: &Object, name: &str) -> ObjectKey {
    let own = &object.key.namespace;
    let (namespace, name) = match name.split_once('/') {
        Some((namespace, name)) => (Namespace::from(namespace), name),
        None => match name.split_once('.') {
            // The old form is a domain name.
            Some((name, rest)) => {
                let namespace = rest.split('.').next().unwrap_or_default();
                (Namespace::from(namespace), name)
            }
            None => (own.clone(), name),
        },
    };
    ObjectKey {
        cluster: object.key.cluster.clone(),
        kind: Kind::Gateway,
        namespace,
        name: Arc::from(name),
    }
}

fn gateways(view: &View<'_>, findings: &mut Findings, object: &Object, service: &VirtualService) {
    for (index, name) in service.gateways.iter().enumerate() {
        if name == "mesh" {
            continue;
        }
        let field = format!("spec.gateways[{index}]");
        let key = gateway_key(object, name);
        let Some(Spec::Gateway(gateway)) = view.object(&key).map(|found| &found.spec) else {
            findings.tell(
                &GATEWAY_UNKNOWN,
                object,
                field,
                format!("there is no {key}"),
            );
            continue;
        };
        let serves = |entry: &String, host: &Hostname| {
            let (namespace, pattern) = entry.split_once('/').unwrap_or(("*", entry));
            let here = match namespace {
                "*" => true,
                "." => key.namespace == object.key.namespace,
                other => object.key.namespace == *other,
            };
            here && Hostname::from(pattern).matches(host)
        };
        for host in &service.hosts {
            let served = gateway
                .servers
                .iter()
                .flat_map(|server| &server.hosts)
                .any(|entry| serves(entry, host));
            if !served {
                let reason = format!("{key} does not serve the host {host}");
                findings.tell(&GATEWAY_HOST, object, field.clone(), reason);
            }
        }
    }
}

fn delegates(
    view: &View<'_>,
    findings: &mut Findings,
    object: &Object,
    service: &VirtualService,
    used: &mut BTreeSet<ObjectKey>,
) {
    let default = &view
        .snapshot
        .settings()
        .config
        .default_virtual_service_export_to;
    for (index, route) in service.http.iter().enumerate() {
        let Some(delegate) = &route.delegate else {
            continue;
        };
        let namespace = delegate
            .namespace
            .as_deref()
            .filter(|namespace| !namespace.is_empty())
            .map_or_else(|| object.key.namespace.clone(), Namespace::from);
        let key = ObjectKey {
            cluster: object.key.cluster.clone(),
            kind: Kind::VirtualService,
            namespace,
            name: Arc::from(delegate.name.as_str()),
        };
        let field = format!("spec.http[{index}].delegate");
        let found = view.object(&key);
        match found.map(|found| (found, &found.spec)) {
            Some((found, Spec::VirtualService(theirs))) => {
                let exports = view.exports(found, &theirs.export_to, default);
                if !theirs.hosts.is_empty() {
                    let reason = format!("{key} has hosts, so it is no delegate");
                    findings.tell(&DELEGATE_ROOT, object, field, reason);
                } else if !exports.includes(&object.key.namespace) {
                    let reason = format!(
                        "{key} is not exported to namespace {}",
                        object.key.namespace
                    );
                    findings.tell(&DELEGATE_HIDDEN, object, field, reason);
                }
                used.insert(key);
            }
            _ => {
                findings.tell(
                    &DELEGATE_UNKNOWN,
                    object,
                    field,
                    format!("there is no {key}"),
                );
            }
        }
    }
}
