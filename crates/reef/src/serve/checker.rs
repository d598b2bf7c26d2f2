//! What the leader among replicas does that `reef check` does: problems that show only for proxies that are connected to
//! another replica, or not yet, found on the published snapshot for one imagined proxy per class of pods.
//!
//! It runs after a change of anything but endpoints, off the writer, and seldom: a run rests as long as it works, and the
//! next one waits twenty times as long as this one worked. What it holds meanwhile is dropped with each namespace.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reef_config::Labels;
use reef_kube::status::{Checked, StatusMetrics};
use reef_mesh::{MeshSnapshot, Pod, ProxyNode, TlsMode};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::shared::Shared;
use crate::clock;
use crate::imagined::{self, Found, Keep};

/// How long changes are collected before a run.
const QUIET: Duration = Duration::from_secs(1);

/// The least time from the beginning of a run to the next one.
const EVERY: Duration = Duration::from_secs(10);

/// How many times as long as it worked a run is followed by none.
const SHARE: u32 = 20;

/// Encoded resources held at a time, about; those of one proxy are held in any case.
const ROOM: usize = 16 << 20;

/// How long a run works without a rest, and the longest rest: others have work for this processor, too.
const STRETCH: Duration = Duration::from_millis(20);
const LONGEST_REST: Duration = Duration::from_millis(200);

/// Who checks, while this replica leads.
#[derive(Debug)]
pub(super) struct Checker {
    /// Where the snapshot is.
    pub(super) shared: Arc<Shared>,
    /// Suffix of Service names.
    pub(super) domain: String,
    /// What counts the runs.
    pub(super) metrics: StatusMetrics,
    /// The term of the leader, if this is the leader.
    pub(super) terms: watch::Receiver<Option<u64>>,
    /// Who is told what was found.
    pub(super) checks: watch::Sender<Option<Checked>>,
}

impl Checker {
    /// Checks until nobody asks any more.
    pub(super) async fn run(mut self) {
        let mut pace = Pace::default();
        loop {
            let Ok(term) = self.terms.wait_for(Option::is_some).await.map(|term| *term) else {
                return;
            };
            let mut terms = self.terms.clone();
            let ended = tokio::select! {
                biased;
                ended = terms.wait_for(|now| *now != term) => ended.is_err(),
                () = self.lead(term.unwrap_or_default(), &mut pace) => true,
            };
            self.checks.send_replace(None);
            if ended {
                return;
            }
        }
    }

    /// Checks at first, and after each change.
    async fn lead(&self, term: u64, pace: &mut Pace) {
        let mut revisions = self.shared.revision.subscribe();
        let mut last = 0;
        loop {
            if revisions.wait_for(|now| *now != last).await.is_err() {
                return std::future::pending().await;
            }
            let quiet = if last == 0 { Duration::ZERO } else { QUIET };
            sleep_until(pace.next(Instant::now(), quiet)).await;
            // The snapshot is as new as that at the least, and knows what was seen before the run.
            let (revision, at) = (*revisions.borrow_and_update(), Instant::now());
            last = revision;
            let Some(snapshot) = self.shared.snapshot.load_full() else {
                continue;
            };
            let (found, worked) = look(snapshot, self.domain.clone()).await;
            pace.ended(at, Instant::now(), worked);
            let Some(found) = found else {
                continue;
            };
            self.metrics.checked(worked);
            debug!(
                problems = found.problems.len(),
                classes = found.classes,
                most_bytes = found.most_bytes,
                ?worked,
                "checked for proxies of other replicas"
            );
            self.checks.send_replace(Some(Checked {
                problems: found.problems.into_iter().collect(),
                at,
                revision,
                term,
            }));
        }
    }
}

/// When runs may be.
#[derive(Debug, Default)]
struct Pace {
    rest_until: Option<Instant>,
}

impl Pace {
    /// When to begin after a change that was seen now.
    fn next(&self, now: Instant, quiet: Duration) -> Instant {
        let settled = now + quiet;
        self.rest_until.map_or(settled, |rest| settled.max(rest))
    }

