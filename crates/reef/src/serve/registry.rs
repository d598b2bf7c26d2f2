//! Who is connected: written by each stream about itself, read by the admin pages only.
//!
//! The data path never reads this map. Readers clone the `Arc`s out and look at one after the other, so no guard of the
//! map lives across an await or a second access.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use dashmap::DashMap;
use parking_lot::{Condvar, Mutex};
use reef_mesh::ProxyNode;
use reef_server::provider::{ResourceView, StreamReport, Watched};
use reef_xds::ResourceType;
use tokio::sync::watch;

use crate::clock;

/// Longest error text kept for a page; a proxy's text may contain whole resources.
const MAX_ERROR_BYTES: usize = 4096;

/// The connected streams.
#[derive(Debug, Default)]
pub(super) struct Registry {
    streams: DashMap<u64, Arc<Stream>>,
    next: AtomicU64,
    /// One question about names at a time.
    turn: Mutex<()>,
    asked: Mutex<Asked>,
    answered: Condvar,
}

/// A question about names, and the answers so far, by number of the stream.
#[derive(Debug, Default)]
struct Asked {
    open: BTreeSet<u64>,
    told: BTreeMap<u64, Vec<Watched>>,
}

/// One connected stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// Its number; never used again.
    pub(super) number: u64,
    /// Who it is.
    pub(super) node: Arc<ProxyNode>,
    /// Whether it speaks the incremental protocol.
    pub(super) delta: bool,
    /// Its end of the connection.
    pub(super) address: Option<SocketAddr>,
    /// When it connected.
    pub(super) since: SystemTime,
    /// What it should hold.
    pub(super) view: watch::Receiver<Arc<dyn ResourceView>>,
    live: Mutex<Live>,
}

#[derive(Debug, Default)]
struct Live {
    class: u64,
    /// The first change not yet taken by the proxy: the generation that carries it, and when it was seen.
    pending: Option<(u64, Instant)>,
    /// The first view the stream has not turned to yet: its generation, and when it was published.
    queued: Option<(u64, Instant)>,
    types: ByType,
}

/// States by type, sorted: a tree sets room for eleven aside, and most streams have four.
#[derive(Debug, Default)]
struct ByType(Vec<(ResourceType, TypeState)>);

impl ByType {
    /// The state of a type, a new one if there is none.
    fn of(&mut self, ty: ResourceType) -> &mut TypeState {
        let at = match self.0.binary_search_by_key(&ty, |(known, _)| *known) {
            Ok(at) => at,
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, (ty, TypeState::default()));
                at
            }
        };
        &mut self.0[at].1
    }
}

/// What a stream was sent of one type.
#[derive(Debug, Clone, Default)]
pub(super) struct TypeState {
    /// Nonce of the last response.
    pub(super) sent: Option<Arc<str>>,
    /// Nonce of the last response taken.
    pub(super) acked: Option<Arc<str>>,
    /// When the last response was sent.
    pub(super) sent_time: Option<SystemTime>,
    /// While its last answer was a rejection.
    pub(super) last_error: Option<Box<Rejected>>,
    /// Resources and removals sent.
    pub(super) resources: u64,
    /// Bytes sent.
    pub(super) bytes: u64,
    /// Whether it is subscribed by wildcard, and how many names besides.
    pub(super) subscribed: (bool, usize),
}

/// A rejection.
#[derive(Debug, Clone)]
pub(super) struct Rejected {
    /// gRPC code.
    pub(super) code: i32,
    /// The proxy's text.
    pub(super) text: String,
}

/// What a report tells about times.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// When the change came in that the proxy has now.
    pub(super) settled: Option<Instant>,
    /// When the view was published that the stream has turned to now.
    pub(super) queued: Option<Instant>,
}

/// Takes a stream out of the registry when its session ends.
#[derive(Debug)]
pub(super) struct Entry {
    registry: Arc<Registry>,
    id: u64,
    number: u64,
}

impl Registry {
    /// Adds a stream; it leaves when the entry is dropped.
    pub(super) fn insert(self: &Arc<Self>, stream: Arc<Stream>) -> Entry {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let number = stream.number;
        self.streams.insert(id, stream);
        Entry {
            registry: Arc::clone(self),
            id,
            number,
        }
    }

    /// All streams, by node id, then by age.
    pub(super) fn streams(&self) -> Vec<Arc<Stream>> {
        let mut found: Vec<(u64, Arc<Stream>)> = self
            .streams
            .iter()
            .map(|entry| (*entry.key(), Arc::clone(entry.value())))
            .collect();
        found.sort_by(|a, b| (&a.1.node.id, a.0).cmp(&(&b.1.node.id, b.0)));
        found.into_iter().map(|(_, stream)| stream).collect()
    }

