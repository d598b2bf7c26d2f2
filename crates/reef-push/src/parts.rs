//! All parts of one type, by key, with the store their resources live in.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};
use reef_gen::Reached;
use reef_xds::Warm;

use crate::part::{Part, PartView};
use crate::slab::Slab;
use crate::store::{ResourceKey, Store};

/// Parts of one type: `P` is the key of a part, `K` that of one resource.
#[derive(Debug)]
pub(crate) struct Parts<P, K> {
    store: Store<K>,
    entries: Slab<Entry<P, K>>,
    ids: HashMap<Arc<P>, u32>,
}

#[derive(Debug)]
struct Entry<P, K> {
    key: Arc<P>,
    part: Part<K>,
    /// Classes that have it.
    users: u32,
    /// The push that last made it whole.
    made: u64,
    /// The push whose change last reached it.
    reached: u64,
}

impl<P, K: ResourceKey> Parts<P, K> {
    /// No parts, and an empty store.
    pub(crate) fn new(warm: &Warm) -> Self {
        Self {
            store: Store::new(warm.clone()),
            entries: Slab::default(),
            ids: HashMap::new(),
        }
    }
}

impl<P: Clone + Eq + Hash + fmt::Debug, K: ResourceKey> Parts<P, K> {
    /// The part of this key, if it is there.
    pub(crate) fn find(&self, key: &P) -> Option<u32> {
        self.ids.get(key).copied()
    }

    /// The part of this key, made from `keys` if it is not there; counts one more class.
    pub(crate) fn acquire(
        &mut self,
        key: &P,
        generation: u64,
        keys: impl FnOnce() -> Vec<K>,
    ) -> u32 {
        if let Some(id) = self.ids.get(key).copied()
            && let Some(entry) = self.entries.get_mut(id)
        {
            entry.users += 1;
            return id;
        }
        let part = Part::new(&mut self.store, keys(), generation);
        let key = Arc::new(key.clone());
        let id = self.entries.insert(Entry {
            key: Arc::clone(&key),
            part,
            users: 1,
            made: generation,
            reached: generation,
        });
        self.ids.insert(key, id);
        id
    }

    /// Counts one class less; the last one drops the part.
    pub(crate) fn release(&mut self, id: u32) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        entry.users -= 1;
        if entry.users == 0
            && let Some(entry) = self.entries.remove(id)
        {
            self.ids.remove(&entry.key);
            entry.part.release(&mut self.store);
        }
    }

    /// Makes a part again, once per push however many classes have it.
    pub(crate) fn remake(&mut self, id: u32, generation: u64, keys: impl FnOnce() -> Vec<K>) {
        if let Some(entry) = self.entries.get_mut(id)
            && entry.made < generation
        {
            entry.made = generation;
            entry.part.replace(&mut self.store, keys(), generation);
        }
    }

    /// Brings a part up to date with what a change reaches of it, once per push however many classes have it; makes it
    /// again if that is all.
    pub(crate) fn reach(
        &mut self,
        id: u32,
        generation: u64,
        reached: impl FnOnce(&PartView<K>) -> Reached<K>,
        all: impl FnOnce() -> Vec<K>,
    ) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        if entry.made >= generation || entry.reached >= generation {
            return;
        }
        entry.reached = generation;
        match reached(entry.part.view()) {
            Reached::Some { gone, keys } => {
                if !gone.is_empty() || !keys.is_empty() {
                    entry.part.update(&mut self.store, gone, keys, generation);
                }
            }
            Reached::All => {
                entry.made = generation;
                entry.part.replace(&mut self.store, all(), generation);
            }
        }
    }

    /// Whether a part was made whole by this push already.
    pub(crate) fn is_made(&self, id: u32, generation: u64) -> bool {
        self.entries
            .get(id)
            .is_none_or(|entry| entry.made >= generation)
    }

    /// Replaces the resources of some keys of a part.
    pub(crate) fn update(&mut self, id: u32, generation: u64, keys: Vec<K>) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry
                .part
                .update(&mut self.store, Vec::new(), keys, generation);
        }
    }

    /// A part's state.
    pub(crate) fn view(&self, id: u32) -> PartView<K> {
        self.entries
            .get(id)
            .map(|entry| entry.part.view().clone())
            .unwrap_or_default()
    }

    /// How many parts there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The store.
    pub(crate) const fn store(&self) -> &Store<K> {
        &self.store
    }

    /// The store, to take its counts.
    pub(crate) const fn store_mut(&mut self) -> &mut Store<K> {
        &mut self.store
    }
}
