//! Following one kind: list, watch, list again when the server has forgotten where we were.
//!
//! ```text
//!            ┌────────────── 410, or history went back ──────────────┐
//!            ▼                                                       │
//!   list (streamed, else in pages) ──► watch from its version ──► end, or failure
//!                                              ▲                     │
//!                                              └── after a while ────┘
//! ```
//!
//! A list tells only what differs from what was told; until it is complete nothing is told to be gone. A failure
//! changes nothing but the state of the kind.

mod list;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reef_config::{Change, Kind};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::api::ApiError;
use crate::discovery::ServedReceiver;
use crate::known::Known;
use crate::metrics::{KubeMetrics, Relist};
use crate::pace::Pace;
use crate::resource::Resource;
use crate::states::States;
use crate::{Cluster, Times};

/// Changes handed over at once; a frame of the network holds some tens.
const BATCH: usize = 512;

/// A streamed list that failed so often in a row is asked for in pages.
const STREAM_FAILURES: u32 = 2;

/// What a follower tells.
#[derive(Debug)]
pub(crate) enum Told {
    /// These differ.
    Changes(Vec<Change>),
    /// What was told may lack deletions until the list that begins now is complete.
    Relisting(Kind),
    /// A list is complete; these are gone.
    Listed(Kind, Vec<Change>),
}

/// How a list or a watch ended.
#[derive(Debug)]
pub(super) enum End {
    /// As it should; the next one goes on.
    Good,
    /// The server does not know the version any more.
    Gone,
    /// The server does not know the kind.
    NotServed,
    /// Anything else, with the verb that was refused if it was not allowed.
    Failed(ApiError, &'static str),
    /// Nobody listens.
    Closed,
}

/// What all followers share.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    pub(crate) cluster: Cluster,
    pub(crate) times: Times,
    pub(crate) states: States,
    pub(crate) metrics: KubeMetrics,
    /// Whether the server tells a list as a stream; found out by the first that asks.
    pub(crate) streams: Arc<AtomicBool>,
    pub(crate) served: ServedReceiver,
    pub(crate) doubt: Arc<Notify>,
    pub(crate) out: mpsc::Sender<Told>,
}

/// Follows one kind.
#[derive(Debug)]
pub(crate) struct Follower {
    common: Common,
    resource: Resource,
    known: Known,
    changes: Vec<Change>,
    pace: Pace,
    /// The version the next watch begins at; without one there is a list first.
    version: Option<u64>,
    /// A list was complete once.
    listed: bool,
    /// The last attempt failed: the server may be another one now.
    doubtful: bool,
    /// Streamed lists that failed in a row.
    stream_failures: u32,
    /// Lines in a row that were no events.
    unreadable: u32,
    /// When the server was last heard.
    heard: Instant,
}

impl Follower {
    pub(crate) fn new(common: Common, resource: Resource, known: Known) -> Self {
        Self {
            common,
            resource,
            known,
            changes: Vec::new(),
            pace: Pace::new(),
            version: None,
            listed: false,
            doubtful: false,
            stream_failures: 0,
            unreadable: 0,
            heard: Instant::now(),
        }
    }

    fn kind(&self) -> Kind {
        self.resource.kind
    }

    /// Follows until nobody listens.
    pub(crate) async fn run(mut self) {
        loop {
            let Some(version) = self.served().await else {
                return;
            };
            self.pace.wait().await;
            let end = self.attempt(version).await;
            if self.flush().await.is_err() {
                return;
            }
            match end {
                End::Good => {}
                End::Closed => return,
                End::Gone => {
                    debug!(kind = %self.kind(), "the server forgot our version, listing again");
                    self.relist(Relist::Gone);
                    self.pace.failed(None);
                }
                End::NotServed => {
                    self.common.doubt.notify_one();
                    self.stale("the API server does not serve it");
                    self.pace.failed(None);
                }
                End::Failed(error, verb) => self.failed(&error, verb),
            }
        }
    }

