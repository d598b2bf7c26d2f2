//! A sorted table of names, as compact as a stream's share of memory has to be.
//!
//! Every stream holds the names of some dozens of resources per type for as long as it lives. A `BTreeMap` that was
//! filled in order is half empty and sets eleven places aside for the first name; this is sorted lists of some hundred
//! entries each, one after the other: exact when [`Table::shrink`] was called, and an insertion moves one list at most.

use std::sync::Arc;

/// Most entries of one list.
const MOST: usize = 256;

/// Values by name, in the order of names.
#[derive(Debug, Clone)]
pub(super) struct Table<V> {
    /// None of them is empty.
    lists: Vec<Vec<(Arc<str>, V)>>,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { lists: Vec::new() }
    }
}

impl<V> Table<V> {
    /// Where a name is, or would be put: list and place.
    fn find(&self, name: &str) -> Result<(usize, usize), (usize, usize)> {
        // Names mostly come in order.
        if let Some((list, (last, _))) = self
            .lists
            .last()
            .and_then(|list| Some((list, list.last()?)))
            && &**last < name
        {
            return Err((self.lists.len() - 1, list.len()));
        }
        let behind = self
            .lists
            .partition_point(|list| list.first().is_some_and(|(first, _)| &**first <= name));
        let at = behind.saturating_sub(1);
        let Some(list) = self.lists.get(at) else {
            return Err((0, 0));
        };
        match list.binary_search_by(|(entry, _)| (**entry).cmp(name)) {
            Ok(place) => Ok((at, place)),
            Err(place) => Err((at, place)),
        }
    }

    fn entry(&self, name: &str) -> Option<&(Arc<str>, V)> {
        let (list, place) = self.find(name).ok()?;
        self.lists.get(list)?.get(place)
    }

    /// The value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&V> {
        self.entry(name).map(|(_, value)| value)
    }

    /// A name as it is kept here.
    pub(super) fn get_name(&self, name: &str) -> Option<&Arc<str>> {
        self.entry(name).map(|(name, _)| name)
    }

    /// Whether a name is there.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lists.iter().map(Vec::len).sum()
    }

    /// Sets the value of a name.
    pub(super) fn insert(&mut self, name: Arc<str>, value: V) {
        match self.find(&name) {
            Ok((list, place)) => {
                if let Some(entry) = self
                    .lists
                    .get_mut(list)
                    .and_then(|list| list.get_mut(place))
                {
                    entry.1 = value;
                }
            }
            Err((at, place)) => {
                let last = at + 1 >= self.lists.len();
                match self.lists.get_mut(at) {
                    None => self.lists.push(vec![(name, value)]),
                    Some(list) if list.len() < MOST => list.insert(place, (name, value)),
                    // Names that come in order fill their lists.
                    Some(list) if last && place == list.len() => {
                        self.lists.push(vec![(name, value)]);
                    }
                    Some(list) => {
                        let mut rest = list.split_off(MOST / 2);
                        match place.checked_sub(MOST / 2) {
                            Some(place) => rest.insert(place, (name, value)),
                            None => list.insert(place, (name, value)),
                        }
                        self.lists.insert(at + 1, rest);
                    }
                }
            }
        }
    }

    /// Takes a name out, with its value.
    pub(super) fn remove(&mut self, name: &str) -> Option<(Arc<str>, V)> {
        let (at, place) = self.find(name).ok()?;
        let list = self.lists.get_mut(at)?;
        let entry = list.remove(place);
        if list.is_empty() {
            self.lists.remove(at);
        }
        Some(entry)
    }

    /// Keeps only what passes.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Arc<str>, &V) -> bool) {
        for list in &mut self.lists {
            list.retain(|(name, value)| keep(name, value));
        }
        self.lists.retain(|list| !list.is_empty());
    }

    /// All, in the order of names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &V)> {
        self.lists
            .iter()
            .flatten()
            .map(|(name, value)| (name, value))
    }

    /// All, to be altered.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Arc<str>, &mut V)> {
        self.lists
            .iter_mut()
            .flatten()
            .map(|(name, value)| (&*name, value))
    }

    /// The names, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.lists.iter().flatten().map(|(name, _)| name)
    }

    /// Gives back the room set aside for more.
    pub(super) fn shrink(&mut self) {
        for list in &mut self.lists {
            list.shrink_to_fit();
        }
        self.lists.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests;
