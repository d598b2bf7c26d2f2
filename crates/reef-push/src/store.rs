//! One store of encoded resources per type, shared by all classes: a key is built and encoded once, and what nobody asks for
//! any more is encoded again when somebody does.

use std::fmt;
use std::hash::{BuildHasher as _, Hash};
use std::sync::Arc;

use foldhash::HashMap;
use foldhash::fast::FixedState;
use reef_config::Problem;
use reef_xds::{EncodedResource, Source, Warm};

use crate::sorted::Named;

/// A resource of this size of which the next version takes parts stays encoded: making it wholly costs more than
/// a millisecond.
const LARGE_BYTES: usize = 64 * 1024;

/// Everything one resource is made from.
pub(crate) trait ResourceKey:
    Eq + Hash + fmt::Debug + Send + Sync + Sized + 'static
{
    /// Makes and encodes the resource. The result follows from the key alone; `last` is what had its name before, to
    /// take parts from.
    fn build(&self, last: Option<(&Self, &EncodedResource)>) -> (EncodedResource, Vec<Problem>);

    /// The resource's name, if the last of that name is of use for making it.
    fn last_name(&self) -> Option<Arc<str>> {
        None
    }
}

/// A resource with the key it was made from.
pub(crate) struct Slot<K> {
    hash: u64,
    key: Arc<Origin<K>>,
    resource: EncodedResource,
    problems: Box<[Problem]>,
}

impl<K> Slot<K> {
    /// What it was made from.
    pub(crate) fn key(&self) -> &K {
        &self.key.0
    }

    /// The encoded resource.
    pub(crate) const fn resource(&self) -> &EncodedResource {
        &self.resource
    }

    /// What was wrong when it was made.
    pub(crate) const fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

/// A key as what its resource is made from again.
struct Origin<K>(K);

impl<K: ResourceKey> Source for Origin<K> {
    fn make(&self) -> EncodedResource {
        self.0.build(None).0
    }
}

impl<K> fmt::Debug for Slot<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slot").field(&self.resource).finish()
    }
}

impl<K> Named for Arc<Slot<K>> {
    fn name(&self) -> &Arc<str> {
        self.resource.name()
    }
}

/// What the work of a push amounted to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BuildStats {
    /// Resources made and encoded.
    pub built: usize,
    /// Resources found ready made.
    pub shared: usize,
    /// Bytes encoded.
    pub bytes: usize,
}

impl BuildStats {
    /// Adds another count.
    pub(crate) const fn add(&mut self, other: Self) {
        self.built += other.built;
        self.shared += other.shared;
        self.bytes += other.bytes;
    }
}

/// Resources of one type by key. A resource lives as long as a part uses it.
pub(crate) struct Store<K> {
    /// By hash of the key: keys are deep, so they are hashed once, when they arrive.
    buckets: HashMap<u64, Vec<Held<K>>>,
    hasher: FixedState,
    len: usize,
    /// Bytes of the resources.
    bytes: usize,
    /// Which resources hold their bytes; of all stores.
    warm: Warm,
    /// Work since the last [`Store::take_stats`].
    stats: BuildStats,
}

struct Held<K> {
    slot: Arc<Slot<K>>,
    users: u32,
}

impl<K> Store<K> {
    /// An empty store; `warm` is where its resources are noted while they hold their bytes.
    pub(crate) fn new(warm: Warm) -> Self {
        Self {
            buckets: HashMap::default(),
            hasher: FixedState::default(),
            len: 0,
            bytes: 0,
            warm,
            stats: BuildStats::default(),
        }
    }
}

impl<K> fmt::Debug for Store<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl<K: ResourceKey> Store<K> {
    /// The resource of this key, made if it is not there; counts one more user.
    /// `last` finds what has a name until now.
    pub(crate) fn acquire<'a>(
        &mut self,
        key: K,
        last: impl FnOnce(&str) -> Option<&'a Arc<Slot<K>>>,
    ) -> Arc<Slot<K>>
    where
        K: 'a,
    {
        let hash = self.hasher.hash_one(&key);
        let bucket = self.buckets.entry(hash).or_default();
        if let Some(held) = bucket.iter_mut().find(|held| *held.slot.key() == key) {
            held.users += 1;
            self.stats.shared += 1;
            if cfg!(debug_assertions) {
                let (again, _) = key.build(None);
                assert_eq!(
                    again, held.slot.resource,
                    "equal keys gave different bytes: {key:?}"
                );
            }
            return Arc::clone(&held.slot);
        }
        let last_name = key.last_name();
        let from_last = last_name.is_some();
        // Taking parts of what has to be made for that saves nothing.
        let last = last_name
            .and_then(|name| last(&name))
            .filter(|slot| slot.resource.is_warm());
        let (mut resource, problems) = key.build(last.map(|slot| (slot.key(), &slot.resource)));
        self.stats.built += 1;
        self.stats.bytes += resource.value_len();
        let key = Arc::new(Origin(key));
        if !from_last || resource.value_len() < LARGE_BYTES {
            resource = resource.renewable(Arc::<Origin<K>>::clone(&key), &self.warm);
        }
        let slot = Arc::new(Slot {
            hash,
            key,
            resource,
            problems: problems.into(),
        });
        if bucket.is_empty() {
            // Nearly all stay alone.
            bucket.reserve_exact(1);
        }
        bucket.push(Held {
            slot: Arc::clone(&slot),
            users: 1,
        });
        self.len += 1;
        self.bytes += slot.resource.retained_bytes();
        slot
    }

    /// Counts one user less; the last one drops the resource.
    pub(crate) fn release(&mut self, slot: &Arc<Slot<K>>) {
        let Some(bucket) = self.buckets.get_mut(&slot.hash) else {
            return;
        };
        let Some(at) = bucket.iter().position(|held| Arc::ptr_eq(&held.slot, slot)) else {
            return;
        };
        let Some(held) = bucket.get_mut(at) else {
            return;
        };
        held.users -= 1;
        if held.users == 0 {
            bucket.swap_remove(at);
            self.len -= 1;
            self.bytes -= slot.resource.retained_bytes();
            if bucket.is_empty() {
                self.buckets.remove(&slot.hash);
            }
        }
    }

    /// How many resources there are.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// All problems of all resources, each once, in no order.
    pub(crate) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.buckets
            .values()
            .flatten()
            .flat_map(|held| held.slot.problems())
    }

    /// Bytes of the resources, shared ones once, whether they are held or would be made.
    pub(crate) const fn retained_bytes(&self) -> usize {
        self.bytes
    }

    /// The work since the last call.
    pub(crate) fn take_stats(&mut self) -> BuildStats {
        std::mem::take(&mut self.stats)
    }
}

#[cfg(test)]
pub(crate) mod tests;
