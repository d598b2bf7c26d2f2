//! Classes: the tuple of a proxy's keys, the four parts it stands for, and the view made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};
use reef_config::Problem;
use reef_gen::{
    ClassInput, ClusterKey, ClustersKey, EndpointKey, EndpointsKey, ListenerKey, ListenersKey,
    NameTableKey, NamesKey, ProxyFacts, ProxyKeys, Reach, RouteKey, RoutesKey, TargetKey,
};
use reef_mesh::{MeshSnapshot, ServiceKey, ServiceTarget};
use reef_scope::{Patch, Scope};

use crate::parts::Parts;
use crate::plan::{ClassId, ProxyId};
use crate::scopes::ScopeNo;
use crate::store::BuildStats;
use crate::view::ClassView;

/// A class of proxies.
#[derive(Debug)]
pub(crate) struct Class {
    keys: Arc<ProxyKeys>,
    facts: ProxyFacts,
    /// Its scope.
    pub(crate) scope: ScopeNo,
    /// Its proxies.
    pub(crate) proxies: BTreeSet<ProxyId>,
    clusters: u32,
    endpoints: u32,
    listeners: u32,
    routes: u32,
    /// Its table of names, if its proxies have agents that ask for it.
    names: Option<u32>,
    /// Its problems, once somebody asked.
    problems: Option<Box<[Problem]>>,
    /// What its proxies hold.
    pub(crate) view: Arc<ClassView>,
}

/// All classes.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    by_id: BTreeMap<ClassId, Class>,
    by_keys: Ids,
    last: u64,
    clusters: Parts<ClustersKey, ClusterKey>,
    endpoints: Parts<EndpointsKey, EndpointKey>,
    listeners: Parts<ListenersKey, ListenerKey>,
    routes: Parts<RoutesKey, RouteKey>,
    names: Parts<NamesKey, NameTableKey>,
}

#[derive(Debug)]
struct Ids(HashMap<Arc<ProxyKeys>, ClassId>);

impl Default for Ids {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl Classes {
    /// The class of these keys, if there is one.
    pub(crate) fn find(&self, keys: &ProxyKeys) -> Option<ClassId> {
        self.by_keys.0.get(keys).copied()
    }

    /// Makes the class of these keys; parts other classes have already are not made again.
    pub(crate) fn create(
        &mut self,
        keys: ProxyKeys,
        facts: ProxyFacts,
        (no, scope): (ScopeNo, &Arc<Scope>),
        snapshot: &Arc<MeshSnapshot>,
        generation: u64,
    ) -> ClassId {
        self.last += 1;
        let id = ClassId(self.last);
        let input = input(snapshot, scope, &facts, keys.targets());
        let clusters = self.clusters.acquire(&keys.clusters, generation, || {
            reef_gen::cluster_keys(&input)
        });
        let endpoints = self.endpoints.acquire(&keys.endpoints, generation, || {
            reef_gen::endpoint_keys(&input)
        });
        let listeners = self.listeners.acquire(&keys.listeners, generation, || {
            reef_gen::listener_keys(&input)
        });
        let routes = self
            .routes
            .acquire(&keys.routes, generation, || reef_gen::route_keys(&input));
        let names = keys.names.as_ref().map(|names| {
            let keys = || reef_gen::name_table_keys(&input);
            self.names.acquire(names, generation, keys)
        });
        let keys = Arc::new(keys);
        let view = ClassView {
            lineage: id.number(),
            clusters: self.clusters.view(clusters),
            endpoints: self.endpoints.view(endpoints),
            listeners: self.listeners.view(listeners),
            routes: self.routes.view(routes),
            names: names
                .map(|names| self.names.view(names))
                .unwrap_or_default(),
        };
        self.by_keys.0.insert(Arc::clone(&keys), id);
        let class = Class {
            keys,
            facts,
            scope: no,
            proxies: BTreeSet::new(),
            clusters,
            endpoints,
            listeners,
            routes,
            names,
            problems: None,
            view: Arc::new(view),
        };
        self.by_id.insert(id, class);
        id
    }

