//! Load assignments: endpoints of one service port by locality, with health and weights.
//!
//! A load assignment depends on the proxy only through a few selections: the node, for services
//! whose traffic stays on it, the networks the proxy asked for, and the gateways to networks other
//! than its own. So nearly all proxies share it.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use reef_config::{ClusterId, Labels, Namespace};
use reef_mesh::{
    Address, Endpoint, Health, Locality, NetworkGateway, Resolution, Service, ServiceEndpoints,
    ServiceKey, ServicePort, TlsMode, Workload,
};
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::config::endpoint::v3 as eds;

use crate::cluster::secured;
use crate::destination::{self, Effective};
use crate::input::{ClassInput, is_routable};
use crate::locality::{Level, Preference};
use crate::network::{Way, Ways};
use crate::security::{Plaintext, plaintext_endpoints};
use crate::{names, xds};

/// Everything the load assignment of one cluster reads.
///
/// Equality is by content, and cheap where the snapshot shares endpoints by pointer. Hashing reads
/// the name and the selections only: versions of one assignment share a bucket, which is short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointKey {
    pub(crate) name: Arc<str>,
    pub(crate) port: Arc<str>,
    pub(crate) endpoints: Option<Arc<ServiceEndpoints>>,
    pub(crate) only: Selection,
    /// Which endpoints get plaintext although they could do mTLS.
    pub(crate) plaintext: Plaintext,
}

/// Which endpoints of a service a proxy may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Selection {
    /// Only endpoints on this node; `Some(None)` is a proxy whose node is unknown: none.
    pub node: Option<Option<Arc<str>>>,
    /// Only endpoints in these networks.
    pub networks: Option<Arc<[Arc<str>]>>,
    /// The ways to endpoints that are not reached directly.
    pub ways: Option<Arc<Ways>>,
    /// Only endpoints of this cluster.
    pub cluster: Option<ClusterId>,
    /// Only endpoints with these labels: a subset.
    pub labels: Option<Labels>,
    /// Only healthy endpoints.
    pub healthy: bool,
    /// Which of them are preferred.
    pub prefer: Option<Arc<Preference>>,
}

impl EndpointKey {
    /// The resource name, which is the name of the cluster.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        self.name.clone()
    }
}

impl Hash for EndpointKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.only.hash(state);
    }
}

/// Selects the load assignments of a class: one per port of each service whose endpoints travel
/// over EDS, in scope order.
#[must_use]
pub fn endpoint_keys(input: &ClassInput) -> Vec<EndpointKey> {
    input
        .scope
        .services
        .iter()
        .flat_map(|scoped| of_service(input, &scoped.service))
        .collect()
}

/// Selects the load assignments of one service: the fast path after its endpoints changed.
///
/// Empty if the class does not import the service.
#[must_use]
pub fn endpoint_key(input: &ClassInput, service: &ServiceKey) -> Vec<EndpointKey> {
    input
        .scope
        .service(&service.hostname)
        .filter(|scoped| scoped.service.key == *service)
        .map(|scoped| of_service(input, &scoped.service))
        .unwrap_or_default()
}

fn of_service(input: &ClassInput, service: &Arc<Service>) -> Vec<EndpointKey> {
    if input.proxy.grpc {
        return crate::grpc::endpoint_keys(input, service);
    }
    if service.resolution != Resolution::ClientSide {
        return Vec::new();
    }
    let Some(rule) = destination::policy(input, &service.key) else {
        return of_ports(input, service, |port| is_routable(service, port));
    };
    let endpoints = input.snapshot.endpoints(&service.key);
    let secured = secured(input, service, Some(&rule));
    let mut keys = Vec::new();
    for port in service
        .ports
        .iter()
        .filter(|port| is_routable(service, port))
    {
        let by_policy = endpoints.map_or_else(Arc::default, |all| {
            plaintext_endpoints(&input.snapshot, all.of_port(&port.name))
        });
        let mut add = |name: Arc<str>, effective: &Effective<'_>, labels: Option<&Labels>| {
            // Neither kind of cluster asks for endpoints.
            if effective.keeps_destination() || secured.blocks(effective.tls) {
                return;
            }
            keys.push(EndpointKey {
                name,
                port: port.name.clone(),
                plaintext: Plaintext::of(effective.tls, &by_policy),
                endpoints: endpoints.cloned(),
                only: input.selection_by(service, effective, labels),
            });
        };
        let host = &service.key.hostname;
        let whole = destination::traffic_policy(&rule, port.number, None);
        add(names::outbound_cluster(port.number, host), &whole, None);
        for subset in &rule.spec.subsets {
            let own = whole.of_subset(subset, port.number);
            let name = names::outbound_subset_cluster(port.number, &subset.name, host);
            add(name, &own, Some(&subset.labels));
        }
    }
    keys
}

