//! Namespaces: what their labels decide, and `discoverySelectors`: objects of those that are not read
//! are kept aside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reef_config::names::Namespace;
use reef_config::selecting::is_selected;
use reef_config::{Kind, Labels, Object, ObjectKey, Problem, Severity, parse};

use super::pods::{self, Word};
use super::{Marks, MeshIndex, convert};
use crate::{ChangeReport, Discovery, MeshSettings, MeshSnapshot, NamespaceInfo, Pod};

/// What a batch says of objects: themselves, or that they are gone.
pub(super) type Latest = Vec<(ObjectKey, Option<Arc<Object>>)>;

/// Objects that are not read, by namespace; no namespace is there with none.
pub(super) type Aside = BTreeMap<Namespace, BTreeMap<ObjectKey, Kept>>;

/// An object that is not read.
#[derive(Debug)]
pub(super) enum Kept {
    /// As it was told.
    Object(Arc<Object>),
    /// A pod that was read once, and what was wrong with it.
    Pod(Arc<Pod>, Vec<Problem>),
}

/// The last word on each object, by key. Sources tell in order, mostly, so that there is little to sort.
pub(super) fn last_words(mut told: Latest) -> Latest {
    told.sort_by(|(a, _), (b, _)| a.cmp(b));
    told.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            kept.1 = later.1.take();
        }
        same
    });
    told
}

impl MeshIndex {
    /// Stores what of a batch is read and keeps the rest aside, and moves namespaces that became
    /// read or unread; `all` if the selectors differ.
    pub(super) fn store_read(
        &mut self,
        latest: Latest,
        all: bool,
        next: &MeshSnapshot,
        marks: &mut Marks,
    ) {
        let discovery = next.settings().discovery.clone();
        if discovery.is_everything() && self.aside.is_empty() {
            for (key, object) in latest {
                self.store(&key, object, next, marks);
            }
            return;
        }
        let (scoped, cluster): (Latest, Latest) = latest
            .into_iter()
            .partition(|(key, _)| is_selected(key.kind));
        let mut moved: BTreeSet<Namespace> = BTreeSet::new();
        if all {
            moved.extend(self.objects.namespaces());
            moved.extend(self.aside.keys().cloned());
        }
        for (key, object) in cluster {
            if key.kind == Kind::Namespace {
                moved.insert(key.namespace.clone());
            }
            self.store(&key, object, next, marks);
        }
        for namespace in moved {
            if self.is_read(&discovery, &namespace) {
                for (key, kept) in self.aside.remove(&namespace).unwrap_or_default() {
                    match kept {
                        Kept::Object(object) => self.store(&key, Some(object), next, marks),
                        Kept::Pod(pod, problems) => {
                            let word = Word::Back(pod, problems);
                            marks.pods.insert(pods::id_in(&key), word);
                        }
                    }
                }
                continue;
            }
            self.put_pods_aside(&namespace, next, marks);
            for key in self.objects.keys_of_namespace(&namespace) {
                if !is_selected(key.kind) {
                    continue;
                }
                if let Some(object) = self.objects.get(&key).cloned() {
                    let place = self.aside.entry(namespace.clone()).or_default();
                    place.insert(key.clone(), Kept::Object(object));
                }
                self.store(&key, None, next, marks);
            }
        }
        for (key, object) in scoped {
            if self.is_read(&discovery, &key.namespace) {
                self.store(&key, object, next, marks);
                continue;
            }
            let place = self.aside.entry(key.namespace.clone()).or_default();
            match object {
                Some(object) => place.insert(key, Kept::Object(object)),
                None => place.remove(&key),
            };
        }
        self.aside.retain(|_, objects| !objects.is_empty());
    }

    fn put_pods_aside(&mut self, namespace: &Namespace, next: &MeshSnapshot, marks: &mut Marks) {
        for pod in self.objects.pods_of(namespace) {
            let id = pods::id_of(&pod);
            let key = ObjectKey {
                cluster: next.settings.cluster.clone(),
                ..ObjectKey::new(Kind::Pod, id.0.clone(), id.1.clone())
            };
            let problems = self.pod_problems.get(&id).cloned().unwrap_or_default();
            let place = self.aside.entry(namespace.clone()).or_default();
            place.insert(key, Kept::Pod(pod, problems));
            marks.pods.insert(id, Word::Gone);
        }
    }

    fn is_read(&self, discovery: &Discovery, namespace: &Namespace) -> bool {
        let objects = self.objects.of_kind(Kind::Namespace, namespace);
        let labels = objects.first().map(|object| object.meta.labels.clone());
        discovery.reads(namespace, &labels.unwrap_or_default())
    }

    /// Publishes what differs of namespaces, and marks the services it matters to.
    pub(super) fn link_namespaces(
        &self,
        next: &mut MeshSnapshot,
        marks: &mut Marks,
        report: &mut ChangeReport,
    ) {
        for namespace in &marks.namespaces {
            let object = Kind::Namespace;
            let found = self.objects.of_kind(object, namespace);
            let info = found
                .into_iter()
                .find(|o| *o.key.name == **namespace)
                .map(|object| {
                    Arc::new(NamespaceInfo {
                        labels: object.meta.labels.clone(),
                        annotations: object.meta.annotations.clone(),
                    })
                });
            if info.as_ref() == next.namespaces.get(namespace) {
                continue;
            }
            report.namespaces.insert(namespace.clone());
            let distribution = |info: Option<&Arc<NamespaceInfo>>| {
                info.and_then(|info| convert::traffic_distribution(&info.annotations))
            };
            let none = Labels::default();
            let labels = |info: Option<&Arc<NamespaceInfo>>| {
                info.map_or_else(|| none.clone(), |info| info.labels.clone())
            };
            let old = next.namespaces.get(namespace);
            let limit = &next.settings.entry_visibility;
            if distribution(info.as_ref()) != distribution(old)
                || !limit.is_same(namespace, &labels(info.as_ref()), &labels(old))
            {
                let services = next.services_of_namespace(namespace);
                marks
                    .services
                    .extend(services.map(|service| service.key.clone()));
            }
            match info {
                Some(info) => next.namespaces.insert_mut(namespace.clone(), info),
                None => {
                    next.namespaces.remove_mut(namespace);
                }
            }
        }
    }

    /// One problem per namespace that is not read: of those that are declared, since a source may leave out what is in
    /// them, and of those that have objects.
    pub(super) fn unread_namespaces(&self, settings: &MeshSettings) -> Vec<Problem> {
        let (discovery, root) = (&settings.discovery, &settings.root_namespace);
        if discovery.is_everything() {
            return Vec::new();
        }
        let told = |namespace: &Namespace| {
            let reason = "no entry of discoverySelectors selects it, so nothing in it is read";
            // Rules for the whole mesh are lost with the root namespace.
            let (severity, what) = if namespace == root {
                (Severity::Warning, "the root namespace")
            } else {
                (Severity::Info, "namespace")
            };
            let reason = format!("{what} {namespace}: {reason}");
            Problem::new(severity, parse::code::NOT_APPLIED, reason)
        };
        let declared = self.objects.keys_of_kind(Kind::Namespace).into_iter();
        let mut unread: BTreeSet<Namespace> = declared
            .map(|key| key.namespace)
            .filter(|namespace| !self.is_read(discovery, namespace))
            .collect();
        unread.extend(self.aside.keys().cloned());
        unread.iter().map(told).collect()
    }
}
