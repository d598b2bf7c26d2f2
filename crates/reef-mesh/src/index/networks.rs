//! Networks: which endpoints are in which, and the gateways into each.
//!
//! Gateways are told by the mesh (`meshNetworks`, with an address of their own), and by Services, labelled so or named in
//! `meshNetworks`: those stand for their external addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use reef_config::names::{ClusterId, Hostname};
use reef_config::{Kind, MeshNetworks, Object, ObjectKey, Problem, Spec, k8s, parse};

use super::convert::NETWORK_LABEL;
use super::{Marks, MeshIndex};
use crate::{ChangeReport, Cidr, MeshSettings, MeshSnapshot, NetworkGateway, NetworkGateways};

/// The label of a Service that says which of its ports is the gateway's.
const PORT_LABEL: &str = "networking.istio.io/gatewayPort";

/// The port of a gateway that does not say.
const DEFAULT_PORT: u16 = 15443;

/// The annotation of a Service whose ports on some nodes are the gateway's.
const NODES_ANNOTATION: &str = "traffic.istio.io/nodeSelector";

/// The networks as objects tell them.
#[derive(Debug, Default)]
pub(super) struct Networks {
    told: Arc<MeshNetworks>,
    /// Ports and networks of the Services `meshNetworks` names.
    named: BTreeMap<Hostname, Vec<(Arc<str>, u16)>>,
    by_service: BTreeMap<ObjectKey, OfService>,
    /// The gateways of Services are to be found again.
    differ: bool,
}

/// The gateways a Service stands for, and what is wrong with them.
#[derive(Debug, Default, PartialEq, Eq)]
struct OfService {
    gateways: Vec<(Arc<str>, NetworkGateway)>,
    problems: Vec<Problem>,
}

/// The network of Kubernetes endpoints that name none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fallback {
    /// What the root namespace's label names, else the network this cluster is in.
    all: Arc<str>,
    /// Ranges of addresses, the widest first; they count where nothing is said of all.
    ranges: Box<[(Cidr, Arc<str>)]>,
}

impl Fallback {
    /// The network of an endpoint with this address; empty is the default network.
    pub(super) fn of(&self, ip: Option<IpAddr>) -> &Arc<str> {
        if !self.all.is_empty() || self.ranges.is_empty() {
            return &self.all;
        }
        let holds = |range: &&(Cidr, Arc<str>)| ip.is_some_and(|ip| range.0.contains(ip));
        let found = self.ranges.iter().find(holds);
        found.map_or(&self.all, |(_, network)| network)
    }
}

impl Networks {
    /// Takes what the mesh says of its networks.
    pub(super) fn tell(&mut self, told: Arc<MeshNetworks>, cluster: &ClusterId) {
        if self.told == told {
            return;
        }
        self.named.clear();
        let own = told.networks.iter().filter(|(_, network)| {
            let mut from = network.endpoints.iter();
            from.any(|one| one.from_registry.as_deref() == Some(&**cluster))
        });
        for (name, network) in own {
            for gateway in &network.gateways {
                if let (Some(host), Ok(port)) =
                    (&gateway.registry_service_name, u16::try_from(gateway.port))
                {
                    let list = self.named.entry(Hostname::from(&**host)).or_default();
                    list.push((name.clone(), port));
                }
            }
        }
        self.told = told;
        self.differ = true;
    }

    /// Takes note of a Service that came, changed or went.
    pub(super) fn note(
        &mut self,
        key: &ObjectKey,
        service: Option<&Arc<Object>>,
        settings: &MeshSettings,
    ) {
        let found = service.and_then(|object| self.of_service(object, settings));
        self.differ |= match found {
            Some(found) => {
                let differs = self.by_service.get(key) != Some(&found);
                self.by_service.insert(key.clone(), found);
                differs
            }
            None => self.by_service.remove(key).is_some(),
        };
    }

    /// The gateways a Service stands for; `None` for nearly every one.
    fn of_service(&self, object: &Object, settings: &MeshSettings) -> Option<OfService> {
        let Spec::Service(service) = &object.spec else {
            return None;
        };
        let mut found = OfService::default();
        let mut told = |reason: String| {
            let mut problem = Problem::warning(parse::code::NOT_APPLIED, reason).of(&object.key);
            problem.origin.clone_from(&object.origin);
            found.problems.push(problem);
        };
        let labels = &object.meta.labels;
        let network = labels.get(NETWORK_LABEL).filter(|name| !name.is_empty());
        let ports: Vec<(Arc<str>, u16)> = if let Some(network) = network {
            let text = labels.get(PORT_LABEL).filter(|text| !text.is_empty());
            let port = text.and_then(|text| text.parse().ok().filter(|port| *port != 0));
            if let (Some(text), None) = (text, port) {
                told(format!(
                    "label {PORT_LABEL} is no port: {text:?}; {DEFAULT_PORT} is taken"
                ));
            }
            vec![(network.clone(), port.unwrap_or(DEFAULT_PORT))]
        } else if self.named.is_empty() {
            return None;
        } else {
            let host = settings.service_hostname(&object.key.name, &object.key.namespace);
            self.named.get(&host)?.clone()
        };
        let addresses = external_addresses(service);
        let by_node = object.meta.annotations.contains_key(NODES_ANNOTATION)
            && service.spec.service_type == k8s::ServiceType::NodePort;
        if by_node {
            told(format!(
                "annotation {NODES_ANNOTATION} is not read: ports of nodes are no gateways"
            ));
        } else if addresses.is_empty() {
            let networks: Vec<&str> = ports.iter().map(|(network, _)| &**network).collect();
            told(format!(
                "the gateway of network {} has no external address yet",
                networks.join(", ")
            ));
        }
        for (network, port) in &ports {
            for address in &addresses {
                let gateway = NetworkGateway::new(address, *port, object.key.cluster.clone());
                if gateway.ip.is_none() {
                    told(format!(
                        "the gateway of network {network} has a name for an address, {address}: it is used \
                         by services whose own endpoints are names, and by no other"
                    ));
                }
                found.gateways.push((network.clone(), gateway));
            }
        }
        Some(found)
    }

