//! Preference of near endpoints: by labels of places, by region, or by shares of localities.
//!
//! What a proxy prefers is resolved against its own place before it gets into a key, so proxies of
//! one place share load assignments, and all proxies share those of services without preference.

use std::collections::BTreeSet;
use std::sync::Arc;

use reef_config::istio::{Failover, LocalityLoadBalancerSetting, ZoneAwareLoadBalancerSetting};
use reef_mesh::{
    Endpoint, Locality, MeshSettings, ProxyIdentity, Resolution, Service, TrafficDistribution,
};
use xds_api::envoy::config::endpoint::v3 as eds;

use crate::cluster::is_logical;
use crate::destination::{self, Effective};

/// Where a proxy is, as far as services in its scope ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    values: Box<[(Level, Arc<str>)]>,
}

/// A property of a workload that tells how near it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// Cluster.
    Cluster,
    /// A label of its own.
    Label(Arc<str>),
}

/// Which endpoints a proxy prefers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Preference {
    /// Those at places like its own.
    Near(Tiers),
    /// Percent of the traffic by pattern of localities; other localities get none.
    Shares(Box<[(Arc<str>, u32)]>),
}

/// How far an endpoint is: first by labels, then by region.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tiers {
    /// What is wanted of each property: the first that differs decides.
    labels: Box<[(Level, Arc<str>)]>,
    regions: Option<Regions>,
}

/// How far a region is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Regions {
    /// Region, zone and subzone of the proxy; without the last two all of the region is near.
    region: Arc<str>,
    zone: Option<(Arc<str>, Arc<str>)>,
    /// The region its own fails over to.
    to: Option<Arc<str>>,
}

/// What says which endpoints of a port are preferred, before a proxy's place is known.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Setting<'a> {
    /// The service itself.
    Distribution(TrafficDistribution),
    /// Lists of a rule or of the mesh.
    Lists {
        lists: &'a LocalityLoadBalancerSetting,
        /// They are the mesh's: shares were chosen with the facts of the proxy.
        of_mesh: bool,
        /// Failing hosts are noticed, so there is something to fail over from.
        failover: bool,
    },
    /// Zones are balanced by the proxy, regions fail over.
    ZoneAware(&'a ZoneAwareLoadBalancerSetting),
}

impl Place {
    /// The place of a proxy, as finely as some service asks for it; `None` if none does.
    pub(crate) fn of(proxy: &ProxyIdentity, wanted: &BTreeSet<Level>) -> Option<Arc<Self>> {
        let value = |level: &Level| -> Arc<str> {
            match level {
                Level::Network => proxy.network.clone(),
                Level::Region => proxy.locality.region.clone(),
                Level::Zone => proxy.locality.zone.clone(),
                Level::Subzone => proxy.locality.subzone.clone(),
                Level::Node => proxy.node_name.clone().unwrap_or_default(),
                Level::Cluster => Arc::from(&*proxy.cluster),
                Level::Label(name) => proxy.labels.get(name).cloned().unwrap_or_default(),
            }
        };
        (!wanted.is_empty()).then(|| {
            let values = wanted.iter().map(|level| (level.clone(), value(level)));
            Arc::new(Self {
                values: values.collect(),
            })
        })
    }

    fn get(&self, level: &Level) -> Arc<str> {
        self.values
            .binary_search_by_key(&level, |(known, _)| known)
            .ok()
            .and_then(|at| self.values.get(at))
            .map(|(_, value)| value.clone())
            .unwrap_or_default()
    }
}

impl Level {
    /// The property a label stands for.
    pub(crate) fn parse(label: &str) -> Self {
        match label {
            "topology.istio.io/network" => Self::Network,
            "topology.kubernetes.io/region" => Self::Region,
            "topology.kubernetes.io/zone" => Self::Zone,
            "topology.istio.io/subzone" => Self::Subzone,
            "kubernetes.io/hostname" => Self::Node,
            "topology.istio.io/cluster" => Self::Cluster,
            other => Self::Label(Arc::from(other)),
        }
    }

    /// Its value; what is not known is empty.
    pub(crate) fn at<'a>(&self, endpoint: &'a Endpoint) -> &'a str {
        match self {
            Self::Network => &endpoint.network,
            Self::Region => &endpoint.locality.region,
            Self::Zone => &endpoint.locality.zone,
            Self::Subzone => &endpoint.locality.subzone,
            Self::Node => endpoint.node.as_deref().unwrap_or_default(),
            Self::Cluster => &endpoint.workload.cluster,
            Self::Label(name) => endpoint
                .workload
                .labels
                .get(name)
                .map_or("", |value| &**value),
        }
    }
}

