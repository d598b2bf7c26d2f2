//! Which of Istio's kinds the API server serves, and in which version.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reef_config::Kind;
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::{self, Instant};
use tracing::{debug, error, info};

use crate::api::ApiError;
use crate::encoding::Encoding;
use crate::guard::{guarded, rest};
use crate::metrics::KubeMetrics;
use crate::pace::Pace;
use crate::resource;
use crate::{Cluster, Times};

/// How long everything that is there is believed to be so, if nobody doubts it.
const BELIEVED: Duration = Duration::from_secs(600);

/// Largest answer; of a server with hundreds of groups.
const ANSWER_BYTES: usize = 4 << 20;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The version each kind is served in; a kind that is not there is not installed.
pub(crate) type Served = BTreeMap<Kind, &'static str>;

/// What everyone knows of it; `None` until the first look.
pub(crate) type ServedReceiver = watch::Receiver<Option<Arc<Served>>>;

/// Looks which kinds are served.
#[derive(Debug)]
pub(crate) struct Discovery {
    cluster: Cluster,
    kinds: Vec<Kind>,
    told: watch::Sender<Option<Arc<Served>>>,
    doubt: Arc<Notify>,
    times: Times,
    metrics: KubeMetrics,
    /// Since when a kind that was there is missing. A server that has just started may not serve all it has, so one
    /// look says nothing.
    missed: BTreeMap<Kind, Instant>,
}

impl Discovery {
    pub(crate) fn new(
        cluster: Cluster,
        kinds: impl IntoIterator<Item = Kind>,
        times: Times,
        metrics: KubeMetrics,
    ) -> Self {
        Self {
            cluster,
            kinds: kinds.into_iter().filter(|kind| kind.is_istio()).collect(),
            told: watch::Sender::new(None),
            doubt: Arc::new(Notify::new()),
            times,
            metrics,
            missed: BTreeMap::new(),
        }
    }

    pub(crate) fn subscribe(&self) -> ServedReceiver {
        self.told.subscribe()
    }

    /// Whoever finds that a kind is not where it was said to be notifies this.
    pub(crate) fn doubt(&self) -> Arc<Notify> {
        Arc::clone(&self.doubt)
    }

    /// Looks for ever.
    pub(crate) async fn run(mut self) {
        let mut pace = Pace::new();
        let mut panics = 0;
        loop {
            pace.wait().await;
            match guarded(self.turn(&mut pace)).await {
                Ok(()) => panics = 0,
                Err(panic) => {
                    self.metrics.panicked("discovery");
                    error!(panic, "looking for kinds panicked, trying again");
                    panics += 1;
                    pace.failed(Some(rest(panics)));
                }
            }
        }
    }

    /// Looks once, and rests.
    async fn turn(&mut self, pace: &mut Pace) {
        let found = match look(&self.cluster, &self.kinds).await {
            Ok(found) => {
                pace.succeeded();
                found
            }
            Err(error) => {
                debug!(%error, "which kinds are served is not known");
                let after = match &error {
                    ApiError::Refused { retry_after, .. } => *retry_after,
                    _ => None,
                };
                return pace.failed(after);
            }
        };
        let all = self.tell(found);
        let rest = if all { BELIEVED } else { self.times.look_again };
        // A doubt is looked into, but not by a storm of requests.
        let doubted = async {
            self.doubt.notified().await;
            time::sleep(Duration::from_secs(1)).await;
        };
        // Either is a reason to look again.
        let _either = time::timeout(rest, doubted).await;
    }

    /// Tells what was found; true if it is everything and sure.
    fn tell(&mut self, mut found: Served) -> bool {
        let before = self.told.borrow().clone();
        for kind in &self.kinds {
            if found.contains_key(kind) {
                self.missed.remove(kind);
                continue;
            }
            let Some(version) = before.as_ref().and_then(|before| before.get(kind)) else {
                continue;
            };
            let since = self.missed.entry(*kind).or_insert_with(Instant::now);
            if since.elapsed() < self.times.gone {
                found.insert(*kind, version);
            }
        }
        let all = self.missed.is_empty() && self.kinds.iter().all(|kind| found.contains_key(kind));
        if before.as_deref() != Some(&found) {
            info!(
                kinds = found.len(),
                of = self.kinds.len(),
                "kinds of Istio's found"
            );
            self.told.send_replace(Some(Arc::new(found)));
        }
        all
    }
}

/// Asks the server.
async fn look(cluster: &Cluster, kinds: &[Kind]) -> Result<Served, ApiError> {
    #[derive(Deserialize)]
    struct Groups {
        groups: Vec<Group>,
    }
    #[derive(Deserialize)]
    struct Group {
        name: String,
        #[serde(default)]
        versions: Vec<Version>,
    }
    #[derive(Deserialize)]
    struct Version {
        version: String,
    }
    let all: Groups = ask(cluster, "/apis").await?;
    let wanted: BTreeSet<&str> = kinds.iter().map(|kind| kind.group()).collect();
    let mut served = Served::new();
    for group in all.groups {
        let Some(name) = wanted.get(group.name.as_str()) else {
            continue;
        };
        let mut missing: Vec<Kind> = kinds
            .iter()
            .copied()
            .filter(|kind| kind.group() == *name)
            .collect();
        let versions = missing
            .first()
            .map_or(&[][..], |kind| resource::versions(*kind));
        for version in versions {
            let there = group.versions.iter().any(|v| v.version == *version);
            if missing.is_empty() || !there {
                continue;
            }
            let plurals = plurals(cluster, name, version).await?;
            missing.retain(|kind| {
                let found = plurals.contains(resource::plural(*kind));
                if found {
                    served.insert(*kind, version);
                }
                !found
            });
        }
    }
    Ok(served)
}

/// The resources of one version of a group.
async fn plurals(
    cluster: &Cluster,
    group: &str,
    version: &str,
) -> Result<BTreeSet<String>, ApiError> {
    #[derive(Deserialize)]
    struct Resources {
        resources: Vec<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    match ask::<Resources>(cluster, &format!("/apis/{group}/{version}")).await {
        Ok(found) => Ok(found.resources.into_iter().map(|r| r.name).collect()),
        // It went between the two questions.
        Err(error) if error.code() == Some(404) => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

async fn ask<T: for<'de> Deserialize<'de>>(cluster: &Cluster, url: &str) -> Result<T, ApiError> {
    let answer = cluster.get(url, Encoding::Json, ANSWER_BYTES, ANSWER_TIMEOUT);
    let (_json, answer) = answer.await?;
    serde_json::from_slice(&answer).map_err(|error| ApiError::Unreadable(error.to_string()))
}