    fn gateways(&self) -> NetworkGateways {
        let by_address = self.told.networks.iter().flat_map(|(name, network)| {
            network.gateways.iter().filter_map(move |gateway| {
                let address = gateway.address.as_deref().filter(|text| !text.is_empty())?;
                let port = u16::try_from(gateway.port).ok()?;
                let gateway = NetworkGateway::new(address, port, ClusterId::from(""));
                Some((name.clone(), gateway))
            })
        });
        let by_service = self.by_service.values();
        NetworkGateways::collect(
            by_address.chain(by_service.flat_map(|found| found.gateways.iter().cloned())),
        )
    }

    /// What is wrong, of Services and of what the mesh says.
    pub(super) fn problems(&self) -> impl Iterator<Item = Problem> {
        let of_services = self.by_service.values();
        let by_name = self.told.networks.iter().flat_map(|(name, network)| {
            let names = network.gateways.iter().filter_map(move |gateway| {
                let address = gateway.address.as_deref()?;
                address.parse::<IpAddr>().is_err().then(|| {
                    let reason = format!(
                        "the gateway of network {name} has a name for an address, {address}: it is used \
                         by services whose own endpoints are names, and by no other"
                    );
                    Problem::warning(parse::code::NOT_APPLIED, reason)
                })
            });
            names.collect::<Vec<_>>()
        });
        of_services
            .flat_map(|found| found.problems.iter().cloned())
            .chain(by_name)
    }

    /// The network of endpoints that name none, where the root namespace's label is `labelled`.
    fn fallback(&self, labelled: Option<&Arc<str>>, cluster: &ClusterId) -> Fallback {
        let networks = &self.told.networks;
        let mut named = networks.iter().filter(|(_, network)| {
            let mut from = network.endpoints.iter();
            from.any(|one| one.from_registry.as_deref() == Some(&**cluster))
        });
        let all = labelled
            .filter(|network| !network.is_empty())
            .or_else(|| named.next().map(|(name, _)| name));
        let mut ranges: Vec<(Cidr, Arc<str>)> = networks
            .iter()
            .flat_map(|(name, network)| {
                let ranges = network.endpoints.iter().filter_map(|one| one.range());
                ranges.map(|(ip, prefix)| (Cidr { ip, prefix }, name.clone()))
            })
            .collect();
        ranges.sort_by_key(|(range, _)| range.prefix);
        Fallback {
            all: all.cloned().unwrap_or_default(),
            ranges: ranges.into(),
        }
    }
}

impl MeshIndex {
    /// Finds the network of endpoints that name none.
    pub(super) fn link_network(&mut self, next: &MeshSnapshot, marks: &mut Marks) {
        let root = next.namespaces.get(&next.settings.root_namespace);
        let labelled = root.and_then(|info| info.labels.get(NETWORK_LABEL));
        let networks = self.networks.fallback(labelled, &next.settings.cluster);
        if networks == self.shared.networks {
            return;
        }
        self.shared.networks = networks;
        marks.make_anew(self.objects.pod_ids());
        marks.endpoints.extend(self.objects.claimed());
    }

    /// Takes what the mesh says of its networks, and looks again which Services are gateways.
    pub(super) fn tell_networks(&mut self, told: Arc<MeshNetworks>, next: &MeshSnapshot) {
        let settings = next.settings();
        self.networks.tell(told, &settings.cluster);
        if self.networks.differ {
            for key in self.objects.keys_of_kind(Kind::Service) {
                let object = self.objects.get(&key).cloned();
                self.networks.note(&key, object.as_ref(), settings);
            }
        }
    }

    /// Publishes the gateways if they differ; services and their endpoints are linked before.
    pub(super) fn link_gateways(&mut self, next: &mut MeshSnapshot, report: &mut ChangeReport) {
        if !std::mem::take(&mut self.networks.differ) {
            return;
        }
        let problems: BTreeSet<Problem> = self.networks.problems().collect();
        if problems != self.network_problems {
            self.network_problems = problems;
            report.problems = true;
        }
        let gateways = self.networks.gateways();
        report.networks = gateways.differing(&next.network_gateways);
        if report.networks.is_empty() {
            return;
        }
        next.network_gateways = Arc::new(gateways);
        // Gateways change rarely, so nobody keeps a list of who is in which network.
        let led = next.by_host.values().filter(|hosted| {
            let mut all = hosted.endpoints.iter().flat_map(|all| all.iter());
            all.any(|endpoint| report.networks.contains(&endpoint.network))
        });
        report.led = led.map(|hosted| hosted.service.key.clone()).collect();
    }
}

/// Addresses of a Service outside its cluster: those it was given, and those of its load balancer.
fn external_addresses(service: &k8s::Service) -> BTreeSet<&str> {
    let given = service.spec.external_ips.iter().map(|ip| &**ip);
    let balancer = service.status.load_balancer.ingress.iter();
    let balancer = balancer
        .filter(|_| service.spec.service_type == k8s::ServiceType::LoadBalancer)
        .filter_map(|one| {
            let ip = one.ip.as_deref().filter(|ip| !ip.is_empty());
            ip.or(one.hostname.as_deref())
        });
    given
        .chain(balancer)
        .filter(|text| !text.is_empty())
        .collect()
}
