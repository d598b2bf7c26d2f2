//! The resources of one type that all proxies with one key hold, and what changed of them lately.
//!
//! A class is a tuple of parts: clusters and listeners have two each, one of what leads out of the workload and one of
//! what leads into it. Classes that differ only in what they serve share all but the inbound parts.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use reef_xds::EncodedResource;

use crate::sorted::SortedMap;
use crate::store::{ResourceKey, Slot, Store};

/// Generations whose changed names are remembered. A stream that is further behind compares everything; with a
/// ceiling of ten pushes a second that is a proxy that has not read for over six seconds.
const LOG_GENERATIONS: usize = 64;

/// Names remembered over all generations of a part: beyond it, comparing everything costs less than the log.
const LOG_NAMES: usize = 4096;

/// An immutable state of a part.
pub(crate) struct PartView<K> {
    resources: SortedMap<Arc<Slot<K>>>,
    log: Arc<ChangeLog>,
}

impl<K> Clone for PartView<K> {
    fn clone(&self) -> Self {
        Self {
            resources: self.resources.clone(),
            log: Arc::clone(&self.log),
        }
    }
}

impl<K> Default for PartView<K> {
    fn default() -> Self {
        Self {
            resources: SortedMap::default(),
            log: Arc::new(ChangeLog::new(0)),
        }
    }
}

impl<K> fmt::Debug for PartView<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartView")
            .field("generation", &self.log.generation)
            .finish_non_exhaustive()
    }
}

impl<K> PartView<K> {
    /// The resources, in name order.
    pub(crate) const fn resources(&self) -> &SortedMap<Arc<Slot<K>>> {
        &self.resources
    }

    /// The resource of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&EncodedResource> {
        self.resources.get(name).map(|slot| slot.resource())
    }

    /// Calls `f` for every resource, in name order.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&EncodedResource)) {
        self.resources.iter().for_each(|slot| f(slot.resource()));
    }

    /// How many resources there are.
    pub(crate) const fn len(&self) -> usize {
        self.resources.len()
    }

    /// The push that last changed anything.
    pub(crate) fn generation(&self) -> u64 {
        self.log.generation
    }

    /// Names that may differ from what they were at `generation`; `None` if that is too long ago.
    pub(crate) fn changed_since(&self, generation: u64) -> Option<BTreeSet<Arc<str>>> {
        self.log.since(generation)
    }
}

/// A part while it is maintained.
#[derive(Debug)]
pub(crate) struct Part<K> {
    view: PartView<K>,
}

impl<K: ResourceKey> Part<K> {
    /// Makes a part at `generation` from its keys.
    pub(crate) fn new(store: &mut Store<K>, keys: Vec<K>, generation: u64) -> Self {
        let slots = acquire_all(store, keys, &SortedMap::default());
        let resources = SortedMap::build(slots.into_values().collect());
        Self {
            view: PartView {
                resources,
                log: Arc::new(ChangeLog::new(generation)),
            },
        }
    }

    /// The state as it is now.
    pub(crate) const fn view(&self) -> &PartView<K> {
        &self.view
    }

    /// Replaces all resources; returns whether any byte changed.
    pub(crate) fn replace(&mut self, store: &mut Store<K>, keys: Vec<K>, generation: u64) -> bool {
        let mut slots = acquire_all(store, keys, &self.view.resources);
        let mut changes: BTreeMap<Arc<str>, Option<Arc<Slot<K>>>> = BTreeMap::new();
        for old in self.view.resources.iter() {
            let name = old.resource().name();
            match slots.remove(name) {
                Some(new) if Arc::ptr_eq(&new, old) => store.release(&new),
                new => {
                    changes.insert(Arc::clone(name), new);
                }
            }
        }
        changes.extend(slots.into_iter().map(|(name, slot)| (name, Some(slot))));
        self.apply(store, changes, generation)
    }

