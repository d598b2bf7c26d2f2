//! The one writer: applies changes, links what they touch, publishes what differs.
//!
//! A batch runs through stages, each of which looks only at what the stages before marked:
//! objects → nodes → pods and workload entries → services and their endpoints → rules. A stage
//! compares what it made with what is published, so equal results mark nothing.

mod allocate;
mod convert;
mod discovery;
mod few;
mod held;
mod labelled;
mod link;
mod networks;
mod objects;
mod pods;
mod references;
mod rules;
mod selecting;
mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reef_config::names::{ClusterId, Namespace};
use reef_config::{
    Change, ChangeBatch, Kind, MeshConfig, Object, ObjectKey, Problem, Severity, Spec,
};

use self::allocate::Allocator;
use self::discovery::{Aside, Latest};
use self::link::Shared;
use self::networks::Networks;
use self::objects::{Objects, PodId};
use self::pods::Word;
use self::rules::RuleStore;
use self::selecting::Selecting;
use crate::{
    ChangeReport, MeshSettings, MeshSnapshot, Pod, ServiceKey, Unenforced, sharded, workload,
};

/// Holds all objects and turns changes into snapshots.
#[derive(Debug)]
pub struct MeshIndex {
    domain: Arc<str>,
    snapshot: Arc<MeshSnapshot>,
    objects: Objects,
    aside: Aside,
    aside_problems: Vec<Problem>,
    rules: RuleStore,
    shared: Shared,
    /// Services that may select workload entries or pods by label.
    selecting: Selecting,
    /// Addresses of hosts that declare none.
    allocator: Allocator,
    /// Alias services by the host they stand for.
    aliases: BTreeMap<reef_config::Hostname, BTreeSet<ServiceKey>>,
    /// Services that have aliases.
    aliased: BTreeSet<ServiceKey>,
    source_problems: BTreeMap<Arc<str>, Vec<Problem>>,
    claim_problems: BTreeMap<ServiceKey, Vec<Problem>>,
    address_problems: BTreeMap<ServiceKey, Vec<Problem>>,
    rule_problems: BTreeMap<Namespace, Vec<Problem>>,
    /// Of `VirtualService`s, delegates included, by the one that has the routes.
    route_problems: BTreeMap<ObjectKey, Vec<Problem>>,
    pod_problems: BTreeMap<PodId, Vec<Problem>>,
    networks: Networks,
    network_problems: BTreeSet<Problem>,
}

/// What is marked for the stages still to run.
#[derive(Debug, Default)]
struct Marks {
    nodes: BTreeSet<Arc<str>>,
    pods: BTreeMap<PodId, Word>,
    entries: BTreeSet<ObjectKey>,
    /// Services whose declaring object may differ.
    services: BTreeSet<ServiceKey>,
    /// Services whose endpoints may differ.
    endpoints: BTreeSet<ServiceKey>,
    /// Some alias came, went or changed.
    aliases: bool,
    namespaces: BTreeSet<Namespace>,
    rules: BTreeSet<ObjectKey>,
    /// Everything is to be made anew: the settings differ.
    all: bool,
}

impl Marks {
    /// Pods are made anew, unless something was told of them.
    fn make_anew(&mut self, pods: impl IntoIterator<Item = PodId>) {
        for id in pods {
            self.pods.entry(id).or_insert(Word::Anew);
        }
    }
}

impl Default for MeshIndex {
    fn default() -> Self {
        Self::new("cluster.local")
    }
}

impl MeshIndex {
    /// Makes an empty index for a cluster domain such as `cluster.local`.
    #[must_use]
    pub fn new(domain: &str) -> Self {
        let settings = MeshSettings::new(Arc::new(MeshConfig::default()), domain);
        Self {
            domain: Arc::from(domain),
            snapshot: Arc::new(MeshSnapshot::empty(Arc::new(settings))),
            objects: Objects::default(),
            aside: Aside::new(),
            aside_problems: Vec::new(),
            rules: RuleStore::default(),
            shared: Shared::default(),
            selecting: Selecting::default(),
            allocator: Allocator::default(),
            aliases: BTreeMap::new(),
            aliased: BTreeSet::new(),
            source_problems: BTreeMap::new(),
            claim_problems: BTreeMap::new(),
            address_problems: BTreeMap::new(),
            rule_problems: BTreeMap::new(),
            route_problems: BTreeMap::new(),
            pod_problems: BTreeMap::new(),
            networks: Networks::default(),
            network_problems: BTreeSet::new(),
        }
    }

