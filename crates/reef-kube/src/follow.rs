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
//! changes nothing but the state of the kind, and a panic is a failure. Who finds that history went back tells all
//! others, which list at once.

mod list;
mod stream;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reef_config::selecting::is_selected;
use reef_config::{Change, Kind};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout};
use tracing::{debug, error, info, warn};

use crate::api::ApiError;
use crate::discovery::ServedReceiver;
use crate::encoding::Encoding;
use crate::guard::{guarded, rest};
use crate::known::Known;
use crate::metrics::{KubeMetrics, Relist};
use crate::pace::Pace;
use crate::reading::Reading;
use crate::resource::Resource;
use crate::states::States;
use crate::{Cluster, Times};

/// Changes handed over at once; a frame of the network holds some tens.
const BATCH: usize = 512;

/// If more namespaces than this are read that were not, one list of everything costs less.
const FEW: usize = 10;

/// Namespaces and the mesh configuration are listed first, in milliseconds. If they are not, the other kinds begin: they
/// may find out what is wrong, and at worst hold more than is read for a while.
const READING: Duration = Duration::from_secs(1);

/// A streamed list that failed so often in a row is asked for in pages.
const STREAM_FAILURES: u32 = 2;

/// What a follower tells.
#[derive(Debug)]
pub(crate) enum Told {
    /// These differ.
    Changes(Vec<Change>),
    /// How far what was told of a kind can be believed.
    Contact {
        kind: Kind,
        /// The history this was seen in; see [`Common::histories`].
        history: u64,
        contact: Contact,
    },
}

/// How far what was told of a kind can be believed.
#[derive(Debug)]
pub(crate) enum Contact {
    /// Nothing is heard, or a list is to come: what was told may lack deletions.
    Lost,
    /// The watch goes on where it was lost.
    Watching,
    /// A list is complete; these are gone.
    Listed(Vec<Change>),
    /// The kind is not installed; these went with it.
    Absent(Vec<Change>),
}

/// How a list or a watch ended.
#[derive(Debug)]
pub(super) enum End {
    /// As it should; the next one goes on.
    Good,
    /// The server does not know the version any more.
    Gone,
    /// The server's history went back.
    Rewound,
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
    /// What kinds are asked for in, if they are served in it.
    pub(crate) encoding: Encoding,
    pub(crate) states: States,
    pub(crate) metrics: KubeMetrics,
    /// Whether the server tells a list as a stream; found out by the first that asks.
    pub(crate) streams: Arc<AtomicBool>,
    pub(crate) served: ServedReceiver,
    pub(crate) doubt: Arc<Notify>,
    /// How often the server's history was found to have begun anew; versions of two histories compare with nothing.
    pub(crate) histories: watch::Sender<u64>,
    /// What is read; `None` until it is known.
    pub(crate) reading: watch::Receiver<Option<Reading>>,
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
    /// The history the version is of.
    history: u64,
    /// The history there is.
    histories: watch::Receiver<u64>,
    /// Whether what is read may differ from what was.
    read_more: bool,
    /// A list was complete once.
    listed: bool,
    /// Whether the hub was told that nothing is heard.
    lost: bool,
    /// The last attempt failed: the server may be another one now.
    doubtful: bool,
    /// Streamed lists that failed in a row.
    stream_failures: u32,
    /// Lines or frames in a row that were no events.
    unreadable: u32,
    /// Attempts in a row that panicked.
    panics: u32,
    /// When the server was last heard.
    heard: Instant,
}

impl Follower {
    pub(crate) fn new(common: Common, resource: Resource, known: Known) -> Self {
        let histories = common.histories.subscribe();
        Self {
            common,
            resource,
            known,
            changes: Vec::new(),
            pace: Pace::new(),
            version: None,
            history: 0,
            histories,
            read_more: false,
            listed: false,
            lost: false,
            doubtful: false,
            stream_failures: 0,
            unreadable: 0,
            panics: 0,
            heard: Instant::now(),
        }
    }

    fn kind(&self) -> Kind {
        self.resource.kind
    }

    /// What the kind is asked for in.
    fn encoding(&self) -> Encoding {
        self.common.encoding.of(self.kind())
    }

