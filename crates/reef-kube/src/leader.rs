//! One leader among replicas, by a Lease.
//!
//! A leader may write until [`Leader::deadline`], which is well before its lease runs out, so that even a write that is
//! under way then ends while nobody else leads. Before each batch of writes [`Leader::confirm`] renews the lease, which
//! names the version it replaces: whoever lost it, by whatever way, learns of it there and stops.
//!
//! ```text
//! asked for                      no write from here     the lease runs out: another may take it
//!    ├───────────── writes ────────────────┤──── margin ────┤
//! ```
//!
//! A lease that is not there may have been deleted under a leader, which notices at its next batch: whoever makes it
//! anew waits as long as that one may go on writing.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::Cluster;
use crate::lease::{LeaseError, LeaseGuard, LeaseOptions, Watched};

/// How long things take; the defaults are what a cluster needs, tests take less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderTimes {
    /// How long a silent leader keeps its lease, in whole seconds; 15 s.
    pub lease: Duration,
    /// How long before that it writes no more; 5 s, more than a request may take.
    pub margin: Duration,
    /// How often the lease is renewed at least; 4 s, so that one answer may be lost.
    pub renew: Duration,
    /// How long ago the lease may have been renewed when a batch begins; 2 s.
    pub confirm: Duration,
    /// How often others look; 1.5 s, which is how much later than the end of the lease they may take it.
    pub poll: Duration,
    /// How long a request may take; 4 s.
    pub request: Duration,
}

impl Default for LeaderTimes {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            margin: Duration::from_secs(5),
            renew: Duration::from_secs(4),
            confirm: Duration::from_secs(2),
            poll: Duration::from_millis(1500),
            request: Duration::from_secs(4),
        }
    }
}

/// A candidate, which leads at times.
#[derive(Debug)]
pub struct Leader {
    cluster: Cluster,
    options: LeaseOptions,
    times: LeaderTimes,
    watched: Watched,
    term: Option<Term>,
}

/// A lease that is held, as far as this process knows.
#[derive(Debug)]
struct Term {
    guard: LeaseGuard,
    /// When it was asked for last.
    renewed: Instant,
    /// When it is to be renewed.
    due: Instant,
    /// The last renewal failed: whoever cannot ask whether it leads does not write.
    doubtful: bool,
    /// Nothing is written before.
    begins: Instant,
}

impl Leader {
    /// A candidate for the Lease `namespace/name`. `instance` is how people know this process; two of one name are told
    /// apart.
    #[must_use]
    pub fn new(
        cluster: Cluster,
        (namespace, name): (&str, &str),
        instance: &str,
        times: LeaderTimes,
    ) -> Self {
        // Every `RandomState` has keys of its own.
        let unique = RandomState::new().build_hasher().finish();
        Self {
            cluster,
            options: LeaseOptions {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                holder: format!("{instance}_{unique:016x}"),
                duration: times.lease,
            },
            times,
            watched: Watched::default(),
            term: None,
        }
    }

    /// Whether it has the lease, perhaps too short to write.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.term.is_some()
    }

    /// Until when a write may take; `None` while nothing may be written.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let term = self.term.as_ref()?;
        let now = Instant::now();
        let deadline = term.guard.until() - self.times.margin;
        (!term.doubtful && now >= term.begins && now < deadline).then_some(deadline)
    }

    /// When to come back at the latest: to campaign, to renew, or to begin.
    #[must_use]
    pub fn due(&self) -> Instant {
        let now = Instant::now();
        match &self.term {
            Some(term) if term.begins > now => term.begins.min(term.due),
            Some(term) => term.due,
            None => {
                let poll = now + self.times.poll;
                // At the very moment the lease is free, if that is sooner.
                let free = self.watched.free_at().filter(|free| *free > now);
                free.map_or(poll, |free| poll.min(free))
            }
        }
    }

    /// Tries once to become the leader.
    pub async fn campaign(&mut self) -> bool {
        let now = Instant::now();
        let asked = self
            .cluster
            .acquire_lease(&self.options, &mut self.watched, now);
        match timeout(self.times.request, asked).await {
            Ok(Ok(Some(guard))) => {
                let begins = if guard.was_there() {
                    now
                } else {
                    now + (self.times.lease - self.times.margin)
                };
                self.watched = Watched::default();
                info!(
                    lease = self.options.name,
                    transitions = guard.transitions(),
                    "leading"
                );
                self.term = Some(Term {
                    guard,
                    renewed: now,
                    due: now + self.times.renew,
                    doubtful: false,
                    begins,
                });
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => warn!(%error, "no leader can be elected"),
            // Whatever came of it: a lease with our name that we do not know of runs out.
            Err(_late) => warn!(
                lease = self.options.name,
                "no leader can be elected, no answer"
            ),
        }
        self.leads()
    }

    /// Renews the lease if that was not done just before, and says whether it is held. To be asked before each batch of
    /// writes, and when [`Leader::due`] says so.
    pub async fn confirm(&mut self) -> bool {
        let Some(term) = &mut self.term else {
            return false;
        };
        let now = Instant::now();
        if !term.guard.is_held(now) {
            return self.lost("it ran out");
        }
        let fresh = now < term.renewed + self.times.confirm;
        if (fresh && !term.doubtful) || (term.doubtful && now < term.due) {
            return true;
        }
        let left = term.guard.until() - now;
        let renewal = self
            .cluster
            .renew_lease(&self.options, &mut term.guard, now);
        let outcome = timeout(left.min(self.times.request), renewal).await;
        match outcome {
            Ok(Ok(())) => {
                term.renewed = now;
                term.due = now + self.times.renew;
                term.doubtful = false;
                true
            }
            Ok(Err(LeaseError::Lost { .. })) => self.lost("another took it"),
            Ok(Err(error)) if error.is_gone() => self.lost("it was deleted"),
            Ok(Err(error)) => {
                warn!(%error, "the lease of the leader cannot be renewed");
                self.still_held()
            }
            Err(_late) => {
                warn!(
                    lease = self.options.name,
                    "the lease of the leader cannot be renewed, no answer"
                );
                self.still_held()
            }
        }
    }

    /// Gives the lease back, if it is held, so that another need not wait for its end.
    pub async fn resign(&mut self) {
        let Some(term) = self.term.take() else { return };
        if !term.guard.is_held(Instant::now()) {
            return;
        }
        let released = self.cluster.release_lease(&self.options, term.guard);
        match timeout(self.times.request, released).await {
            Ok(Ok(())) => info!(lease = self.options.name, "lease given back"),
            Ok(Err(error)) => warn!(%error, "the lease is not given back, it runs out"),
            Err(_late) => {}
        }
    }

    /// A renewal failed; it is tried again while there is something to renew.
    fn still_held(&mut self) -> bool {
        let now = Instant::now();
        match &mut self.term {
            Some(term) if term.guard.is_held(now) => {
                term.doubtful = true;
                term.due = now + self.times.poll / 2;
                true
            }
            _ => self.lost("it ran out"),
        }
    }

    fn lost(&mut self, why: &str) -> bool {
        if self.term.take().is_some() {
            warn!(lease = self.options.name, why, "leading no more");
        }
        false
    }
}
