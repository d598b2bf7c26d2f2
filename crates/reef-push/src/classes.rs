//! Classes: the tuple of the parts a proxy's keys stand for, and the view made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};
use reef_config::Problem;
use reef_gen::{
    ClassInput, ClusterKey, EndpointKey, EndpointsKey, InboundClustersKey, InboundListenersKey,
    ListenerKey, NameTableKey, NamesKey, OutboundClustersKey, OutboundListenersKey, ProxyFacts,
    ProxyKeys, Reach, RouteKey, RoutesKey, TargetKey,
};
use reef_mesh::{MeshSnapshot, ServiceKey, ServiceTarget};
use reef_scope::{Patch, Scope};
use reef_xds::Warm;

use crate::parts::Parts;
use crate::plan::{ClassId, ProxyId};
use crate::scopes::ScopeNo;
use crate::store::BuildStats;
use crate::view::{ClassView, Joined};

/// A class of proxies.
#[derive(Debug)]
pub(crate) struct Class {
    facts: Arc<ProxyFacts>,
    /// What its proxies serve.
    targets: Arc<[TargetKey]>,
    /// Its scope.
    pub(crate) scope: ScopeNo,
    /// Its proxies.
    pub(crate) proxies: BTreeSet<ProxyId>,
    parts: PartIds,
    /// Its problems, once somebody asked.
    problems: Option<Problems>,
    /// What its proxies hold.
    pub(crate) view: Arc<ClassView>,
}

/// Numbers of the parts of a class: as keys have one part each, they are the class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct PartIds {
    outbound: Outbound,
    inbound_clusters: u32,
    inbound_listeners: u32,
    endpoints: u32,
    /// Its table of names, if its proxies have agents that ask for it.
    names: Option<u32>,
}

/// The parts that say what leads out of a workload, and what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Outbound {
    clusters: u32,
    listeners: u32,
    routes: u32,
}

/// What is wrong with what a class is sent.
#[derive(Debug)]
struct Problems {
    /// Of what leads out of the workload; one for all classes that share its parts.
    outbound: Arc<[Problem]>,
    /// Of what leads into it.
    inbound: Box<[Problem]>,
}

/// All classes.
#[derive(Debug)]
pub(crate) struct Classes {
    /// Which resources hold their bytes.
    warm: Warm,
    /// Boxed: leaves of the tree are half empty, as classes come in order.
    by_id: BTreeMap<ClassId, Box<Class>>,
    by_parts: Ids,
    last: u64,
    clusters: Parts<OutboundClustersKey, ClusterKey>,
    inbound_clusters: Parts<InboundClustersKey, ClusterKey>,
    endpoints: Parts<EndpointsKey, EndpointKey>,
    listeners: Parts<OutboundListenersKey, ListenerKey>,
    inbound_listeners: Parts<InboundListenersKey, ListenerKey>,
    routes: Parts<RoutesKey, RouteKey>,
    names: Parts<NamesKey, NameTableKey>,
}

#[derive(Debug)]
struct Ids(HashMap<PartIds, ClassId>);

impl Default for Ids {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl Default for Classes {
    fn default() -> Self {
        let warm = Warm::default();
        Self {
            by_id: BTreeMap::new(),
            by_parts: Ids::default(),
            last: 0,
            clusters: Parts::new(&warm),
            inbound_clusters: Parts::new(&warm),
            endpoints: Parts::new(&warm),
            listeners: Parts::new(&warm),
            inbound_listeners: Parts::new(&warm),
            routes: Parts::new(&warm),
            names: Parts::new(&warm),
            warm,
        }
    }
}

impl Classes {
    /// The class of these keys, if there is one.
    pub(crate) fn find(&self, keys: &ProxyKeys) -> Option<ClassId> {
        let parts = PartIds {
            // What tells most classes apart comes first.
            inbound_listeners: self.inbound_listeners.find(&keys.listeners.inbound)?,
            inbound_clusters: self.inbound_clusters.find(&keys.clusters.inbound)?,
            outbound: Outbound {
                clusters: self.clusters.find(&keys.clusters.outbound)?,
                listeners: self.listeners.find(&keys.listeners.outbound)?,
                routes: self.routes.find(&keys.routes)?,
            },
            endpoints: self.endpoints.find(&keys.endpoints)?,
            names: match &keys.names {
                Some(names) => Some(self.names.find(names)?),
                None => None,
            },
        };
        self.by_parts.0.get(&parts).copied()
    }

