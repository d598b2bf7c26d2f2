//! Merging of bursts: a change waits for quiet, but never longer than a ceiling. The first small one after a long quiet
//! does not wait.

use std::time::Duration;

/// Default quiet period (`--debounce-after`).
///
/// istiod waits 100 ms because each of its pushes costs the whole mesh. Here a push costs what changed, so the wait
/// only has to join what one action produces in several events: a rename after a write, the objects of one
/// `kubectl apply`, the slices of one scaling step. Those arrive within a few milliseconds of each other.
pub const DEFAULT_DEBOUNCE_AFTER: Duration = Duration::from_millis(10);

/// Default ceiling (`--debounce-max`).
///
/// istiod's is 10 s. Steady churn here is merged per stream anyway (the latest view wins), so the ceiling only bounds
/// how stale a proxy may get; 100 ms keeps an edit's p99 well below 300 ms while at most ten pushes a second are built.
pub const DEFAULT_DEBOUNCE_MAX: Duration = Duration::from_millis(100);

/// Decides when a burst of events is to be acted on.
///
/// Times are durations since any fixed start the caller chooses.
#[derive(Debug, Clone)]
pub struct Debouncer {
    after: Duration,
    max: Duration,
    burst: Option<Burst>,
    /// When the last burst ended.
    ended: Option<Duration>,
}

/// Events that wait.
#[derive(Debug, Clone, Copy)]
struct Burst {
    first: Duration,
    last: Duration,
    events: u64,
    /// It is one small event after a long quiet, and due at once.
    prompt: bool,
}

impl Debouncer {
    /// Waits for `after` without events, but at most `max` from the first event. A ceiling below the quiet period
    /// wins.
    #[must_use]
    pub const fn new(after: Duration, max: Duration) -> Self {
        Self {
            after,
            max,
            burst: None,
            ended: None,
        }
    }

    /// Notes an event at `now`.
    pub fn event(&mut self, now: Duration) {
        match &mut self.burst {
            Some(burst) => {
                burst.last = burst.last.max(now);
                burst.events += 1;
                burst.prompt = false;
            }
            None => {
                self.burst = Some(Burst {
                    first: now,
                    last: now,
                    events: 1,
                    prompt: false,
                })
            }
        }
    }

    /// Notes a small event at `now`, one that most often comes alone: it is due at once if nothing waits and no burst
    /// ended within the ceiling. What follows it waits as ever, so that there is at most one push more per ceiling.
    pub fn small_event(&mut self, now: Duration) {
        let quiet = self
            .ended
            .is_none_or(|ended| now.saturating_sub(ended) >= self.max);
        let prompt = quiet && self.burst.is_none();
        self.event(now);
        if let Some(burst) = &mut self.burst {
            burst.prompt = prompt;
        }
    }

    /// When to act; `None` while nothing waits.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.burst.map(|burst| {
            if burst.prompt {
                return burst.first;
            }
            burst
                .last
                .saturating_add(self.after)
                .min(burst.first.saturating_add(self.max))
        })
    }

    /// Whether it is time to act.
    #[must_use]
    pub fn is_due(&self, now: Duration) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// Ends the burst if it is due; returns how many events it merged and when the first came.
    pub fn take_due(&mut self, now: Duration) -> Option<(u64, Duration)> {
        if !self.is_due(now) {
            return None;
        }
        self.ended = Some(now);
        self.burst.take().map(|burst| (burst.events, burst.first))
    }

    /// Forgets what waits, for a caller that acts before the deadline.
    pub const fn reset(&mut self) {
        self.burst = None;
    }

    /// Whether no event waits.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.burst.is_none()
    }
}

impl Default for Debouncer {
    fn default() -> Self {
        Self::new(DEFAULT_DEBOUNCE_AFTER, DEFAULT_DEBOUNCE_MAX)
    }
}

#[cfg(test)]
mod tests;