    /// The same empty index, with another choice for security rules that can't be enforced.
    #[must_use]
    pub fn with_unenforced(mut self, unenforced: Unenforced) -> Self {
        let mut snapshot = (*self.snapshot).clone();
        snapshot.settings = Arc::new(MeshSettings {
            unenforced,
            ..(**snapshot.settings()).clone()
        });
        self.snapshot = Arc::new(snapshot);
        self
    }

    /// The same empty index, of another cluster than `Kubernetes`: objects are expected to belong to it, and proxies
    /// that name no cluster are taken to be in it.
    #[must_use]
    pub fn with_cluster(mut self, cluster: ClusterId) -> Self {
        let mut snapshot = (*self.snapshot).clone();
        snapshot.settings = Arc::new(MeshSettings {
            cluster,
            ..(**snapshot.settings()).clone()
        });
        self.snapshot = Arc::new(snapshot);
        self
    }

    /// Applies a batch as one step and returns the new snapshot with what differs.
    ///
    /// `None` if nothing differs afterwards. If only problems differ the snapshot is the old one.
    pub fn apply(&mut self, batch: ChangeBatch) -> Option<(Arc<MeshSnapshot>, ChangeReport)> {
        let mut report = ChangeReport::default();
        let mut marks = Marks::default();
        let mut next = (*self.snapshot).clone();
        let mut told = Latest::with_capacity(batch.changes.len());
        let mut selectors_differ = false;
        let (mut mesh_config, mut mesh_networks) = (None, None);
        for change in batch.changes {
            match change {
                Change::Apply(object) => told.push((object.key.clone(), Some(object))),
                Change::Delete(key) => told.push((key, None)),
                Change::MeshConfig(config) => mesh_config = Some(config),
                Change::MeshNetworks(networks) => mesh_networks = Some(networks),
                Change::Problems { source, problems } => {
                    report.problems |= replace(&mut self.source_problems, source, problems);
                }
            }
        }
        if let Some(config) = mesh_config {
            let settings = MeshSettings {
                unenforced: next.settings.unenforced,
                cluster: next.settings.cluster.clone(),
                ..MeshSettings::new(config, &self.domain)
            };
            if settings != *next.settings {
                selectors_differ = settings.discovery != next.settings.discovery;
                next.settings = Arc::new(settings);
                report.settings = true;
                marks.all = true;
            }
        }
        self.store_read(
            discovery::last_words(told),
            selectors_differ,
            &next,
            &mut marks,
        );
        if let Some(networks) = mesh_networks {
            self.tell_networks(networks, &next);
        }
        let unread = self.unread_namespaces(&next.settings);
        report.problems |= unread != self.aside_problems;
        self.aside_problems = unread;
        if marks.all {
            self.mark_all(&mut marks);
        }
        self.link_namespaces(&mut next, &mut marks, &mut report);
        self.link_network(&next, &mut marks);
        self.link_nodes(&mut next, &mut marks, &mut report);
        self.link_pods(&mut next, &mut marks, &mut report);
        self.link_entries(&mut next, &mut marks, &mut report);
        self.link_services(&mut next, &mut marks, &mut report);
        self.link_rules(&mut next, &marks, &mut report);
        self.link_gateways(&mut next, &mut report);
        if report.is_empty() {
            return None;
        }
        let only_problems = ChangeReport {
            problems: true,
            ..ChangeReport::default()
        };
        if report != only_problems {
            self.snapshot = Arc::new(next);
        }
        Some((self.snapshot.clone(), report))
    }

