//! Endpoints of other networks: the gateways that stand for them.

use std::sync::Arc;

use reef_config::ClusterId;
use reef_mesh::{Endpoint, NetworkGateway, NetworkGateways, ServiceEndpoints};

/// The ways to those endpoints of a service that are reached through gateways.
///
/// It holds the gateways of networks the service has endpoints in, and no other: what changes elsewhere leaves it, and
/// the resource made of it, alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ways {
    /// By network and cluster of the endpoints, sorted.
    ways: Box<[Way]>,
    /// What all weights are multiplied with, so that each can be split among its gateways. Istio counts the gateways of
    /// every network, and multiplies where nothing is to be split, too: the same shares in other numbers.
    pub(crate) scale: u32,
}

/// The way to endpoints of one cluster in one network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Way {
    /// The network.
    pub(crate) network: Arc<str>,
    cluster: ClusterId,
    /// Its gateways, sorted; at least one.
    pub(crate) gateways: Box<[NetworkGateway]>,
}

impl Ways {
    /// The ways from network `own` to endpoints of a service; `None` if all are reached directly. Gateways with names
    /// can be used where the cluster resolves `names`.
    pub(crate) fn of(
        gateways: &NetworkGateways,
        own: &str,
        endpoints: &ServiceEndpoints,
        names: bool,
    ) -> Option<Arc<Self>> {
        let mut places: Vec<(&Arc<str>, &ClusterId)> = Vec::new();
        for endpoint in endpoints.iter() {
            let place = (&endpoint.network, &endpoint.workload.cluster);
            // Neighbours are nearly always in one place.
            if places.last() != Some(&place) && **place.0 != *own {
                places.push(place);
            }
        }
        places.sort_unstable();
        places.dedup();
        let ways = places.into_iter().filter_map(|(network, cluster)| {
            let found = gateways.towards(network, cluster, names);
            (!found.is_empty()).then(|| Way {
                network: network.clone(),
                cluster: cluster.clone(),
                gateways: found.into_iter().cloned().collect(),
            })
        });
        let ways: Box<[Way]> = ways.collect();
        let counts = ways
            .iter()
            .flat_map(|way| gateways.counts(&way.network, names));
        let scale = counts.fold(1, |scale, count| {
            least_common_multiple(scale, u32::try_from(count).unwrap_or(u32::MAX))
        });
        (!ways.is_empty()).then(|| Arc::new(Self { ways, scale }))
    }

    /// The way to an endpoint; `None` if it is reached directly.
    pub(crate) fn to(&self, endpoint: &Endpoint) -> Option<&Way> {
        let place = (&endpoint.network, &endpoint.workload.cluster);
        let found = self
            .ways
            .binary_search_by_key(&place, |way| (&way.network, &way.cluster));
        self.ways.get(found.ok()?)
    }
}

impl Way {
    /// The share each gateway has of a weight that was multiplied.
    pub(crate) fn share(&self, weight: u32) -> u32 {
        weight / u32::try_from(self.gateways.len()).unwrap_or(u32::MAX)
    }
}

const fn least_common_multiple(a: u32, b: u32) -> u32 {
    let (mut left, mut right) = (a, b);
    while right != 0 {
        (left, right) = (right, left % right);
    }
    (a / left).saturating_mul(b)
}

#[cfg(test)]
mod tests;
