//! Which `VirtualService`s route TLS or TCP of a host, found without asking every rule about every
//! service.
//!
//! Wildcards overlap by suffix, in both directions, so names are kept by their letters in reverse:
//! everything below a suffix is one range of the map, and the wildcards above a name are its
//! prefixes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use reef_config::names::Hostname;
use reef_mesh::VirtualServiceRule;

/// The rules with TLS or TCP routes of an egress listener, in order of precedence.
#[derive(Debug, Default)]
pub(crate) struct HostIndex {
    /// Indexes of rules by the reversed name.
    exact: BTreeMap<Box<[u8]>, Vec<usize>>,
    /// Indexes of rules by the reversed suffix.
    wildcard: BTreeMap<Box<[u8]>, Vec<usize>>,
    /// Lengths that suffixes have.
    lengths: BTreeSet<usize>,
}

impl HostIndex {
    /// Indexes rules by their hosts; those without TLS or TCP routes are left out.
    pub(crate) fn new(rules: &[Arc<VirtualServiceRule>]) -> Self {
        let mut index = Self::default();
        for (at, rule) in rules.iter().enumerate() {
            if rule.spec.tls.is_empty() && rule.spec.tcp.is_empty() {
                continue;
            }
            for host in &rule.hosts {
                let of_host = match host.strip_prefix('*') {
                    Some(suffix) => {
                        index.lengths.insert(suffix.len());
                        index.wildcard.entry(reversed(suffix)).or_default()
                    }
                    None => index.exact.entry(reversed(host)).or_default(),
                };
                if of_host.last() != Some(&at) {
                    of_host.push(at);
                }
            }
        }
        index
    }

    /// The rules some host of which overlaps this one, in order of precedence.
    pub(crate) fn of_host(&self, host: &Hostname) -> Vec<usize> {
        if self.exact.is_empty() && self.wildcard.is_empty() {
            return Vec::new();
        }
        let suffix = host.strip_prefix('*');
        let name = reversed(suffix.unwrap_or(host));
        let above = self
            .lengths
            .range(..=name.len())
            .filter_map(|length| self.wildcard.get(name.get(..*length)?));
        let mut found: BTreeSet<usize> = above.flatten().copied().collect();
        if suffix.is_some() {
            found.extend(below(&self.exact, &name));
            found.extend(below(&self.wildcard, &name));
        } else {
            found.extend(self.exact.get(&name).into_iter().flatten());
        }
        found.into_iter().collect()
    }
}

fn below<'a>(
    map: &'a BTreeMap<Box<[u8]>, Vec<usize>>,
    prefix: &'a [u8],
) -> impl Iterator<Item = usize> + 'a {
    map.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded))
        .take_while(move |(name, _)| name.starts_with(prefix))
        .flat_map(|(_, at)| at.iter().copied())
}

fn reversed(text: &str) -> Box<[u8]> {
    text.bytes().rev().collect()
}

#[cfg(test)]
mod tests;
