//! Pods by name and by node: a pointer each, since what they are found by is in them.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use reef_config::names::Namespace;
use reef_config::{Object, ObjectKey, Problem};

use super::few::Few;
use super::objects::PodId;
use crate::Pod;

/// What a batch says of a pod.
#[derive(Debug)]
pub(super) enum Word {
    /// Nothing, but something it is made of differs.
    Anew,
    /// What it is.
    Told(Arc<Object>),
    /// Its namespace is read again: what it was, and what was wrong with it.
    Back(Arc<Pod>, Vec<Problem>),
    /// It is gone.
    Gone,
}

/// All pods.
#[derive(Debug, Default)]
pub(super) struct Pods {
    named: HashMap<Namespace, Few<Named>, FixedState>,
    on_nodes: HashMap<Arc<str>, Few<Named>, FixedState>,
}

/// A pod that is what its namespace and name are.
#[derive(Debug)]
struct Named(Arc<Pod>);

impl Named {
    fn names(&self) -> (&Namespace, &str) {
        (&self.0.namespace, &self.0.name)
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.names() == other.names()
    }
}

impl Eq for Named {}

impl PartialOrd for Named {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Named {
    fn cmp(&self, other: &Self) -> Ordering {
        self.names().cmp(&other.names())
    }
}

impl Pods {
    /// The pod of this name.
    pub(super) fn get(&self, (namespace, name): &PodId) -> Option<&Arc<Pod>> {
        let found = self.named.get(namespace)?;
        let named = found.find(|named| (*named.0.name).cmp(name))?;
        Some(&named.0)
    }

    /// Stores a pod.
    pub(super) fn insert(&mut self, pod: &Arc<Pod>) {
        if let Some(node) = &pod.node {
            let there = self.on_nodes.entry(Arc::clone(node)).or_default();
            there.insert(Named(Arc::clone(pod)));
        }
        let named = self.named.entry(pod.namespace.clone()).or_default();
        named.insert(Named(Arc::clone(pod)));
    }

    /// Removes a pod and returns it.
    pub(super) fn remove(&mut self, id: &PodId) -> Option<Arc<Pod>> {
        let pod = Named(Arc::clone(self.get(id)?));
        if let Some(node) = &pod.0.node {
            take_out(&mut self.on_nodes, node, &pod);
        }
        take_out(&mut self.named, &id.0, &pod);
        Some(pod.0)
    }

    /// All pods, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.named.values().flatten().map(|named| &named.0)
    }

    /// Namespaces that have pods.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        self.named.keys()
    }

    /// Pods of a namespace, by name.
    pub(super) fn of(&self, namespace: &Namespace) -> impl Iterator<Item = &Arc<Pod>> {
        let found = self.named.get(namespace).into_iter().flatten();
        found.map(|named| &named.0)
    }

    /// Pods that run on a node, by namespace and name.
    pub(super) fn on(&self, node: &str) -> impl Iterator<Item = &Arc<Pod>> {
        let found = self.on_nodes.get(node).into_iter().flatten();
        found.map(|named| &named.0)
    }
}

/// Takes a pod out of a list, and with the last one the list.
fn take_out<K, Q>(lists: &mut HashMap<K, Few<Named>, FixedState>, place: &Q, pod: &Named)
where
    K: std::borrow::Borrow<Q> + Eq + std::hash::Hash,
    Q: Eq + std::hash::Hash + ?Sized,
{
    if let Some(list) = lists.get_mut(place) {
        list.remove(pod);
        if list.is_empty() {
            lists.remove(place);
        }
    }
}

/// The name a pod is known by.
pub(super) fn id_of(pod: &Pod) -> PodId {
    (pod.namespace.clone(), Arc::clone(&pod.name))
}

/// The name of a pod in the key of its object.
pub(super) fn id_in(key: &ObjectKey) -> PodId {
    (key.namespace.clone(), Arc::clone(&key.name))
}
