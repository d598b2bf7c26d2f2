//! Which resources of a class a change of its scope reaches.
//!
//! What a rule, a policy or a service is read for is known here and nowhere else: whoever reads one
//! for something new says so here. Property tests in `reef-push` compare with selecting everything.
//! What can't be told is [`Reached::All`].

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reef_config::istio::{ConsistentHash, TrafficPolicy};
use reef_mesh::{DestinationPolicy, MeshSettings, Resolution, Service};
use reef_scope::{OutboundPolicy, Patch, PolicyChange, ServiceChange};

use crate::cluster::{ClusterKey, clusters_of};
use crate::destination;
use crate::endpoint::{EndpointKey, endpoint_key};
use crate::input::ClassInput;
use crate::listener::{ListenerKey, PlanAt, RouteSource, plan_at, takes_logs};
use crate::locality;
use crate::names;
use crate::route::{RouteKey, moved, port_route, rerouted, selected};

/// What of one type of resources a change reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached<K> {
    /// These. All others are as they were.
    Some {
        /// Names of resources that are no more, unless a key has the name.
        gone: Vec<Arc<str>>,
        /// Resources that are new or may differ.
        keys: Vec<K>,
    },
    /// Perhaps all.
    All,
}

impl<K> Reached<K> {
    const fn nothing() -> Self {
        Self::Some {
            gone: Vec::new(),
            keys: Vec::new(),
        }
    }
}

/// The reach of a change in one class.
#[derive(Debug)]
pub struct Reach<'a> {
    input: &'a ClassInput,
    patch: &'a Patch,
    /// What listens where changed services do; `None` if that does not tell all.
    at: OnceCell<Option<PlanAt>>,
}

impl<'a> Reach<'a> {
    /// The reach of a change in a class as it is after it.
    #[must_use]
    pub const fn new(input: &'a ClassInput, patch: &'a Patch) -> Self {
        Self {
            input,
            patch,
            at: OnceCell::new(),
        }
    }

    /// True if [`facts`](crate::facts) of proxies may differ after a change.
    #[must_use]
    pub fn facts(settings: &MeshSettings, patch: &Patch) -> bool {
        patch.services.iter().any(|change| {
            let of = |service| Told::of(settings, service, &change.policies);
            let (before, after) = (of(&change.before), of(&change.after));
            before.is_none() || before != after
        }) || patch.policies.iter().any(|change| {
            let of = |policies| Told::of(settings, &change.service, policies);
            let (before, after) = (of(&change.before), of(&change.after));
            before.is_none() || before != after
        })
    }

    /// The clusters of destinations it reaches. Those of the workload's own ports follow from what it
    /// serves, and from rules as its namespace sees them: no scope tells of these.
    #[must_use]
    pub fn clusters(&self) -> Reached<ClusterKey> {
        if self.input.proxy.grpc {
            return Reached::All;
        }
        let services = self.services();
        Reached::Some {
            gone: self.cluster_names(),
            keys: clusters_of(self.input, services.into_iter()),
        }
    }

    /// The load assignments it reaches.
    #[must_use]
    pub fn endpoints(&self) -> Reached<EndpointKey> {
        if self.input.proxy.grpc {
            return Reached::All;
        }
        let services = self.services().into_iter();
        Reached::Some {
            gone: self.cluster_names(),
            keys: services
                .flat_map(|service| endpoint_key(self.input, &service.key))
                .collect(),
        }
    }

    /// The listeners for destinations it reaches.
    #[must_use]
    pub fn listeners(&self) -> Reached<ListenerKey> {
        if self.input.proxy.grpc || self.forwards_otherwise() || self.reaches_logs() {
            return Reached::All;
        }
        if self.patch.services.is_empty() {
            return Reached::nothing();
        }
        self.at().map_or(Reached::All, |at| Reached::Some {
            gone: at.names.clone(),
            keys: at.listeners.clone(),
        })
    }

    /// The listeners for the workload's own ports it reaches: those that bind a socket may find
    /// their address taken by others.
    #[must_use]
    pub fn inbound_listeners(&self) -> Reached<ListenerKey> {
        let scope = &self.input.scope;
        let besides = || self.forwards_otherwise() || !self.patch.services.is_empty();
        let declared = !scope.ingress.is_empty() && besides();
        if !self.input.proxy.grpc && (declared || self.reaches_logs()) {
            Reached::All
        } else {
            Reached::nothing()
        }
    }

    /// True if connections of any listener for destinations may go elsewhere, or otherwise.
    fn forwards_otherwise(&self) -> bool {
        let routed = self.patch.rules.iter().any(|change| {
            let (before, after) = (&change.before.spec, &change.after.spec);
            before.tls != after.tls || before.tcp != after.tcp
        });
        let forwarded = || self.patch.policies.iter().any(forwards_otherwise);
        routed || self.reaches_fallback() || forwarded()
    }

