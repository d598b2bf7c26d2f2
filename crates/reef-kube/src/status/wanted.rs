//! What objects ought to say: by the problems the process knows of its own, and by those a check of imagined proxies
//! found. Pure.
//!
//! A check is older than what is known live, and says nothing of an object that changed since: there the live problems
//! count alone, and where these are none, nobody knows before the next check.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reef_config::{ObjectKey, Problem};
use tokio::time::Instant;

use super::condition::{Verdict, verdicts};

/// How long a change may be on its way from the source to the rules that are checked. Of an object that changed this
/// shortly before a check, and of which more was heard since, the next check tells.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

/// Everything known to be wrong, as of some time.
#[derive(Debug, Clone)]
pub struct Reported {
    /// The problems.
    pub problems: Arc<[Problem]>,
    /// When they were found, at the latest.
    pub at: Instant,
    /// Of which version of everything but endpoints they are; it only grows.
    pub revision: u64,
}

/// What proxies would have to complain of that are connected elsewhere, or not yet.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The problems.
    pub problems: Arc<[Problem]>,
    /// When the check began.
    pub at: Instant,
    /// The version of everything but endpoints that was checked.
    pub revision: u64,
    /// The term of the leader for which it was made; in no other it counts.
    pub term: u64,
}

/// What an object ought to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opinion<'w> {
    /// Nobody knows now.
    Unknown,
    /// This, or nothing.
    Wants(Option<&'w Verdict>),
}

/// The verdicts in effect.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    live: BTreeMap<ObjectKey, Verdict>,
    live_at: Option<Instant>,
    check: Option<Check>,
    /// Both together.
    all: BTreeMap<ObjectKey, Verdict>,
}

/// A check in effect.
#[derive(Debug)]
struct Check {
    /// When it began, by which it is known again.
    at: Instant,
    /// The objects it has something to say of.
    objects: BTreeSet<ObjectKey>,
    /// When it was known last that nothing but endpoints differs from what was checked.
    held: Instant,
    /// It speaks of objects that were seen at this time, and no later.
    until: Instant,
}

impl Wanted {
    /// Takes over what was told since the last time.
    pub(super) fn take(&mut self, reported: &Reported, checked: Option<&Checked>) {
        let known = self.check.as_ref().map(|check| check.at);
        let differs =
            self.live_at != Some(reported.at) || known != checked.map(|checked| checked.at);
        if !differs {
            return;
        }
        if self.live_at != Some(reported.at) {
            self.live = verdicts(&reported.problems);
            self.live_at = Some(reported.at);
        }
        self.check = checked.map(|checked| {
            let same = self.check.take().filter(|check| check.at == checked.at);
            Check::of(same, checked, reported)
        });
        self.all = match checked {
            Some(checked) => verdicts(&together(&reported.problems, &checked.problems)),
            None => self.live.clone(),
        };
    }

    /// Nothing is known any more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether anything was told.
    pub(super) fn is_told(&self) -> bool {
        self.live_at.is_some()
    }

    /// Whether a check counts.
    pub(super) fn is_checked(&self) -> bool {
        self.check.is_some()
    }

    /// Objects of which something may be wanted.
    pub(super) fn objects(&self) -> impl Iterator<Item = &ObjectKey> {
        self.all.keys()
    }

    /// What an object ought to say that was seen at this time.
    pub(super) fn of(&self, key: &ObjectKey, seen: Instant) -> Opinion<'_> {
        if self.live_at.is_none_or(|at| seen > at) {
            // What was reported may be about what it was before.
            return Opinion::Unknown;
        }
        let Some(check) = &self.check else {
            return Opinion::Wants(self.live.get(key));
        };
        if seen <= check.until {
            return Opinion::Wants(self.all.get(key));
        }
        match self.live.get(key) {
            None if check.objects.contains(key) => Opinion::Unknown,
            live => Opinion::Wants(live),
        }
    }
}

impl Check {
    fn of(same: Option<Self>, checked: &Checked, reported: &Reported) -> Self {
        let (objects, held) = match same {
            Some(same) => (same.objects, same.held),
            None => {
                let objects = checked.problems.iter().filter_map(|p| p.object.clone());
                (objects.collect(), checked.at)
            }
        };
        let current = checked.revision == reported.revision;
        let held = if current { held.max(reported.at) } else { held };
        let until = if current {
            held
        } else {
            held.checked_sub(ON_ITS_WAY).unwrap_or(held)
        };
        Self {
            at: checked.at,
            objects,
            held,
            until,
        }
    }
}

/// All problems, each once; where both tell the same, the live one counts, which knows more of where it is.
fn together(live: &[Problem], checked: &[Problem]) -> Vec<Problem> {
    fn same(problem: &Problem) -> (Option<&ObjectKey>, &str, &str, &str) {
        let Problem { field, reason, .. } = problem;
        (problem.object.as_ref(), problem.code, field, reason)
    }
    let known: BTreeSet<_> = live.iter().map(same).collect();
    let more = checked
        .iter()
        .filter(|problem| !known.contains(&same(problem)));
    live.iter().chain(more).cloned().collect()
}

#[cfg(test)]
mod tests;