    /// Makes the class of these keys; parts other classes have already are not made again.
    pub(crate) fn create(
        &mut self,
        keys: &ProxyKeys,
        facts: ProxyFacts,
        (no, scope): (ScopeNo, &Arc<Scope>),
        snapshot: &Arc<MeshSnapshot>,
        generation: u64,
    ) -> ClassId {
        self.last += 1;
        let id = ClassId(self.last);
        let targets = Arc::clone(keys.targets());
        let facts = Arc::new(facts);
        let input = &input(snapshot, scope, &facts, &targets);
        let parts = PartIds {
            outbound: Outbound {
                clusters: self
                    .clusters
                    .acquire(&keys.clusters.outbound, generation, || {
                        reef_gen::outbound_cluster_keys(input)
                    }),
                listeners: self
                    .listeners
                    .acquire(&keys.listeners.outbound, generation, || {
                        reef_gen::outbound_listener_keys(input)
                    }),
                routes: self
                    .routes
                    .acquire(&keys.routes, generation, || reef_gen::route_keys(input)),
            },
            inbound_clusters: self.inbound_clusters.acquire(
                &keys.clusters.inbound,
                generation,
                || reef_gen::inbound_cluster_keys(input),
            ),
            inbound_listeners: self.inbound_listeners.acquire(
                &keys.listeners.inbound,
                generation,
                || reef_gen::inbound_listener_keys(input),
            ),
            endpoints: self.endpoints.acquire(&keys.endpoints, generation, || {
                reef_gen::endpoint_keys(input)
            }),
            names: keys.names.as_ref().map(|names| {
                let keys = || reef_gen::name_table_keys(input);
                self.names.acquire(names, generation, keys)
            }),
        };
        self.by_parts.0.insert(parts, id);
        let class = Class {
            facts,
            targets,
            scope: no,
            proxies: BTreeSet::new(),
            parts,
            problems: None,
            view: Arc::new(self.view(id, parts)),
        };
        self.by_id.insert(id, Box::new(class));
        id
    }

    /// Drops a class; returns its scope.
    pub(crate) fn remove(&mut self, id: ClassId) -> Option<ScopeNo> {
        let class = self.by_id.remove(&id)?;
        let parts = class.parts;
        self.by_parts.0.remove(&parts);
        self.clusters.release(parts.outbound.clusters);
        self.inbound_clusters.release(parts.inbound_clusters);
        self.endpoints.release(parts.endpoints);
        self.listeners.release(parts.outbound.listeners);
        self.inbound_listeners.release(parts.inbound_listeners);
        self.routes.release(parts.outbound.routes);
        if let Some(names) = parts.names {
            self.names.release(names);
        }
        Some(class.scope)
    }

    /// Makes all parts of a class again, except those this push made already.
    pub(crate) fn remake(
        &mut self,
        id: ClassId,
        scope: &Arc<Scope>,
        snapshot: &Arc<MeshSnapshot>,
        generation: u64,
    ) {
        let Some(class) = self.by_id.get_mut(&id) else {
            return;
        };
        class.problems = None;
        let parts = class.parts;
        let input = &input(snapshot, scope, &class.facts, &class.targets);
        self.clusters
            .remake(parts.outbound.clusters, generation, || {
                reef_gen::outbound_cluster_keys(input)
            });
        self.inbound_clusters
            .remake(parts.inbound_clusters, generation, || {
                reef_gen::inbound_cluster_keys(input)
            });
        self.endpoints.remake(parts.endpoints, generation, || {
            reef_gen::endpoint_keys(input)
        });
        self.listeners
            .remake(parts.outbound.listeners, generation, || {
                reef_gen::outbound_listener_keys(input)
            });
        self.inbound_listeners
            .remake(parts.inbound_listeners, generation, || {
                reef_gen::inbound_listener_keys(input)
            });
        self.routes.remake(parts.outbound.routes, generation, || {
            reef_gen::route_keys(input)
        });
        if let Some(names) = parts.names {
            let keys = || reef_gen::name_table_keys(input);
            self.names.remake(names, generation, keys);
        }
    }

