//! Meshes that are followed: objects of a small universe come, change and go, batch by batch.
//!
//! A property test draws [`Step`]s, gives each [`Followed::batch`] to what it tests, and compares the
//! end with what [`Followed::at_once`] gives to a fresh one: the final objects, in another order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use reef_config::{Change, ChangeBatch, Object, ObjectKey};

/// One batch: objects of the universe that are applied, or deleted, and maybe a mesh configuration.
#[derive(Debug, Clone)]
pub struct Step {
    objects: Vec<(Index, bool)>,
    config: Option<usize>,
}

/// How steps are drawn.
#[derive(Debug, Clone)]
pub struct Steps {
    /// Objects of the first batch; none if it is like the others.
    pub first: Option<Range<usize>>,
    /// Objects of a batch.
    pub objects: Range<usize>,
    /// Number of batches after the first.
    pub batches: Range<usize>,
    /// Number of mesh configurations; the one with number 0 is in force at the start.
    pub configs: usize,
    /// How often a batch brings a mesh configuration, of one.
    pub reconfigured: f64,
}

impl Steps {
    /// The strategy. Of the objects three of ten are deleted.
    pub fn strategy(self) -> impl Strategy<Value = Vec<Step>> {
        let change = || (any::<Index>(), prop::bool::weighted(0.3));
        let config = prop::option::weighted(self.reconfigured, 0..self.configs);
        let step = (prop::collection::vec(change(), self.objects), config);
        let step = step.prop_map(|(objects, config)| Step { objects, config });
        let rest = prop::collection::vec(step, self.batches);
        let first = self.first.unwrap_or(0..1);
        (prop::collection::vec(change(), first), rest).prop_map(|(objects, mut rest)| {
            if !objects.is_empty() {
                let config = None;
                rest.insert(0, Step { objects, config });
            }
            rest
        })
    }
}

/// A universe and what of it is there.
#[derive(Debug)]
pub struct Followed {
    universe: Vec<Arc<Object>>,
    configs: fn(usize) -> Vec<Change>,
    present: BTreeMap<ObjectKey, Arc<Object>>,
    configured: usize,
}

impl Followed {
    /// A universe nothing of which is there. Objects with one key replace each other; `configs` gives
    /// the mesh configuration of a number, all there is of it each time.
    #[must_use]
    pub fn new(universe: Vec<Arc<Object>>, configs: fn(usize) -> Vec<Change>) -> Self {
        Self {
            universe,
            configs,
            present: BTreeMap::new(),
            configured: 0,
        }
    }

    /// The batch of a step, which is in force from now on.
    pub fn batch(&mut self, step: &Step) -> ChangeBatch {
        let mut changes = Vec::with_capacity(step.objects.len() + 1);
        for (at, deleted) in &step.objects {
            let object = at.get(&self.universe);
            if *deleted {
                self.present.remove(&object.key);
                changes.push(Change::Delete(object.key.clone()));
            } else {
                self.present.insert(object.key.clone(), Arc::clone(object));
                changes.push(Change::Apply(Arc::clone(object)));
            }
        }
        if let Some(number) = step.config {
            self.configured = number;
            changes.extend((self.configs)(number));
        }
        ChangeBatch {
            changes,
            synced: true,
        }
    }

    /// All that is there in one batch: from any object on, backwards, the configuration last.
    #[must_use]
    pub fn at_once(&self, order: Index) -> ChangeBatch {
        let mut all: Vec<Arc<Object>> = self.present.values().cloned().collect();
        if !all.is_empty() {
            let middle = order.index(all.len());
            all.rotate_left(middle);
            all.reverse();
        }
        let config = (self.configs)(self.configured);
        ChangeBatch {
            changes: all.into_iter().map(Change::Apply).chain(config).collect(),
            synced: true,
        }
    }
}

/// What a batch does, for messages of tests that fail.
#[must_use]
pub fn told(batch: &ChangeBatch) -> Vec<String> {
    let changes = batch.changes.iter();
    changes
        .map(|change| match change {
            Change::Apply(object) => format!("apply {}", object.key),
            Change::Delete(key) => format!("delete {key}"),
            Change::MeshConfig(config) => format!("configure {config:?}"),
            Change::MeshNetworks(networks) => format!("network {networks:?}"),
            Change::Problems { source, .. } => format!("problems of {source}"),
        })
        .collect()
}
