//! How each kind is followed right now: what readiness, metrics and pages say.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use reef_config::Kind;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::resource;

/// How one kind is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KindState {
    /// The API server does not serve the kind; it is looked for again.
    NotInstalled,
    /// The first list is not complete.
    Listing,
    /// Changes come as they happen.
    Live,
    /// Changes do not come; what was told stays.
    Stale {
        /// When the server was last heard of.
        since: Instant,
        /// Why.
        reason: Arc<str>,
    },
    /// The server refuses; what was told stays.
    Forbidden {
        /// When the server last allowed it, or was first asked.
        since: Instant,
        /// What was refused, such as `watch`.
        verb: &'static str,
        /// Of what, as in an RBAC rule: `sidecars.networking.istio.io`.
        resource: Arc<str>,
    },
}

impl KindState {
    /// One word for pages.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotInstalled => "not installed",
            Self::Listing => "listing",
            Self::Live => "live",
            Self::Stale { .. } => "stale",
            Self::Forbidden { .. } => "forbidden",
        }
    }

    /// Since when what was told may be old.
    #[must_use]
    pub fn stale_since(&self) -> Option<Instant> {
        match self {
            Self::Stale { since, .. } | Self::Forbidden { since, .. } => Some(*since),
            _ => None,
        }
    }
}

impl fmt::Display for KindState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale { reason, .. } => write!(f, "stale: {reason}"),
            Self::Forbidden { verb, resource, .. } => {
                write!(f, "forbidden: no permission to {verb} {resource}")
            }
            _ => f.write_str(self.word()),
        }
    }
}

/// One kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindStatus {
    /// How it is followed.
    pub state: KindState,
    /// Whether a list was complete once, or the kind is not installed.
    pub complete: bool,
    /// Objects the server has of it.
    pub objects: usize,
}

/// Every kind that is followed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KindStates {
    /// By kind.
    pub kinds: BTreeMap<Kind, KindStatus>,
}

impl KindStates {
    /// Whether everything installed was listed once.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.kinds.values().all(|kind| kind.complete)
    }

    /// What the first list still waits for, in one line; `None` if for nothing.
    #[must_use]
    pub fn waiting(&self) -> Option<String> {
        let waiting: Vec<String> = self
            .kinds
            .iter()
            .filter(|(_, status)| !status.complete)
            .map(|(kind, status)| format!("{kind} ({})", status.state))
            .collect();
        (!waiting.is_empty()).then(|| format!("waiting for {}", waiting.join(", ")))
    }
}

/// Writes the states; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct States(Arc<watch::Sender<Arc<KindStates>>>);

impl States {
    /// States in which all of `kinds` are being listed.
    pub(crate) fn new(kinds: impl IntoIterator<Item = Kind>) -> Self {
        let status = KindStatus {
            state: KindState::Listing,
            complete: false,
            objects: 0,
        };
        let kinds = kinds.into_iter().map(|kind| (kind, status.clone()));
        let states = KindStates {
            kinds: kinds.collect(),
        };
        Self(Arc::new(watch::Sender::new(Arc::new(states))))
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<KindStates>> {
        self.0.subscribe()
    }

    /// Changes come.
    pub(crate) fn live(&self, kind: Kind, objects: usize) {
        self.set(kind, KindState::Live, Some(objects));
    }

    /// The server does not have the kind.
    pub(crate) fn not_installed(&self, kind: Kind) {
        self.set(kind, KindState::NotInstalled, Some(0));
    }

    /// A list or watch failed.
    pub(crate) fn stale(&self, kind: Kind, since: Instant, reason: &str) {
        let reason = reason.into();
        self.set(kind, KindState::Stale { since, reason }, None);
    }

    /// A list or watch is not allowed.
    pub(crate) fn forbidden(&self, kind: Kind, since: Instant, verb: &'static str) {
        let resource = resource::qualified(kind).into();
        let state = KindState::Forbidden {
            since,
            verb,
            resource,
        };
        self.set(kind, state, None);
    }

    /// How many objects there are now.
    pub(crate) fn count(&self, kind: Kind, objects: usize) {
        self.0.send_if_modified(|states| {
            if states
                .kinds
                .get(&kind)
                .is_none_or(|status| status.objects == objects)
            {
                return false;
            }
            if let Some(status) = Arc::make_mut(states).kinds.get_mut(&kind) {
                status.objects = objects;
            }
            true
        });
    }

    fn set(&self, kind: Kind, state: KindState, objects: Option<usize>) {
        self.0.send_if_modified(|states| {
            let Some(before) = states.kinds.get(&kind) else {
                return false;
            };
            let objects = objects.unwrap_or(before.objects);
            let complete =
                before.complete || matches!(state, KindState::Live | KindState::NotInstalled);
            if before.state == state && before.objects == objects && before.complete == complete {
                return false;
            }
            if before.state.word() != state.word() {
                tell(kind, &before.state, &state);
            }
            Arc::make_mut(states).kinds.insert(
                kind,
                KindStatus {
                    state,
                    complete,
                    objects,
                },
            );
            true
        });
    }
}

/// Says once that a kind fares differently now.
fn tell(kind: Kind, before: &KindState, now: &KindState) {
    match now {
        KindState::Stale { reason, .. } => {
            warn!(%kind, %reason, "cannot be followed, what was read stays in force");
        }
        KindState::Forbidden { verb, resource, .. } => {
            warn!(%kind, verb, %resource, "no permission, what was read stays in force");
        }
        KindState::Live if before.stale_since().is_some() => {
            let since = before.stale_since().unwrap_or_else(Instant::now);
            info!(%kind, after = ?since.elapsed(), "followed again");
        }
        KindState::NotInstalled => info!(%kind, "not installed"),
        KindState::Live | KindState::Listing => {}
    }
}

#[cfg(test)]
mod tests;
