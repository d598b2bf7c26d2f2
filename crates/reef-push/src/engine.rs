//! The engine: proxies come and go, snapshots arrive, views leave.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use reef_config::names::Namespace;
use reef_config::{Kind, Problem};
use reef_gen::{ProxyKeys, Reach};
use reef_mesh::{
    ChangeReport, MeshSnapshot, ProxyIdentity, ProxyNode, ServiceKey, identify_shared,
};
use reef_scope::{Patch, Scope};

use crate::classes::Classes;
use crate::plan::{ClassId, Connected, ProxyId, PushPlan, PushStats, Sizes};
use crate::proxies::{Proxies, Proxy};
use crate::scopes::{ScopeNo, Scopes};
use crate::view::ClassView;

/// Choices of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushOptions {
    /// Classes kept although no proxy is connected, so that a restarting proxy or a broken connection does not make
    /// everything again. Each costs what its own resources cost and is maintained like any other.
    pub idle_classes: usize,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self { idle_classes: 16 }
    }
}

/// Who needs what.
#[derive(Debug)]
pub struct PushEngine {
    options: PushOptions,
    snapshot: Arc<MeshSnapshot>,
    generation: u64,
    last_proxy: u64,
    proxies: Proxies,
    scopes: Scopes,
    classes: Classes,
    /// Classes without proxies, the longest idle first; those that got one again are skipped when their turn comes.
    idle: VecDeque<ClassId>,
    /// All problems, until something that can have one changes.
    problems: Option<Vec<Problem>>,
}

impl Default for PushEngine {
    fn default() -> Self {
        Self::new(PushOptions::default())
    }
}

/// What the engine knows of a connected proxy.
#[derive(Debug, Clone)]
pub struct ProxyState<'a> {
    /// Who it is.
    pub identity: &'a ProxyIdentity,
    /// Its class.
    pub class: ClassId,
    /// What it can see, and why.
    pub scope: &'a Arc<Scope>,
    /// What it holds.
    pub view: &'a Arc<ClassView>,
}

impl PushEngine {
    /// Starts with an empty mesh and no proxies; the first [`apply`](Self::apply) brings the real one.
    #[must_use]
    pub fn new(options: PushOptions) -> Self {
        Self {
            options,
            snapshot: Arc::default(),
            generation: 1,
            last_proxy: 0,
            proxies: Proxies::default(),
            scopes: Scopes::default(),
            classes: Classes::default(),
            idle: VecDeque::new(),
            problems: None,
        }
    }

    /// Adds a proxy. Free of generation if its class is there already.
    pub fn connect(&mut self, node: impl Into<Arc<ProxyNode>>) -> Connected {
        self.last_proxy += 1;
        let proxy = ProxyId(self.last_proxy);
        let identity = identify_shared(&self.snapshot, &node.into());
        let class = self.class_for(&identity);
        self.enter(proxy, class);
        self.proxies.insert(proxy, Proxy { identity, class });
        self.evict();
        Connected {
            proxy,
            class,
            view: self.view_of(class),
        }
    }

    /// Removes a proxy.
    pub fn disconnect(&mut self, proxy: ProxyId) {
        if let Some(gone) = self.proxies.remove(proxy) {
            self.leave(proxy, gone.class);
            self.evict();
        }
    }

