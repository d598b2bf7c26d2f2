//! A persistent map in name order, made of shared chunks: a change copies one chunk, not the map.
//!
//! Eight bytes an entry where a persistent tree needs over a hundred; a thousand classes hold a hundred entries each.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Entries per chunk when built; a chunk that grows to twice this is split.
const CHUNK: usize = 128;

/// Something with a name of its own.
pub(crate) trait Named {
    /// The name.
    fn name(&self) -> &Arc<str>;
}

/// A persistent map from name to value, in name order. Cloning copies a pointer.
#[derive(Debug)]
pub(crate) struct SortedMap<V> {
    chunks: Arc<[Arc<[V]>]>,
    len: usize,
}

impl<V> Clone for SortedMap<V> {
    fn clone(&self) -> Self {
        Self {
            chunks: Arc::clone(&self.chunks),
            len: self.len,
        }
    }
}

impl<V> Default for SortedMap<V> {
    fn default() -> Self {
        Self {
            chunks: Arc::from([]),
            len: 0,
        }
    }
}

impl<V: Named + Clone> SortedMap<V> {
    /// Builds the map; of values with the same name the first counts.
    pub(crate) fn build(mut values: Vec<V>) -> Self {
        values.sort_by(|a, b| a.name().cmp(b.name()));
        values.dedup_by(|later, first| later.name() == first.name());
        let chunks: Vec<Arc<[V]>> = values.chunks(CHUNK).map(Arc::from).collect();
        Self {
            len: values.len(),
            chunks: chunks.into(),
        }
    }

    /// The value of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&V> {
        let chunk = self.chunks.get(self.chunk_of(name))?;
        let at = chunk
            .binary_search_by(|value| (**value.name()).cmp(name))
            .ok()?;
        chunk.get(at)
    }

    /// All values in name order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &V> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// How many values there are.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// A map in which each named value is replaced, added or (with `None`) taken out.
    pub(crate) fn with(&self, changes: BTreeMap<Arc<str>, Option<V>>) -> Self {
        if changes.is_empty() {
            return self.clone();
        }
        if self.chunks.is_empty() {
            return Self::build(changes.into_values().flatten().collect());
        }
        let mut by_chunk: BTreeMap<usize, BTreeMap<Arc<str>, Option<V>>> = BTreeMap::new();
        for (name, change) in changes {
            by_chunk
                .entry(self.chunk_of(&name))
                .or_default()
                .insert(name, change);
        }
        let mut chunks = Vec::with_capacity(self.chunks.len() + 1);
        for (at, chunk) in self.chunks.iter().enumerate() {
            match by_chunk.remove(&at) {
                None => chunks.push(Arc::clone(chunk)),
                Some(changes) => push_changed(&mut chunks, chunk, changes),
            }
        }
        let len = chunks.iter().map(|chunk| chunk.len()).sum();
        Self {
            chunks: chunks.into(),
            len,
        }
    }

    /// The chunk that holds `name`, or would: the last that begins at or before it.
    fn chunk_of(&self, name: &str) -> usize {
        self.chunks
            .partition_point(|chunk| chunk.first().is_some_and(|first| **first.name() <= *name))
            .saturating_sub(1)
    }
}

/// Appends `chunk` with `changes` applied, split if it grew too much, left out if nothing remains.
fn push_changed<V: Named + Clone>(
    chunks: &mut Vec<Arc<[V]>>,
    chunk: &[V],
    mut changes: BTreeMap<Arc<str>, Option<V>>,
) {
    let mut values: Vec<V> = Vec::with_capacity(chunk.len() + changes.len());
    for value in chunk {
        match changes.remove(value.name()) {
            None => values.push(value.clone()),
            Some(Some(new)) => values.push(new),
            Some(None) => {}
        }
    }
    let kept = values.len();
    values.extend(changes.into_values().flatten());
    if values.len() > kept {
        values.sort_by(|a, b| a.name().cmp(b.name()));
    }
    if values.len() >= CHUNK * 2 {
        chunks.extend(values.chunks(CHUNK).map(Arc::from));
    } else if !values.is_empty() {
        chunks.push(values.into());
    }
}

#[cfg(test)]
mod tests;