impl<'a> Setting<'a> {
    /// The setting that holds for a port: the rule's, else the service's, else the mesh's. A rule
    /// may turn preference off. `None` where there is nothing to prefer.
    pub(crate) fn of(
        settings: &'a MeshSettings,
        service: &Service,
        effective: &Effective<'a>,
    ) -> Option<Self> {
        // One endpoint, or none told: nothing to prefer, and nothing to take from it.
        if is_logical(service)
            || matches!(
                service.resolution,
                Resolution::Alias | Resolution::DynamicDns | Resolution::Passthrough
            )
        {
            return None;
        }
        let on = |zones: &&ZoneAwareLoadBalancerSetting| zones.enabled == Some(true);
        let failover = effective.outlier_detection.is_some();
        let balancer = effective.load_balancer;
        if effective.keeps_destination() {
            return None;
        }
        let own_zones = balancer.and_then(|balancer| balancer.zone_aware_lb_setting.as_ref());
        if let Some(zones) = own_zones.filter(on) {
            return Some(Self::ZoneAware(zones));
        }
        if let Some(lists) = balancer.and_then(|balancer| balancer.locality_lb_setting.as_ref()) {
            return (lists.enabled != Some(false)).then_some(Self::Lists {
                lists,
                of_mesh: false,
                failover,
            });
        }
        // Zones turned off end the search as lists do.
        if own_zones.is_some() {
            return None;
        }
        if let Some(distribution) = service.traffic_distribution {
            return Some(Self::Distribution(distribution));
        }
        let config = &settings.config;
        if let Some(zones) = config.zone_aware_lb_setting.as_ref().filter(on) {
            return Some(Self::ZoneAware(zones));
        }
        let lists = &config.locality_lb_setting;
        (lists.enabled != Some(false)).then_some(Self::Lists {
            lists,
            of_mesh: true,
            failover,
        })
    }

    /// True if localities of the cluster have weights of their own.
    pub(crate) fn weighs(&self) -> bool {
        match self {
            Self::Distribution(_) => true,
            Self::Lists {
                lists, failover, ..
            } => {
                !lists.distribute.is_empty()
                    || (*failover
                        && !(lists.failover.is_empty() && lists.failover_priority.is_empty()))
            }
            Self::ZoneAware(_) => false,
        }
    }

    /// Hosts from which on the proxy balances zones by itself; the inner `None` is Envoy's number.
    pub(crate) fn zones(&self) -> Option<Option<u32>> {
        match self {
            Self::ZoneAware(zones) => Some(zones.min_cluster_size),
            _ => None,
        }
    }

    /// The properties of a proxy that decide what it prefers.
    fn levels(&self) -> Vec<Level> {
        const LOCALITY: [Level; 3] = [Level::Region, Level::Zone, Level::Subzone];
        match self {
            Self::Distribution(distribution) => near(*distribution),
            Self::Lists { lists, of_mesh, .. } if !lists.distribute.is_empty() => {
                if *of_mesh {
                    Vec::new()
                } else {
                    LOCALITY.to_vec()
                }
            }
            Self::Lists {
                failover: false, ..
            } => Vec::new(),
            Self::Lists { lists, .. } if lists.failover_priority.is_empty() => LOCALITY.to_vec(),
            Self::Lists { lists, .. } => {
                let mut levels = asked(&lists.failover_priority);
                if !lists.failover.is_empty() {
                    levels.extend(LOCALITY);
                }
                levels
            }
            Self::ZoneAware(zones) => {
                let mut levels = asked(&zones.failover_priority);
                levels.push(Level::Region);
                levels
            }
        }
    }

    /// What a proxy at this place prefers; `shares` is the index of the mesh's rule for it.
    pub(crate) fn prefer(&self, place: &Place, shares: Option<usize>) -> Option<Preference> {
        match self {
            Self::Distribution(distribution) => Some(Preference::Near(Tiers {
                labels: near(*distribution)
                    .into_iter()
                    .map(|level| (level.clone(), place.get(&level)))
                    .collect(),
                regions: None,
            })),
            Self::Lists { lists, of_mesh, .. } if !lists.distribute.is_empty() => {
                let rule = if *of_mesh {
                    lists.distribute.get(shares?)?
                } else {
                    let own = [Level::Region, Level::Zone, Level::Subzone].map(|at| place.get(&at));
                    let own = [&*own[0], &*own[1], &*own[2]];
                    lists
                        .distribute
                        .iter()
                        .find(|rule| matches(&rule.from, own))?
                };
                let shares = rule.to.iter();
                Some(Preference::Shares(
                    shares
                        .map(|(to, share)| (Arc::from(to.as_str()), *share))
                        .collect(),
                ))
            }
            Self::Lists {
                failover: false, ..
            } => None,
            Self::Lists { lists, .. } => {
                let regions = lists.failover_priority.is_empty() || !lists.failover.is_empty();
                Some(Preference::Near(Tiers {
                    labels: wanted(&lists.failover_priority, place),
                    regions: regions.then(|| {
                        let zone = (place.get(&Level::Zone), place.get(&Level::Subzone));
                        Regions::of(place, Some(zone), &lists.failover)
                    }),
                }))
            }
            Self::ZoneAware(zones) => Some(Preference::Near(Tiers {
                labels: wanted(&zones.failover_priority, place),
                regions: Some(Regions::of(place, None, &zones.failover)),
            })),
        }
    }
}

