//! Batches of what the followers of all kinds tell, so that nothing is withdrawn because one list was faster than
//! another.
//!
//! Objects of one kind name those of another, so a list that misses an object says that it is gone, but not whether
//! what uses it is gone, too. What lists find to be gone is therefore *held* while another kind is *behind*: its watch
//! was lost and it was neither listed nor watched again.
//!
//! When the server's history went back (its store was wiped or restored) what is known of every kind is of a time that
//! never was. All kinds are behind then until each was listed in the new history, and nothing at all is told meanwhile:
//! the mesh goes from the old state to the new one in one batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reef_config::{
    Change, ChangeBatch, Kind, MeshConfig, MeshNetworks, Object, ObjectKey, Problem,
};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::Times;
use crate::follow::{Contact, Told};
use crate::reading::Reading;

/// Deletions that no other kind has to confirm wait so long all the same: connections that break together are noticed
/// one after the other, on a busy machine within this.
const GRACE: Duration = Duration::from_secs(1);

/// Nothing is told for so long after history went back: the longest wait between attempts, and the time of a list,
/// twice. After that only deletions wait.
const PAUSE: Duration = Duration::from_secs(10);

/// How long a kind takes to be listed once its dead connection was noticed.
const LISTING: Duration = Duration::from_secs(10);

/// Changes of one batch while the receiver keeps up; more wait for the next.
const BATCH_MOST: usize = 10_000;

/// Makes batches.
#[derive(Debug)]
pub(crate) struct Hub {
    /// Kinds whose first list is not complete.
    awaited: BTreeSet<Kind>,
    /// The first batch, which nobody has yet.
    first: Vec<Change>,
    synced: bool,
    waiting: Waiting,
    /// Kinds that are installed, of which there was a list.
    present: BTreeSet<Kind>,
    /// The history that was told of last.
    history: u64,
    /// Kinds whose watch was lost, and since when.
    behind: BTreeMap<Kind, Instant>,
    /// What lists found to be gone.
    held: Waiting,
    held_since: Instant,
    /// When the last kind caught up.
    caught_up: Instant,
    /// Nothing is told until then.
    paused_until: Option<Instant>,
    /// A kind that is behind for so long is not waited for: a silent connection is noticed to be dead within a watch and
    /// the silence that is allowed, and then the kind has time for a list.
    longest: Duration,
    /// What is read, for the followers; told once the kinds it comes from were listed.
    reading: Reading,
    readings: watch::Sender<Option<Reading>>,
}

/// What differs and was not handed over: the last word on each thing.
#[derive(Debug, Default)]
struct Waiting {
    objects: BTreeMap<ObjectKey, Option<Arc<Object>>>,
    problems: BTreeMap<Arc<str>, Vec<Problem>>,
    mesh: Option<Arc<MeshConfig>>,
    networks: Option<Arc<MeshNetworks>>,
}

impl Waiting {
    fn add(&mut self, change: Change) {
        match change {
            Change::Apply(object) => {
                self.objects.insert(object.key.clone(), Some(object));
            }
            Change::Delete(key) => {
                self.objects.insert(key, None);
            }
            Change::MeshConfig(config) => self.mesh = Some(config),
            Change::MeshNetworks(networks) => self.networks = Some(networks),
            Change::Problems { source, problems } => {
                self.problems.insert(source, problems);
            }
        }
    }

    /// Forgets what a later word makes wrong.
    fn forget(&mut self, later: &Change) {
        match later {
            Change::Apply(object) => drop(self.objects.remove(&object.key)),
            Change::Delete(key) => drop(self.objects.remove(key)),
            Change::MeshConfig(_) => self.mesh = None,
            Change::MeshNetworks(_) => self.networks = None,
            Change::Problems { source, .. } => drop(self.problems.remove(source)),
        }
    }

    fn is_empty(&self) -> bool {
        self.objects.is_empty()
            && self.problems.is_empty()
            && self.mesh.is_none()
            && self.networks.is_none()
    }

    fn take(&mut self) -> Vec<Change> {
        let Self {
            objects,
            problems,
            mesh,
            networks,
        } = std::mem::take(self);
        let mesh = mesh.map(Change::MeshConfig).into_iter();
        let networks = networks.map(Change::MeshNetworks);
        let objects = objects.into_iter().map(|(key, object)| match object {
            Some(object) => Change::Apply(object),
            None => Change::Delete(key),
        });
        let problems = problems
            .into_iter()
            .map(|(source, problems)| Change::Problems { source, problems });
        mesh.chain(networks)
            .chain(objects)
            .chain(problems)
            .collect()
    }
}

impl Hub {
    /// A hub for these kinds.
    pub(crate) fn new(
        awaited: BTreeSet<Kind>,
        times: Times,
        readings: watch::Sender<Option<Reading>>,
    ) -> Self {
        let now = Instant::now();
        Self {
            awaited,
            first: Vec::new(),
            synced: false,
            waiting: Waiting::default(),
            present: BTreeSet::new(),
            history: 0,
            behind: BTreeMap::new(),
            held: Waiting::default(),
            held_since: now,
            caught_up: now,
            paused_until: None,
            longest: times.watch + times.silence + LISTING,
            reading: Reading::default(),
            readings,
        }
    }

