//! Which endpoints a cluster sends to, and how much each gets.

use std::net::SocketAddr;

use xds_api::envoy::config::cluster::v3::Cluster;
use xds_api::envoy::config::cluster::v3::cluster::common_lb_config::LocalityConfigSpecifier;
use xds_api::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, LbConfig, LbPolicy,
};
use xds_api::envoy::config::core::v3::HealthStatus;
use xds_api::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use xds_api::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints,
};

use crate::address;
use crate::answer::{EndpointShare, Outcome};
use crate::objects;
use crate::simulate::Connection;

/// Envoy's factor of overprovisioning, in percent, if the assignment gives none.
const OVERPROVISIONING: f64 = 140.0;
/// Below this percentage of healthy hosts all get requests, if the cluster gives no other.
const PANIC: f64 = 50.0;

/// Fills in what the cluster of an outcome adds: its object, its endpoints. Whether the cluster is known.
pub(crate) fn reach(connection: &Connection<'_>, outcome: &mut Outcome) -> bool {
    let name = outcome.cluster.as_deref().unwrap_or_default();
    let Some(cluster) = connection.config.clusters.get(name) else {
        outcome.notes.push(format!("cluster {name} is not known"));
        return false;
    };
    if let Some(object) = objects::of(cluster.metadata.as_ref())
        && !outcome.objects.contains(&object)
    {
        outcome.objects.push(object);
    }
    match discovery(cluster) {
        Some(DiscoveryType::OriginalDst) if connection.restored => {
            outcome.endpoints = vec![original(cluster, connection.to)];
        }
        Some(DiscoveryType::OriginalDst) => {
            let note = "the connection was made to the proxy itself: it has no other destination";
            outcome.notes.push(note.to_owned());
        }
        Some(DiscoveryType::Eds) => {
            let service = cluster.eds_cluster_config.as_ref();
            let service = service.map_or("", |eds| eds.service_name.as_str());
            let service = if service.is_empty() { name } else { service };
            match connection.config.endpoints.get(service) {
                Some(assignment) => outcome.endpoints = shares(cluster, assignment),
                None => outcome
                    .notes
                    .push(format!("no load assignment {service} is known")),
            }
        }
        Some(_) => {
            let inline = cluster.load_assignment.as_ref();
            outcome.endpoints = inline.map_or_else(Vec::new, |all| shares(cluster, all));
        }
        None => match &cluster.load_assignment {
            Some(assignment) => outcome.endpoints = shares(cluster, assignment),
            // It finds its endpoints by the request itself.
            None => outcome.endpoints.push(EndpointShare {
                address: format!("{}:{}", outcome.host, connection.to.port()),
                share: 1.0,
                transport: transport(cluster, None),
                ..EndpointShare::default()
            }),
        },
    }
    true
}

fn discovery(cluster: &Cluster) -> Option<DiscoveryType> {
    match &cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => DiscoveryType::try_from(*kind).ok(),
        Some(ClusterDiscoveryType::ClusterType(_)) => None,
        None => Some(DiscoveryType::Static),
    }
}

/// The address the application wanted, with another port if the cluster says so.
fn original(cluster: &Cluster, to: SocketAddr) -> EndpointShare {
    let config = match &cluster.lb_config {
        Some(LbConfig::OriginalDstLbConfig(config)) => Some(config),
        _ => None,
    };
    let port = config
        .and_then(|config| config.upstream_port_override)
        .and_then(|port| u16::try_from(port).ok());
    let to = SocketAddr::new(to.ip(), port.unwrap_or(to.port()));
    EndpointShare {
        address: to.to_string(),
        share: 1.0,
        transport: transport(cluster, None),
        ..EndpointShare::default()
    }
}

fn health(endpoint: &LbEndpoint) -> HealthStatus {
    endpoint.health_status()
}

fn is_healthy(endpoint: &LbEndpoint) -> bool {
    matches!(
        health(endpoint),
        HealthStatus::Unknown | HealthStatus::Healthy | HealthStatus::Degraded
    )
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}

