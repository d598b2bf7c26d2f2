//! Problems told to the users of a cluster: a condition on each object that has any, and Events.
//!
//! ```text
//! source ──► StatusBook (what is there) ─┐
//!                                        ├─► what differs ──► Leader::confirm ──► patch, Event
//! Reported, Checked (what ought to be) ──┘        ▲                                 │
//!                                                 └──────── seen by the source ◄────┘
//! ```
//!
//! [`Reported`] is what this process knows anyway: it has classes only of the proxies connected to it. [`Checked`] is what
//! somebody looks up for the leader: the problems of proxies that are connected elsewhere. It is asked for by the term of
//! the leader, and forgotten with it.
//!
//! One replica writes, the leader. It compares before it writes, so that another leader goes on where the last one
//! stopped; a write names the version it is about, so that one that comes too late fails; and what it wrote it sees by
//! the source, where only a version differs. Objects without problems are never written to; a problem that is gone
//! takes its condition with it.
//!
//! A kind of which the definition has no status subresource gets Events only.

mod book;
mod condition;
mod memory;
mod metrics;
mod wanted;

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use http::Method;
use k8s_openapi::jiff::Timestamp;
use reef_config::ObjectKey;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, warn};

use self::book::{MANAGER, Observed};
use self::condition::{Difference, Verdict, difference};
use self::memory::{Memory, Rate};
pub(crate) use self::metrics::Outcome;
use self::wanted::{Opinion, Wanted};
use crate::api::ApiError;
use crate::events::{About, News, Recorder, seconds};
use crate::leader::{Leader, LeaderTimes};
use crate::{Cluster, resource};

pub use self::book::StatusBook;
pub use self::metrics::StatusMetrics;
pub use self::wanted::{Checked, Reported};

/// Objects written between two confirmations of the leader at most.
const BATCH: usize = 32;

/// Largest answer: the object that was written.
const ANSWER_BYTES: usize = 4 << 20;

/// How often the time to settle a new leader waits for its first check.
const SETTLES: u32 = 10;

/// How long things take; the defaults are what a cluster needs, tests take less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusTimes {
    /// Of the leader.
    pub leader: LeaderTimes,
    /// How long an object must be left alone before its status is written; 1 s.
    pub quiet: Duration,
    /// How long a new leader takes no condition away: some problems show only while proxies are connected; 30 s. For its
    /// first check it waits ten times that at most.
    pub settle: Duration,
    /// The wait after a write that did not do what it should, at first; it doubles up to ten minutes; 5 s.
    pub again: Duration,
}

impl Default for StatusTimes {
    fn default() -> Self {
        Self {
            leader: LeaderTimes::default(),
            quiet: Duration::from_secs(1),
            settle: Duration::from_secs(30),
            again: Duration::from_secs(5),
        }
    }
}

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusOptions {
    /// The namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub lease: String,
    /// This process as people know it: the pod.
    pub instance: String,
    /// How long things take.
    pub times: StatusTimes,
}

/// Writes status and Events while it leads.
#[derive(Debug)]
pub struct StatusWriter {
    cluster: Cluster,
    book: StatusBook,
    leader: Leader,
    recorder: Recorder,
    metrics: StatusMetrics,
    times: StatusTimes,
    memory: Memory,
    rate: Rate,
    /// Whether it led when it was looked last, and since when.
    leading: bool,
    since: Instant,
    /// Nothing is written before, for the API server does not take it.
    rest_until: Option<Instant>,
    failures: u32,
    reported: watch::Receiver<Option<Reported>>,
    /// What is looked up for the leader, while there is somebody who does.
    checks: Option<watch::Receiver<Option<Checked>>>,
    /// The number of this term, while it leads, and of the last one.
    term: watch::Sender<Option<u64>>,
    terms: u64,
    wanted: Wanted,
}

/// One object to be written to.
#[derive(Debug)]
struct Task {
    key: ObjectKey,
    observed: Observed,
    wanted: Option<Verdict>,
    difference: Difference,
}

impl StatusWriter {
    /// A writer of what `reported` says; nothing is written before it says anything.
    #[must_use]
    pub fn new(
        cluster: Cluster,
        book: StatusBook,
        options: StatusOptions,
        metrics: StatusMetrics,
        reported: watch::Receiver<Option<Reported>>,
    ) -> Self {
        let StatusOptions {
            namespace,
            lease,
            instance,
            times,
        } = options;
        let leader = Leader::new(
            cluster.clone(),
            (&namespace, &lease),
            &instance,
            times.leader,
        );
        Self {
            recorder: Recorder::new(cluster.clone(), instance),
            memory: Memory::new(times.again),
            rate: Rate::new(),
            leading: false,
            since: Instant::now(),
            rest_until: None,
            failures: 0,
            wanted: Wanted::default(),
            cluster,
            book,
            leader,
            metrics,
            times,
            reported,
            checks: None,
            term: watch::Sender::new(None),
            terms: 0,
        }
    }