    /// True if it is about a service that takes logs: every listener names its cluster, if it is
    /// there.
    fn reaches_logs(&self) -> bool {
        let settings = self.input.snapshot.settings();
        let mut services = self.patch.services.iter();
        services.any(|change| takes_logs(settings, &change.after.key.hostname))
    }

    /// What listens where changed services do.
    fn at(&self) -> Option<&PlanAt> {
        let plan = || plan_at(self.input, &self.patch.services);
        self.at.get_or_init(plan).as_ref()
    }

    /// The route configurations it reaches, of those there were `before`.
    #[must_use]
    pub fn routes<'k>(&self, before: impl Iterator<Item = &'k RouteKey>) -> Reached<RouteKey> {
        let hashed = || self.patch.policies.iter().any(hashes_otherwise);
        if self.input.proxy.grpc || self.reaches_fallback() || hashed() {
            return Reached::All;
        }
        let rerouted = if self.patch.services.is_empty() {
            let keys = rerouted(self.input, &self.patch.rules, before);
            keys.map(|keys| (Vec::new(), keys))
        } else {
            self.routes_at(before)
        };
        rerouted.map_or(Reached::All, |(gone, keys)| Reached::Some { gone, keys })
    }

    /// The route configurations of ports that changed services have or had.
    fn routes_at<'k>(
        &self,
        before: impl Iterator<Item = &'k RouteKey>,
    ) -> Option<(Vec<Arc<str>>, Vec<RouteKey>)> {
        let leads_there = |change: &ServiceChange| {
            self.input.scope.is_destination(&change.after.key.hostname)
                && (change.before.ports != change.after.ports
                    || change.before.resolution != change.after.resolution
                    || change.before.external_name != change.after.external_name)
        };
        if !self.patch.rules.is_empty() || self.patch.services.iter().any(leads_there) {
            return None;
        }
        let at = self.at()?;
        let services = self.patch.services.iter();
        let ports = services
            .flat_map(|change| [&change.before, &change.after])
            .flat_map(|service| &service.ports);
        // Their hosts are among those of the port even where they listen on their own, or speak no HTTP: a rule asks
        // who has the port.
        let shared: BTreeMap<Arc<str>, u16> = ports
            .map(|port| (port_route(port.number), port.number))
            .collect();
        let mut sources = at.routes.clone();
        let mut keys = Vec::new();
        for key in before {
            let name = key.name();
            let number = match sources.get(&name) {
                Some(RouteSource::Port { egress: 0, number }) => *number,
                None if !at.asked.contains(&name) => match shared.get(&name) {
                    Some(number) => *number,
                    None => continue,
                },
                _ => continue,
            };
            if let Some(key) = moved(self.input, &self.patch.services, number, key) {
                sources.remove(&name);
                keys.push(key);
            } else {
                let egress = 0;
                sources.insert(name, RouteSource::Port { egress, number });
            }
        }
        keys.extend(selected(self.input, &sources));
        let gone = at.asked.iter().cloned().collect();
        Some((gone, keys))
    }

    /// Whether it reaches the table of names.
    #[must_use]
    pub fn names<K>(&self) -> Reached<K> {
        if self.patch.services.is_empty() {
            Reached::nothing()
        } else {
            Reached::All
        }
    }

    /// The services it is about, as they are now.
    fn services(&self) -> Vec<&'a Arc<Service>> {
        let scope = &self.input.scope;
        let changed = self.patch.services.iter().map(|change| &change.after);
        let other = self.patch.policies.iter().map(|change| &change.service);
        let hosts: BTreeSet<_> = changed
            .chain(other)
            .map(|service| &service.key.hostname)
            .collect();
        hosts
            .into_iter()
            .filter_map(|host| scope.service(host))
            .map(|scoped| &scoped.service)
            .collect()
    }

    /// Names of clusters the services had or have.
    fn cluster_names(&self) -> Vec<Arc<str>> {
        let mut names = Vec::new();
        let mut add = |services: [&Arc<Service>; 2], lists: [&[Arc<DestinationPolicy>]; 2]| {
            let ports = services.iter().flat_map(|service| &service.ports);
            let numbers: BTreeSet<u16> = ports.map(|port| port.number).collect();
            let policies = lists.into_iter().flatten();
            let mut subsets: BTreeSet<&str> = policies
                .flat_map(|policy| &policy.spec.subsets)
                .map(|subset| subset.name.as_str())
                .collect();
            subsets.insert("");
            for service in services {
                let host = &service.key.hostname;
                for number in &numbers {
                    let all = subsets.iter();
                    names.extend(
                        all.map(|subset| names::outbound_subset_cluster(*number, subset, host)),
                    );
                }
            }
        };
        for ServiceChange {
            before,
            after,
            policies,
        } in &self.patch.services
        {
            add([before, after], [policies, policies]);
        }
        for PolicyChange {
            service,
            before,
            after,
        } in &self.patch.policies
        {
            let now = self.input.scope.service(&service.key.hostname);
            let now = now.map_or(service, |scoped| &scoped.service);
            add([service, now], [before, after]);
        }
        names
    }

    /// True if it is about the service that gets what nobody declared.
    fn reaches_fallback(&self) -> bool {
        let OutboundPolicy::AllowAny {
            egress_proxy: Some(proxy),
        } = &self.input.scope.outbound_policy
        else {
            return false;
        };
        let policies = self.patch.policies.iter().map(|change| &change.service);
        let services = self.patch.services.iter().map(|change| &change.after);
        policies
            .chain(services)
            .any(|service| service.key.hostname == proxy.host)
    }
}