/// The properties by which a service's distribution prefers endpoints.
fn near(distribution: TrafficDistribution) -> Vec<Level> {
    let mut levels = vec![Level::Network, Level::Region, Level::Zone];
    if distribution == TrafficDistribution::SameNode {
        levels.extend([Level::Subzone, Level::Node]);
    }
    levels
}

/// The labels of a list whose values are the proxy's own.
fn asked(priority: &[String]) -> Vec<Level> {
    let own = priority.iter().filter(|label| !label.contains('='));
    own.map(|label| Level::parse(label)).collect()
}

/// What a list of labels wants of endpoints.
fn wanted(priority: &[String], place: &Place) -> Box<[(Level, Arc<str>)]> {
    priority
        .iter()
        .map(|label| match label.split_once('=') {
            Some((label, value)) => (Level::parse(label), Arc::from(value)),
            None => {
                let level = Level::parse(label);
                let own = place.get(&level);
                (level, own)
            }
        })
        .collect()
}

/// The properties of a proxy that decide what it prefers of a service, whichever port and subset.
pub(crate) fn levels(
    settings: &MeshSettings,
    service: &Service,
    policy: Option<&reef_mesh::DestinationPolicy>,
    into: &mut BTreeSet<Level>,
) {
    let mut add = |effective: &Effective<'_>| {
        if let Some(setting) = Setting::of(settings, service, effective) {
            into.extend(setting.levels());
        }
    };
    let Some(policy) = policy else {
        add(&Effective::default());
        return;
    };
    for port in &service.ports {
        let whole = destination::traffic_policy(policy, port.number, None);
        add(&whole);
        for subset in &policy.spec.subsets {
            if subset.traffic_policy.is_some() {
                add(&whole.of_subset(subset, port.number));
            }
        }
    }
}

impl Regions {
    fn of(place: &Place, zone: Option<(Arc<str>, Arc<str>)>, failover: &[Failover]) -> Self {
        let region = place.get(&Level::Region);
        let rule = failover.iter().find(|rule| *rule.from == *region);
        Self {
            to: rule.map(|rule| Arc::from(rule.to.as_str())),
            region,
            zone,
        }
    }

    /// 0 for the own subzone, 1 for the zone, 2 for the region, 3 for others, 4 for those the own
    /// region does not fail over to.
    fn distance(&self, place: &Locality) -> u32 {
        if place.region != self.region {
            return match &self.to {
                Some(to) if *to != place.region => 4,
                _ => 3,
            };
        }
        match &self.zone {
            Some((zone, _)) if *zone != place.zone => 2,
            Some((_, subzone)) if *subzone != place.subzone => 1,
            _ => 0,
        }
    }
}

impl Tiers {
    fn priority(&self, endpoint: &Endpoint, place: &Locality) -> u32 {
        let Some(regions) = &self.regions else {
            return self.by_labels(endpoint);
        };
        let distance = regions.distance(place);
        // Zones are balanced inside the own region, so all of it is the first tier.
        if regions.zone.is_none() && distance == 0 {
            return 0;
        }
        self.by_labels(endpoint) * 5 + distance
    }

    fn by_labels(&self, endpoint: &Endpoint) -> u32 {
        let all = u32::try_from(self.labels.len()).unwrap_or(u32::MAX);
        let mut away = 0;
        for (rank, (level, wanted)) in (0..all).zip(&self.labels) {
            if level.at(endpoint) == &**wanted {
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
}

impl Preference {
    /// Priority of an endpoint in the group of a place, 0 the nearest; gaps are closed later. The place is the
    /// endpoint's own, unless it is a gateway to that place.
    pub(crate) fn priority(&self, endpoint: &Endpoint, place: &Locality) -> u32 {
        match self {
            Self::Near(tiers) => tiers.priority(endpoint, place),
            Self::Shares(_) => 0,
        }
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
    let lists = &settings.config.locality_lb_setting;
    if lists.enabled == Some(false) {
        return None;
    }
    lists
        .distribute
        .iter()
        .position(|rule| matches(&rule.from, [&own.region, &own.zone, &own.subzone]))
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