    /// The current snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<MeshSnapshot> {
        &self.snapshot
    }

    /// Everything known to be wrong, sorted: what sources told and what only the whole shows.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let told = self.source_problems.values().flatten();
        let found = self
            .claim_problems
            .values()
            .chain(self.address_problems.values())
            .chain(self.rule_problems.values())
            .chain(self.route_problems.values())
            .chain(self.pod_problems.values())
            .flatten();
        let mut all: Vec<Problem> = told.chain(found).cloned().collect();
        all.extend(self.aside_problems.iter().cloned());
        all.extend(self.network_problems.iter().cloned());
        all.sort();
        // Several roots may tell the same of one delegate.
        all.dedup();
        all
    }

    /// Number of objects by kind.
    #[must_use]
    pub fn object_counts(&self) -> BTreeMap<Kind, usize> {
        self.objects.counts()
    }

    /// Number of pods that endpoints refer to and that nobody told of; such endpoints are not used.
    #[must_use]
    pub fn awaited_pods(&self) -> usize {
        self.objects.awaited_pods()
    }

    /// The objects of one kind as given, by key; for pages. Pods are not kept as they are given.
    #[must_use]
    pub fn objects(&self, kind: Kind) -> Vec<Arc<Object>> {
        let mut found: Vec<Arc<Object>> = self.objects.all_of_kind(kind).cloned().collect();
        found.sort_by(|a, b| a.key.cmp(&b.key));
        found
    }

    /// The object as given, for people who ask where something comes from; never a pod.
    #[must_use]
    pub fn object(&self, key: &ObjectKey) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    /// Whether there is an object with this key.
    #[must_use]
    pub fn has(&self, key: &ObjectKey) -> bool {
        if key.kind == Kind::Pod {
            let own = key.cluster == self.snapshot.settings.cluster;
            return own && self.objects.pod(&pods::id_in(key)).is_some();
        }
        self.objects.get(key).is_some()
    }

    /// Stores one object and marks what depends on it directly.
    fn store(
        &mut self,
        key: &ObjectKey,
        object: Option<Arc<Object>>,
        next: &MeshSnapshot,
        marks: &mut Marks,
    ) {
        if key.kind == Kind::Pod {
            // Addresses are those of one cluster, and so are the proxies.
            if key.cluster == next.settings.cluster {
                let word = object.map_or(Word::Gone, Word::Told);
                marks.pods.insert(pods::id_in(key), word);
            }
            return;
        }
        let old = self.objects.put(key, object.clone());
        match (&old, &object) {
            (Some(old), Some(new)) if old.same_content(new) => {
                self.objects.replace(old, new, next.settings());
                return;
            }
            (None, None) => return,
            _ => {}
        }
        let namespace = &key.namespace;
        let settings = next.settings();
        let either = || old.iter().chain(&object);
        match key.kind {
            Kind::Service | Kind::ServiceEntry => {
                if key.kind == Kind::Service {
                    self.networks.note(key, object.as_ref(), settings);
                }
                if let Some(old) = &old {
                    for service in Objects::declared(old, settings) {
                        self.objects.unclaim(&service, old);
                        marks.services.insert(service);
                    }
                }
                if let Some(new) = &object {
                    for service in Objects::declared(new, settings) {
                        self.objects.claim(&service, new);
                        marks.services.insert(service);
                    }
                }
            }
            Kind::EndpointSlice => {
                if let Some(slice) = &old {
                    self.objects.place_slice(slice, false);
                }
                if let Some(slice) = &object {
                    self.objects.place_slice(slice, true);
                }
                for slice in either() {
                    let label = reef_config::k8s::EndpointSlice::SERVICE_LABEL;
                    if let Some(name) = slice.meta.labels.get(label) {
                        marks.endpoints.insert(ServiceKey {
                            hostname: settings.service_hostname(name, namespace),
                            namespace: namespace.clone(),
                        });
                    }
                }
            }
            Kind::Endpoints => {
                marks.endpoints.insert(ServiceKey {
                    hostname: settings.service_hostname(&key.name, namespace),
                    namespace: namespace.clone(),
                });
            }
            Kind::Node => {
                marks.nodes.insert(key.name.clone());
            }
            Kind::Namespace => {
                marks.namespaces.insert(Namespace::from(key.name.clone()));
            }
            Kind::WorkloadEntry => {
                marks.entries.insert(key.clone());
            }
            Kind::ConfigMap | Kind::Pod => {}
            _ => {
                marks.rules.insert(key.clone());
            }
        }
    }

    fn mark_all(&self, marks: &mut Marks) {
        marks.services.extend(self.objects.claimed());
        marks.make_anew(self.objects.pod_ids());
        marks
            .entries
            .extend(self.objects.keys_of_kind(Kind::WorkloadEntry));
        for kind in Kind::ALL.iter().filter(|kind| rules::is_rule(**kind)) {
            marks.rules.extend(self.objects.keys_of_kind(*kind));
        }
    }

    fn link_nodes(&self, next: &mut MeshSnapshot, marks: &mut Marks, report: &mut ChangeReport) {
        for name in &marks.nodes {
            let found = self.objects.of_kind(Kind::Node, &Namespace::default());
            let info = found
                .into_iter()
                .find(|object| object.key.name == *name)
                .map(|object| Arc::new(convert::node(object)));
            if info.as_ref() == next.nodes.get(name) {
                continue;
            }
            report.nodes.insert(name.clone());
            for id in self.objects.pods_on(name) {
                marks.pods.entry(id).or_insert(Word::Anew);
            }
            match info {
                Some(info) => next.nodes.insert_mut(name.clone(), info),
                None => {
                    next.nodes.remove_mut(name);
                }
            }
        }
    }

    fn link_pods(&mut self, next: &mut MeshSnapshot, marks: &mut Marks, report: &mut ChangeReport) {
        for (id, word) in std::mem::take(&mut marks.pods) {
            let old = self.objects.pod(&id).cloned();
            let problems = match &word {
                Word::Anew => None,
                Word::Told(object) => Some(convert::pod_problems(object)),
                Word::Back(_, problems) => Some(problems.clone()),
                Word::Gone => Some(Vec::new()),
            };
            if let Some(problems) = problems {
                report.problems |= replace(&mut self.pod_problems, id.clone(), problems);
            }
            let shared = &mut self.shared;
            let new = match word {
                Word::Anew => old.as_ref().map(|pod| convert::pod_anew(pod, next, shared)),
                Word::Back(pod, _) => Some(convert::pod_anew(&pod, next, shared)),
                Word::Told(object) => convert::pod(&object, next, shared),
                Word::Gone => None,
            };
            let new = new.map(Arc::new);
            if old == new {
                continue;
            }
            report.proxies.insert(id.clone());
            self.objects.put_pod(&id, new.as_ref());
            marks.endpoints.extend(self.objects.services_of_pod(&id));
            for pod in old.iter().chain(&new) {
                self.mark_selecting(&id.0, &pod.labels, &mut marks.endpoints);
            }
            publish_pod(next, old.as_ref(), new);
        }
    }

    fn link_entries(
        &mut self,
        next: &mut MeshSnapshot,
        marks: &mut Marks,
        report: &mut ChangeReport,
    ) {
        for key in &marks.entries {
            let new = self.objects.get(key).and_then(|object| match &object.spec {
                Spec::WorkloadEntry(entry) if convert::is_usable(object, entry) => Some(Arc::new(
                    convert::workload_entry(object, entry, next.settings()),
                )),
                _ => None,
            });
            let old = self.objects.entry(key).cloned();
            if old == new {
                continue;
            }
            let addresses = old.iter().chain(&new);
            let addresses: Vec<_> = addresses.filter_map(|entry| entry.address.ip()).collect();
            // No proxy is behind a name or a socket.
            if !addresses.is_empty() {
                report
                    .proxies
                    .insert((key.namespace.clone(), key.name.clone()));
            }
            report.addresses.extend(addresses);
            self.objects.put_entry(key, new.clone());
            for entry in old.iter().chain(&new) {
                let (namespace, labels) = (&key.namespace, &entry.labels);
                // A service that is new or selects anew is marked anyway.
                let of_kubernetes = self.snapshot.services_selecting(namespace, labels);
                let keys = of_kubernetes.map(|service| service.key.clone());
                marks.endpoints.extend(keys);
                self.mark_selecting(namespace, labels, &mut marks.endpoints);
            }
            if let Some(ip) = old.as_ref().and_then(|entry| entry.address.ip()) {
                remove_at(&mut next.workload_entries, &ip, |entry| {
                    entry.object == *key
                });
            }
            if let Some(entry) = &new
                && let Some(ip) = entry.address.ip()
            {
                insert_at(&mut next.workload_entries, ip, entry, |entry| {
                    entry.object.clone()
                });
            }
        }
    }

    /// Marks the services of service entries of `namespace` whose selector selects `labels`.
    fn mark_selecting(
        &self,
        namespace: &Namespace,
        labels: &reef_config::Labels,
        marks: &mut BTreeSet<ServiceKey>,
    ) {
        for key in self.selecting.of(namespace, labels) {
            let selects = self
                .snapshot
                .service(key)
                .is_none_or(|s| s.selector.selects(labels));
            if selects {
                marks.insert(key.clone());
            }
        }
    }
}