    /// Takes a new snapshot and says who is affected by it.
    ///
    /// `report` must cover everything that differs from the last snapshot given; merge reports to skip one. The cost
    /// follows what the change touches: endpoints alone reach only the load assignments of the classes that import
    /// them.
    pub fn apply(&mut self, snapshot: Arc<MeshSnapshot>, report: &ChangeReport) -> PushPlan {
        let before = std::mem::replace(&mut self.snapshot, snapshot);
        self.generation += 1;
        // Connections since the last push are not its work.
        self.classes.take_stats();
        let mut stats = PushStats::default();

        let refreshed = self.scopes.refresh(&before, &self.snapshot, report);
        stats.scopes_resolved = refreshed.resolved;
        let mut remake: BTreeSet<ClassId> = self.classes_of(refreshed.dirty.iter().copied());
        let settings = self.snapshot.settings();
        let retold = refreshed.patched.iter();
        let retold = retold.filter(|(_, patch)| Reach::facts(settings, patch));
        let mut moving = self.classes_of(retold.map(|(no, _)| *no));
        moving.extend(&remake);

        let check = self.to_check(&before, report, &moving);
        stats.proxies_checked = check.len();
        let moved: Vec<(ProxyId, ClassId)> = check
            .into_iter()
            .filter_map(|proxy| Some((proxy, self.check(proxy)?)))
            .collect();

        if !report.services.is_empty() {
            remake.extend(self.classes.serving(&report.services));
        }
        remake.extend(self.connecting_otherwise(report));
        remake.extend(self.led_otherwise(report));
        remake.extend(self.serving_otherwise(&before, report));
        // A class made just now may share a part that this push has yet to make again; parts made already are not
        // made twice.
        remake.extend(moved.iter().map(|(_, class)| *class));
        let reached: BTreeSet<ClassId> =
            self.classes_of(refreshed.patched.iter().map(|(no, _)| *no));
        stats.classes_remade = remake.union(&reached).count();
        if stats.classes_remade > 0
            || refreshed.resolved > 0
            || report.settings
            || !report.rules.is_empty()
        {
            self.problems = None;
        }
        for id in &remake {
            let Some(scope) = self.scope_of(*id) else {
                continue;
            };
            self.classes
                .remake(*id, &scope, &self.snapshot, self.generation);
        }

        for (no, patch) in &refreshed.patched {
            self.reach(*no, patch);
        }
        remake.extend(reached);

        let touched = self.update_endpoints(report.endpoints.union(&report.led));
        stats.classes_endpoints = touched.len();
        remake.extend(touched);

        let mut plan = PushPlan::default();
        for id in remake {
            if let Some(view) = self.classes.refresh_view(id)
                && self
                    .classes
                    .get(id)
                    .is_some_and(|class| !class.proxies.is_empty())
            {
                plan.classes.push((id, view));
            }
        }
        plan.moved = moved
            .into_iter()
            .map(|(proxy, class)| (proxy, class, self.view_of(class)))
            .collect();
        self.evict();
        stats.build = self.classes.take_stats();
        plan.stats = stats;
        plan
    }

    /// The snapshot in effect.
    #[must_use]
    pub const fn snapshot(&self) -> &Arc<MeshSnapshot> {
        &self.snapshot
    }