    /// Tells what is checked while it leads, too. A new leader waits for the first check before it writes anything.
    #[must_use]
    pub fn with_checks(mut self, checks: watch::Receiver<Option<Checked>>) -> Self {
        self.checks = Some(checks);
        self
    }

    /// The number of the term of which this is the leader; no two terms of one writer have the same. `None` while it
    /// does not lead.
    #[must_use]
    pub fn terms(&self) -> watch::Receiver<Option<u64>> {
        self.term.subscribe()
    }

    /// Writes until `end`, then gives the lease back.
    pub async fn run(mut self, end: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = end => {}
            () = self.work() => {}
        }
        self.metrics.leads(false);
        self.term.send_replace(None);
        self.leader.resign().await;
    }

    async fn work(&mut self) {
        loop {
            let leads = if self.leader.leads() {
                self.leader.confirm().await
            } else {
                self.leader.campaign().await
            };
            if leads != self.leading {
                self.leading = leads;
                self.metrics.leads(leads);
                self.metrics.pending(0);
                self.memory.clear();
                self.since = Instant::now();
                self.wanted.clear();
                self.terms += u64::from(leads);
                self.term.send_replace(leads.then_some(self.terms));
            }
            let mut wake = self.leader.due();
            if leads {
                self.look();
                let (tasks, next) = self.due();
                wake = next.map_or(wake, |next| next.min(wake));
                if !tasks.is_empty() && self.batch(tasks).await {
                    continue;
                }
            }
            tokio::select! {
                () = tokio::time::sleep_until(wake) => {}
                () = self.book.news(), if leads => self.pause().await,
                changed = self.reported.changed(), if leads => match changed {
                    Ok(()) => self.pause().await,
                    // Nobody reports any more: the process ends.
                    Err(_gone) => std::future::pending().await,
                },
                there = changed(&mut self.checks), if leads => if !there {
                    // Whoever looked things up is gone.
                    self.checks = None;
                },
            }
        }
    }

    /// A storm of news is looked at a few times a second.
    async fn pause(&self) {
        tokio::time::sleep(self.times.quiet / 4).await;
    }

    /// Takes over what was reported since the last time.
    fn look(&mut self) {
        let reported = self.reported.borrow_and_update();
        let Some(reported) = &*reported else {
            return;
        };
        let checks = self
            .checks
            .as_mut()
            .map(|checks| checks.borrow_and_update());
        let checked = checks.as_ref().and_then(|checked| checked.as_ref());
        let checked = checked.filter(|checked| checked.term == self.terms);
        self.wanted.take(reported, checked);
    }

    /// The objects to write to now, and when to look again if not told before.
    fn due(&mut self) -> (Vec<Task>, Option<Instant>) {
        let now = Instant::now();
        if !self.wanted.is_told() {
            return (Vec::new(), None);
        }
        let patience = self.since + self.times.settle * SETTLES;
        if self.checks.is_some() && !self.wanted.is_checked() && now < patience {
            return (Vec::new(), Some(patience));
        }
        self.memory.retain(|key| self.book.has(key));
        let mut keys: BTreeSet<ObjectKey> = self.book.marked().into_iter().collect();
        keys.extend(self.memory.told());
        keys.extend(self.wanted.objects().cloned());
        let text = seconds(Timestamp::now());
        let mut wake: Option<Instant> = None;
        let mut later = |at: Instant| wake = Some(wake.map_or(at, |wake| wake.min(at)));
        let mut tasks = Vec::new();
        let mut pending = 0;
        for key in keys {
            let Some(observed) = self.book.observed(&key).filter(|seen| !seen.leaving) else {
                continue;
            };
            let Opinion::Wants(wanted) = self.wanted.of(&key, observed.at) else {
                continue;
            };
            let difference = if self.memory.has_status(key.kind, now) {
                difference(&observed, wanted, &text)
            } else {
                self.memory.untold(&key, wanted)
            };
            let Some(difference) = difference else {
                self.memory.right(&key);
                continue;
            };
            pending += 1;
            let quiet = observed.at + self.times.quiet;
            let settled = self.since + self.times.settle;
            let memory = self.memory.not_before(&key, &observed, wanted);
            let wait = [
                Some(quiet),
                wanted.is_none().then_some(settled),
                memory.unwrap_or(None),
                self.rest_until,
            ];
            let wait = wait.into_iter().flatten().max().filter(|at| *at > now);
            match (memory, wait) {
                // Written; what came of it is not seen yet.
                (None, _) => pending -= 1,
                (_, Some(at)) => later(at),
                _ if tasks.len() == BATCH => later(now),
                _ => tasks.push(Task {
                    wanted: wanted.cloned(),
                    key,
                    observed,
                    difference,
                }),
            }
        }
        self.metrics.pending(pending);
        if self.leader.deadline().is_none() {
            // Not yet, or not for sure: the leader knows when.
            return (Vec::new(), wake.map(|at| at.max(self.leader.due())));
        }
        (tasks, wake)
    }

    /// Writes a batch; false if the API server wants to be left alone.
    async fn batch(&mut self, tasks: Vec<Task>) -> bool {
        // Whoever is the leader now.
        if !self.leader.confirm().await {
            return false;
        }
        for task in tasks {
            self.rate.take().await;
            let Some(deadline) = self.leader.deadline() else {
                return false;
            };
            if let Err(error) = self.write(&task, deadline).await {
                let pause = self.failed(&task, &error);
                if pause {
                    return false;
                }
            } else {
                self.failures = 0;
                self.rest_until = None;
            }
        }
        true
    }

    async fn write(&mut self, task: &Task, deadline: Instant) -> Result<(), ApiError> {
        let limit = deadline.min(Instant::now() + self.times.leader.request);
        let key = &task.key;
        if self.memory.has_status(key.kind, Instant::now()) {
            let began = Instant::now();
            let patched = before(limit, self.patch(task)).await;
            let outcome = match &patched {
                Ok(()) => Outcome::Success,
                Err(error) if error.code() == Some(409) => Outcome::Conflict,
                Err(_other) => Outcome::Failure,
            };
            self.metrics.updated(key.kind, outcome, began.elapsed());
            patched?;
            debug!(object = %key, "status written");
        }
        self.memory
            .written(key, &task.observed, task.wanted.as_ref());
        if !task.difference.news {
            return Ok(());
        }
        let news = news(task);
        let about = About {
            api: task.observed.api,
            uid: task.observed.uid.clone(),
            version: task.observed.version.clone(),
        };
        let told = before(deadline, self.recorder.tell(&news, &about)).await;
        let outcome = match &told {
            Ok(()) => Outcome::Success,
            Err(_any) => Outcome::Failure,
        };
        self.metrics.told(news.event_type(), outcome);
        if let Err(error) = told {
            // The condition says the same; an Event is not worth a second try.
            debug!(object = %key, %error, "an Event is not told");
        }
        Ok(())
    }

    async fn patch(&self, task: &Task) -> Result<(), ApiError> {
        let ObjectKey {
            kind,
            namespace,
            name,
            ..
        } = &task.key;
        let url = format!(
            "/apis/{}/{}/namespaces/{namespace}/{}/{name}/status?fieldManager={MANAGER}",
            kind.group(),
            task.observed.api,
            resource::plural(*kind),
        );
        let how = (Method::PATCH, "application/merge-patch+json");
        let patch = &task.difference.patch;
        let sent = self.cluster.send(how, &url, patch, ANSWER_BYTES);
        sent.await.map(drop)
    }

    /// What follows from a failure; true if all writes have to wait.
    fn failed(&mut self, task: &Task, error: &ApiError) -> bool {
        let Task { key, observed, .. } = task;
        match error.code() {
            // Another version is there, or nothing: the source will tell.
            Some(409) => self.memory.outdated(key, observed),
            Some(404) if error.is_of_object() => self.memory.outdated(key, observed),
            Some(404) => {
                warn!(kind = %key.kind, "the kind has no status subresource, its problems are told as Events only");
                self.memory.without_status(key.kind);
            }
            // The server is well, and does not want this.
            Some(400 | 403 | 405 | 415 | 422) => {
                warn!(object = %key, %error, "its status cannot be written");
                self.memory.refused(key, observed, task.wanted.as_ref());
            }
            _ => {
                warn!(object = %key, %error, "no status can be written");
                let wait = self.times.again.min(Duration::from_secs(1));
                let wait = wait.saturating_mul(1 << self.failures.min(5));
                self.failures = self.failures.saturating_add(1);
                self.rest_until = Some(Instant::now() + wait);
                return true;
            }
        }
        false
    }
}

/// Waits for another check; false if there will be none. For ever where nobody checks.
async fn changed(checks: &mut Option<watch::Receiver<Option<Checked>>>) -> bool {
    match checks {
        Some(checks) => checks.changed().await.is_ok(),
        None => std::future::pending().await,
    }
}

/// What people are told of a change of status.
fn news(task: &Task) -> News {
    let key = task.key.clone();
    match &task.wanted {
        Some(verdict) => News {
            key,
            warning: !verdict.in_effect,
            reason: verdict.reason.clone(),
            message: verdict.message.clone(),
        },
        None => News {
            key,
            warning: false,
            reason: condition::TYPE.to_owned(),
            message: "its problems are gone".to_owned(),
        },
    }
}

/// Does something until a moment and not a bit longer, even if this process slept meanwhile.
async fn before<T>(
    limit: Instant,
    request: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let left = limit.saturating_duration_since(Instant::now());
    tokio::select! {
        biased;
        () = tokio::time::sleep_until(limit) => Err(ApiError::Timeout(left)),
        answer = request => answer,
    }
}

#[cfg(test)]
mod tests;