/// Endpoints that get requests.
fn shares(cluster: &Cluster, assignment: &ClusterLoadAssignment) -> Vec<EndpointShare> {
    let factor = assignment
        .policy
        .as_ref()
        .and_then(|policy| policy.overprovisioning_factor)
        .map_or(OVERPROVISIONING, f64::from);
    let panic = cluster
        .common_lb_config
        .as_ref()
        .and_then(|common| common.healthy_panic_threshold)
        .map_or(PANIC, |percent| percent.value);
    let mut priorities: Vec<u32> = assignment
        .endpoints
        .iter()
        .map(|one| one.priority)
        .collect();
    priorities.sort_unstable();
    priorities.dedup();
    let groups: Vec<Vec<&LocalityLbEndpoints>> = priorities
        .iter()
        .map(|priority| {
            let all = assignment.endpoints.iter();
            all.filter(|one| one.priority == *priority).collect()
        })
        .collect();
    let healthy: Vec<f64> = groups.iter().map(|group| healthy_percent(group)).collect();
    let available: Vec<f64> = healthy
        .iter()
        .map(|one| (one * factor / 100.0).min(100.0))
        .collect();
    let total = available.iter().sum::<f64>().min(100.0);
    let mut left = 100.0_f64;
    let mut found = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let here = available.get(index).copied().unwrap_or_default();
        let load = match total > 0.0 {
            true => left.min(here * 100.0 / total),
            // Nobody is healthy: if there is panic, the first priority gets it.
            false if index == 0 => 100.0,
            false => 0.0,
        };
        left -= load;
        let panics = healthy.get(index).copied().unwrap_or_default() < panic && total < 100.0;
        if load > 0.0 {
            found.extend(of_priority(cluster, group, load / 100.0, panics, factor));
        }
    }
    found
}

fn healthy_percent(group: &[&LocalityLbEndpoints]) -> f64 {
    let all: Vec<&LbEndpoint> = group.iter().flat_map(|one| &one.lb_endpoints).collect();
    let healthy = all.iter().filter(|one| is_healthy(one)).count();
    if all.is_empty() {
        0.0
    } else {
        count(healthy) * 100.0 / count(all.len())
    }
}

fn of_priority(
    cluster: &Cluster,
    group: &[&LocalityLbEndpoints],
    load: f64,
    panics: bool,
    factor: f64,
) -> Vec<EndpointShare> {
    let by_locality = matches!(
        cluster
            .common_lb_config
            .as_ref()
            .and_then(|common| common.locality_config_specifier.as_ref()),
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_))
    );
    let mut weighed: Vec<(f64, &LocalityLbEndpoints, &LbEndpoint)> = Vec::new();
    for locality in group {
        let used = |one: &&LbEndpoint| panics || is_healthy(one);
        let weight = |one: &LbEndpoint| f64::from(one.load_balancing_weight.unwrap_or(1));
        let usable: Vec<&LbEndpoint> = locality.lb_endpoints.iter().filter(used).collect();
        let sum: f64 = usable.iter().map(|one| weight(one)).sum();
        let scale = if by_locality {
            let healthy = count(usable.len()) / count(locality.lb_endpoints.len().max(1));
            let whole = f64::from(locality.load_balancing_weight.unwrap_or(0));
            whole * (healthy * factor / 100.0).min(1.0) / sum
        } else {
            1.0
        };
        weighed.extend(
            usable
                .iter()
                .map(|one| (weight(one) * scale, *locality, *one)),
        );
    }
    let total: f64 = weighed.iter().map(|(weight, _, _)| weight).sum();
    weighed
        .into_iter()
        .filter(|(weight, _, _)| *weight > 0.0)
        .map(|(weight, locality, endpoint)| {
            let place = locality.locality.as_ref();
            let parts = place.map_or(["", "", ""], |one| {
                [
                    one.region.as_str(),
                    one.zone.as_str(),
                    one.sub_zone.as_str(),
                ]
            });
            EndpointShare {
                address: shown(endpoint),
                share: load * weight / total,
                locality: parts.join("/").trim_end_matches('/').to_owned(),
                priority: locality.priority,
                health: match health(endpoint) {
                    HealthStatus::Unknown => String::new(),
                    told => told.as_str_name().to_ascii_lowercase(),
                },
                transport: transport(cluster, Some(endpoint)),
            }
        })
        .collect()
}

fn shown(endpoint: &LbEndpoint) -> String {
    match &endpoint.host_identifier {
        Some(HostIdentifier::Endpoint(one)) => one
            .address
            .as_ref()
            .map_or_else(|| "?".to_owned(), address::shown),
        Some(HostIdentifier::EndpointName(name)) => name.clone(),
        None => "?".to_owned(),
    }
}

/// Name of the transport socket that connections to an endpoint use.
fn transport(cluster: &Cluster, endpoint: Option<&LbEndpoint>) -> String {
    let metadata = endpoint.and_then(|one| one.metadata.as_ref());
    let found = metadata.and_then(|all| all.filter_metadata.get("envoy.transport_socket_match"));
    let matching = cluster.transport_socket_matches.iter().find(|one| {
        one.r#match
            .as_ref()
            .is_none_or(|wanted| objects::contains(found, wanted))
    });
    if let Some(matching) = matching {
        return matching.name.clone();
    }
    match &cluster.transport_socket {
        Some(socket) => socket
            .name
            .rsplit('.')
            .next()
            .unwrap_or_default()
            .to_owned(),
        None => "raw_buffer".to_owned(),
    }
}

/// Whether endpoints are found by hashing: then a policy decides, not chance.
pub(crate) fn hashes(cluster: &Cluster) -> bool {
    matches!(cluster.lb_policy(), LbPolicy::RingHash | LbPolicy::Maglev)
}
