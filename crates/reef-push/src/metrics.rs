//! Metrics of this room. The binary sets the `reef_` prefix.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::plan::{PushPlan, Sizes};

/// Counts of pushes and what they took.
#[derive(Debug, Clone)]
pub struct PushMetrics {
    pushes: Counter,
    build_seconds: Histogram,
    scopes_resolved: Counter,
    classes_changed: Counter,
    proxies_moved: Counter,
    resources_built: Counter,
    resources_shared: Counter,
    encoded_bytes: Counter,
    classes: Gauge,
    scopes: Gauge,
    resources: Gauge,
    resource_bytes: Gauge,
}

impl Default for PushMetrics {
    fn default() -> Self {
        Self {
            pushes: Counter::default(),
            // 50 µs to about 1.6 s.
            build_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            scopes_resolved: Counter::default(),
            classes_changed: Counter::default(),
            proxies_moved: Counter::default(),
            resources_built: Counter::default(),
            resources_shared: Counter::default(),
            encoded_bytes: Counter::default(),
            classes: Gauge::default(),
            scopes: Gauge::default(),
            resources: Gauge::default(),
            resource_bytes: Gauge::default(),
        }
    }
}

impl PushMetrics {
    /// Registers everything.
    pub fn register(&self, registry: &mut Registry) {
        let counters = [
            (
                "push_plans",
                "Changes turned into plans (unstable)",
                &self.pushes,
            ),
            (
                "push_scopes_resolved",
                "Scopes resolved again (unstable)",
                &self.scopes_resolved,
            ),
            (
                "push_classes_changed",
                "Classes with a new view (unstable)",
                &self.classes_changed,
            ),
            (
                "push_proxies_moved",
                "Proxies moved to another class (unstable)",
                &self.proxies_moved,
            ),
            (
                "push_resources_built",
                "Resources made and encoded (unstable)",
                &self.resources_built,
            ),
            (
                "push_resources_shared",
                "Resources found ready made (unstable)",
                &self.resources_shared,
            ),
            (
                "push_encoded_bytes",
                "Bytes encoded (unstable)",
                &self.encoded_bytes,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "push_build_seconds",
            "Time from a snapshot to the plan (unstable)",
            self.build_seconds.clone(),
        );
        let gauges = [
            (
                "push_classes",
                "Classes of equal proxies (unstable)",
                &self.classes,
            ),
            ("push_scopes", "Scopes in use (unstable)", &self.scopes),
            (
                "push_resources",
                "Resources of all classes (unstable)",
                &self.resources,
            ),
            (
                "push_resource_bytes",
                "Bytes of these resources as they are sent (unstable)",
                &self.resource_bytes,
            ),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
    }

    /// Counts a push that took `elapsed`.
    pub fn pushed(&self, plan: &PushPlan, elapsed: Duration) {
        self.pushes.inc();
        self.build_seconds.observe(elapsed.as_secs_f64());
        self.scopes_resolved
            .inc_by(count(plan.stats.scopes_resolved));
        self.classes_changed.inc_by(count(plan.classes.len()));
        self.proxies_moved.inc_by(count(plan.moved.len()));
        self.resources_built.inc_by(count(plan.stats.build.built));
        self.resources_shared.inc_by(count(plan.stats.build.shared));
        self.encoded_bytes.inc_by(count(plan.stats.build.bytes));
    }

    /// Sets the sizes; call it when the page is read.
    pub fn set_sizes(&self, sizes: &Sizes) {
        let pairs = [
            (&self.classes, sizes.classes),
            (&self.scopes, sizes.scopes),
            (&self.resources, sizes.resources),
            (&self.resource_bytes, sizes.resource_bytes),
        ];
        for (gauge, size) in pairs {
            gauge.set(i64::try_from(size).unwrap_or(i64::MAX));
        }
    }
}

/// A size as a count.
fn count(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}