    /// Makes batches until nobody tells or nobody listens.
    pub(crate) async fn run(
        mut self,
        mut told: mpsc::Receiver<Told>,
        out: mpsc::Sender<ChangeBatch>,
    ) {
        loop {
            let paused = self.paused_until.is_some();
            let ready =
                self.awaited.is_empty() && !paused && (!self.synced || !self.waiting.is_empty());
            tokio::select! {
                // What was told first, so that a batch is as large as the receiver is slow.
                biased;
                // What waits while nothing is told is at most what there is.
                message = told.recv(), if paused || self.waiting.objects.len() < BATCH_MOST => {
                    let Some(message) = message else { return };
                    self.take(message, Instant::now());
                }
                permit = out.reserve(), if ready => {
                    let Ok(permit) = permit else { return };
                    permit.send(self.batch());
                }
                () = until(self.due()) => self.pass(Instant::now()),
                () = out.closed() => return,
            }
        }
    }

    fn take(&mut self, told: Told, now: Instant) {
        self.hear(told, now);
        let known = [Kind::Namespace, Kind::ConfigMap]
            .iter()
            .all(|kind| !self.awaited.contains(kind));
        if known && self.readings.borrow().is_none() {
            self.tell_reading();
        }
    }

    fn hear(&mut self, told: Told, now: Instant) {
        let (kind, history, contact) = match told {
            Told::Changes(changes) => return self.add(changes),
            Told::Contact {
                kind,
                history,
                contact,
            } => (kind, history, contact),
        };
        if history > self.history {
            self.history = history;
            for kind in &self.present {
                self.behind.entry(*kind).or_insert(now);
            }
            self.paused_until = Some(now + PAUSE);
            info!("history went back, every kind is listed before anything is told");
        }
        // What was seen of an older history says nothing about this one.
        let current = history == self.history;
        match contact {
            Contact::Lost => {
                self.behind.entry(kind).or_insert(now);
            }
            Contact::Watching if current => self.catch_up(kind, now),
            Contact::Watching => {}
            Contact::Listed(gone) => {
                self.awaited.remove(&kind);
                self.present.insert(kind);
                self.hold(gone, now);
                if current {
                    self.catch_up(kind, now);
                }
            }
            Contact::Absent(gone) => {
                self.awaited.remove(&kind);
                self.present.remove(&kind);
                self.hold(gone, now);
                self.catch_up(kind, now);
            }
        }
    }

    fn hold(&mut self, gone: Vec<Change>, now: Instant) {
        if self.held.is_empty() {
            self.held_since = now;
        }
        for change in gone {
            self.held.add(change);
        }
    }

    /// A kind is as the server has it.
    fn catch_up(&mut self, kind: Kind, now: Instant) {
        if self.behind.remove(&kind).is_none() {
            return;
        }
        self.caught_up = now;
        if self.behind.is_empty() && self.paused_until.take().is_some() {
            // All of them were listed since: there is nothing to wait for.
            self.release();
        }
    }

    fn add(&mut self, changes: Vec<Change>) {
        for change in &changes {
            // It is there again.
            self.held.forget(change);
        }
        self.tell(changes);
    }

    /// What is in the next batch.
    fn tell(&mut self, changes: Vec<Change>) {
        let mut reads_otherwise = false;
        for change in changes {
            reads_otherwise |= self.reading.note(&change);
            if self.synced {
                self.waiting.add(change);
            } else {
                self.first.push(change);
            }
        }
        if reads_otherwise && self.readings.borrow().is_some() {
            self.tell_reading();
        }
    }

    fn tell_reading(&self) {
        self.readings.send_replace(Some(self.reading.clone()));
    }

    /// When to look again; the past is at once.
    fn due(&self) -> Option<Instant> {
        let released = (!self.held.is_empty()).then(|| self.released_at());
        released.into_iter().chain(self.paused_until).min()
    }

    /// When what is held is told, if nobody catches up before.
    fn released_at(&self) -> Instant {
        let quiet = self.held_since.max(self.caught_up) + GRACE;
        let behind = self.behind.values().max();
        let waited = behind.map_or(quiet, |since| quiet.max(*since + self.longest));
        waited.min(self.held_since + self.longest)
    }

    /// Time has passed.
    fn pass(&mut self, now: Instant) {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
            self.complain("not every kind could be listed since history went back");
        }
        if !self.held.is_empty() && self.released_at() <= now {
            if !self.behind.is_empty() {
                self.complain(
                    "what lists found to be gone is told, though not every kind is current",
                );
            }
            self.release();
        }
    }

    fn complain(&self, what: &str) {
        let behind: Vec<&str> = self.behind.keys().map(|kind| kind.as_str()).collect();
        warn!(behind = behind.join(", "), "{what}");
    }

    /// What was found to be gone is told.
    fn release(&mut self) {
        let gone = self.held.take();
        self.tell(gone);
    }

    fn batch(&mut self) -> ChangeBatch {
        let changes = if self.synced {
            self.waiting.take()
        } else {
            self.synced = true;
            std::mem::take(&mut self.first)
        };
        ChangeBatch {
            changes,
            synced: true,
        }
    }
}

/// Waits until a moment; for ever if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
