//! Which services have an endpoint at an address, for proxies that serve by address.
//!
//! Two hundred thousand addresses must fit beside everything else, so the index keeps 16 bytes for
//! each, in sorted shards of a few dozen: a change copies the shards it touches.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::snapshot::{Map, empty};
use crate::{ServiceEndpoints, ServiceKey};

/// Number of shards.
const SHARDS: u32 = 4096;

/// Hash of an address, and a service with an endpoint there.
type Place = (u32, Arc<ServiceKey>);

/// What is added to shards and taken from them: `true` adds.
pub(crate) type Changes = BTreeMap<u32, Vec<(u32, Arc<ServiceKey>, bool)>>;

/// Services by address. May name services that are at another address: look at their endpoints.
#[derive(Debug, Clone)]
pub(crate) struct Addressed(Map<u32, Arc<[Place]>>);

impl Addressed {
    /// The index of nothing.
    pub(crate) fn new() -> Self {
        Self(empty())
    }

    /// Services that may have an endpoint at `ip`, by key.
    pub(crate) fn at(&self, ip: IpAddr) -> impl Iterator<Item = &Arc<ServiceKey>> {
        let hash = hash(ip);
        let shard = self.0.get(&(hash % SHARDS)).map_or(&[][..], |list| list);
        let start = shard.partition_point(|(at, _)| *at < hash);
        shard
            .iter()
            .skip(start)
            .take_while(move |(at, _)| *at == hash)
            .map(|(_, service)| service)
    }

    /// Takes changes, each shard once.
    pub(crate) fn update(&mut self, changes: Changes) {
        for (number, changes) in changes {
            let known = self.0.get(&number).map_or(&[][..], |list| list);
            let mut shard: Vec<Place> = known.to_vec();
            let mut added = Vec::new();
            for (hash, service, adds) in changes {
                if adds {
                    added.push((hash, service));
                } else if let Ok(at) = shard.binary_search(&(hash, Arc::clone(&service))) {
                    shard.remove(at);
                } else {
                    // Added by an earlier change of the same batch.
                    added.retain(|place| *place != (hash, Arc::clone(&service)));
                }
            }
            shard.extend(added);
            shard.sort_unstable();
            shard.dedup();
            if shard.is_empty() {
                self.0.remove_mut(&number);
            } else {
                self.0.insert_mut(number, shard.into());
            }
        }
    }

    /// All places, for the dump.
    pub(crate) fn iter(&self) -> BTreeSet<(u32, &ServiceKey)> {
        let places = self.0.values().flat_map(|shard| shard.iter());
        places.map(|(hash, key)| (*hash, &**key)).collect()
    }
}

/// Notes that the endpoints of a service were `before` and are `after`.
pub(crate) fn note(
    changes: &mut Changes,
    key: &ServiceKey,
    before: Option<&ServiceEndpoints>,
    after: Option<&ServiceEndpoints>,
) {
    let hashes = |endpoints: Option<&ServiceEndpoints>| {
        let all = endpoints.into_iter().flat_map(ServiceEndpoints::iter);
        let mut hashes: Vec<u32> = all.filter_map(|at| at.address.ip()).map(hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    };
    let (before, after) = (hashes(before), hashes(after));
    let gone = before.iter().filter(|at| after.binary_search(at).is_err());
    let new = after.iter().filter(|at| before.binary_search(at).is_err());
    let mut shared = None;
    for (hash, adds) in gone.map(|at| (at, false)).chain(new.map(|at| (at, true))) {
        let key = shared.get_or_insert_with(|| Arc::new(key.clone()));
        let list = changes.entry(hash % SHARDS).or_default();
        list.push((*hash, Arc::clone(key), adds));
    }
}

fn hash(ip: IpAddr) -> u32 {
    let wide = FixedState::default().hash_one(ip);
    u32::try_from(wide >> 32).unwrap_or_default()
}