/// Selects the load assignments of those ports of a service that are `wanted`.
pub(crate) fn of_ports(
    input: &ClassInput,
    service: &Service,
    wanted: impl Fn(&ServicePort) -> bool,
) -> Vec<EndpointKey> {
    let endpoints = input.snapshot.endpoints(&service.key);
    let only = input.selection(service);
    service
        .ports
        .iter()
        .filter(|port| wanted(port))
        .map(|port| EndpointKey {
            name: names::outbound_cluster(port.number, &service.key.hostname),
            port: port.name.clone(),
            plaintext: endpoints.map_or_else(Plaintext::default, |all| {
                let list = all.of_port(&port.name);
                Plaintext::These(plaintext_endpoints(&input.snapshot, list))
            }),
            endpoints: endpoints.cloned(),
            only: only.clone(),
        })
        .collect()
}

/// Builds the load assignment. Without endpoints it has only its name: a valid, final answer.
#[must_use]
pub fn build_endpoints(key: &EndpointKey) -> eds::ClusterLoadAssignment {
    let endpoints = key
        .endpoints
        .as_deref()
        .map_or(&[][..], |all| all.of_port(&key.port));
    assignment(
        &key.name,
        (0u32..)
            .zip(endpoints)
            .filter(|(_, endpoint)| is_direct(endpoint) || key.only.way(endpoint).is_some()),
        &key.only,
        &key.plaintext,
    )
}

/// Groups endpoints by locality, sorted by the locality's text; their own order is kept. `plaintext`
/// says which get no mTLS.
pub(crate) fn assignment<'a>(
    name: &str,
    endpoints: impl Iterator<Item = (u32, &'a Endpoint)>,
    only: &Selection,
    plaintext: &Plaintext,
) -> eds::ClusterLoadAssignment {
    let mut groups = Groups::default();
    let mut gateways: BTreeMap<&Locality, Entrances<'_>> = BTreeMap::new();
    let scale = only.ways.as_ref().map_or(1, |ways| ways.scale);
    for (index, endpoint) in endpoints.filter(|(_, endpoint)| only.admits(endpoint)) {
        let mtls = endpoint.tls_mode == TlsMode::Istio && !plaintext.has(index);
        let weight = endpoint.weight.saturating_mul(scale);
        match only.way(endpoint) {
            // Without an address only a gateway leads to it.
            None if endpoint.address.is_nowhere() => {}
            None => {
                let place = (&*endpoint.locality, only.priority(endpoint));
                groups.add(place, weight, lb_endpoint(endpoint, weight, mtls));
            }
            // A gateway finds the service by the name TLS asks for.
            Some(way) if mtls => {
                let list = gateways.entry(&endpoint.locality).or_default();
                for gateway in &way.gateways {
                    let sum = list.entry((gateway, &way.network)).or_default();
                    *sum = sum.saturating_add(way.share(weight));
                }
            }
            Some(_) => {}
        }
    }
    for (locality, list) in gateways {
        for ((gateway, network), weight) in list {
            let endpoint = entrance(gateway, network);
            let prefer = only.prefer.as_deref();
            let priority = prefer.map_or(0, |prefer| prefer.priority(&endpoint, locality));
            let weight = weight.max(1);
            let member = eds::LbEndpoint {
                // Nobody tells how it is.
                health_status: core::HealthStatus::Unknown.into(),
                ..lb_endpoint(&endpoint, weight, true)
            };
            groups.add((locality, priority), weight, member);
        }
    }
    let Groups(mut groups) = groups;
    groups.sort_by_cached_key(|((locality, priority), ..)| (locality.to_string(), *priority));
    // Envoy takes priorities without gaps only.
    let mut known: Vec<u32> = groups.iter().map(|((_, priority), ..)| *priority).collect();
    known.sort_unstable();
    known.dedup();
    let rank = |priority| u32::try_from(known.partition_point(|p| *p < priority)).unwrap_or(0);
    let mut groups: Vec<_> = groups
        .into_iter()
        .map(
            |((locality, priority), weight, members)| eds::LocalityLbEndpoints {
                locality: Some(core::Locality {
                    region: locality.region.to_string(),
                    zone: locality.zone.to_string(),
                    sub_zone: locality.subzone.to_string(),
                }),
                load_balancing_weight: Some(weight),
                priority: rank(priority),
                lb_endpoints: members,
                ..Default::default()
            },
        )
        .collect();
    if let Some(prefer) = &only.prefer {
        prefer.share(&mut groups);
    }
    eds::ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: groups,
        ..Default::default()
    }
}

/// Gateways in the order sent, with their networks, and the weight each has.
type Entrances<'a> = BTreeMap<(&'a NetworkGateway, &'a Arc<str>), u32>;

/// Endpoints by locality and priority, with the weight of all, in order of arrival.
#[derive(Default)]
struct Groups<'a>(Vec<((&'a Locality, u32), u32, Vec<eds::LbEndpoint>)>);

