//! Workloads by each of their labels, so that what a selector selects is found without a walk over
//! its namespace.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;
use reef_config::Labels;
use reef_config::names::Namespace;

use crate::service;

/// Namespace and one label of a selector.
pub(super) type SelectorPlace = (Namespace, Arc<str>, Arc<str>);

/// Names of workloads by label.
#[derive(Debug)]
pub(super) struct Labelled<K>(HashMap<SelectorPlace, BTreeSet<K>, FixedState>);

impl<K> Default for Labelled<K> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<K: Ord + Clone> Labelled<K> {
    pub(super) fn add(&mut self, namespace: &Namespace, labels: &Labels, name: &K) {
        for place in places(namespace, labels) {
            self.0.entry(place).or_default().insert(name.clone());
        }
    }

    pub(super) fn remove(&mut self, namespace: &Namespace, labels: &Labels, name: &K) {
        for place in places(namespace, labels) {
            if let Some(names) = self.0.get_mut(&place) {
                names.remove(name);
                if names.is_empty() {
                    self.0.remove(&place);
                }
            }
        }
    }

    /// Workloads with one label of the selector, in order; `None` if it has no label, so that it
    /// selects all.
    pub(super) fn candidates(
        &self,
        namespace: &Namespace,
        selector: &Labels,
    ) -> Option<impl Iterator<Item = &K>> {
        let place = place_of(namespace, selector)?;
        Some(self.0.get(&place).into_iter().flatten())
    }
}

/// The place of a selector; `None` if it has no label.
pub(super) fn place_of(namespace: &Namespace, selector: &Labels) -> Option<SelectorPlace> {
    let (namespace, label, value) = service::place_of(namespace, selector)?;
    Some((namespace.clone(), Arc::clone(label), Arc::clone(value)))
}

fn places(namespace: &Namespace, labels: &Labels) -> impl Iterator<Item = SelectorPlace> {
    labels
        .iter()
        .map(|(label, value)| (namespace.clone(), label.clone(), value.clone()))
}
