//! What a leader remembers of its own writes, so that none is made twice, and how fast it writes.

use std::collections::BTreeMap;
use std::time::Duration;

use reef_config::{Kind, ObjectKey};
use serde_json::Value;
use tokio::time::Instant;

use super::book::Observed;
use super::condition::{Difference, Verdict};

/// The longest wait between two writes of the same to one object.
const LONGEST: Duration = Duration::from_secs(600);

/// How long a kind without a status subresource is believed to have none.
const BELIEVED: Duration = Duration::from_secs(600);

/// Writes at once, and writes per second after that.
const BURST: f64 = 100.0;
const PER_SECOND: f64 = 50.0;

/// What was written, or tried, to one object.
#[derive(Debug, Clone)]
struct Tried {
    /// What it was to say, and of which generation.
    wanted: Option<Verdict>,
    generation: Option<i64>,
    /// The version it was written to; until another is seen there is nothing to compare.
    version: Option<Box<str>>,
    /// How often the same was written.
    times: u32,
    /// Not again before.
    not_before: Option<Instant>,
}

/// What is remembered of one term.
#[derive(Debug)]
pub(super) struct Memory {
    again: Duration,
    tried: BTreeMap<ObjectKey, Tried>,
    /// Kinds without a status subresource, until when that is believed.
    without: BTreeMap<Kind, Instant>,
    /// Objects of such kinds and what people were told of them.
    told: BTreeMap<ObjectKey, Verdict>,
}

impl Memory {
    pub(super) fn new(again: Duration) -> Self {
        Self {
            again,
            tried: BTreeMap::new(),
            without: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    /// Another term begins.
    pub(super) fn clear(&mut self) {
        self.tried.clear();
        self.without.clear();
        self.told.clear();
    }

    /// Forgets objects that are gone.
    pub(super) fn retain(&mut self, there: impl Fn(&ObjectKey) -> bool) {
        self.tried.retain(|key, _| there(key));
        self.told.retain(|key, _| there(key));
    }

    /// Objects of kinds without a status of which something was told.
    pub(super) fn told(&self) -> impl Iterator<Item = ObjectKey> + '_ {
        self.told.keys().cloned()
    }

    /// The status is as it ought to be.
    pub(super) fn right(&mut self, key: &ObjectKey) {
        self.tried.remove(key);
    }

    /// When an object may be written to; the outer `None` while the last write is not seen.
    pub(super) fn not_before(
        &self,
        key: &ObjectKey,
        observed: &Observed,
        wanted: Option<&Verdict>,
    ) -> Option<Option<Instant>> {
        let Some(tried) = self.tried.get(key) else {
            return Some(None);
        };
        if tried.version.as_ref() == Some(&observed.version) {
            return None;
        }
        let same = tried.wanted.as_ref() == wanted && tried.generation == observed.generation;
        Some(tried.not_before.filter(|_| same))
    }

    /// Something was written.
    pub(super) fn written(
        &mut self,
        key: &ObjectKey,
        observed: &Observed,
        wanted: Option<&Verdict>,
    ) {
        let version = if self.without.contains_key(&key.kind) {
            match wanted {
                Some(verdict) => self.told.insert(key.clone(), verdict.clone()),
                None => self.told.remove(key),
            };
            None
        } else {
            Some(observed.version.clone())
        };
        self.note(key, observed, wanted, version);
    }

    /// The server does not take it as it is.
    pub(super) fn refused(
        &mut self,
        key: &ObjectKey,
        observed: &Observed,
        wanted: Option<&Verdict>,
    ) {
        self.note(key, observed, wanted, None);
    }

    /// Another version is there than the one that was to be written.
    pub(super) fn outdated(&mut self, key: &ObjectKey, observed: &Observed) {
        let tried = Tried {
            wanted: None,
            generation: None,
            version: Some(observed.version.clone()),
            times: 0,
            not_before: None,
        };
        self.tried.insert(key.clone(), tried);
    }

    fn note(
        &mut self,
        key: &ObjectKey,
        observed: &Observed,
        wanted: Option<&Verdict>,
        version: Option<Box<str>>,
    ) {
        let before = self.tried.get(key).filter(|tried| {
            tried.wanted.as_ref() == wanted && tried.generation == observed.generation
        });
        let times = before.map_or(0, |tried| tried.times);
        let wait = self.again.saturating_mul(1 << times.min(16)).min(LONGEST);
        let tried = Tried {
            wanted: wanted.cloned(),
            generation: observed.generation,
            version,
            times: times.saturating_add(1),
            not_before: Some(Instant::now() + wait),
        };
        self.tried.insert(key.clone(), tried);
    }

    /// Whether objects of a kind have a status to write.
    pub(super) fn has_status(&mut self, kind: Kind, now: Instant) -> bool {
        if self.without.get(&kind).is_some_and(|until| now >= *until) {
            self.without.remove(&kind);
        }
        !self.without.contains_key(&kind)
    }

    /// Objects of a kind have no status.
    pub(super) fn without_status(&mut self, kind: Kind) {
        self.without.insert(kind, Instant::now() + BELIEVED);
    }

    /// What is to be told of an object without a status.
    pub(super) fn untold(&self, key: &ObjectKey, wanted: Option<&Verdict>) -> Option<Difference> {
        (self.told.get(key) != wanted).then_some(Difference {
            patch: Value::Null,
            news: true,
        })
    }
}

/// A bucket of writes.
#[derive(Debug)]
pub(super) struct Rate {
    tokens: f64,
    at: Instant,
}

impl Rate {
    pub(super) fn new() -> Self {
        Self {
            tokens: BURST,
            at: Instant::now(),
        }
    }

    /// Waits until a write may be made.
    pub(super) async fn take(&mut self) {
        let now = Instant::now();
        let earned = now.duration_since(self.at).as_secs_f64() * PER_SECOND;
        self.tokens = (self.tokens + earned).min(BURST);
        self.at = now;
        if self.tokens < 1.0 {
            tokio::time::sleep(Duration::from_secs_f64((1.0 - self.tokens) / PER_SECOND)).await;
            self.tokens = 1.0;
            self.at = Instant::now();
        }
        self.tokens -= 1.0;
    }
}