    /// Replaces or adds the resources of some keys, takes out those that are `gone` unless a key has the name, and
    /// leaves all others; returns whether any byte changed.
    pub(crate) fn update(
        &mut self,
        store: &mut Store<K>,
        gone: Vec<Arc<str>>,
        keys: Vec<K>,
        generation: u64,
    ) -> bool {
        let there = |name: &Arc<str>| self.view.resources.get(name).is_some();
        let gone = gone.into_iter().filter(there);
        let mut changes: BTreeMap<_, _> = gone.map(|name| (name, None)).collect();
        for (name, slot) in acquire_all(store, keys, &self.view.resources) {
            match self.view.resources.get(&name) {
                Some(old) if Arc::ptr_eq(old, &slot) => {
                    store.release(&slot);
                    changes.remove(&name);
                }
                _ => {
                    changes.insert(name, Some(slot));
                }
            }
        }
        self.apply(store, changes, generation)
    }

    /// Gives all resources back.
    pub(crate) fn release(self, store: &mut Store<K>) {
        for slot in self.view.resources.iter() {
            store.release(slot);
        }
    }

    /// Applies changes whose slots are acquired. Same bytes from another key take the new key without a new generation.
    fn apply(
        &mut self,
        store: &mut Store<K>,
        changes: BTreeMap<Arc<str>, Option<Arc<Slot<K>>>>,
        generation: u64,
    ) -> bool {
        let mut names = Vec::new();
        for (name, new) in &changes {
            let old = self.view.resources.get(name);
            if old.map(|slot| slot.resource()) != new.as_ref().map(|slot| slot.resource()) {
                names.push(Arc::clone(name));
            }
            if let Some(old) = old {
                store.release(old);
            }
        }
        self.view.resources = self.view.resources.with(changes);
        if names.is_empty() {
            return false;
        }
        self.view.log = Arc::new(self.view.log.next(generation, names.into()));
        true
    }
}

/// Acquires the slots of keys by name. Of two keys with one name the first counts, as it does in Envoy's own lists.
fn acquire_all<K: ResourceKey>(
    store: &mut Store<K>,
    keys: Vec<K>,
    last: &SortedMap<Arc<Slot<K>>>,
) -> BTreeMap<Arc<str>, Arc<Slot<K>>> {
    let mut slots: BTreeMap<Arc<str>, Arc<Slot<K>>> = BTreeMap::new();
    for key in keys {
        let slot = store.acquire(key, |name| last.get(name));
        let name = Arc::clone(slot.resource().name());
        match slots.entry(name) {
            Entry::Occupied(_) => store.release(&slot),
            Entry::Vacant(free) => {
                free.insert(slot);
            }
        }
    }
    slots
}

/// Names changed by each of the last generations.
#[derive(Debug, Clone)]
struct ChangeLog {
    generation: u64,
    /// Everything after this generation is in `entries`.
    complete_after: u64,
    entries: VecDeque<(u64, Arc<[Arc<str>]>)>,
    names: usize,
}

impl ChangeLog {
    const fn new(generation: u64) -> Self {
        Self {
            generation,
            complete_after: generation,
            entries: VecDeque::new(),
            names: 0,
        }
    }

    /// The log with one more generation, the oldest ones forgotten where it grows too long.
    fn next(&self, generation: u64, names: Arc<[Arc<str>]>) -> Self {
        let mut log = self.clone();
        log.generation = generation;
        log.names += names.len();
        log.entries.push_back((generation, names));
        while log.entries.len() > LOG_GENERATIONS || log.names > LOG_NAMES {
            let Some((oldest, names)) = log.entries.pop_front() else {
                break;
            };
            log.complete_after = oldest;
            log.names -= names.len();
        }
        log
    }

    fn since(&self, generation: u64) -> Option<BTreeSet<Arc<str>>> {
        if generation >= self.generation {
            return Some(BTreeSet::new());
        }
        if generation < self.complete_after {
            return None;
        }
        let newer = self.entries.iter().filter(|(at, _)| *at > generation);
        Some(newer.flat_map(|(_, names)| names.iter().cloned()).collect())
    }
}

#[cfg(test)]
mod tests;
