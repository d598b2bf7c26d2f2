//! Sorted sets of few values, of which a mesh has tens of thousands.
//!
//! A `BTreeSet` with one value has room for eleven: for the claim on a service more than a kilobyte.

use std::cmp::Ordering;

/// A sorted set in as much memory as its values take. A change costs as much as the set is long.
#[derive(Debug)]
pub(super) struct Few<T>(Vec<T>);

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Ord> Few<T> {
    /// Adds a value, in place of an equal one.
    pub(super) fn insert(&mut self, value: T) {
        match self.0.binary_search(&value) {
            Ok(at) => {
                if let Some(old) = self.0.get_mut(at) {
                    *old = value;
                }
            }
            Err(at) => {
                if self.0.len() == self.0.capacity() {
                    self.0.reserve_exact(1 + self.0.len() / 4);
                }
                self.0.insert(at, value);
            }
        }
    }

    /// Takes a value out, if it is there.
    pub(super) fn remove(&mut self, value: &T) {
        if let Ok(at) = self.0.binary_search(value) {
            self.0.remove(at);
        }
    }

    /// The value that `order` says is the one looked for.
    pub(super) fn find(&self, order: impl FnMut(&T) -> Ordering) -> Option<&T> {
        let at = self.0.binary_search_by(order).ok()?;
        self.0.get(at)
    }

    /// The values that `order` says are among those looked for.
    pub(super) fn range(&self, order: impl Fn(&T) -> Ordering) -> impl Iterator<Item = &T> {
        let start = self.0.partition_point(|value| order(value).is_lt());
        let rest = self.0.get(start..).unwrap_or_default().iter();
        rest.take_while(move |value| order(value).is_eq())
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values in order.
    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }
}

impl<'a, T: Ord> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests;