impl<'a> Groups<'a> {
    fn add(&mut self, place: (&'a Locality, u32), weight: u32, member: eds::LbEndpoint) {
        let Self(groups) = self;
        let at = groups
            .iter()
            .position(|(known, ..)| *known == place)
            .unwrap_or(groups.len());
        if at == groups.len() {
            groups.push((place, 0, Vec::new()));
        }
        if let Some((_, sum, members)) = groups.get_mut(at) {
            *sum = sum.saturating_add(weight);
            members.push(member);
        }
    }
}

/// A gateway as an endpoint: it says which network and cluster it leads to, and nothing else.
fn entrance(gateway: &NetworkGateway, network: &Arc<str>) -> Endpoint {
    let nothing = Arc::<str>::default;
    Endpoint {
        address: gateway
            .ip
            .map_or_else(|| Address::Host(gateway.address.clone()), Address::Ip),
        port: gateway.port,
        weight: 1,
        health: Health::Healthy,
        tls_mode: TlsMode::Istio,
        locality: Arc::default(),
        node: None,
        network: network.clone(),
        workload: Arc::new(Workload {
            name: nothing(),
            namespace: Namespace::from(""),
            canonical_service: nothing(),
            revision: nothing(),
            cluster: gateway.cluster.clone(),
            service_account: nothing(),
            labels: Labels::default(),
            host: None,
        }),
    }
}

/// Keeps one endpoint; false if there is none.
pub(crate) fn keep_one(assignment: &mut eds::ClusterLoadAssignment) -> bool {
    assignment
        .endpoints
        .retain(|group| !group.lb_endpoints.is_empty());
    assignment.endpoints.truncate(1);
    let Some(group) = assignment.endpoints.first_mut() else {
        return false;
    };
    group.lb_endpoints.truncate(1);
    group.load_balancing_weight = group
        .lb_endpoints
        .first()
        .and_then(|one| one.load_balancing_weight);
    true
}

impl Selection {
    /// The way to an endpoint; `None` if it is reached directly.
    pub(crate) fn way(&self, endpoint: &Endpoint) -> Option<&Way> {
        self.ways.as_ref()?.to(endpoint)
    }

    /// True if the proxy may use the endpoint.
    pub(crate) fn admits(&self, endpoint: &Endpoint) -> bool {
        let on_node = self
            .node
            .as_ref()
            .is_none_or(|node| node.is_some() && *node == endpoint.node);
        let in_view = self
            .networks
            .as_ref()
            .is_none_or(|view| view.contains(&endpoint.network));
        let in_cluster = self
            .cluster
            .as_ref()
            .is_none_or(|cluster| *cluster == endpoint.workload.cluster);
        let in_subset = || {
            self.labels.as_ref().is_none_or(|labels| {
                labels
                    .iter()
                    .all(|(label, value)| Level::parse(label).at(endpoint) == &**value)
            })
        };
        let healthy = !self.healthy || endpoint.health != Health::Unhealthy;
        on_node && in_view && in_cluster && healthy && in_subset()
    }

    fn priority(&self, endpoint: &Endpoint) -> u32 {
        self.prefer
            .as_ref()
            .map_or(0, |prefer| prefer.priority(endpoint, &endpoint.locality))
    }
}

/// Host names need the proxy's resolver and can't be in a load assignment sent over EDS.
fn is_direct(endpoint: &Endpoint) -> bool {
    matches!(endpoint.address, Address::Ip(_) | Address::Pipe(_))
}

fn lb_endpoint(endpoint: &Endpoint, weight: u32, mtls: bool) -> eds::LbEndpoint {
    let address = match &endpoint.address {
        Address::Pipe(path) => xds::pipe(&**path),
        Address::Ip(ip) => xds::socket(ip.to_string(), endpoint.port),
        Address::Host(host) => xds::socket(&**host, endpoint.port),
        Address::Cidr(cidr) => xds::socket(cidr.ip.to_string(), endpoint.port),
    };
    let health = match endpoint.health {
        Health::Healthy => core::HealthStatus::Healthy,
        Health::Unhealthy => core::HealthStatus::Unhealthy,
        Health::Draining => core::HealthStatus::Draining,
    };
    eds::LbEndpoint {
        health_status: health.into(),
        metadata: Some(metadata(&endpoint.workload, mtls)),
        load_balancing_weight: Some(weight),
        host_identifier: Some(eds::lb_endpoint::HostIdentifier::Endpoint(eds::Endpoint {
            address: Some(address),
            ..Default::default()
        })),
    }
}

/// `workload;namespace;canonical-service;revision;cluster`, which telemetry splits again, and whether
/// connections use mesh TLS, by which the cluster picks a transport socket.
fn metadata(workload: &Workload, mtls: bool) -> core::Metadata {
    let Workload {
        name,
        namespace,
        canonical_service,
        revision,
        cluster,
        ..
    } = workload;
    let text = format!("{name};{namespace};{canonical_service};{revision};{cluster}");
    let mut metadata =
        xds::istio_metadata(BTreeMap::from([("workload".to_owned(), xds::text(text))]));
    if mtls {
        metadata.filter_metadata.insert(
            "envoy.transport_socket_match".to_owned(),
            xds::map([("tlsMode", xds::text("istio"))]),
        );
    }
    metadata
}