    /// Drops a class; returns its scope.
    pub(crate) fn remove(&mut self, id: ClassId) -> Option<ScopeNo> {
        let class = self.by_id.remove(&id)?;
        self.by_keys.0.remove(&class.keys);
        self.clusters.release(class.clusters);
        self.endpoints.release(class.endpoints);
        self.listeners.release(class.listeners);
        self.routes.release(class.routes);
        if let Some(names) = class.names {
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
        let input = input(snapshot, scope, &class.facts, class.keys.targets());
        self.clusters.remake(class.clusters, generation, || {
            reef_gen::cluster_keys(&input)
        });
        self.endpoints.remake(class.endpoints, generation, || {
            reef_gen::endpoint_keys(&input)
        });
        self.listeners.remake(class.listeners, generation, || {
            reef_gen::listener_keys(&input)
        });
        self.routes
            .remake(class.routes, generation, || reef_gen::route_keys(&input));
        if let Some(names) = class.names {
            let keys = || reef_gen::name_table_keys(&input);
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
        let input = &input(snapshot, scope, &class.facts, class.keys.targets());
        let reach = Reach::new(input, patch);
        self.clusters.reach(
            class.clusters,
            generation,
            |_| reach.clusters(),
            || reef_gen::cluster_keys(input),
        );
        self.endpoints.reach(
            class.endpoints,
            generation,
            |_| reach.endpoints(),
            || reef_gen::endpoint_keys(input),
        );
        self.listeners.reach(
            class.listeners,
            generation,
            |_| reach.listeners(),
            || reef_gen::listener_keys(input),
        );
        self.routes.reach(
            class.routes,
            generation,
            |view| reach.routes(view.resources().iter().map(|slot| slot.key())),
            || reef_gen::route_keys(input),
        );
        if let Some(names) = class.names {
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
            if let Some(names) = class.names.filter(|_| named) {
                self.names.remake(names, generation, || {
                    let input = input(snapshot, scope, &class.facts, class.keys.targets());
                    reef_gen::name_table_keys(&input)
                });
            }
            if !done.insert(class.endpoints) || self.endpoints.is_made(class.endpoints, generation)
            {
                continue;
            }
            let input = input(snapshot, scope, &class.facts, class.keys.targets());
            let keys = services
                .iter()
                .flat_map(|key| reef_gen::endpoint_key(&input, key))
                .collect();
            self.endpoints.update(class.endpoints, generation, keys);
        }
    }

    /// Makes the view of a class again; returns it if any byte differs.
    pub(crate) fn refresh_view(&mut self, id: ClassId) -> Option<Arc<ClassView>> {
        let class = self.by_id.get_mut(&id)?;
        let view = ClassView {
            lineage: id.number(),
            clusters: self.clusters.view(class.clusters),
            endpoints: self.endpoints.view(class.endpoints),
            listeners: self.listeners.view(class.listeners),
            routes: self.routes.view(class.routes),
            names: class
                .names
                .map(|names| self.names.view(names))
                .unwrap_or_default(),
        };
        let changed = view.generation() != class.view.generation();
        class.view = Arc::new(view);
        changed.then(|| Arc::clone(&class.view))
    }

    /// A class.
    pub(crate) fn get(&self, id: ClassId) -> Option<&Class> {
        self.by_id.get(&id)
    }

    /// A class, to change its proxies.
    pub(crate) fn get_mut(&mut self, id: ClassId) -> Option<&mut Class> {
        self.by_id.get_mut(&id)
    }

    /// Classes whose proxies serve one of these services.
    pub(crate) fn serving(&self, services: &BTreeSet<ServiceKey>) -> BTreeSet<ClassId> {
        self.by_id
            .iter()
            .filter(|(_, class)| {
                class
                    .keys
                    .targets()
                    .iter()
                    .any(|target| services.contains(&target.service))
            })
            .map(|(id, _)| *id)
            .collect()
    }

    /// The services the proxies of a class serve.
    pub(crate) fn served(&self, id: ClassId) -> BTreeSet<&ServiceKey> {
        let class = self.by_id.get(&id);
        let targets = class.into_iter().flat_map(|class| class.keys.targets());
        targets.map(|target| &target.service).collect()
    }

    /// Adds all problems of classes and resources to `all`.
    pub(crate) fn collect_problems(
        &mut self,
        snapshot: &Arc<MeshSnapshot>,
        scope: impl Fn(ScopeNo) -> Option<Arc<Scope>>,
        all: &mut BTreeSet<Problem>,
    ) {
        for class in self.by_id.values_mut() {
            if class.problems.is_none()
                && let Some(scope) = scope(class.scope)
            {
                let input = input(snapshot, &scope, &class.facts, class.keys.targets());
                class.problems = Some(reef_gen::problems(&input).into());
            }
            all.extend(
                class
                    .problems
                    .iter()
                    .flat_map(|problems| problems.iter().cloned()),
            );
        }
        all.extend(self.clusters.store().problems().cloned());
        all.extend(self.listeners.store().problems().cloned());
        all.extend(self.routes.store().problems().cloned());
    }

    /// How many classes there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// How many resources the stores hold.
    pub(crate) const fn resources(&self) -> usize {
        self.clusters.store().len()
            + self.endpoints.store().len()
            + self.listeners.store().len()
            + self.routes.store().len()
            + self.names.store().len()
    }

    /// The work since the last call.
    pub(crate) fn take_stats(&mut self) -> BuildStats {
        let mut all = self.clusters.store_mut().take_stats();
        all.add(self.endpoints.store_mut().take_stats());
        all.add(self.listeners.store_mut().take_stats());
        all.add(self.routes.store_mut().take_stats());
        all.add(self.names.store_mut().take_stats());
        all
    }

    /// Numbers of classes, parts, resources and their bytes.
    pub(crate) fn sizes(&self) -> (usize, usize, usize, usize) {
        let parts = self.clusters.len()
            + self.endpoints.len()
            + self.listeners.len()
            + self.routes.len()
            + self.names.len();
        let bytes = self.clusters.store().retained_bytes()
            + self.endpoints.store().retained_bytes()
            + self.listeners.store().retained_bytes()
            + self.routes.store().retained_bytes()
            + self.names.store().retained_bytes();
        (self.len(), parts, self.resources(), bytes)
    }
}

/// What generation reads of a class. Services are looked up, so that a class outlives their versions.
fn input(
    snapshot: &Arc<MeshSnapshot>,
    scope: &Arc<Scope>,
    facts: &ProxyFacts,
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
        facts.clone(),
        targets,
    )
}
