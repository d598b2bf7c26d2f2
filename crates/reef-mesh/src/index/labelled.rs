//! Workloads by each of their labels, so that what a selector selects is found without a walk over
//! its namespace.

use std::collections::{BTreeSet, HashMap};

use foldhash::fast::FixedState;
use reef_config::Labels;
use reef_config::names::Namespace;

use super::services::place_of;
use crate::snapshot::SelectorPlace;

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

fn places(namespace: &Namespace, labels: &Labels) -> impl Iterator<Item = SelectorPlace> {
    labels
        .iter()
        .map(|(label, value)| (namespace.clone(), label.clone(), value.clone()))
}