/// What facts read of a service and its policies.
#[derive(PartialEq)]
struct Told {
    local_only: bool,
    found_addresses: bool,
    levels: BTreeSet<locality::Level>,
    demanding: bool,
}

impl Told {
    /// `None` if it depends on the proxy.
    fn of(
        settings: &MeshSettings,
        service: &Service,
        policies: &[Arc<DestinationPolicy>],
    ) -> Option<Self> {
        let selects = policies.iter().any(|policy| policy.selector.is_some());
        if selects || service.resolution == Resolution::Passthrough || !service.aliases.is_empty() {
            return None;
        }
        let policy = destination::general(policies).map(|policy| &**policy);
        let mut levels = BTreeSet::new();
        locality::levels(settings, service, policy, &mut levels);
        Some(Self {
            local_only: service.local_traffic_only,
            found_addresses: !service.auto_addresses.is_empty(),
            levels,
            demanding: policy.is_some_and(destination::demands_certificate),
        })
    }
}

/// True if TCP proxies may treat connections otherwise.
fn forwards_otherwise(change: &PolicyChange) -> bool {
    fn of(policies: &[Arc<DestinationPolicy>]) -> Option<impl PartialEq> {
        let policy = only(policies)?;
        let part = |all: &TrafficPolicy| {
            let balancer = all.load_balancer.as_ref();
            let by_source = balancer.map(|balancer| {
                let hash = balancer.consistent_hash.as_ref();
                hash.and_then(|hash| hash.use_source_ip).unwrap_or_default()
            });
            (by_source, all.tunnel.clone())
        };
        let whole = policy.and_then(|policy| policy.spec.traffic_policy.as_ref());
        let tcp = whole
            .and_then(|whole| whole.connection_pool.as_ref())
            .and_then(|pool| pool.tcp.as_ref());
        let subsets = policy.into_iter().flat_map(|policy| &policy.spec.subsets);
        let subsets: Vec<_> = subsets
            .filter_map(|subset| {
                let own = part(subset.traffic_policy.as_ref()?);
                (own != (None, None)).then(|| (subset.name.clone(), own))
            })
            .collect();
        Some((
            tcp.map(|tcp| (tcp.idle_timeout, tcp.max_connection_duration))
                .unwrap_or_default(),
            whole.map(part).unwrap_or_default(),
            subsets,
        ))
    }
    let before = of(&change.before);
    before.is_none() || before != of(&change.after)
}

/// True if requests may be hashed otherwise.
fn hashes_otherwise(change: &PolicyChange) -> bool {
    type Hashes<'a> = (
        Option<&'a ConsistentHash>,
        Vec<(Option<u32>, Option<&'a ConsistentHash>)>,
    );
    fn part(all: &TrafficPolicy) -> Hashes<'_> {
        let ports = all.port_level_settings.iter();
        (
            all.load_balancer
                .as_ref()
                .and_then(|balancer| balancer.consistent_hash.as_ref()),
            ports
                .map(|port| {
                    let number = port.port.as_ref().map(|port| port.number);
                    let balancer = port.load_balancer.as_ref();
                    let hash = balancer.and_then(|balancer| balancer.consistent_hash.as_ref());
                    (number, hash)
                })
                .collect(),
        )
    }
    fn of(policies: &[Arc<DestinationPolicy>]) -> Option<(Hashes<'_>, Vec<(&str, Hashes<'_>)>)> {
        let policy = only(policies)?;
        let whole = policy.and_then(|policy| policy.spec.traffic_policy.as_ref());
        let subsets = policy.into_iter().flat_map(|policy| &policy.spec.subsets);
        let subsets = subsets.filter_map(|subset| {
            let own = part(subset.traffic_policy.as_ref()?);
            (own != Hashes::default()).then_some((subset.name.as_str(), own))
        });
        Some((whole.map(part).unwrap_or_default(), subsets.collect()))
    }
    let before = of(&change.before);
    before.is_none() || before != of(&change.after)
}

/// The policy for all clients; `None` if it depends on the client which is used.
#[expect(
    clippy::option_option,
    reason = "three cases: no policy, one, and who knows"
)]
fn only(policies: &[Arc<DestinationPolicy>]) -> Option<Option<&DestinationPolicy>> {
    let selects = policies.iter().any(|policy| policy.selector.is_some());
    (!selects).then(|| destination::general(policies).map(|policy| &**policy))
}