    /// A connected proxy.
    #[must_use]
    pub fn proxy(&self, proxy: ProxyId) -> Option<ProxyState<'_>> {
        let Proxy { identity, class } = self.proxies.get(proxy)?;
        let found = self.classes.get(*class)?;
        let scope = &self.scopes.get(found.scope)?.scope;
        Some(ProxyState {
            identity,
            class: *class,
            scope,
            view: &found.view,
        })
    }

    /// The connected proxies, in order of arrival.
    pub fn proxies(&self) -> impl Iterator<Item = ProxyId> {
        self.proxies.ids()
    }

    /// What is wrong with what is sent, sorted, each once: of scopes, classes and resources.
    ///
    /// Computed when asked for, and kept until a class or a scope changes; endpoints have no problems.
    #[must_use]
    pub fn problems(&mut self) -> Vec<Problem> {
        if let Some(known) = &self.problems {
            return known.clone();
        }
        let mut all = self.problems_of_classes();
        all.extend(reef_gen::policy_problems(&self.snapshot));
        let all: Vec<Problem> = all.into_iter().collect();
        self.problems = Some(all.clone());
        all
    }

    /// The problems of the scopes, classes and resources there are now; those that show without any proxy are not
    /// among them.
    #[must_use]
    pub fn problems_of_classes(&mut self) -> BTreeSet<Problem> {
        let (scopes, snapshot) = (&self.scopes, &self.snapshot);
        let of_scopes = scopes.iter().flat_map(|used| &used.scope.problems);
        let mut all: BTreeSet<Problem> = of_scopes.cloned().collect();
        self.classes.collect_problems(
            snapshot,
            |no| Some(Arc::clone(&scopes.get(no)?.scope)),
            &mut all,
        );
        all
    }

    /// How many classes there are, idle ones included.
    #[must_use]
    pub fn class_count(&self) -> usize {
        self.classes.len()
    }

    /// How many encoded resources the stores hold.
    #[must_use]
    pub fn resource_count(&self) -> usize {
        self.classes.resources()
    }

    /// Gives bytes of resources back that nobody asked for lately: they are made again, the same, when somebody does. Returns
    /// how many resources hold theirs.
    ///
    /// Each call looks at an eighth of those that do, at least at some tens; what was not asked for between two looks is
    /// given back.
    pub fn cool(&mut self) -> usize {
        self.classes.cool()
    }

    /// How much there is; costs nothing to ask.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let (classes, parts, resources, resource_bytes) = self.classes.sizes();
        Sizes {
            proxies: self.proxies.len(),
            classes,
            scopes: self.scopes.len(),
            resources,
            resource_bytes,
            parts,
        }
    }

    /// The classes in some scopes.
    fn classes_of(&self, scopes: impl Iterator<Item = ScopeNo>) -> BTreeSet<ClassId> {
        scopes
            .filter_map(|no| self.scopes.get(no))
            .flat_map(|used| used.classes.iter().copied())
            .collect()
    }

    /// Brings the classes in a scope up to date that was patched.
    fn reach(&mut self, no: ScopeNo, patch: &Patch) {
        let Some(used) = self.scopes.get(no) else {
            return;
        };
        for id in &used.classes {
            self.classes
                .reach(*id, &used.scope, &self.snapshot, self.generation, patch);
        }
    }

    /// Proxies that may belong to another class after a change.
    fn to_check(
        &self,
        before: &MeshSnapshot,
        report: &ChangeReport,
        remake: &BTreeSet<ClassId>,
    ) -> BTreeSet<ProxyId> {
        let mut check = self.proxies.touched(before, &self.snapshot, report);
        for class in remake.iter().filter_map(|id| self.classes.get(*id)) {
            check.extend(&class.proxies);
        }
        check
    }

    /// Classes that import a service of a namespace whose `PeerAuthentication`s changed: these decide how clients
    /// connect, cluster by cluster and endpoint by endpoint.
    fn connecting_otherwise(&self, report: &ChangeReport) -> BTreeSet<ClassId> {
        let namespaces: BTreeSet<&Namespace> = report
            .rules
            .iter()
            .filter(|key| key.kind == Kind::PeerAuthentication)
            .map(|key| &key.namespace)
            .collect();
        if namespaces.contains(&self.snapshot.settings().root_namespace) {
            return self
                .scopes
                .iter()
                .flat_map(|used| used.classes.clone())
                .collect();
        }
        let services = namespaces.into_iter().flat_map(|namespace| {
            let own = self.snapshot.services_of_namespace(namespace);
            let guests = self.snapshot.services_with_guests_of(namespace);
            own.map(|service| &service.key).chain(guests)
        });
        self.scopes
            .importers(services)
            .into_iter()
            .flat_map(|(_, scopes)| scopes.iter())
            .filter_map(|no| self.scopes.get(no))
            .flat_map(|used| used.classes.clone())
            .collect()
    }

    /// Classes that import a service whose clusters carry endpoints, of a network whose gateways changed.
    fn led_otherwise(&self, report: &ChangeReport) -> BTreeSet<ClassId> {
        let carried = report.led.iter().filter(|key| {
            let service = self.snapshot.service(key);
            service.is_some_and(|service| service.has_inline_endpoints())
        });
        self.scopes
            .importers(carried)
            .into_iter()
            .flat_map(|(_, scopes)| scopes.iter())
            .filter_map(|no| self.scopes.get(no))
            .flat_map(|used| used.classes.clone())
            .collect()
    }

    /// Classes that serve a service whose `DestinationRule`s changed, as their namespace sees them: limits of inbound
    /// connections are among them, and the scope need not hold the service.
    fn serving_otherwise(&self, before: &MeshSnapshot, report: &ChangeReport) -> BTreeSet<ClassId> {
        if !report
            .rules
            .iter()
            .any(|key| key.kind == Kind::DestinationRule)
        {
            return BTreeSet::new();
        }
        let differs = |client: &Namespace, service: &ServiceKey| {
            before.destination_rules(client, service)
                != self.snapshot.destination_rules(client, service)
        };
        let classes = self.scopes.iter().flat_map(|used| {
            let namespace = &used.scope.id.namespace;
            used.classes.iter().map(move |id| (namespace, *id))
        });
        classes
            .filter(|(namespace, id)| {
                let served = self.classes.served(*id);
                served
                    .into_iter()
                    .any(|service| differs(namespace, service))
            })
            .map(|(_, id)| id)
            .collect()
    }

    /// Computes the keys of a proxy again and moves it if they differ; returns its new class then.
    fn check(&mut self, proxy: ProxyId) -> Option<ClassId> {
        let known = self.proxies.get(proxy)?;
        let old = known.class;
        let identity = identify_shared(&self.snapshot, &known.identity.metadata);
        let class = self.class_for(&identity);
        self.proxies.remove(proxy);
        self.proxies.insert(proxy, Proxy { identity, class });
        if old == class {
            return None;
        }
        self.enter(proxy, class);
        self.leave(proxy, old);
        Some(class)
    }

    /// The class of a proxy, made if it is not there.
    fn class_for(&mut self, identity: &ProxyIdentity) -> ClassId {
        let id = reef_scope::select(&self.snapshot, identity);
        let (no, scope) = self.scopes.enter(&self.snapshot, &id);
        let facts = match self.scopes.facts(no, self.snapshot.settings()) {
            Some(known) => known.facts(&self.snapshot, &scope, identity),
            None => reef_gen::facts(&self.snapshot, &scope, identity),
        };
        let keys = ProxyKeys::of(&self.snapshot, &scope, &facts, identity);
        if let Some(class) = self.classes.find(&keys) {
            return class;
        }
        let class =
            self.classes
                .create(&keys, facts, (no, &scope), &self.snapshot, self.generation);
        self.scopes.join(no, class);
        self.problems = None;
        class
    }

    /// Makes load assignments again; returns the classes that import any of the services.
    fn update_endpoints<'a>(
        &mut self,
        services: impl Iterator<Item = &'a ServiceKey>,
    ) -> BTreeSet<ClassId> {
        let mut by_scope: BTreeMap<u32, Vec<&ServiceKey>> = BTreeMap::new();
        for (service, scopes) in self.scopes.importers(services) {
            for no in scopes.iter() {
                by_scope.entry(no).or_default().push(service);
            }
        }
        let mut touched = BTreeSet::new();
        for (no, services) in by_scope {
            let Some(used) = self.scopes.get(no) else {
                continue;
            };
            touched.extend(used.classes.iter().copied());
            self.classes.update_endpoints(
                &used.classes,
                &services,
                &used.scope,
                &self.snapshot,
                self.generation,
            );
        }
        touched
    }

    fn enter(&mut self, proxy: ProxyId, class: ClassId) {
        if let Some(class) = self.classes.get_mut(class) {
            class.proxies.insert(proxy);
        }
    }

    fn leave(&mut self, proxy: ProxyId, id: ClassId) {
        if let Some(class) = self.classes.get_mut(id) {
            class.proxies.remove(&proxy);
            if class.proxies.is_empty() {
                self.idle.push_back(id);
            }
        }
    }

    /// Drops the longest idle classes beyond the limit.
    fn evict(&mut self) {
        let classes = &self.classes;
        self.idle.retain(|id| {
            classes
                .get(*id)
                .is_some_and(|class| class.proxies.is_empty())
        });
        while self.idle.len() > self.options.idle_classes {
            let Some(id) = self.idle.pop_front() else {
                break;
            };
            if let Some(no) = self.classes.remove(id) {
                self.scopes.leave(no, id);
                self.problems = None;
            }
        }
    }

    fn scope_of(&self, class: ClassId) -> Option<Arc<Scope>> {
        let no = self.classes.get(class)?.scope;
        self.scopes.get(no).map(|used| Arc::clone(&used.scope))
    }

    /// The view of a class that is known to exist.
    fn view_of(&self, class: ClassId) -> Arc<ClassView> {
        self.classes
            .get(class)
            .map(|class| Arc::clone(&class.view))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