    /// Brings all parts of a class up to date after its scope was patched, except those this push made already.
    pub(crate) fn reach(
        &mut self,
        id: ClassId,
        scope: &Arc<Scope>,
        snapshot: &Arc<MeshSnapshot>,
        generation: u64,
        patch: &Patch,
    ) {
        let Some(class) = self.by_id.get_mut(&id) else {
            return;
        };
        class.problems = None;
        let parts = class.parts;
        let input = &input(snapshot, scope, &class.facts, &class.targets);
        let reach = Reach::new(input, patch);
        self.clusters.reach(
            parts.outbound.clusters,
            generation,
            |_| reach.clusters(),
            || reef_gen::outbound_cluster_keys(input),
        );
        self.endpoints.reach(
            parts.endpoints,
            generation,
            |_| reach.endpoints(),
            || reef_gen::endpoint_keys(input),
        );
        self.listeners.reach(
            parts.outbound.listeners,
            generation,
            |_| reach.listeners(),
            || reef_gen::outbound_listener_keys(input),
        );
        self.inbound_listeners.reach(
            parts.inbound_listeners,
            generation,
            |_| reach.inbound_listeners(),
            || reef_gen::inbound_listener_keys(input),
        );
        self.routes.reach(
            parts.outbound.routes,
            generation,
            |view| reach.routes(view.resources().iter().map(|slot| slot.key())),
            || reef_gen::route_keys(input),
        );
        if let Some(names) = parts.names {
            let all = || reef_gen::name_table_keys(input);
            self.names.reach(names, generation, |_| reach.names(), all);
        }
    }

    /// Makes the load assignments of some services again, in each part of these classes once; tables of names, too,
    /// where they hold the endpoints of any.
    pub(crate) fn update_endpoints(
        &mut self,
        ids: &BTreeSet<ClassId>,
        services: &[&ServiceKey],
        scope: &Arc<Scope>,
        snapshot: &Arc<MeshSnapshot>,
        generation: u64,
    ) {
        let mut done = BTreeSet::new();
        let named = services.iter().any(|key| {
            snapshot
                .service(key)
                .is_some_and(|service| reef_gen::names_endpoints(service))
        });
        for class in ids.iter().filter_map(|id| self.by_id.get(id)) {
            if let Some(names) = class.parts.names.filter(|_| named) {
                self.names.remake(names, generation, || {
                    let input = input(snapshot, scope, &class.facts, &class.targets);
                    reef_gen::name_table_keys(&input)
                });
            }
            if !done.insert(class.parts.endpoints)
                || self.endpoints.is_made(class.parts.endpoints, generation)
            {
                continue;
            }
            let input = input(snapshot, scope, &class.facts, &class.targets);
            let keys = services
                .iter()
                .flat_map(|key| reef_gen::endpoint_key(&input, key))
                .collect();
            self.endpoints
                .update(class.parts.endpoints, generation, keys);
        }
    }

    /// Makes the view of a class again; returns it if any byte differs.
    pub(crate) fn refresh_view(&mut self, id: ClassId) -> Option<Arc<ClassView>> {
        let parts = self.by_id.get(&id)?.parts;
        let view = self.view(id, parts);
        let class = self.by_id.get_mut(&id)?;
        let changed = view.generation() != class.view.generation();
        class.view = Arc::new(view);
        changed.then(|| Arc::clone(&class.view))
    }

    /// The parts of a class as they are now.
    fn view(&self, id: ClassId, parts: PartIds) -> ClassView {
        ClassView {
            lineage: id.number(),
            clusters: Joined {
                outbound: self.clusters.view(parts.outbound.clusters),
                inbound: self.inbound_clusters.view(parts.inbound_clusters),
            },
            endpoints: self.endpoints.view(parts.endpoints),
            listeners: Joined {
                outbound: self.listeners.view(parts.outbound.listeners),
                inbound: self.inbound_listeners.view(parts.inbound_listeners),
            },
            routes: self.routes.view(parts.outbound.routes),
            names: parts
                .names
                .map(|names| self.names.view(names))
                .unwrap_or_default(),
        }
    }

    /// A class.
    pub(crate) fn get(&self, id: ClassId) -> Option<&Class> {
        self.by_id.get(&id).map(|class| &**class)
    }

    /// A class, to change its proxies.
    pub(crate) fn get_mut(&mut self, id: ClassId) -> Option<&mut Class> {
        self.by_id.get_mut(&id).map(|class| &mut **class)
    }

    /// Classes whose proxies serve one of these services.
    pub(crate) fn serving(&self, services: &BTreeSet<ServiceKey>) -> BTreeSet<ClassId> {
        self.by_id
            .iter()
            .filter(|(_, class)| {
                let mut targets = class.targets.iter();
                targets.any(|target| services.contains(&target.service))
            })
            .map(|(id, _)| *id)
            .collect()
    }

