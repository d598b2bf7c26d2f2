//! Preference of near endpoints: by labels of places, or by shares of localities.
//!
//! What a proxy prefers is resolved against its own place before it gets into a key, so proxies of
//! one place share load assignments, and all proxies share those of services without preference.

use std::sync::Arc;

use reef_mesh::{Endpoint, Locality, MeshSettings, ProxyIdentity, TrafficDistribution};
use xds_api::envoy::config::endpoint::v3 as eds;

/// Where a proxy is, as far as services in its scope ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Its network.
    pub network: Arc<str>,
    /// Its region.
    pub region: Arc<str>,
    /// Its zone.
    pub zone: Arc<str>,
    /// Its subzone and node, only if some service prefers endpoints of the node.
    pub node: Option<(Arc<str>, Arc<str>)>,
}

/// Which endpoints a proxy prefers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Preference {
    /// Those at places like its own: the first place that differs decides.
    Near(Box<[(Level, Arc<str>)]>),
    /// Percent of the traffic by pattern of localities; other localities get none.
    Shares(Box<[(Arc<str>, u32)]>),
}

/// A property of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Level {
    /// Network.
    Network,
    /// Region.
    Region,
    /// Zone.
    Zone,
    /// Subzone.
    Subzone,
    /// Node.
    Node,
}

impl Place {
    /// The place of a proxy, as finely as some service asks for it.
    pub(crate) fn of(proxy: &ProxyIdentity, finest: TrafficDistribution) -> Self {
        let node = || {
            let node = proxy.node_name.clone().unwrap_or_default();
            (proxy.locality.subzone.clone(), node)
        };
        Self {
            network: proxy.network.clone(),
            region: proxy.locality.region.clone(),
            zone: proxy.locality.zone.clone(),
            node: (finest == TrafficDistribution::SameNode).then(node),
        }
    }

    /// What a service's distribution means for proxies of this place.
    pub(crate) fn near(&self, distribution: TrafficDistribution) -> Preference {
        let mut levels = vec![
            (Level::Network, self.network.clone()),
            (Level::Region, self.region.clone()),
            (Level::Zone, self.zone.clone()),
        ];
        if distribution == TrafficDistribution::SameNode {
            let (subzone, node) = self.node.clone().unwrap_or_default();
            levels.extend([(Level::Subzone, subzone), (Level::Node, node)]);
        }
        Preference::Near(levels.into())
    }
}

impl Level {
    fn of(self, endpoint: &Endpoint) -> &str {
        match self {
            Self::Network => &endpoint.network,
            Self::Region => &endpoint.locality.region,
            Self::Zone => &endpoint.locality.zone,
            Self::Subzone => &endpoint.locality.subzone,
            Self::Node => endpoint.node.as_deref().unwrap_or_default(),
        }
    }
}

impl Preference {
    /// Priority of an endpoint, 0 the nearest; gaps are closed later.
    pub(crate) fn priority(&self, endpoint: &Endpoint) -> u32 {
        let Self::Near(levels) = self else {
            return 0;
        };
        let all = u32::try_from(levels.len()).unwrap_or(u32::MAX);
        let mut away = 0;
        for (rank, (level, own)) in (0..all).zip(levels) {
            if level.of(endpoint) == &**own {
                continue;
            }
            // Another network is farther than anything in this one, and the rest still counts.
            if rank == 0 && *level == Level::Network {
                away = all;
                continue;
            }
            return away + all - rank;
        }
        away
    }

    /// Gives each locality its share; those without one lose their endpoints.
    pub(crate) fn share(&self, groups: &mut [eds::LocalityLbEndpoints]) {
        let Self::Shares(shares) = self else {
            return;
        };
        let mut given = vec![false; groups.len()];
        for (pattern, share) in shares {
            let fits: Vec<usize> = groups
                .iter()
                .enumerate()
                .filter(|(index, group)| {
                    given.get(*index) == Some(&false)
                        && group.locality.as_ref().is_some_and(|place| {
                            matches(pattern, [&place.region, &place.zone, &place.sub_zone])
                        })
                })
                .map(|(index, _)| index)
                .collect();
            let weight = |group: &eds::LocalityLbEndpoints| {
                u64::from(group.load_balancing_weight.unwrap_or(1))
            };
            let total: u64 = fits
                .iter()
                .filter_map(|index| groups.get(*index))
                .map(weight)
                .sum();
            for index in fits {
                if let (Some(group), Some(given)) = (groups.get_mut(index), given.get_mut(index)) {
                    *given = true;
                    let part = (weight(group) * u64::from(*share)).div_ceil(total.max(1));
                    group.load_balancing_weight = Some(u32::try_from(part).unwrap_or(u32::MAX));
                }
            }
        }
        for (group, given) in groups.iter_mut().zip(given) {
            if !given {
                group.lb_endpoints.clear();
            }
        }
    }
}

/// Index of the mesh's distribution rule for clients at a locality.
pub(crate) fn share_rule(settings: &MeshSettings, own: &Locality) -> Option<usize> {
    let rules = settings.proxies.locality.as_ref()?;
    rules
        .distribute
        .iter()
        .position(|rule| matches(&rule.from, [&own.region, &own.zone, &own.subzone]))
}

/// The shares of a distribution rule.
pub(crate) fn shares(settings: &MeshSettings, rule: usize) -> Option<Preference> {
    let rules = settings.proxies.locality.as_ref()?;
    let rule = rules.distribute.get(rule)?;
    Some(Preference::Shares(rule.to.clone()))
}

/// True if a locality is what a pattern says: `region/zone/subzone`, where `*` stands for anything
/// and parts may be missing from the end.
fn matches(pattern: &str, place: [&str; 3]) -> bool {
    let mut parts = pattern.splitn(3, '/');
    let region = parts.next().unwrap_or_default();
    let fits = |part: &str, own: &str| part == "*" || part == own;
    fits(region, place[0])
        && parts
            .zip([place[1], place[2]])
            .all(|(part, own)| part.is_empty() || fits(part, own))
}

#[cfg(test)]
mod tests;
