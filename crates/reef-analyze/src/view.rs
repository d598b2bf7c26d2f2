//! What the rules ask a mesh for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reef_config::{Hostname, Labels, Namespace, Object, ObjectKey, Spec};
use reef_mesh::{ExportTo, MeshSnapshot, Service};

/// Objects and snapshot, with the few indexes the rules need.
#[derive(Debug)]
pub(crate) struct View<'m> {
    pub(crate) objects: &'m [Arc<Object>],
    pub(crate) snapshot: &'m MeshSnapshot,
    by_key: BTreeMap<&'m ObjectKey, &'m Object>,
    namespaces: BTreeSet<&'m Namespace>,
    workloads: BTreeMap<&'m Namespace, Vec<(&'m ObjectKey, &'m Labels)>>,
    wildcards: Vec<&'m Service>,
}

/// What a name leads to.
#[derive(Debug)]
pub(crate) enum Found<'m> {
    /// A service the namespace may use.
    Service(&'m Service),
    /// Only services that are not exported to the namespace.
    Hidden,
    /// Nothing.
    Nothing,
}

impl<'m> View<'m> {
    pub(crate) fn new(objects: &'m [Arc<Object>], snapshot: &'m MeshSnapshot) -> Self {
        let mut workloads: BTreeMap<&Namespace, Vec<(&ObjectKey, &Labels)>> = BTreeMap::new();
        for object in objects {
            let labels = match &object.spec {
                Spec::Pod(_) => &object.meta.labels,
                Spec::WorkloadEntry(entry) => &entry.labels,
                _ => continue,
            };
            let of_namespace = workloads.entry(&object.key.namespace).or_default();
            of_namespace.push((&object.key, labels));
        }
        Self {
            objects,
            snapshot,
            by_key: objects
                .iter()
                .map(|object| (&object.key, &**object))
                .collect(),
            namespaces: objects.iter().map(|object| &object.key.namespace).collect(),
            workloads,
            wildcards: snapshot
                .services()
                .map(|service| &**service)
                .filter(|service| service.key.hostname.is_wildcard())
                .collect(),
        }
    }

    /// The object of a key.
    pub(crate) fn object(&self, key: &ObjectKey) -> Option<&'m Object> {
        self.by_key.get(key).copied()
    }

    /// Whether something lives in a namespace, or it is there itself.
    pub(crate) fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.contains(&Namespace::from(namespace))
    }

    /// Whether any workload is known; a folder of rules alone has none.
    pub(crate) fn has_workloads(&self) -> bool {
        !self.workloads.is_empty()
    }

    /// The workloads of a namespace, or of all for the root namespace, which a selector selects.
    pub(crate) fn selected<'s>(
        &'s self,
        namespace: &Namespace,
        selector: &'s Labels,
    ) -> impl Iterator<Item = &'m ObjectKey> + 's {
        let root = *namespace == self.snapshot.settings().root_namespace;
        let of = namespace.clone();
        self.workloads
            .iter()
            .filter(move |(place, _)| root || ***place == of)
            .flat_map(|(_, list)| list)
            .filter(|(_, labels)| selector.selects(labels))
            .map(|(key, _)| *key)
    }

    /// The workloads of one namespace that a selector selects.
    pub(crate) fn selected_here<'s>(
        &'s self,
        namespace: &Namespace,
        selector: &'s Labels,
    ) -> impl Iterator<Item = &'m ObjectKey> + 's {
        let list = self.workloads.get(namespace).map_or(&[][..], Vec::as_slice);
        list.iter()
            .filter(|(_, labels)| selector.selects(labels))
            .map(|(key, _)| *key)
    }

    /// The full form of a host a rule of `namespace` names.
    pub(crate) fn full(&self, host: &Hostname, namespace: &Namespace) -> Hostname {
        host.resolve(namespace, &self.snapshot.settings().domain)
    }

    /// The service a full host leads clients of `namespace` to.
    pub(crate) fn find(&self, host: &Hostname, namespace: &Namespace) -> Found<'m> {
        let exact = self
            .snapshot
            .services_of_host(host)
            .map(|service| &**service);
        let covering = self
            .wildcards
            .iter()
            .copied()
            .filter(|service| host.subset_of(&service.key.hostname));
        let mut hidden = false;
        for service in exact.chain(covering) {
            if service.export_to.includes(namespace) {
                return Found::Service(service);
            }
            hidden = true;
        }
        if hidden {
            Found::Hidden
        } else {
            Found::Nothing
        }
    }

    /// Whether some service has this host, or one that the wildcard covers.
    pub(crate) fn is_host(&self, host: &Hostname) -> bool {
        if host.is_wildcard() {
            self.snapshot
                .services()
                .any(|service| service.key.hostname.matches(host))
        } else {
            self.snapshot.services_of_host(host).next().is_some()
                || self
                    .wildcards
                    .iter()
                    .any(|service| host.subset_of(&service.key.hostname))
        }
    }

    /// Whom an object is exported to.
    pub(crate) fn exports<T: AsRef<str>>(
        &self,
        object: &Object,
        entries: &[T],
        default: &[String],
    ) -> ExportTo {
        ExportTo::resolve(
            entries.iter().map(AsRef::as_ref),
            &object.key.namespace,
            default,
        )
    }
}

/// Whether some namespace sees both.
pub(crate) fn overlap(one: &ExportTo, other: &ExportTo) -> bool {
    match (one, other) {
        (ExportTo::Nobody, _) | (_, ExportTo::Nobody) => false,
        (ExportTo::Public, _) | (_, ExportTo::Public) => true,
        (ExportTo::Namespaces(one), ExportTo::Namespaces(other)) => {
            one.iter().any(|namespace| other.contains(namespace))
        }
    }
}
