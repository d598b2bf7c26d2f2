//! Links endpoints: from slices, pods and workload entries to the endpoints of one service.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use reef_config::istio;
use reef_config::k8s;
use reef_config::names::Namespace;
use reef_config::{Kind, Labels, Object, ObjectKey, Spec};

use super::convert;
use super::networks::Fallback;
use super::objects::{Objects, PodId};
use super::pods::id_of;
use crate::{
    Address, Endpoint, Health, Locality, MeshSettings, Pod, Resolution, Service, ServiceEndpoints,
    ServicePort, TargetPort, TlsMode, Workload, WorkloadInstance,
};

/// Endpoints of a service and the pods their addresses refer to, there or not.
pub(super) struct Linked {
    pub(super) endpoints: ServiceEndpoints,
    pub(super) pods: BTreeSet<PodId>,
}

/// Values many endpoints share, kept so that equal ones are stored once.
#[derive(Debug, Default)]
pub(super) struct Shared {
    localities: HashMap<Arc<str>, Arc<Locality>, FixedState>,
    /// Of pods seen of late: those of one deployment mostly come together.
    workloads: HashSet<Arc<Workload>, FixedState>,
    /// Ports of containers, likewise.
    ports: HashSet<Arc<[Port]>, FixedState>,
    /// Where nothing says.
    pub(super) empty: Arc<Locality>,
    /// Network of Kubernetes endpoints that name none.
    pub(super) networks: Fallback,
}

/// Name and number.
type Port = (Arc<str>, u16);

/// Workloads remembered; they are few hundred bytes each. So many lists of ports are, too.
const REMEMBERED: usize = 4096;

impl Shared {
    /// A workload, the same one if an equal one was seen of late.
    pub(super) fn workload(&mut self, workload: Workload) -> Arc<Workload> {
        remembered(&mut self.workloads, Arc::new(workload))
    }

    /// Ports of containers, the same ones if equal ones were seen of late.
    pub(super) fn ports(&mut self, ports: Arc<[Port]>) -> Arc<[Port]> {
        remembered(&mut self.ports, ports)
    }

    fn locality(&mut self, text: Option<&Arc<str>>) -> Arc<Locality> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return self.empty.clone();
        };
        self.localities
            .entry(text.clone())
            .or_insert_with(|| Arc::new(Locality::parse(text)))
            .clone()
    }
}

/// The value that is known and equal to this one, else this one, which is known from now on.
fn remembered<T: ?Sized + Eq + Hash>(
    known: &mut HashSet<Arc<T>, FixedState>,
    value: Arc<T>,
) -> Arc<T> {
    if let Some(known) = known.get(&value) {
        return Arc::clone(known);
    }
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.insert(Arc::clone(&value));
    value
}

/// Links the endpoints of `service`, declared by `object`.
pub(super) fn endpoints(
    service: &Service,
    object: &Object,
    objects: &Objects,
    settings: &MeshSettings,
    shared: &mut Shared,
) -> Linked {
    match &object.spec {
        Spec::ServiceEntry(entry) => Linked {
            endpoints: of_entry(service, object, entry, objects, settings, shared),
            pods: BTreeSet::new(),
        },
        _ if service.resolution == Resolution::Alias => Linked {
            endpoints: ServiceEndpoints::default(),
            pods: BTreeSet::new(),
        },
        _ => of_kubernetes(service, object, objects, shared),
    }
}

/// One address of a slice or an `Endpoints` object, with the port numbers of its set by name.
struct Found<'a> {
    ip: IpAddr,
    health: Health,
    node: Option<Arc<str>>,
    pod: Option<&'a Arc<Pod>>,
    ports: &'a [k8s::EndpointPort],
}

