//! Who is connected: written by each stream about itself, read by the admin pages only.
//!
//! The data path never reads this map. Readers clone the `Arc`s out and look at one after the other, so no guard of the
//! map lives across an await or a second access.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use dashmap::DashMap;
use parking_lot::Mutex;
use reef_mesh::ProxyNode;
use reef_server::provider::{ResourceView, StreamReport};
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
    types: BTreeMap<ResourceType, TypeState>,
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
    /// The proxy's text, while its last answer was a rejection.
    pub(super) last_error: Option<String>,
    /// Resources and removals sent.
    pub(super) resources: u64,
    /// Bytes sent.
    pub(super) bytes: u64,
    /// Whether it is subscribed by wildcard, and how many names besides.
    pub(super) subscribed: (bool, usize),
}

/// Takes a stream out of the registry when its session ends.
#[derive(Debug)]
pub(super) struct Entry {
    registry: Arc<Registry>,
    id: u64,
}

impl Registry {
    /// Adds a stream; it leaves when the entry is dropped.
    pub(super) fn insert(self: &Arc<Self>, stream: Arc<Stream>) -> Entry {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.streams.insert(id, stream);
        Entry {
            registry: Arc::clone(self),
            id,
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

    /// Number of streams.
    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.registry.streams.remove(&self.id);
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
    pub(super) fn published(&self, class: u64, generation: u64, seen: Instant) {
        let mut live = self.live.lock();
        if live.class != class {
            // Generations of two classes cannot be compared.
            live.class = class;
            live.pending = None;
        }
        if live.pending.is_none() {
            live.pending = Some((generation, seen));
        }
    }

    /// Notes what happened on the stream; returns when the change the stream has now taken came in.
    pub(super) fn report(&self, event: &StreamReport) -> Option<Instant> {
        let mut live = self.live.lock();
        match event {
            StreamReport::Subscribed {
                ty,
                wildcard,
                names,
            } => {
                live.types.entry(*ty).or_default().subscribed = (*wildcard, *names);
                None
            }
            StreamReport::Sent {
                ty,
                nonce,
                bytes,
                resources,
                ..
            } => {
                let state = live.types.entry(*ty).or_default();
                state.sent = Some(Arc::clone(nonce));
                state.sent_time = Some(clock::wall());
                state.bytes += u64::try_from(*bytes).unwrap_or(u64::MAX);
                state.resources += u64::try_from(*resources).unwrap_or(u64::MAX);
                None
            }
            StreamReport::Acked { ty, nonce, .. } => {
                let state = live.types.entry(*ty).or_default();
                state.acked = Some(Arc::clone(nonce));
                state.last_error = None;
                None
            }
            StreamReport::Nacked { ty, detail, .. } => {
                let state = live.types.entry(*ty).or_default();
                let end = detail.floor_char_boundary(MAX_ERROR_BYTES);
                state.last_error = Some(detail.get(..end).unwrap_or_default().to_owned());
                None
            }
            StreamReport::Settled { generation } => live
                .pending
                .take_if(|(wanted, _)| *wanted <= *generation)
                .map(|(_, seen)| seen),
            _ => None,
        }
    }

    /// The class of equal proxies it belongs to.
    pub(super) fn class(&self) -> u64 {
        self.live.lock().class
    }

    /// State by type.
    pub(super) fn types(&self) -> BTreeMap<ResourceType, TypeState> {
        self.live.lock().types.clone()
    }
}
