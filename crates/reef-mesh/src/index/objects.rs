//! The objects as given, with the reverse indexes that keep the cost of a change to the change.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;
use reef_config::names::{ClusterId, Hostname, Namespace};
use reef_config::{Age, Kind, Labels, Object, ObjectKey, Spec, k8s};

use super::labelled::Labelled;
use crate::{MeshSettings, Pod, Service, ServiceKey, WorkloadInstance};

/// Namespace and name of a pod.
pub(super) type PodId = (Namespace, Arc<str>);

/// A claim of an object on a service: Kubernetes objects first, then the oldest.
pub(super) type Claim = (bool, Age, ObjectKey);

/// Everything the writer knows that readers do not need.
#[derive(Debug, Default)]
pub(super) struct Objects {
    all: HashMap<ObjectKey, Arc<Object>, FixedState>,
    counts: BTreeMap<Kind, usize>,
    /// Who declares a service; the first wins.
    claims: BTreeMap<ServiceKey, BTreeSet<Claim>>,
    /// Slices by (namespace, service name).
    slices: HashMap<(Namespace, Arc<str>), BTreeSet<ObjectKey>, FixedState>,
    /// Objects of rule kinds and their like by kind and namespace.
    by_kind: BTreeMap<(Kind, Namespace), BTreeSet<ObjectKey>>,
    pods: BTreeMap<PodId, Arc<Pod>>,
    entries: BTreeMap<(Namespace, ObjectKey), Arc<WorkloadInstance>>,
    /// Workload entries by each of their labels.
    labelled: Labelled<ObjectKey>,
    /// Pods by each of their labels, of the namespaces where service entries select workloads.
    labelled_pods: Labelled<PodId>,
    /// Those namespaces.
    selecting: BTreeSet<Namespace>,
    /// Services whose endpoints refer to a pod, and the reverse.
    pod_services: HashMap<PodId, BTreeSet<ServiceKey>, FixedState>,
    service_pods: HashMap<ServiceKey, BTreeSet<PodId>, FixedState>,
    /// Pods that endpoints refer to and that are not there.
    awaited: BTreeSet<PodId>,
    /// Pods that run on a node.
    node_pods: HashMap<Arc<str>, BTreeSet<PodId>, FixedState>,
}

impl Objects {
    pub(super) fn get(&self, key: &ObjectKey) -> Option<&Arc<Object>> {
        self.all.get(key)
    }

    pub(super) fn counts(&self) -> &BTreeMap<Kind, usize> {
        &self.counts
    }

