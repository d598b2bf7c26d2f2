//! Persistent sorted lists, in runs of a few dozen values.
//!
//! A tree has two allocations for each value, eighty bytes around a pointer. Here a change copies one run and, if the
//! list is shared, the list of runs: some two hundred pointers where a mesh has 10,000 services.

use std::sync::Arc;

/// The longest run.
const LONGEST: usize = 64;

/// A sorted list of values without equals. Cloning it shares everything.
#[derive(Debug, Clone)]
pub(crate) struct Runs<T> {
    runs: Arc<[Arc<[T]>]>,
    len: usize,
}

impl<T: Ord + Clone> Runs<T> {
    /// The list without values.
    pub(crate) fn new() -> Self {
        Self {
            runs: Arc::new([]),
            len: 0,
        }
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The values in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.runs.iter().flat_map(|run| run.iter())
    }

    /// Adds a value, in place of an equal one.
    pub(crate) fn insert(&mut self, value: T) {
        let number = self.run_of(&value);
        let run = self.runs.get(number).map_or(&[][..], |run| run);
        let (at, there) = match run.binary_search(&value) {
            Ok(at) => (at, 1),
            Err(at) => (at, 0),
        };
        let (before, rest) = run.split_at(at);
        let after = rest.get(there..).unwrap_or_default();
        let new = std::iter::once(value);
        let all = before.iter().cloned().chain(new);
        let run: Arc<[T]> = all.chain(after.iter().cloned()).collect();
        self.len += 1 - there;
        self.put(number, run);
    }

    /// Takes a value out, if it is there.
    pub(crate) fn remove(&mut self, value: &T) {
        let number = self.run_of(value);
        let run = self.runs.get(number).map_or(&[][..], |run| run);
        let Ok(at) = run.binary_search(value) else {
            return;
        };
        let (before, rest) = run.split_at(at);
        let after = rest.iter().skip(1);
        let run = before.iter().chain(after).cloned().collect();
        self.len -= 1;
        self.put(number, run);
    }

    /// The run where a value is or belongs: the first that does not end before it, else the last.
    fn run_of(&self, value: &T) -> usize {
        let ends_before = |run: &Arc<[T]>| run.last().is_some_and(|last| last < value);
        let number = self.runs.partition_point(ends_before);
        number.min(self.runs.len().saturating_sub(1))
    }

    /// Puts a run in the place of another; one that is too long as two, none for one that is empty.
    fn put(&mut self, number: usize, run: Arc<[T]>) {
        if (1..=LONGEST).contains(&run.len())
            && let Some(place) = Arc::make_mut(&mut self.runs).get_mut(number)
        {
            *place = run;
            return;
        }
        let halves = if run.len() > LONGEST {
            let (one, two) = run.split_at(run.len() / 2);
            vec![Arc::from(one), Arc::from(two)]
        } else if run.is_empty() {
            Vec::new()
        } else {
            vec![run]
        };
        let before = self.runs.iter().take(number).cloned();
        let after = self.runs.iter().skip(number + 1).cloned();
        self.runs = before.chain(halves).chain(after).collect();
    }
}

#[cfg(test)]
mod tests;
