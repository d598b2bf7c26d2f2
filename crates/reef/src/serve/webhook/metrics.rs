//! Counts of what the webhooks answer, under istiod's names.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use reef_inject::review::Outcome;

use super::Hook;

/// The counters; clones count together.
#[derive(Debug, Clone, Default)]
pub struct WebhookMetrics {
    requests: Counter,
    injected: Counter,
    failed: Counter,
    skipped: Counter,
    valid: Counter,
    invalid: Counter,
}

impl WebhookMetrics {
    /// Registers the counters without a prefix.
    pub fn register(&self, registry: &mut Registry) {
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

    pub(super) fn answered(&self, hook: Hook, outcome: Outcome) {
        match (hook, outcome) {
            (Hook::Inject, Outcome::Patched) => count(&self.injected),
            (Hook::Inject, Outcome::Passed) => count(&self.skipped),
            (Hook::Validate, Outcome::Patched | Outcome::Passed) => count(&self.valid),
            (_, Outcome::Denied) => self.refused(hook),
        }
    }

    pub(super) fn refused(&self, hook: Hook) {
        match hook {
            Hook::Inject => count(&self.failed),
            Hook::Validate => count(&self.invalid),
        }
    }
}

fn count(counter: &Counter) {
    counter.inc();
}
