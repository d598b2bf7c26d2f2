//! The chains of a listener while services are added, each matching something no other does.
//!
//! Envoy takes a chain's ranges and server names apart and refuses a listener in which two chains
//! have a pair in common. So a newcomer keeps the pairs nobody has; each is looked up, never
//! compared with all others.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use reef_mesh::Cidr;

use super::{Chain, ChainMatch, Target};
use crate::xds::dynamic_dns::DnsCache;

/// What one chain alone may match: plaintext HTTP, a range, a server name.
type Pair = (bool, Option<Cidr>, Option<Arc<str>>);

/// Server names; `None` stands for all.
type Names = Vec<Option<Arc<str>>>;

/// Chains in the order they were added.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    list: Vec<Chain>,
    /// The chain each pair belongs to.
    taken: BTreeMap<Pair, usize>,
    /// HTTP chains by their route configuration.
    http: BTreeMap<Arc<str>, usize>,
    /// Names resolved for HTTP chains.
    caches: HashSet<(usize, Arc<DnsCache>)>,
    has_tcp: bool,
}

impl Chains {
    /// The chains.
    pub(crate) fn into_list(self) -> Vec<Chain> {
        self.list
    }

    /// True while nothing but HTTP is there.
    pub(crate) fn are_http(&self) -> bool {
        !self.has_tcp
    }

    /// Adds chains with what nobody matches yet. True if one of TCP has nothing left and those that
    /// have it lead elsewhere. Among the new ones the first counts.
    pub(crate) fn add(&mut self, chains: Vec<Chain>) -> bool {
        let known = self.list.len();
        let mut lost = false;
        for chain in chains {
            let owners = self.insert(&chain);
            let told = |owner: &usize| {
                *owner < known
                    && self
                        .list
                        .get(*owner)
                        .is_some_and(|owner| owner.target != chain.target)
            };
            lost |= matches!(chain.target, Target::Tcp(_)) && owners.iter().any(told);
        }
        lost
    }

    /// Adds what is left of a chain; if that is nothing, the chains that have it.
    fn insert(&mut self, chain: &Chain) -> BTreeSet<usize> {
        let ChainMatch {
            plaintext_http,
            server_names,
            ranges,
        } = &chain.matches;
        let ranges = optional(ranges);
        let names = optional(server_names);
        let mut owners = BTreeSet::new();
        // Ranges with the same names left stay together.
        let mut left: Vec<(Names, Vec<Option<Cidr>>)> = Vec::new();
        let mut at: BTreeMap<Names, usize> = BTreeMap::new();
        for range in ranges {
            let mut free = Vec::with_capacity(names.len());
            for name in &names {
                match self.taken.get(&(*plaintext_http, range, name.clone())) {
                    Some(owner) => {
                        owners.insert(*owner);
                    }
                    None => free.push(name.clone()),
                }
            }
            if free.is_empty() {
                continue;
            }
            let place = *at.entry(free.clone()).or_insert_with(|| {
                left.push((free, Vec::new()));
                left.len() - 1
            });
            if let Some((_, ranges)) = left.get_mut(place) {
                ranges.push(range);
            }
        }
        if left.is_empty() {
            return owners;
        }
        for (names, ranges) in left {
            let index = self.list.len();
            for range in &ranges {
                for name in &names {
                    self.taken
                        .entry((*plaintext_http, *range, name.clone()))
                        .or_insert(index);
                }
            }
            self.push(Chain {
                matches: ChainMatch {
                    plaintext_http: *plaintext_http,
                    server_names: names.into_iter().flatten().collect(),
                    ranges: ranges.into_iter().flatten().collect(),
                },
                target: chain.target.clone(),
            });
        }
        BTreeSet::new()
    }

    fn push(&mut self, chain: Chain) {
        let index = self.list.len();
        match &chain.target {
            Target::Tcp(_) => self.has_tcp = true,
            Target::Http { route, caches, .. } => {
                self.http.entry(route.clone()).or_insert(index);
                let known = caches.iter().map(|cache| (index, cache.clone()));
                self.caches.extend(known);
            }
        }
        self.list.push(chain);
    }

    /// Has the HTTP chain that routes by `name` resolve further names. False if there is none.
    pub(crate) fn join(&mut self, name: &Arc<str>, caches: Vec<Arc<DnsCache>>) -> bool {
        let Some(index) = self.http.get(name).copied() else {
            return false;
        };
        for cache in caches {
            if self.caches.insert((index, cache.clone()))
                && let Some(chain) = self.list.get_mut(index)
                && let Target::Http { caches, .. } = &mut chain.target
            {
                caches.push(cache);
            }
        }
        true
    }
}

/// The values, or `None` alone for all there may be.
fn optional<T: Clone>(values: &[T]) -> Vec<Option<T>> {
    if values.is_empty() {
        vec![None]
    } else {
        values.iter().cloned().map(Some).collect()
    }
}

#[cfg(test)]
mod tests;
