//! Counts of what the webhooks answer, under istiod's names.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use reef_inject::review::{Answer, Outcome, Resource};

use super::Hook;
use crate::serve::metrics::Plain;

/// Buckets of the time an injection takes, in seconds; istiod has the same upper ones.
const INJECTION_SECONDS: [f64; 10] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Resources told apart: a review says its own, and whoever reaches the port may send one.
const MAX_RESOURCES: usize = 60;

/// The counters; clones count together.
#[derive(Debug, Clone)]
pub struct WebhookMetrics {
    requests: Counter,
    injected: Counter,
    failed: Counter,
    skipped: Counter,
    took: Histogram,
    valid: Counter,
    invalid: Counter,
    passed: Family<PassedLabel, Plain>,
    refused: Family<RefusedLabel, Plain>,
    errors: Family<StatusLabel, Plain>,
    resources: Arc<AtomicUsize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassedLabel {
    group: String,
    version: String,
    resource: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabel {
    group: String,
    version: String,
    resource: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: u16,
}

impl Default for WebhookMetrics {
    fn default() -> Self {
        Self {
            requests: Counter::default(),
            injected: Counter::default(),
            failed: Counter::default(),
            skipped: Counter::default(),
            took: Histogram::new(INJECTION_SECONDS),
            valid: Counter::default(),
            invalid: Counter::default(),
            passed: Family::default(),
            refused: Family::default(),
            errors: Family::default(),
            resources: Arc::default(),
        }
    }
}

impl WebhookMetrics {
    /// Registers the counters without a prefix.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "sidecar_injection_time_seconds",
            "Seconds it took to decide about a pod",
            self.took.clone(),
        );
        registry.register(
            "galley_validation_passed",
            "Objects found valid, by resource; of the first 60",
            self.passed.clone(),
        );
        registry.register(
            "galley_validation_failed",
            "Objects refused, by resource; of the first 60",
            self.refused.clone(),
        );
        registry.register(
            "galley_validation_http_error",
            "Requests to validate that were no review, by the status they were answered with",
            self.errors.clone(),
        );
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter(
            "sidecar_injection_requests",
            "Reviews of pods asked for",
            &self.requests,
        );
        counter(
            "sidecar_injection_success",
            "Pods given a sidecar",
            &self.injected,
        );
        counter(
            "sidecar_injection_failure",
            "Pods refused, and requests that were no review",
            &self.failed,
        );
        counter("sidecar_injection_skip", "Pods left alone", &self.skipped);
        counter("reef_validation_passed", "Objects found valid", &self.valid);
        counter(
            "reef_validation_failed",
            "Objects refused, and requests that were no review",
            &self.invalid,
        );
    }

    pub(super) fn asked(&self, hook: Hook) {
        if hook == Hook::Inject {
            self.requests.inc();
        }
    }

    pub(super) fn answered(&self, hook: Hook, answer: &Answer, took: Duration) {
        match hook {
            Hook::Inject => {
                self.took.observe(took.as_secs_f64());
                count(match answer.outcome {
                    Outcome::Patched => &self.injected,
                    Outcome::Passed => &self.skipped,
                    Outcome::Denied => &self.failed,
                });
            }
            Hook::Validate => self.validated(answer),
        }
    }

    pub(super) fn refused(&self, hook: Hook, status: u16) {
        match hook {
            Hook::Inject => count(&self.failed),
            Hook::Validate => {
                count(&self.invalid);
                self.errors.get_or_create(&StatusLabel { status }).add(1);
            }
        }
    }

    fn validated(&self, answer: &Answer) {
        let Resource {
            group,
            version,
            resource,
        } = answer.about.clone();
        if answer.outcome == Outcome::Denied {
            count(&self.invalid);
            let label = RefusedLabel {
                group,
                version,
                resource,
                reason: "invalid_resource",
            };
            if self.refused.get(&label).is_some() || self.another() {
                self.refused.get_or_create(&label).add(1);
            }
            return;
        }
        count(&self.valid);
        let label = PassedLabel {
            group,
            version,
            resource,
        };
        if self.passed.get(&label).is_some() || self.another() {
            self.passed.get_or_create(&label).add(1);
        }
    }

    /// True if there may be one more series.
    fn another(&self) -> bool {
        self.resources.fetch_add(1, Ordering::Relaxed) < MAX_RESOURCES
    }
}

fn count(counter: &Counter) {
    counter.inc();
}