    /// The services the proxies of a class serve.
    pub(crate) fn served(&self, id: ClassId) -> BTreeSet<&ServiceKey> {
        let class = self.by_id.get(&id);
        let targets = class.into_iter().flat_map(|class| &*class.targets);
        targets.map(|target| &target.service).collect()
    }

    /// Adds all problems of classes and resources to `all`.
    pub(crate) fn collect_problems(
        &mut self,
        snapshot: &Arc<MeshSnapshot>,
        scope: impl Fn(ScopeNo) -> Option<Arc<Scope>>,
        all: &mut BTreeSet<Problem>,
    ) {
        // Told once for all classes that share the parts.
        let mut outbound: HashMap<Outbound, Arc<[Problem]>> = HashMap::new();
        for class in self.by_id.values() {
            if let Some(problems) = &class.problems {
                outbound.insert(class.parts.outbound, Arc::clone(&problems.outbound));
            }
        }
        for class in self.by_id.values_mut() {
            if class.problems.is_none()
                && let Some(scope) = scope(class.scope)
            {
                let input = input(snapshot, &scope, &class.facts, &class.targets);
                let shared = outbound.entry(class.parts.outbound);
                class.problems = Some(Problems {
                    outbound: Arc::clone(
                        shared.or_insert_with(|| reef_gen::outbound_problems(&input).into()),
                    ),
                    inbound: reef_gen::inbound_problems(&input).into(),
                });
            }
            let inbound = class.problems.iter();
            all.extend(inbound.flat_map(|problems| problems.inbound.iter().cloned()));
        }
        #[expect(clippy::iter_over_hash_type, reason = "a sorted set is made of it")]
        for problems in outbound.values() {
            all.extend(problems.iter().cloned());
        }
        all.extend(self.clusters.store().problems().cloned());
        all.extend(self.inbound_clusters.store().problems().cloned());
        all.extend(self.listeners.store().problems().cloned());
        all.extend(self.inbound_listeners.store().problems().cloned());
        all.extend(self.routes.store().problems().cloned());
    }

    /// How many classes there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// How many resources the stores hold.
    pub(crate) const fn resources(&self) -> usize {
        self.clusters.store().len()
            + self.inbound_clusters.store().len()
            + self.endpoints.store().len()
            + self.listeners.store().len()
            + self.inbound_listeners.store().len()
            + self.routes.store().len()
            + self.names.store().len()
    }

    /// The work since the last call.
    pub(crate) fn take_stats(&mut self) -> BuildStats {
        let mut all = self.clusters.store_mut().take_stats();
        all.add(self.inbound_clusters.store_mut().take_stats());
        all.add(self.endpoints.store_mut().take_stats());
        all.add(self.listeners.store_mut().take_stats());
        all.add(self.inbound_listeners.store_mut().take_stats());
        all.add(self.routes.store_mut().take_stats());
        all.add(self.names.store_mut().take_stats());
        all
    }

    /// Gives bytes back that nobody asked for lately; returns how many resources hold theirs.
    pub(crate) fn cool(&self) -> usize {
        self.warm.cool()
    }

    /// Numbers of classes, parts, resources and their bytes.
    pub(crate) fn sizes(&self) -> (usize, usize, usize, usize) {
        let parts = self.clusters.len()
            + self.inbound_clusters.len()
            + self.endpoints.len()
            + self.listeners.len()
            + self.inbound_listeners.len()
            + self.routes.len()
            + self.names.len();
        let bytes = self.clusters.store().retained_bytes()
            + self.inbound_clusters.store().retained_bytes()
            + self.endpoints.store().retained_bytes()
            + self.listeners.store().retained_bytes()
            + self.inbound_listeners.store().retained_bytes()
            + self.routes.store().retained_bytes()
            + self.names.store().retained_bytes();
        (self.len(), parts, self.resources(), bytes)
    }
}

/// What generation reads of a class. Services are looked up, so that a class outlives their versions.
fn input(
    snapshot: &Arc<MeshSnapshot>,
    scope: &Arc<Scope>,
    facts: &Arc<ProxyFacts>,
    targets: &[TargetKey],
) -> ClassInput {
    let targets = targets
        .iter()
        .filter_map(|target| {
            let service = Arc::clone(snapshot.service(&target.service)?);
            (target.port < service.ports.len()).then_some(ServiceTarget {
                service,
                port: target.port,
                target_port: target.target_port,
            })
        })
        .collect();
    ClassInput::new(
        Arc::clone(snapshot),
        Arc::clone(scope),
        Arc::clone(facts),
        targets,
    )
}
