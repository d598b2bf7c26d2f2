//! The objects as given, with the reverse indexes that keep the cost of a change to the change.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;
use reef_config::names::{ClusterId, Hostname, Namespace};
use reef_config::{Kind, Labels, Object, ObjectKey, Spec, k8s};

use super::few::Few;
use super::held::{Claim, Held, SliceOf};
use super::labelled::Labelled;
use super::pods::{self, Pods};
use super::references::References;
use crate::{MeshSettings, Pod, Service, ServiceKey, WorkloadInstance};

/// Namespace and name of a pod.
pub(super) type PodId = (Namespace, Arc<str>);

/// Everything the writer knows that readers do not need. Of pods there are tens of thousands, and all that is read of them
/// is in the snapshot, so that what was given is not kept.
#[derive(Debug, Default)]
pub(super) struct Objects {
    counts: BTreeMap<Kind, usize>,
    /// Who declares a service; the first wins.
    claims: BTreeMap<ServiceKey, Few<Claim>>,
    /// Slices of services by namespace.
    slices: HashMap<Namespace, Few<SliceOf>, FixedState>,
    /// Objects by kind and namespace.
    by_kind: BTreeMap<(Kind, Namespace), BTreeSet<Held>>,
    pods: Pods,
    entries: BTreeMap<(Namespace, ObjectKey), Arc<WorkloadInstance>>,
    /// Workload entries by each of their labels.
    labelled: Labelled<ObjectKey>,
    /// Pods by each of their labels, of the namespaces where service entries select workloads.
    labelled_pods: Labelled<PodId>,
    /// Those namespaces.
    selecting: BTreeSet<Namespace>,
    references: References,
}

impl Objects {
    pub(super) fn get(&self, key: &ObjectKey) -> Option<&Arc<Object>> {
        let of_kind = self.by_kind.get(&(key.kind, key.namespace.clone()))?;
        of_kind.get(key).map(|held| &held.0)
    }

    /// Number of objects by kind, pods among them.
    pub(super) fn counts(&self) -> BTreeMap<Kind, usize> {
        let mut counts = self.counts.clone();
        let pods = self.pods.all().count();
        if pods > 0 {
            counts.insert(Kind::Pod, pods);
        }
        counts
    }

    /// Stores or removes an object and returns the one that was there.
    pub(super) fn put(
        &mut self,
        key: &ObjectKey,
        object: Option<Arc<Object>>,
    ) -> Option<Arc<Object>> {
        let place = (key.kind, key.namespace.clone());
        let (there, old) = match object {
            Some(object) => {
                let of_kind = self.by_kind.entry(place).or_default();
                (true, of_kind.replace(Held(object)))
            }
            None => {
                let of_kind = self.by_kind.get_mut(&place);
                let old = of_kind.and_then(|of_kind| of_kind.take(key));
                if self.by_kind.get(&place).is_some_and(BTreeSet::is_empty) {
                    self.by_kind.remove(&place);
                }
                (false, old)
            }
        };
        if there != old.is_some() {
            let count = self.counts.entry(key.kind).or_default();
            *count = if there { *count + 1 } else { *count - 1 };
            if *count == 0 {
                self.counts.remove(&key.kind);
            }
        }
        old.map(|held| held.0)
    }

    /// Objects of one kind in one namespace, by key.
    pub(super) fn of_kind(&self, kind: Kind, namespace: &Namespace) -> Vec<&Arc<Object>> {
        let found = self.by_kind.get(&(kind, namespace.clone()));
        found.into_iter().flatten().map(|held| &held.0).collect()
    }

    /// All objects of one kind, in no order that means something.
    pub(super) fn all_of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Object>> {
        let lists = self.by_kind.iter().filter(move |((of, _), _)| *of == kind);
        lists.flat_map(|(_, found)| found.iter().map(|held| &held.0))
    }

    /// All keys of one kind.
    pub(super) fn keys_of_kind(&self, kind: Kind) -> Vec<ObjectKey> {
        let found = self.all_of_kind(kind);
        found.map(|object| object.key.clone()).collect()
    }

    /// All keys of one namespace but those of pods.
    pub(super) fn keys_of_namespace(&self, namespace: &Namespace) -> Vec<ObjectKey> {
        let places = Kind::ALL.iter().map(|kind| (*kind, namespace.clone()));
        let lists = places.filter_map(|place| self.by_kind.get(&place));
        let found = lists.flatten();
        found.map(|held| held.0.key.clone()).collect()
    }