/// Sets a list of problems; true if it differs from the one before.
fn replace<K: Ord>(all: &mut BTreeMap<K, Vec<Problem>>, key: K, problems: Vec<Problem>) -> bool {
    if problems.is_empty() {
        return all.remove(&key).is_some();
    }
    let differs = all.get(&key) != Some(&problems);
    all.insert(key, problems);
    differs
}

/// Two objects want the same service: told of the one that loses.
fn lost_claim(loser: &Object, winner: &ObjectKey, service: &ServiceKey) -> Problem {
    let severity = Severity::Warning;
    let reason = format!(
        "host {} is already declared by {winner}, which is kept",
        service.hostname
    );
    let mut problem = Problem::new(severity, "duplicate-host", reason).of(&loser.key);
    problem.origin.clone_from(&loser.origin);
    problem
}

/// Puts a pod in the place of the one that had its name.
fn publish_pod(next: &mut MeshSnapshot, old: Option<&Arc<Pod>>, new: Option<Arc<Pod>>) {
    let hash = |pod: &Pod| workload::hash(&pod.namespace, &pod.name);
    if let Some(old) = old {
        for ip in &old.ips {
            next.pods_by_ip.remove(sharded::hash(ip), old);
        }
        if new.is_none() {
            next.pods.remove(hash(old), old);
        }
    }
    let Some(pod) = new else { return };
    if !pod.finished && !pod.host_network {
        for ip in &pod.ips {
            next.pods_by_ip.insert(sharded::hash(ip), Arc::clone(&pod));
        }
    }
    next.pods.insert(hash(&pod), pod);
}

type ByIp<T> = crate::snapshot::Map<std::net::IpAddr, Arc<[Arc<T>]>>;

fn insert_at<T, O: Ord>(
    map: &mut ByIp<T>,
    ip: std::net::IpAddr,
    value: &Arc<T>,
    order: impl Fn(&T) -> O,
) {
    let mut list: Vec<Arc<T>> = map.get(&ip).map(|list| list.to_vec()).unwrap_or_default();
    list.push(value.clone());
    list.sort_by_key(|value| order(value));
    map.insert_mut(ip, list.into());
}

fn remove_at<T>(map: &mut ByIp<T>, ip: &std::net::IpAddr, gone: impl Fn(&T) -> bool) {
    let Some(list) = map.get(ip) else { return };
    let rest: Vec<Arc<T>> = list.iter().filter(|value| !gone(value)).cloned().collect();
    if rest.is_empty() {
        map.remove_mut(ip);
    } else {
        map.insert_mut(*ip, rest.into());
    }
}