    /// Stores or removes an object and returns the one that was there.
    pub(super) fn put(
        &mut self,
        key: &ObjectKey,
        object: Option<Arc<Object>>,
    ) -> Option<Arc<Object>> {
        let there = object.is_some();
        let old = match object {
            Some(object) => self.all.insert(key.clone(), object),
            None => self.all.remove(key),
        };
        if there != old.is_some() {
            let count = self.counts.entry(key.kind).or_default();
            *count = if there { *count + 1 } else { *count - 1 };
            if *count == 0 {
                self.counts.remove(&key.kind);
            }
            let place = (key.kind, key.namespace.clone());
            let keys = self.by_kind.entry(place.clone()).or_default();
            if there {
                keys.insert(key.clone());
            } else {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_kind.remove(&place);
                }
            }
        }
        old
    }

    /// Objects of one kind in one namespace, by key.
    pub(super) fn of_kind(&self, kind: Kind, namespace: &Namespace) -> Vec<&Arc<Object>> {
        let keys = self.by_kind.get(&(kind, namespace.clone()));
        keys.into_iter()
            .flatten()
            .filter_map(|key| self.all.get(key))
            .collect()
    }

    /// All keys of one kind.
    pub(super) fn keys_of_kind(&self, kind: Kind) -> Vec<ObjectKey> {
        let lists = self.by_kind.iter().filter(|((of, _), _)| *of == kind);
        lists.flat_map(|(_, keys)| keys.iter().cloned()).collect()
    }

    /// All keys of one namespace.
    pub(super) fn keys_of_namespace(&self, namespace: &Namespace) -> Vec<ObjectKey> {
        let places = Kind::ALL.iter().map(|kind| (*kind, namespace.clone()));
        let lists = places.filter_map(|place| self.by_kind.get(&place));
        lists.flat_map(|keys| keys.iter().cloned()).collect()
    }

    /// Namespaces that have objects.
    pub(super) fn namespaces(&self) -> BTreeSet<Namespace> {
        self.by_kind.keys().map(|(_, of)| of.clone()).collect()
    }

    /// Services an object declares.
    pub(super) fn declared(object: &Object, settings: &MeshSettings) -> BTreeSet<ServiceKey> {
        let namespace = &object.key.namespace;
        let key = |hostname: Hostname| ServiceKey {
            hostname,
            namespace: namespace.clone(),
        };
        match &object.spec {
            Spec::Service(_) => {
                [key(settings.service_hostname(&object.key.name, namespace))].into()
            }
            Spec::ServiceEntry(entry) => entry.hosts.iter().cloned().map(key).collect(),
            _ => BTreeSet::new(),
        }
    }

    pub(super) fn claim(&mut self, service: &ServiceKey, object: &Object) {
        self.claims
            .entry(service.clone())
            .or_default()
            .insert(claim(object));
    }

    pub(super) fn unclaim(&mut self, service: &ServiceKey, object: &Object) {
        if let Some(claims) = self.claims.get_mut(service) {
            claims.remove(&claim(object));
            if claims.is_empty() {
                self.claims.remove(service);
            }
        }
    }

    /// The object that declares a service, and those that also want to.
    pub(super) fn claimants(&self, service: &ServiceKey) -> Vec<&ObjectKey> {
        self.claims
            .get(service)
            .into_iter()
            .flatten()
            .map(|(_, _, key)| key)
            .collect()
    }

    pub(super) fn claimed(&self) -> Vec<ServiceKey> {
        self.claims.keys().cloned().collect()
    }

    /// Notes that a slice belongs to the service its label names, or no longer does.
    pub(super) fn place_slice(&mut self, slice: &Object, there: bool) -> Option<Arc<str>> {
        let name = slice
            .meta
            .labels
            .get(k8s::EndpointSlice::SERVICE_LABEL)?
            .clone();
        let place = (slice.key.namespace.clone(), name.clone());
        let keys = self.slices.entry(place.clone()).or_default();
        if there {
            keys.insert(slice.key.clone());
        } else {
            keys.remove(&slice.key);
            if keys.is_empty() {
                self.slices.remove(&place);
            }
        }
        Some(name)
    }

    /// Slices of a Kubernetes service, by name.
    pub(super) fn slices_of(&self, service: &Service) -> Vec<&k8s::EndpointSlice> {
        let place = (service.key.namespace.clone(), service.name.clone());
        let keys = self.slices.get(&place).into_iter().flatten();
        keys.filter(|key| key.cluster == service.object.cluster)
            .filter_map(|key| match &self.all.get(key)?.spec {
                Spec::EndpointSlice(slice) => Some(&**slice),
                _ => None,
            })
            .collect()
    }

    pub(super) fn pod(&self, id: &PodId) -> Option<&Arc<Pod>> {
        self.pods.get(id)
    }

    /// Stores or removes a pod and returns the one that was there.
    pub(super) fn put_pod(&mut self, id: &PodId, pod: Option<Arc<Pod>>) -> Option<Arc<Pod>> {
        if let Some(node) = self.pods.get(id).and_then(|old| old.node.clone())
            && let Some(ids) = self.node_pods.get_mut(&node)
        {
            ids.remove(id);
            if ids.is_empty() {
                self.node_pods.remove(&node);
            }
        }
        if let Some(node) = pod.as_ref().and_then(|pod| pod.node.clone()) {
            self.node_pods.entry(node).or_default().insert(id.clone());
        }
        if self.selecting.contains(&id.0) {
            if let Some(old) = self.pods.get(id) {
                self.labelled_pods.remove(&id.0, &old.labels, id);
            }
            if let Some(new) = &pod {
                self.labelled_pods.add(&id.0, &new.labels, id);
            }
        }
        match pod {
            Some(pod) => {
                self.awaited.remove(id);
                self.pods.insert(id.clone(), pod)
            }
            None => {
                if self.pod_services.contains_key(id) {
                    self.awaited.insert(id.clone());
                }
                self.pods.remove(id)
            }
        }
    }

    /// Number of pods that endpoints refer to and that are not there.
    pub(super) fn awaited_pods(&self) -> usize {
        self.awaited.len()
    }

    pub(super) fn pods_on(&self, node: &str) -> Vec<PodId> {
        self.node_pods
            .get(node)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Prepares for selectors of service entries of a namespace. The first of them costs a walk over
    /// its pods, others nothing.
    pub(super) fn expect_selectors(&mut self, namespace: &Namespace) {
        if !self.selecting.insert(namespace.clone()) {
            return;
        }
        let pods = self.pods.range((namespace.clone(), Arc::default())..);
        for (id, pod) in pods.take_while(|((of, _), _)| of == namespace) {
            self.labelled_pods.add(namespace, &pod.labels, id);
        }
    }

    /// Pods of a namespace that a service entry's selector selects and that can serve, by name;
    /// [`Objects::expect_selectors`] comes before.
    pub(super) fn pods_selected(&self, namespace: &Namespace, selector: &Labels) -> Vec<&Arc<Pod>> {
        let serves = |pod: &&Arc<Pod>| {
            !pod.finished
                && !pod.host_network
                && selector.selects(&pod.labels)
                && !pod.labels.contains_key("istio.io/draining")
        };
        if let Some(ids) = self.labelled_pods.candidates(namespace, selector) {
            return ids
                .filter_map(|id| self.pods.get(id))
                .filter(serves)
                .collect();
        }
        self.pods
            .range((namespace.clone(), Arc::default())..)
            .take_while(|((of, _), _)| of == namespace)
            .map(|(_, pod)| pod)
            .filter(serves)
            .collect()
    }

    /// Stores or removes a workload entry and returns the one that was there.
    pub(super) fn put_entry(
        &mut self,
        key: &ObjectKey,
        entry: Option<Arc<WorkloadInstance>>,
    ) -> Option<Arc<WorkloadInstance>> {
        let place = (key.namespace.clone(), key.clone());
        if let Some(old) = self.entries.get(&place) {
            self.labelled.remove(&key.namespace, &old.labels, key);
        }
        if let Some(new) = &entry {
            self.labelled.add(&key.namespace, &new.labels, key);
        }
        match entry {
            Some(entry) => self.entries.insert(place, entry),
            None => self.entries.remove(&place),
        }
    }

    pub(super) fn entry(&self, key: &ObjectKey) -> Option<&Arc<WorkloadInstance>> {
        self.entries.get(&(key.namespace.clone(), key.clone()))
    }

    /// Workload entries of a namespace that a selector selects, by key.
    pub(super) fn workload_entries(
        &self,
        namespace: &Namespace,
        selector: &Labels,
    ) -> Vec<&Arc<WorkloadInstance>> {
        if let Some(keys) = self.labelled.candidates(namespace, selector) {
            return keys
                .filter_map(|key| self.entry(key))
                .filter(|entry| selector.selects(&entry.labels))
                .collect();
        }
        let first = ObjectKey {
            cluster: ClusterId::new(""),
            kind: Kind::Namespace,
            namespace: Namespace::new(""),
            name: Arc::default(),
        };
        self.entries
            .range((namespace.clone(), first)..)
            .take_while(|((of, _), _)| of == namespace)
            .map(|(_, entry)| entry)
            .collect()
    }

    /// Services whose endpoints refer to a pod.
    pub(super) fn services_of_pod(&self, id: &PodId) -> Vec<ServiceKey> {
        self.pod_services
            .get(id)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Notes which pods the endpoints of a service refer to.
    pub(super) fn refer(&mut self, service: &ServiceKey, pods: BTreeSet<PodId>) {
        let old = if pods.is_empty() {
            self.service_pods.remove(service)
        } else {
            self.service_pods.insert(service.clone(), pods.clone())
        };
        let old = old.unwrap_or_default();
        for id in old.difference(&pods) {
            if let Some(services) = self.pod_services.get_mut(id) {
                services.remove(service);
                if services.is_empty() {
                    self.pod_services.remove(id);
                    self.awaited.remove(id);
                }
            }
        }
        for id in pods.difference(&old) {
            if !self.pods.contains_key(id) {
                self.awaited.insert(id.clone());
            }
            self.pod_services
                .entry(id.clone())
                .or_default()
                .insert(service.clone());
        }
    }
}

fn claim(object: &Object) -> Claim {
    (
        object.key.kind != Kind::Service,
        object.age(),
        object.key.clone(),
    )
}