    /// A run is over that worked this long.
    fn ended(&mut self, began: Instant, now: Instant, worked: Duration) {
        self.rest_until = Some((began + EVERY).max(now + worked * SHARE));
    }
}

/// Runs a check on a thread for such work, which gives up when this is dropped. Says how long it worked, too.
async fn look(snapshot: Arc<MeshSnapshot>, domain: String) -> (Option<Found>, Duration) {
    let end = Arc::new(AtomicBool::new(false));
    let _ended = EndOnDrop(Arc::clone(&end));
    let run = tokio::task::spawn_blocking(move || {
        let mut breath = Breath::new(clock::now());
        let found = look_now(&snapshot, &domain, || {
            if end.load(Ordering::Relaxed) {
                return false;
            }
            if let Some(rest) = breath.rest(clock::now()) {
                std::thread::sleep(rest);
                breath.rested(clock::now());
            }
            true
        });
        (found, breath.worked(clock::now()))
    });
    match run.await {
        Ok(done) => done,
        Err(failed) => {
            warn!(%failed, "the rules are not checked for proxies of other replicas");
            (None, EVERY)
        }
    }
}

#[derive(Debug)]
struct EndOnDrop(Arc<AtomicBool>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// When a run rests: as long as it worked.
#[derive(Debug)]
struct Breath {
    since: std::time::Instant,
    worked: Duration,
}

impl Breath {
    fn new(now: std::time::Instant) -> Self {
        Self {
            since: now,
            worked: Duration::ZERO,
        }
    }

    /// How long to rest now, if it is time.
    fn rest(&mut self, now: std::time::Instant) -> Option<Duration> {
        let stretch = now.saturating_duration_since(self.since);
        if stretch < STRETCH {
            return None;
        }
        self.worked += stretch;
        self.since = now;
        Some(stretch.min(LONGEST_REST))
    }

    /// The rest is over.
    fn rested(&mut self, now: std::time::Instant) {
        self.since = now;
    }

    /// How long it worked until now, rests left out.
    fn worked(&self, now: std::time::Instant) -> Duration {
        self.worked + now.saturating_duration_since(self.since)
    }
}

/// What is wrong for the proxies that the pods of a mesh may have.
fn look_now(
    snapshot: &Arc<MeshSnapshot>,
    domain: &str,
    goes_on: impl FnMut() -> bool,
) -> Option<Found> {
    // On the host's network there is no sidecar, and what has finished has none any more.
    let pods = snapshot
        .pods()
        .filter(|pod| !pod.finished && !pod.host_network);
    let mut pods: Vec<&Arc<Pod>> = pods.collect();
    pods.sort_unstable_by_key(|pod| (&pod.namespace, &pod.name));
    let nodes = pods
        .into_iter()
        .filter_map(|pod| node(snapshot, pod, domain));
    imagined::find(snapshot, nodes, Keep::Bytes(ROOM), goes_on)
}

/// The proxy of a pod. That a proxy has no certificate is a problem of its own: it is told where it is known, which is
/// where a sidecar is asked for and the pod is not labelled as the pods are that have a certificate.
fn node(snapshot: &MeshSnapshot, pod: &Pod, domain: &str) -> Option<ProxyNode> {
    let of_namespace = snapshot.namespace(&pod.namespace);
    let injected = asks_for_sidecar(&pod.labels, of_namespace.map(|info| &info.labels));
    if injected && pod.tls_mode != TlsMode::Istio {
        imagined::of_pod(pod, domain)
    } else {
        imagined::of_certified_pod(pod, domain)
    }
}

/// Whether labels ask for a sidecar, as far as labels can say.
fn asks_for_sidecar(pod: &Labels, namespace: Option<&Labels>) -> bool {
    let says =
        |labels: &Labels, key: &str, value: &str| labels.get(key).is_some_and(|v| **v == *value);
    if pod.contains_key("sidecar.istio.io/inject") {
        return says(pod, "sidecar.istio.io/inject", "true");
    }
    let revision = |labels: &Labels| labels.contains_key("istio.io/rev");
    revision(pod)
        || namespace
            .is_some_and(|labels| revision(labels) || says(labels, "istio-injection", "enabled"))
}