    /// Asks streams for the names they are subscribed to; blocks until all have told or left, at most `patience`.
    /// `wake` makes the streams look whether they are asked. Nothing is kept between two questions.
    pub(super) fn names(
        &self,
        streams: &[Arc<Stream>],
        wake: impl FnOnce(),
        patience: Duration,
    ) -> BTreeMap<u64, Vec<Watched>> {
        let _turn = self.turn.lock();
        let until = clock::now() + patience;
        self.asked.lock().open = streams.iter().map(|stream| stream.number).collect();
        wake();
        let mut asked = self.asked.lock();
        // A stream that left before it was asked has nobody to answer for it.
        let connected: BTreeSet<u64> = self
            .streams
            .iter()
            .map(|entry| entry.value().number)
            .collect();
        asked.open.retain(|number| connected.contains(number));
        while !asked.open.is_empty() {
            if self.answered.wait_until(&mut asked, until).timed_out() {
                break;
            }
        }
        std::mem::take(&mut *asked).told
    }

    fn answer(&self, number: u64, names: Option<Vec<Watched>>) {
        let mut asked = self.asked.lock();
        if asked.open.remove(&number) {
            asked.told.extend(names.map(|names| (number, names)));
            if asked.open.is_empty() {
                self.answered.notify_all();
            }
        }
    }

    /// Number of streams.
    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }
}

impl Entry {
    /// Whether a page wants to know this stream's names.
    pub(super) fn is_asked(&self) -> bool {
        self.registry.asked.lock().open.contains(&self.number)
    }

    /// Answers that.
    pub(super) fn tell(&self, names: &[Watched]) {
        self.registry.answer(self.number, Some(names.to_vec()));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.registry.streams.remove(&self.id);
        self.registry.answer(self.number, None);
    }
}

impl Stream {
    /// A stream that was just accepted.
    pub(super) fn new(
        number: u64,
        node: Arc<ProxyNode>,
        delta: bool,
        address: Option<SocketAddr>,
        class: u64,
        view: watch::Receiver<Arc<dyn ResourceView>>,
    ) -> Self {
        let live = Live {
            class,
            ..Live::default()
        };
        Self {
            number,
            node,
            delta,
            address,
            since: clock::wall(),
            view,
            live: Mutex::new(live),
        }
    }

    /// Notes a view the stream is about to be sent; `seen` is when the change behind it came in.
    pub(super) fn published(&self, class: u64, generation: u64, seen: Instant, now: Instant) {
        let mut live = self.live.lock();
        if live.class != class {
            // Generations of two classes cannot be compared.
            live.class = class;
            live.pending = None;
            live.queued = None;
        }
        live.pending.get_or_insert((generation, seen));
        live.queued.get_or_insert((generation, now));
    }

    /// Notes what happened on the stream.
    pub(super) fn report(&self, event: &StreamReport) -> Taken {
        let mut live = self.live.lock();
        let at = match event {
            StreamReport::Sent { generation, .. } | StreamReport::Settled { generation } => {
                Some(*generation)
            }
            _ => None,
        };
        let reached = |wanted: &mut (u64, Instant)| at.is_some_and(|at| wanted.0 <= at);
        let queued = live.queued.take_if(reached).map(|(_, since)| since);
        let settled = match event {
            StreamReport::Settled { .. } => live.pending.take_if(reached).map(|(_, seen)| seen),
            _ => None,
        };
        match event {
            StreamReport::Subscribed {
                ty,
                wildcard,
                names,
            } => {
                live.types.of(*ty).subscribed = (*wildcard, *names);
            }
            StreamReport::Sent {
                ty,
                nonce,
                bytes,
                resources,
                ..
            } => {
                let state = live.types.of(*ty);
                state.sent = Some(Arc::clone(nonce));
                state.sent_time = Some(clock::wall());
                state.bytes += u64::try_from(*bytes).unwrap_or(u64::MAX);
                state.resources += u64::try_from(*resources).unwrap_or(u64::MAX);
            }
            StreamReport::Acked { ty, nonce, .. } => {
                let state = live.types.of(*ty);
                state.acked = Some(Arc::clone(nonce));
                state.last_error = None;
            }
            StreamReport::Nacked {
                ty, code, detail, ..
            } => {
                let state = live.types.of(*ty);
                let end = detail.floor_char_boundary(MAX_ERROR_BYTES);
                state.last_error = Some(Box::new(Rejected {
                    code: *code,
                    text: detail.get(..end).unwrap_or_default().to_owned(),
                }));
            }
            _ => {}
        }
        Taken { settled, queued }
    }

    /// The class of equal proxies it belongs to.
    pub(super) fn class(&self) -> u64 {
        self.live.lock().class
    }

    /// State by type.
    pub(super) fn types(&self) -> BTreeMap<ResourceType, TypeState> {
        self.live.lock().types.0.iter().cloned().collect()
    }
}