    /// The version the kind is served in; waits while it is not. `None` when nobody listens.
    async fn served(&mut self) -> Option<&'static str> {
        let kind = self.kind();
        if !kind.is_istio() {
            return Some("v1");
        }
        loop {
            let served = self.common.served.borrow_and_update().clone();
            if let Some(served) = served {
                if let Some(version) = served.get(&kind) {
                    return Some(version);
                }
                let gone = self.known.clear();
                self.version = None;
                self.listed = false;
                self.common.states.not_installed(kind);
                let told = Told::Listed(kind, gone);
                self.common.out.send(told).await.ok()?;
            }
            tokio::select! {
                changed = self.common.served.changed() => changed.ok()?,
                () = self.common.out.closed() => return None,
            }
        }
    }

    async fn attempt(&mut self, api: &'static str) -> End {
        if self.version.is_some() && std::mem::take(&mut self.doubtful) {
            match self.went_back(api).await {
                Ok(false) => {}
                Ok(true) => {
                    warn!(kind = %self.kind(), "the server's history went back, listing again");
                    self.known.distrust();
                    self.relist(Relist::Rewound);
                }
                Err(error) => {
                    self.doubtful = true;
                    return End::Failed(error, "list");
                }
            }
            self.pace.between().await;
        }
        if self.version.is_some() {
            return self.stream(api).await;
        }
        if self.listed && self.send(Told::Relisting(self.kind())).await.is_err() {
            return End::Closed;
        }
        let in_pages =
            self.stream_failures >= STREAM_FAILURES || !self.common.streams.load(Ordering::Acquire);
        if in_pages {
            self.pages(api).await
        } else {
            self.stream(api).await
        }
    }

    /// The next attempt begins with a list.
    fn relist(&mut self, why: Relist) {
        if self.version.take().is_some() {
            self.common.metrics.relisted(self.kind(), why);
        }
    }

    fn failed(&mut self, error: &ApiError, verb: &'static str) {
        let kind = self.kind();
        self.doubtful = true;
        self.common.metrics.failed(kind, error);
        match error {
            ApiError::Refused { code: 403, .. } => {
                self.common.states.forbidden(kind, self.heard, verb);
            }
            _ => self.stale(&error.to_string()),
        }
        let retry_after = match error {
            ApiError::Refused { retry_after, .. } => *retry_after,
            _ => None,
        };
        debug!(%kind, %error, "will try again");
        self.pace.failed(retry_after);
    }

    fn stale(&self, reason: &str) {
        self.common.states.stale(self.kind(), self.heard, reason);
    }

    /// Something came.
    fn heard(&mut self) {
        self.heard = Instant::now();
    }

    /// The kind is followed.
    fn live(&mut self) {
        self.common.states.live(self.kind(), self.known.len());
    }

    /// A list is complete.
    async fn complete(&mut self, version: u64) -> Result<(), End> {
        let gone = self.known.complete(version);
        self.version = Some(version);
        self.stream_failures = 0;
        self.flush().await?;
        let (kind, objects) = (self.kind(), self.known.len());
        if !self.listed {
            debug!(%kind, objects, "listed");
        } else {
            info!(%kind, objects, gone = gone.len(), "listed again");
        }
        self.listed = true;
        self.live();
        self.send(Told::Listed(kind, gone)).await
    }

    async fn flush(&mut self) -> Result<(), End> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let changes = std::mem::take(&mut self.changes);
        self.common.states.count(self.kind(), self.known.len());
        self.send(Told::Changes(changes)).await
    }

    async fn send(&self, told: Told) -> Result<(), End> {
        self.common
            .out
            .send(told)
            .await
            .map_err(|_gone| End::Closed)
    }
}

/// Takes a result apart where only the bad case says how something ended.
macro_rules! or_end {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(end) => return end,
        }
    };
}
use or_end;

/// How long the head of a list may take; a server makes the whole list first.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the head of a watch may take, or a list of one object; little has to be made for it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
