//! Persistent maps of values that know their own key, for the values of which a mesh has tens of thousands.
//!
//! A trie has a node and an entry for each value, some 150 bytes around a pointer. Here a value is found by the hash of
//! its key in one of [`SHARDS`] short sorted lists: four bytes beside it. A change copies one list and the way to it.

use std::cmp::Ordering;
use std::hash::{BuildHasher as _, Hash};
use std::sync::Arc;

use foldhash::fast::FixedState;

/// Lists in a group, and groups.
const WIDTH: u32 = 64;
/// Number of lists: 50 values in each where a mesh has 200,000.
pub(crate) const SHARDS: u32 = WIDTH * WIDTH;

/// A value that says which of those with one hash it is.
pub(crate) trait Ranked: Clone {
    /// What it is sorted by; two values of one rank are one value.
    type Rank<'a>: Ord
    where
        Self: 'a;

    /// Its rank.
    fn rank(&self) -> Self::Rank<'_>;
}

/// Values with their hashes, in order of both.
type Shard<T> = Arc<[(u32, T)]>;

/// A map from hashes to values. Cloning it shares everything.
#[derive(Debug, Clone)]
pub(crate) struct Sharded<T> {
    groups: Arc<[Arc<[Shard<T>]>]>,
    len: usize,
}

impl<T: Ranked> Sharded<T> {
    /// The map without values.
    pub(crate) fn new() -> Self {
        let shard: Shard<T> = Arc::new([]);
        let group: Arc<[Shard<T>]> = (0..WIDTH).map(|_| Arc::clone(&shard)).collect();
        Self {
            groups: (0..WIDTH).map(|_| Arc::clone(&group)).collect(),
            len: 0,
        }
    }

    /// Whether there is no value.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Values with this hash by rank. Keys that differ may share a hash.
    pub(crate) fn at(&self, hash: u32) -> impl Iterator<Item = &T> {
        let (group, shard) = place(hash);
        let shard = self.groups.get(group).and_then(|group| group.get(shard));
        let shard = shard.map_or(&[][..], |shard| shard);
        let start = shard.partition_point(|(at, _)| *at < hash);
        let rest = shard.get(start..).unwrap_or_default().iter();
        rest.take_while(move |(at, _)| *at == hash)
            .map(|(_, value)| value)
    }

    /// All values with their hashes, in an order that depends on them alone and means nothing.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(u32, T)> {
        let shards = self.groups.iter().flat_map(|group| group.iter());
        shards.flat_map(|shard| shard.iter())
    }

    /// All values, in the order of [`Sharded::iter`].
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, value)| value)
    }

    /// Adds a value, in place of one with its hash and rank.
    pub(crate) fn insert(&mut self, hash: u32, value: T) {
        let Some(shard) = self.shard(hash) else {
            return;
        };
        match search(shard, hash, &value) {
            Ok(at) => {
                if let Some(there) = Arc::make_mut(shard).get_mut(at) {
                    there.1 = value;
                }
            }
            Err(at) => {
                let (before, after) = shard.split_at(at);
                let new = std::iter::once((hash, value));
                let all = before.iter().cloned().chain(new);
                *shard = all.chain(after.iter().cloned()).collect();
                self.len += 1;
            }
        }
    }

    /// Takes the value with this hash and the rank of `value` out, if it is there.
    pub(crate) fn remove(&mut self, hash: u32, value: &T) {
        let Some(shard) = self.shard(hash) else {
            return;
        };
        let Ok(at) = search(shard, hash, value) else {
            return;
        };
        let (before, rest) = shard.split_at(at);
        let after = rest.iter().skip(1);
        *shard = before.iter().chain(after).cloned().collect();
        self.len -= 1;
        if self.len == 0 {
            // Gives the memory of a mesh that is gone back.
            *self = Self::new();
        }
    }

    /// The list of a hash, to be changed.
    fn shard(&mut self, hash: u32) -> Option<&mut Shard<T>> {
        let (group, shard) = place(hash);
        let group = Arc::make_mut(&mut self.groups).get_mut(group)?;
        Arc::make_mut(group).get_mut(shard)
    }
}

/// The hash of a key, the same in every process.
pub(crate) fn hash(key: impl Hash) -> u32 {
    let wide = FixedState::default().hash_one(key);
    u32::try_from(wide >> 32).unwrap_or_default()
}

fn search<T: Ranked>(shard: &[(u32, T)], hash: u32, value: &T) -> Result<usize, usize> {
    shard.binary_search_by(|(at, known)| match at.cmp(&hash) {
        Ordering::Equal => known.rank().cmp(&value.rank()),
        other => other,
    })
}

/// Group and shard of a hash.
fn place(hash: u32) -> (usize, usize) {
    let number = hash % SHARDS;
    let index = |number: u32| usize::try_from(number).unwrap_or_default();
    (index(number / WIDTH), index(number % WIDTH))
}

#[cfg(test)]
mod tests;