fn of_kubernetes(
    service: &Service,
    object: &Object,
    objects: &Objects,
    shared: &mut Shared,
) -> Linked {
    let mut pods = BTreeSet::new();
    let mut found: Vec<Found<'_>> = Vec::new();
    let slices = objects.slices_of(service);
    for slice in &slices {
        if &*slice.address_type == "FQDN" {
            continue;
        }
        for endpoint in &slice.endpoints {
            let Some(ip) = endpoint.addresses.first().and_then(|ip| ip.parse().ok()) else {
                continue;
            };
            let Some(health) = slice_health(&endpoint.conditions, service.persistent_session)
            else {
                continue;
            };
            let reference = endpoint.target_ref.as_ref();
            let Some(pod) = pod_behind(reference, service, objects, &mut pods) else {
                continue;
            };
            found.push(Found {
                ip,
                health,
                node: endpoint.node_name.clone(),
                pod,
                ports: &slice.ports,
            });
        }
    }
    if slices.is_empty() {
        let key = ObjectKey {
            kind: Kind::Endpoints,
            ..object.key.clone()
        };
        if let Some(Spec::Endpoints(legacy)) = objects.get(&key).map(|object| &object.spec) {
            of_legacy(legacy, service, objects, &mut pods, &mut found);
        }
    }
    let entries = if service.resolution == Resolution::ClientSide && !service.selector.is_empty() {
        objects.workload_entries(&service.key.namespace, &service.selector)
    } else {
        Vec::new()
    };
    let plain = Arc::new(convert::workload(
        Arc::default(),
        &service.key.namespace,
        &object.key.cluster,
        Arc::default(),
        &Labels::default(),
    ));
    let ports = service.ports.iter().map(|port| {
        let mut seen = BTreeSet::new();
        let mut list = Vec::new();
        for at in &found {
            let number = at
                .ports
                .iter()
                .find(|known| *known.name.as_deref().unwrap_or_default() == *port.name)
                .and_then(|known| known.port);
            let Some(number) = number.filter(|_| seen.insert(at.ip)) else {
                continue;
            };
            list.push(match at.pod {
                Some(pod) => of_pod(pod, Address::Ip(at.ip), number, at.health, at.node.clone()),
                None => Endpoint {
                    address: Address::Ip(at.ip),
                    port: number,
                    weight: 1,
                    health: at.health,
                    tls_mode: TlsMode::Disabled,
                    locality: shared.empty.clone(),
                    node: at.node.clone(),
                    network: shared.networks.of(Some(at.ip)).clone(),
                    workload: plain.clone(),
                },
            });
        }
        for entry in &entries {
            let Some(ip) = entry.address.ip() else {
                continue;
            };
            let number = entry.port_of(&port.name).or(match &port.target {
                TargetPort::Number(number) => Some(*number),
                TargetPort::Same => Some(port.number),
                TargetPort::Named(name) => entry.port_of(name),
            });
            if let Some(number) = number.filter(|_| seen.insert(ip)) {
                list.push(of_instance(entry, number));
            }
        }
        (port.name.clone(), list.into_boxed_slice())
    });
    let ports = ports.collect();
    Linked {
        endpoints: ServiceEndpoints { ports },
        pods,
    }
}

fn of_legacy<'a>(
    legacy: &'a k8s::Endpoints,
    service: &Service,
    objects: &'a Objects,
    pods: &mut BTreeSet<PodId>,
    found: &mut Vec<Found<'a>>,
) {
    for subset in &legacy.subsets {
        let unready = if service.publish_not_ready {
            Health::Healthy
        } else {
            Health::Unhealthy
        };
        let ready = subset
            .addresses
            .iter()
            .map(|address| (address, Health::Healthy));
        let not_ready = subset
            .not_ready_addresses
            .iter()
            .map(|address| (address, unready));
        for (address, health) in ready.chain(not_ready) {
            let Ok(ip) = address.ip.parse() else { continue };
            let reference = address.target_ref.as_ref();
            let Some(pod) = pod_behind(reference, service, objects, pods) else {
                continue;
            };
            let node = address.node_name.clone();
            found.push(Found {
                ip,
                health,
                node,
                pod,
                ports: &subset.ports,
            });
        }
    }
}

/// The pod an address refers to: `Some(None)` if it refers to none, `None` if the endpoint has to
/// wait for it, or must not be used.
#[expect(
    clippy::option_option,
    reason = "three cases: no pod meant, pod there, pod awaited"
)]
fn pod_behind<'a>(
    reference: Option<&k8s::ObjectReference>,
    service: &Service,
    objects: &'a Objects,
    pods: &mut BTreeSet<PodId>,
) -> Option<Option<&'a Arc<Pod>>> {
    let Some(reference) = reference.filter(|to| to.kind.as_deref() == Some("Pod")) else {
        return Some(None);
    };
    let namespace = reference
        .namespace
        .clone()
        .map_or_else(|| service.key.namespace.clone(), Namespace::from);
    let id: PodId = (
        namespace,
        Arc::from(reference.name.as_deref().unwrap_or_default()),
    );
    let Some(pod) = objects.pod(&id) else {
        pods.insert(id);
        return None;
    };
    // Not the name as the slice has it: the pod's is there already.
    pods.insert(id_of(pod));
    let pod = Some(pod).filter(|pod| !pod.finished)?;
    let draining = pod.labels.contains_key("istio.io/draining");
    (!draining || service.persistent_session).then_some(Some(pod))
}

/// Health of a slice endpoint; `None` if it is going away and must not be used.
///
/// Not ready without a `terminating` condition counts as going away, as in Istio.
fn slice_health(conditions: &k8s::EndpointConditions, persistent_session: bool) -> Option<Health> {
    if conditions.is_ready() {
        return Some(Health::Healthy);
    }
    if conditions.terminating == Some(false) {
        return Some(Health::Unhealthy);
    }
    let drains = persistent_session && conditions.serving == Some(true);
    drains.then_some(Health::Draining)
}

fn of_pod(
    pod: &Pod,
    address: Address,
    port: u16,
    health: Health,
    node: Option<Arc<str>>,
) -> Endpoint {
    let draining = pod.labels.contains_key("istio.io/draining");
    Endpoint {
        address,
        port,
        weight: 1,
        health: if draining { Health::Draining } else { health },
        tls_mode: pod.tls_mode,
        locality: pod.locality.clone(),
        node: pod.node.clone().or(node),
        network: pod.network.clone(),
        workload: pod.workload.clone(),
    }
}

