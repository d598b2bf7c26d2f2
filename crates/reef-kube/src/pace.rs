//! How fast a kind may ask: at once while all is well, further and further apart while it is not.

use std::hash::{BuildHasher, Hasher as _, RandomState};
use std::time::Duration;

use tokio::time::{self, Instant};

/// Least time between two requests of a kind of which the first failed: two a second.
const LEAST: Duration = Duration::from_millis(500);

/// The longest wait. A server that is back is noticed within it, so it bounds how late the first change after an
/// outage is; 20 kinds of one replica then ask some 9 times a second together.
const LONGEST: Duration = Duration::from_secs(3);

/// The longest wait a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(30);

/// The waits of one kind.
#[derive(Debug)]
pub(crate) struct Pace {
    failures: u32,
    /// Not before this.
    at: Option<Instant>,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self {
            failures: 0,
            at: None,
        }
    }

    /// Waits until a request may be made.
    pub(crate) async fn wait(&mut self) {
        if let Some(at) = self.at.take() {
            time::sleep_until(at).await;
        }
    }

    /// Waits between two requests of one attempt, if earlier ones failed.
    pub(crate) async fn between(&self) {
        if self.failures > 0 {
            time::sleep(LEAST).await;
        }
    }

    /// What was asked for failed; the server may say when to come again.
    pub(crate) fn failed(&mut self, retry_after: Option<Duration>) {
        let wait = wait(self.failures, random());
        self.failures = self.failures.saturating_add(1);
        let asked = retry_after.unwrap_or_default().min(LONGEST_ASKED);
        self.at = Some(Instant::now() + wait.max(asked));
    }

    /// A stream ended as it should; one that ends at once is not followed by another at once.
    pub(crate) fn ended(&mut self, began: Instant) {
        self.at = Some(began + LEAST);
    }

    /// All is well.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// The wait after some failures in a row; `random` is between 0 and 1.
fn wait(failures: u32, random: f64) -> Duration {
    let most = (LEAST * 2)
        .saturating_mul(1 << failures.min(8))
        .min(LONGEST);
    LEAST.max(most / 2) + (most - LEAST.max(most / 2)).mul_f64(random)
}

/// A number between 0 and 1 that differs between kinds and replicas.
fn random() -> f64 {
    // Every `RandomState` has keys of its own.
    let bits = RandomState::new().build_hasher().finish() >> 40;
    f64::from(u32::try_from(bits).unwrap_or_default()) / f64::from(1u32 << 24)
}

/// A time spread over the last sixth of `time`, so that not all kinds come at once.
pub(crate) fn spread(time: Duration) -> Duration {
    time - (time / 6).mul_f64(random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_never_allow_three_requests_a_second() {
        for failures in [0, 1, 2, 5, 100, u32::MAX] {
            for random in [0.0, 0.5, 1.0] {
                let wait = wait(failures, random);
                assert!(wait >= LEAST && wait <= LONGEST, "{failures} {wait:?}");
            }
        }
        assert!(wait(0, 1.0) <= Duration::from_secs(1));
        assert!(wait(9, 0.0) >= LONGEST / 2);
        assert_ne!(wait(9, 0.0), wait(9, 1.0));
    }

    #[test]
    fn random_numbers_differ() {
        let numbers: Vec<f64> = (0..8).map(|_| random()).collect();
        assert!(numbers.iter().all(|n| (0.0..1.0).contains(n)));
        assert!(numbers.iter().any(|n| *n != numbers[0]));
    }
}