    /// Namespaces that have objects.
    pub(super) fn namespaces(&self) -> BTreeSet<Namespace> {
        let of_objects = self.by_kind.keys().map(|(_, of)| of);
        let all = of_objects.chain(self.pods.namespaces());
        all.cloned().collect()
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

    pub(super) fn claim(&mut self, service: &ServiceKey, object: &Arc<Object>) {
        self.claims
            .entry(service.clone())
            .or_default()
            .insert(Claim(Arc::clone(object)));
    }

    pub(super) fn unclaim(&mut self, service: &ServiceKey, object: &Arc<Object>) {
        if let Some(claims) = self.claims.get_mut(service) {
            claims.remove(&Claim(Arc::clone(object)));
            if claims.is_empty() {
                self.claims.remove(service);
            }
        }
    }

    /// The object that declares a service, and those that also want to.
    pub(super) fn claimants(&self, service: &ServiceKey) -> impl Iterator<Item = &Arc<Object>> {
        let claims = self.claims.get(service).into_iter().flatten();
        claims.map(|claim| &claim.0)
    }

    /// An object that says the same as before takes the old one's place in the indexes, too, so that the old one is gone.
    pub(super) fn replace(
        &mut self,
        old: &Arc<Object>,
        new: &Arc<Object>,
        settings: &MeshSettings,
    ) {
        match new.key.kind {
            Kind::EndpointSlice => self.place_slice(new, true),
            Kind::Service | Kind::ServiceEntry => {
                for service in Self::declared(old, settings) {
                    self.claim(&service, new);
                }
            }
            _ => {}
        }
    }

    pub(super) fn claimed(&self) -> Vec<ServiceKey> {
        self.claims.keys().cloned().collect()
    }

    /// Notes that a slice belongs to the service its label names, or no longer does.
    pub(super) fn place_slice(&mut self, slice: &Arc<Object>, there: bool) {
        let (namespace, slice) = (&slice.key.namespace, SliceOf(Arc::clone(slice)));
        if slice.service().is_none() {
            return;
        }
        if there {
            let slices = self.slices.entry(namespace.clone()).or_default();
            slices.insert(slice);
        } else if let Some(slices) = self.slices.get_mut(namespace) {
            slices.remove(&slice);
            if slices.is_empty() {
                self.slices.remove(namespace);
            }
        }
    }

    /// Slices of a Kubernetes service, by name.
    pub(super) fn slices_of(&self, service: &Service) -> Vec<&k8s::EndpointSlice> {
        let slices = self.slices.get(&service.key.namespace).into_iter();
        let of_service = |slice: &SliceOf| slice.service().cmp(&Some(&*service.name));
        slices
            .flat_map(|slices| slices.range(of_service))
            .filter(|slice| slice.0.key.cluster == service.object.cluster)
            .filter_map(|slice| match &slice.0.spec {
                Spec::EndpointSlice(slice) => Some(&**slice),
                _ => None,
            })
            .collect()
    }

    pub(super) fn pod(&self, id: &PodId) -> Option<&Arc<Pod>> {
        self.pods.get(id)
    }

    /// The names of all pods.
    pub(super) fn pod_ids(&self) -> Vec<PodId> {
        self.pods.all().map(|pod| pods::id_of(pod)).collect()
    }

    /// Pods of a namespace, by name.
    pub(super) fn pods_of(&self, namespace: &Namespace) -> Vec<Arc<Pod>> {
        self.pods.of(namespace).cloned().collect()
    }

    /// Stores or removes a pod.
    pub(super) fn put_pod(&mut self, id: &PodId, pod: Option<&Arc<Pod>>) {
        let old = self.pods.remove(id);
        if self.selecting.contains(&id.0) {
            if let Some(old) = &old {
                self.labelled_pods.remove(&id.0, &old.labels, id);
            }
            if let Some(new) = pod {
                self.labelled_pods.add(&id.0, &new.labels, id);
            }
        }
        match pod {
            Some(pod) => {
                self.references.came(id);
                self.pods.insert(pod);
            }
            None => self.references.left(id),
        }
    }

    /// Number of pods that endpoints refer to and that are not there.
    pub(super) fn awaited_pods(&self) -> usize {
        self.references.awaited()
    }

    pub(super) fn pods_on(&self, node: &str) -> impl Iterator<Item = PodId> {
        self.pods.on(node).map(|pod| pods::id_of(pod))
    }

    /// Prepares for selectors of service entries of a namespace. The first of them costs a walk over
    /// its pods, others nothing.
    pub(super) fn expect_selectors(&mut self, namespace: &Namespace) {
        if !self.selecting.insert(namespace.clone()) {
            return;
        }
        for pod in self.pods.of(namespace) {
            self.labelled_pods
                .add(namespace, &pod.labels, &pods::id_of(pod));
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
        self.pods.of(namespace).filter(serves).collect()
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
    pub(super) fn services_of_pod(&self, id: &PodId) -> impl Iterator<Item = ServiceKey> {
        self.references.of(id).cloned()
    }

    /// Notes which pods the endpoints of a service refer to.
    pub(super) fn refer(&mut self, service: &ServiceKey, pods: &BTreeSet<PodId>) {
        let there = |id: &PodId| self.pods.get(id).is_some();
        self.references.set(service, pods, there);
    }
}