fn of_instance(entry: &WorkloadInstance, port: u16) -> Endpoint {
    Endpoint {
        address: entry.address.clone(),
        port,
        weight: entry.weight,
        health: Health::Healthy,
        tls_mode: entry.tls_mode,
        locality: entry.locality.clone(),
        node: None,
        network: entry.network.clone(),
        workload: entry.workload.clone(),
    }
}

fn of_entry(
    service: &Service,
    object: &Object,
    entry: &istio::ServiceEntry,
    objects: &Objects,
    settings: &MeshSettings,
    shared: &mut Shared,
) -> ServiceEndpoints {
    let dns = service.has_inline_endpoints();
    let usable = |address: &Address| match address {
        Address::Ip(_) | Address::Pipe(_) => true,
        Address::Host(host) => dns && !host.is_empty(),
        Address::Cidr(_) => false,
    };
    // What an object of its own says about a socket or a name only names that are resolved read.
    let selectable = |address: &Address| match address {
        Address::Ip(_) => true,
        Address::Pipe(_) => dns,
        other => usable(other),
    };
    // What has no address is entered through the gateway of its network.
    let elsewhere = |address: &Address, network: &str| address.is_nowhere() && !network.is_empty();
    let namespace = &service.key.namespace;
    let selected = entry
        .workload_selector
        .as_ref()
        .filter(|_| entry.endpoints.is_empty());
    let (entries, pods) = match selected {
        Some(selector) => (
            objects.workload_entries(namespace, &selector.labels),
            objects.pods_selected(namespace, &selector.labels),
        ),
        None => (Vec::new(), Vec::new()),
    };
    let mut workloads = Workloads::default();
    let fallback = dns && selected.is_none() && entry.endpoints.is_empty();
    let fallback = fallback && !service.key.hostname.is_wildcard();
    let ports = service.ports.iter().map(|port| {
        let mut list = Vec::with_capacity(entry.endpoints.len());
        for inline in &entry.endpoints {
            let address = Address::parse(&inline.address);
            let network = inline.network.clone().unwrap_or_default();
            if !usable(&address) && !elsewhere(&address, &network) {
                continue;
            }
            let by_name = inline
                .ports
                .get(&port.name)
                .and_then(|p| u16::try_from(p).ok());
            list.push(Endpoint {
                port: entry_port(&address, by_name, port),
                address,
                weight: inline.weight.filter(|weight| *weight > 0).unwrap_or(1),
                health: Health::Healthy,
                tls_mode: convert::entry_tls_mode(inline, &inline.labels),
                locality: shared.locality(inline.locality.as_ref()),
                node: None,
                network,
                workload: workloads.of(inline, object, settings),
            });
        }
        for instance in entries
            .iter()
            .filter(|it| selectable(&it.address) || elsewhere(&it.address, &it.network))
        {
            let number = entry_port(&instance.address, instance.port_of(&port.name), port);
            list.push(of_instance(instance, number));
        }
        for pod in &pods {
            let Some(ip) = pod.ips.first() else { continue };
            let number = match port.target {
                TargetPort::Number(number) => number,
                _ => port.number,
            };
            list.push(of_pod(pod, Address::Ip(*ip), number, Health::Healthy, None));
        }
        if fallback {
            let address = Address::Host(service.key.hostname.shared().clone());
            list.push(Endpoint {
                port: entry_port(&address, None, port),
                address,
                weight: 1,
                health: Health::Healthy,
                tls_mode: TlsMode::Disabled,
                locality: shared.empty.clone(),
                node: None,
                network: Arc::default(),
                workload: workloads.of(&istio::WorkloadEntry::default(), object, settings),
            });
        }
        if service.resolution == Resolution::DnsRoundRobin {
            list.truncate(1);
        }
        (port.name.clone(), list.into_boxed_slice())
    });
    ServiceEndpoints {
        ports: ports.collect(),
    }
}

/// Port of an endpoint of a service entry: none for sockets, else what the endpoint says for the
/// port's name, else the service port's target, else its number.
fn entry_port(address: &Address, by_name: Option<u16>, port: &ServicePort) -> u16 {
    match (address, by_name, &port.target) {
        (Address::Pipe(_), _, _) => 0,
        (_, Some(number), _) => number,
        (_, None, TargetPort::Number(number)) => *number,
        _ => port.number,
    }
}

/// Workload facts of inline endpoints; endpoints with equal labels and account share one.
#[derive(Default)]
struct Workloads(BTreeMap<(Labels, Option<Arc<str>>), Arc<Workload>>);

impl Workloads {
    fn of(
        &mut self,
        entry: &istio::WorkloadEntry,
        object: &Object,
        settings: &MeshSettings,
    ) -> Arc<Workload> {
        let key = (entry.labels.clone(), entry.service_account.clone());
        let make = || {
            Arc::new(convert::workload(
                object.key.name.clone(),
                &object.key.namespace,
                &object.key.cluster,
                convert::entry_account(entry, &object.key.namespace, settings),
                &entry.labels,
            ))
        };
        self.0.entry(key).or_insert_with(make).clone()
    }
}
