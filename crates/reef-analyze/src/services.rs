//! Services and service entries: hosts claimed twice, names of ports, exports to nowhere.

use std::collections::BTreeMap;

use reef_config::{Hostname, Kind, Object, Spec};
use reef_mesh::{ExportTo, Protocol};

use crate::Findings;
use crate::view::{View, overlap};

reef_config::validation_rules! {
    [Kind::ServiceEntry];
    Warning (own) HOST_TWICE "se-host-twice" "Two ServiceEntries that the same clients see have no host in common, unless their ports differ";
    Info (own) HOST_OF_SERVICE "se-host-of-service" "A ServiceEntry does not have the host of a Kubernetes service, which comes first";
}

/// Rules of Kubernetes services.
pub(crate) mod of_services {
    use super::Kind;

    reef_config::validation_rules! {
        [Kind::Service];
        Info ("IST0118") PORT_NAME "svc-port-name" "The name of a TCP port begins with its protocol and a dash, or appProtocol says it; else the protocol is detected";
        Warning ("IST0150") EXTERNAL_PORT "svc-external-port" "The ports of an ExternalName service are not TCP: connections to any address would be taken for it";
        Warning ("IST0137") TARGET_TWICE "svc-target-twice" "Two services of the same pods lead to one port of theirs by the same port";
        Warning ("IST0116") PROTOCOLS "svc-protocols" "Two services of the same pods with the same port have the same protocol there";
    }
}

/// Rules of `exportTo`.
pub(crate) mod exports {
    use super::Kind;

    reef_config::validation_rules! {
        [Kind::VirtualService, Kind::DestinationRule, Kind::ServiceEntry];
        Warning (own) NAMESPACE "export-namespace-unknown" "exportTo names namespaces that are there";
    }
}

/// Looks at all services.
pub(crate) fn analyze(view: &View<'_>, findings: &mut Findings) {
    export_targets(view, findings);
    hosts(view, findings);
    ports(view, findings);
    of_same_pods(view, findings);
}

fn export_targets(view: &View<'_>, findings: &mut Findings) {
    for object in view.objects {
        let entries: Vec<&str> = match &object.spec {
            Spec::VirtualService(spec) => spec.export_to.iter().map(String::as_str).collect(),
            Spec::DestinationRule(spec) => spec.export_to.iter().map(String::as_str).collect(),
            Spec::ServiceEntry(spec) => spec.export_to.iter().map(|to| &**to).collect(),
            _ => continue,
        };
        for (index, entry) in entries.into_iter().enumerate() {
            if !matches!(entry, "." | "*" | "~") && !view.has_namespace(entry) {
                let reason = format!("nothing is in the namespace {entry}");
                findings.tell(
                    &exports::NAMESPACE,
                    object,
                    format!("spec.exportTo[{index}]"),
                    reason,
                );
            }
        }
    }
}

fn hosts(view: &View<'_>, findings: &mut Findings) {
    let default = &view.snapshot.settings().config.default_service_export_to;
    /// Who has a host, whom it is for, and the numbers of its ports.
    type Claim<'m> = (&'m Object, ExportTo, Vec<u32>);
    let mut seen: BTreeMap<&Hostname, Vec<Claim<'_>>> = BTreeMap::new();
    for object in view.objects {
        let Spec::ServiceEntry(entry) = &object.spec else {
            continue;
        };
        for host in &entry.hosts {
            let exports = view.exports(object, &entry.export_to, default);
            let ports = entry.ports.iter().map(|port| port.number).collect();
            seen.entry(host).or_default().push((object, exports, ports));
            let service = view
                .snapshot
                .services_of_host(host)
                .find(|service| service.object.kind == Kind::Service);
            if let Some(service) = service {
                let reason = format!("{host} is the host of {}", service.object);
                findings.tell(&HOST_OF_SERVICE, object, "spec.hosts", reason);
            }
        }
    }
    for (host, mut all) in seen {
        all.sort_by_key(|(object, _, _)| object.age());
        for (index, (object, exports, ports)) in all.iter().enumerate() {
            let older = all.iter().take(index).find(|(other, to, theirs)| {
                other.key != object.key
                    && overlap(exports, to)
                    && theirs.iter().any(|port| ports.contains(port))
            });
            if let Some((older, _, _)) = older {
                let reason = format!("{} has the host {host}, too, and is older", older.key);
                findings.tell(&HOST_TWICE, object, "spec.hosts", reason);
            }
        }
    }
}

fn ports(view: &View<'_>, findings: &mut Findings) {
    for object in view.objects {
        let Spec::Service(service) = &object.spec else {
            continue;
        };
        let Some(indexed) = view
            .snapshot
            .services_of_namespace(&object.key.namespace)
            .find(|known| known.object == object.key)
        else {
            continue;
        };
        let external = indexed.external_name.is_some();
        for (index, (port, written)) in indexed.ports.iter().zip(&service.spec.ports).enumerate() {
            let field = format!("spec.ports[{index}].name");
            let name = written.name.as_deref().unwrap_or_default();
            if external && (port.protocol == Protocol::Tcp || port.protocol.is_auto()) {
                let reason = "connections to any address and this port are taken for it".to_owned();
                findings.tell(&of_services::EXTERNAL_PORT, object, field, reason);
            } else if port.protocol.is_auto() && !name.is_empty() {
                let reason = format!("{name} does not say the protocol, so it is detected");
                findings.tell(&of_services::PORT_NAME, object, field, reason);
            }
        }
    }
}

/// Services with equal selectors have the same pods.
fn of_same_pods(view: &View<'_>, findings: &mut Findings) {
    let mut alike = BTreeMap::new();
    for service in view.snapshot.services() {
        if service.object.kind == Kind::Service && !service.selector.is_empty() {
            let pods = (&service.key.namespace, &service.selector);
            alike.entry(pods).or_insert_with(Vec::new).push(service);
        }
    }
    for services in alike.values().filter(|services| services.len() > 1) {
        for (index, service) in services.iter().enumerate() {
            let Some(object) = view.object(&service.object) else {
                continue;
            };
            for older in services.iter().take(index) {
                for port in &service.ports {
                    if let Some(same) = older.port(port.number)
                        && same.protocol != port.protocol
                    {
                        let reason = format!(
                            "port {} has another protocol in {}, which has the same pods",
                            port.number, older.object
                        );
                        findings.tell(&of_services::PROTOCOLS, object, "spec.ports", reason);
                    }
                    let other = older
                        .ports
                        .iter()
                        .find(|other| other.target == port.target && other.number != port.number);
                    if let Some(other) = other {
                        let reason = format!(
                            "port {} leads where port {} of {} leads, which has the same pods",
                            port.number, other.number, older.object
                        );
                        findings.tell(&of_services::TARGET_TWICE, object, "spec.ports", reason);
                    }
                }
            }
        }
    }
}
