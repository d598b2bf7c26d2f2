//! What status writing does, under the names that leader election and status updaters of others have.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use reef_config::Kind;

/// Seconds a write may take, as the bounds of buckets.
const SECONDS: [f64; 8] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 4.0];

/// Seconds a check may take.
const CHECK_SECONDS: [f64; 8] = [0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LeaseLabel {
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpdateLabels {
    kind: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    r#type: &'static str,
    status: &'static str,
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is written.
    Success,
    /// Somebody else wrote the object meanwhile.
    Conflict,
    /// Anything else.
    Failure,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Conflict => "conflict",
            Self::Failure => "failure",
        }
    }
}

/// Counts; cheap to clone, all clones count together.
#[derive(Debug, Clone)]
pub struct StatusMetrics {
    leading: Family<LeaseLabel, Gauge>,
    lease: LeaseLabel,
    updates: Family<UpdateLabels, Counter>,
    seconds: Histogram,
    pending: Gauge,
    events: Family<EventLabels, Counter>,
    checks: Counter,
    check_seconds: Histogram,
}

impl StatusMetrics {
    /// Counts for the leader of this Lease.
    #[must_use]
    pub fn new(lease: &str) -> Self {
        let metrics = Self {
            leading: Family::default(),
            lease: LeaseLabel {
                name: lease.to_owned(),
            },
            updates: Family::default(),
            seconds: Histogram::new(SECONDS),
            pending: Gauge::default(),
            events: Family::default(),
            checks: Counter::default(),
            check_seconds: Histogram::new(CHECK_SECONDS),
        };
        metrics.leads(false);
        metrics
    }

    /// Registers everything, without a prefix.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "leader_election_master_status",
            "Whether this replica leads: 1 if it does",
            self.leading.clone(),
        );
        registry.register(
            "reef_status_update",
            "Writes to the status of objects, by how they ended (unstable)",
            self.updates.clone(),
        );
        registry.register(
            "reef_status_update_duration_seconds",
            "Time of writes to the status of objects (unstable)",
            self.seconds.clone(),
        );
        registry.register(
            "reef_status_pending",
            "Objects of which the status is to be written (unstable)",
            self.pending.clone(),
        );
        registry.register(
            "reef_events",
            "Events created or counted on, by how that ended (unstable)",
            self.events.clone(),
        );
        registry.register(
            "reef_status_check_runs",
            "Checks of imagined proxies that the leader made (unstable)",
            self.checks.clone(),
        );
        registry.register(
            "reef_status_check_seconds",
            "Time of work of these checks (unstable)",
            self.check_seconds.clone(),
        );
    }

    /// How many checks there were.
    #[must_use]
    pub fn checks(&self) -> u64 {
        self.checks.get()
    }

    /// Counts a check that took this long, rests left out.
    pub fn checked(&self, worked: Duration) {
        self.checks.inc();
        self.check_seconds.observe(worked.as_secs_f64());
    }

    pub(super) fn leads(&self, leads: bool) {
        self.leading
            .get_or_create_owned(&self.lease)
            .set(i64::from(leads));
    }

    pub(super) fn pending(&self, count: usize) {
        self.pending.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn updated(&self, kind: Kind, outcome: Outcome, took: Duration) {
        let labels = UpdateLabels {
            kind: kind.as_str(),
            status: outcome.as_str(),
        };
        self.updates.get_or_create_owned(&labels).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn told(&self, r#type: &'static str, outcome: Outcome) {
        let labels = EventLabels {
            r#type,
            status: outcome.as_str(),
        };
        self.events.get_or_create_owned(&labels).inc();
    }
}
