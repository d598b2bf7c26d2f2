//! The gateways between networks.
//!
//! A network without gateways is reached directly, and so is everything in a mesh that knows none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use reef_config::names::ClusterId;

/// A gateway through which a network is entered from others.
///
/// Ordered as its endpoints are sent: by the text of the address, then by port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkGateway {
    /// Its address as written: an IP address or a name.
    pub address: Arc<str>,
    /// Its port.
    pub port: u16,
    /// The cluster it is in; empty if nobody says.
    pub cluster: ClusterId,
    /// Its address, unless it is a name.
    pub ip: Option<IpAddr>,
}

impl NetworkGateway {
    /// A gateway at an address or name.
    #[must_use]
    pub fn new(address: &str, port: u16, cluster: ClusterId) -> Self {
        Self {
            address: Arc::from(address),
            port,
            cluster,
            ip: address.parse().ok(),
        }
    }
}

/// The gateways of all networks that have any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkGateways {
    by_network: BTreeMap<Arc<str>, Arc<[NetworkGateway]>>,
}

impl NetworkGateways {
    /// Sorts gateways into their networks; one that is told twice is there once.
    pub(crate) fn collect(gateways: impl Iterator<Item = (Arc<str>, NetworkGateway)>) -> Self {
        let mut sets: BTreeMap<Arc<str>, BTreeSet<NetworkGateway>> = BTreeMap::new();
        for (network, gateway) in gateways {
            sets.entry(network).or_default().insert(gateway);
        }
        let lists = sets.into_iter();
        Self {
            by_network: lists
                .map(|(network, set)| (network, set.into_iter().collect()))
                .collect(),
        }
    }

    /// True if no network has a gateway.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_network.is_empty()
    }

    /// True if a network has gateways.
    #[must_use]
    pub fn has(&self, network: &str) -> bool {
        self.by_network.contains_key(network)
    }

    /// Networks and their gateways, each sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &[NetworkGateway])> {
        self.by_network
            .iter()
            .map(|(network, gateways)| (network, &**gateways))
    }

    /// The gateways to an endpoint of `cluster` in `network`: those of that cluster, else all. Names are among them
    /// only where they can be `resolved`. Empty means that the endpoint is reached directly.
    #[must_use]
    pub fn towards(
        &self,
        network: &str,
        cluster: &ClusterId,
        resolved: bool,
    ) -> Vec<&NetworkGateway> {
        let all = self.by_network.get(network).map_or(&[][..], |list| list);
        let usable = || {
            all.iter()
                .filter(|gateway| resolved || gateway.ip.is_some())
        };
        let own: Vec<_> = usable()
            .filter(|gateway| gateway.cluster == *cluster)
            .collect();
        if own.is_empty() {
            usable().collect()
        } else {
            own
        }
    }

    /// How many gateways a network has, and how many of each cluster, names among them or not.
    #[must_use]
    pub fn counts(&self, network: &str, resolved: bool) -> Vec<usize> {
        let all = self.by_network.get(network).map_or(&[][..], |list| list);
        let mut counts = BTreeMap::new();
        let mut sum = 0;
        for gateway in all.iter().filter(|one| resolved || one.ip.is_some()) {
            *counts.entry(&gateway.cluster).or_default() += 1;
            sum += 1;
        }
        counts.into_values().chain([sum]).collect()
    }

    /// The networks whose gateways differ.
    pub(crate) fn differing(&self, other: &Self) -> BTreeSet<Arc<str>> {
        let of = |gateways: &Self, network: &str| gateways.by_network.get(network).cloned();
        let networks = self.by_network.keys().chain(other.by_network.keys());
        networks
            .filter(|network| of(self, network) != of(other, network))
            .cloned()
            .collect()
    }

    /// True if other networks have gateways than in `other`: proxies are sorted by that.
    #[must_use]
    pub fn has_other_networks(&self, other: &Self) -> bool {
        !self.by_network.keys().eq(other.by_network.keys())
    }
}