    /// Follows until nobody listens.
    pub(crate) async fn run(mut self) {
        loop {
            match guarded(self.turn()).await {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return,
                Err(panic) => {
                    self.panicked(&panic);
                    if self.lost().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// One list or watch, and what follows from its end.
    async fn turn(&mut self) -> ControlFlow<()> {
        let Some(version) = self.served().await else {
            return ControlFlow::Break(());
        };
        self.pace.wait().await;
        let end = self.attempt(version).await;
        if self.flush().await.is_err() {
            return ControlFlow::Break(());
        }
        match end {
            End::Closed => return ControlFlow::Break(()),
            // The next turn sees which history there is.
            End::Good | End::Rewound => return ControlFlow::Continue(()),
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
        match self.lost().await {
            Ok(()) => ControlFlow::Continue(()),
            Err(_closed) => ControlFlow::Break(()),
        }
    }

    /// An attempt ended in a bug of ours. What was told stays and everything is told again, since nobody knows what of
    /// it was about to be noted.
    fn panicked(&mut self, panic: &str) {
        let kind = self.kind();
        self.common.metrics.panicked(kind.as_str());
        error!(%kind, panic, "following panicked, what was read stays in force; trying again");
        self.known.distrust();
        self.relist(Relist::Panicked);
        self.panics = self.panics.saturating_add(1);
        self.pace.failed(Some(rest(self.panics)));
        self.stale("following it panicked");
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
                self.lost = false;
                self.contact(Contact::Absent(gone)).await.ok()?;
            }
            tokio::select! {
                changed = self.common.served.changed() => changed.ok()?,
                () = self.common.out.closed() => return None,
            }
        }
    }

    async fn attempt(&mut self, api: &'static str) -> End {
        let history = *self.histories.borrow_and_update();
        if history != self.history {
            self.history = history;
            self.start_over();
        }
        if self.version.is_some() && std::mem::take(&mut self.doubtful) {
            match self.went_back(api).await {
                Ok(false) => {}
                Ok(true) => self.rewound(),
                Err(error) => {
                    self.doubtful = true;
                    return End::Failed(error, "list");
                }
            }
            self.pace.between().await;
        }
        or_end!(self.take_up().await);
        if self.known.wanted().len() > FEW {
            self.relist(Relist::Reading);
        }
        if self.version.is_some() {
            if self.read_more {
                or_end!(self.read_more(api).await);
                self.read_more = false;
            }
            return self.stream(api).await;
        }
        self.read_more = false;
        or_end!(self.lost().await);
        let in_pages =
            self.stream_failures >= STREAM_FAILURES || !self.common.streams.load(Ordering::Acquire);
        if in_pages {
            or_end!(self.pages(api).await);
            End::Good
        } else {
            self.stream(api).await
        }
    }

    /// Takes up what is read; waits a moment until it is known.
    async fn take_up(&mut self) -> Result<(), End> {
        if !is_selected(self.kind()) {
            return Ok(());
        }
        let known = self.common.reading.wait_for(Option::is_some);
        let reading = tokio::select! {
            known = timeout(READING, known) => match known {
                Ok(known) => known.map_err(|_gone| End::Closed)?.clone().unwrap_or_default(),
                // Everything is, until it is known.
                Err(_elapsed) => Reading::default(),
            },
            () = self.common.out.closed() => return Err(End::Closed),
        };
        self.known.read(reading, &mut self.changes);
        self.read_more |= !self.known.wanted().is_empty();
        self.flush().await
    }

    /// The server's history was found to have gone back: a new one begins, for all kinds.
    fn rewound(&mut self) {
        warn!(kind = %self.kind(), "the server's history went back, listing everything again");
        let ours = self.history;
        // Unless another kind was faster.
        self.common.histories.send_if_modified(|history| {
            let first = *history == ours;
            *history += u64::from(first);
            first
        });
        self.history = *self.histories.borrow_and_update();
        self.start_over();
    }

    /// What is known is of another history.
    fn start_over(&mut self) {
        self.doubtful = false;
        self.known.distrust();
        self.relist(Relist::Rewound);
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
        if self.listed && version != 0 && version < self.known.newest() {
            // Versions of this list were taken for those of the history that is no more.
            self.rewound();
            return Err(End::Rewound);
        }
        self.flush().await?;
        let (kind, gone) = (self.kind(), self.known.missing());
        let objects = self.known.len() - gone;
        if !self.listed {
            debug!(%kind, objects, "listed");
        } else {
            info!(%kind, objects, gone, "listed again");
        }
        let out = self.common.out.clone();
        let room = out.reserve().await.map_err(|_gone| End::Closed)?;
        // From here on nothing can end in between, so that what is forgotten is told.
        let gone = self.known.complete(version);
        room.send(Told::Contact {
            kind,
            history: self.history,
            contact: Contact::Listed(gone),
        });
        self.version = Some(version);
        self.stream_failures = 0;
        self.listed = true;
        self.lost = false;
        self.panics = 0;
        self.live();
        Ok(())
    }

    /// Tells the hub that what was told may lack something; once.
    async fn lost(&mut self) -> Result<(), End> {
        if !self.listed || std::mem::replace(&mut self.lost, true) {
            return Ok(());
        }
        self.contact(Contact::Lost).await
    }

    /// Tells the hub that the watch goes on.
    async fn found(&mut self) -> Result<(), End> {
        if !std::mem::take(&mut self.lost) {
            return Ok(());
        }
        self.contact(Contact::Watching).await
    }

    async fn contact(&self, contact: Contact) -> Result<(), End> {
        let (kind, history) = (self.kind(), self.history);
        self.send(Told::Contact {
            kind,
            history,
            contact,
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), End> {
        if self.changes.is_empty() {
            return Ok(());
        }
        self.common.states.count(self.kind(), self.known.len());
        let room = self.common.out.reserve().await;
        let room = room.map_err(|_gone| End::Closed)?;
        room.send(Told::Changes(std::mem::take(&mut self.changes)));
        Ok(())
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
