//! What clients rejected, by node id: shared by all streams of the server, bounded, without a clock of its own.
//!
//! Two things outlive a stream. A resource that was rejected when sent alone is *bad* for that node until its content
//! changes. A name of a rejected response, or of one whose answer was lost with the stream, is *in doubt* for ten
//! minutes: Envoy reports the versions from before a rejection when it reconnects (`envoy-1.40-observed.md` B.3), so
//! equality proves nothing for those names.
//!
//! A stream that is still open when its node reconnects (a black-holed connection, until the keep-alive finds it) has
//! not told yet what it left unanswered; the node's next reconnect makes up for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reef_xds::{ResourceType, Version};

use super::full::Set;

/// How long an unresolved name is remembered. Envoy's back-off ends at 30 s; ten minutes outlast any reconnect that
/// still has the state of before.
pub const UNRESOLVED_FOR: Duration = Duration::from_secs(600);

/// Most nodes remembered; a mesh in which more than 4,096 proxies reject configuration at once is not helped by
/// isolation. At the per-node bound this is at most about 100 MiB, in practice a few kilobytes.
const MAX_NODES: usize = 4096;

/// Most full states remembered, and most resources of one: they are shared with the views they are from, but hold them
/// when those are gone. At these bounds the tables themselves are 30 MiB.
const MAX_TAKEN: usize = 256;
const MAX_TAKEN_RESOURCES: usize = 2048;

/// Most names remembered per node, each of both kinds. More doubts than that are remembered as "everything of the
/// type".
const MAX_NAMES: usize = 256;

type Key = (ResourceType, Arc<str>);

/// Why the state of a name at the client is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It was in a rejected response and is to be tried alone.
    Rejected,
    /// It was last told to be this, and the stream ended before the answer. A client that reports just this took it.
    Unanswered(Option<Version>),
    /// More than one of these; no report settles it.
    Unclear,
}

#[derive(Debug, Default)]
struct NodeMemory {
    bad: BTreeMap<Key, Version>,
    doubts: BTreeMap<Key, (Doubt, Duration)>,
    /// Types with more doubts than are kept apart, and until when.
    blurred: BTreeMap<ResourceType, Duration>,
    touched: Duration,
}

impl NodeMemory {
    fn is_empty(&self) -> bool {
        self.bad.is_empty() && self.doubts.is_empty() && self.blurred.is_empty()
    }
}

/// A full state, and until when it is remembered.
type Taken = (Arc<Set>, Duration);

/// The shared memory of rejections.
#[derive(Debug, Default)]
pub struct NackMemory {
    nodes: Mutex<BTreeMap<Arc<str>, NodeMemory>>,
    taken: Mutex<BTreeMap<(Arc<str>, ResourceType), Taken>>,
}

/// What is remembered about one type of one node.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recalled {
    /// Content not to send again.
    pub bad: Vec<(Arc<str>, Version)>,
    /// Names whose state at the client is not known.
    pub doubts: Vec<(Arc<str>, Doubt)>,
    /// Nothing the client reports of this type proves anything.
    pub everything: bool,
}

impl NackMemory {
    /// An empty memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything remembered about `ty` at `node`, for a new stream. Doubts other than of rejections are handed over:
    /// the stream tells again what it could not settle ([`Self::doubt`]).
    #[must_use]
    pub fn recall(&self, node: &str, ty: ResourceType, now: Duration) -> Recalled {
        let mut nodes = self.nodes.lock();
        let Some(memory) = nodes.get_mut(node) else {
            return Recalled::default();
        };
        memory.doubts.retain(|_, (_, until)| *until > now);
        let recalled = Recalled {
            bad: memory
                .bad
                .iter()
                .filter(|((of, _), _)| *of == ty)
                .map(|((_, name), version)| (Arc::clone(name), *version))
                .collect(),
            doubts: memory
                .doubts
                .iter()
                .filter(|((of, _), _)| *of == ty)
                .map(|((_, name), (doubt, _))| (Arc::clone(name), *doubt))
                .collect(),
            everything: memory.blurred.remove(&ty).is_some_and(|until| until > now),
        };
        memory
            .doubts
            .retain(|(of, _), (doubt, _)| *of != ty || *doubt == Doubt::Rejected);
        if memory.is_empty() {
            nodes.remove(node);
        }
        recalled
    }

    /// Notes that the state of `name` at the client is not known, and why.
    pub fn doubt(
        &self,
        node: &Arc<str>,
        ty: ResourceType,
        name: &Arc<str>,
        doubt: Doubt,
        now: Duration,
    ) {
        let until = now + UNRESOLVED_FOR;
        self.with_node(node, now, |memory| {
            let key = (ty, Arc::clone(name));
            let merged = match memory.doubts.get(&key) {
                Some((Doubt::Rejected, _)) => Doubt::Rejected,
                Some((old, _)) if *old != doubt && doubt != Doubt::Rejected => Doubt::Unclear,
                _ => doubt,
            };
            memory.doubts.insert(key, (merged, until));
            if memory.doubts.len() > MAX_NAMES {
                memory.doubts.retain(|(of, _), _| *of != ty);
                memory.blurred.insert(ty, until);
            }
        });
    }

    /// Notes that `version` of `name` was rejected when sent alone.
    pub fn bad(
        &self,
        node: &Arc<str>,
        ty: ResourceType,
        name: &Arc<str>,
        version: Version,
        now: Duration,
    ) {
        self.with_node(node, now, |memory| {
            memory.bad.insert((ty, Arc::clone(name)), version);
            if memory.bad.len() > MAX_NAMES {
                memory.bad.pop_first();
            }
        });
    }

    /// Notes that the client took what it was told about `name`: nothing about it is in doubt. Content that is bad
    /// stays so when what it took was a removal.
    pub fn resolved(&self, node: &str, ty: ResourceType, name: &Arc<str>, took_content: bool) {
        let mut nodes = self.nodes.lock();
        if let Some(memory) = nodes.get_mut(node) {
            let key = (ty, Arc::clone(name));
            if took_content {
                memory.bad.remove(&key);
            }
            memory.doubts.remove(&key);
            if memory.is_empty() {
                nodes.remove(node);
            }
        }
    }

    /// Remembers the full state that a client of the state-of-the-world variant took last.
    pub(super) fn take_note(
        &self,
        node: &Arc<str>,
        ty: ResourceType,
        set: &Arc<Set>,
        now: Duration,
    ) {
        if set.len() > MAX_TAKEN_RESOURCES {
            return;
        }
        let mut taken = self.taken.lock();
        taken.retain(|_, (_, until)| *until > now);
        while taken.len() >= MAX_TAKEN {
            let oldest = taken.iter().min_by_key(|(_, (_, until))| *until);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                break;
            };
            taken.remove(&oldest);
        }
        let until = now + UNRESOLVED_FOR;
        taken.insert((Arc::clone(node), ty), (Arc::clone(set), until));
    }

    /// Hands over what [`Self::take_note`] remembers.
    pub(super) fn taken(
        &self,
        node: &Arc<str>,
        ty: ResourceType,
        now: Duration,
    ) -> Option<Arc<Set>> {
        let (set, until) = self.taken.lock().remove(&(Arc::clone(node), ty))?;
        (until > now).then_some(set)
    }

    /// Number of nodes something is remembered of.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.lock().len()
    }

    fn with_node(&self, node: &Arc<str>, now: Duration, change: impl FnOnce(&mut NodeMemory)) {
        let mut nodes = self.nodes.lock();
        if !nodes.contains_key(node) && nodes.len() >= MAX_NODES {
            let oldest = nodes
                .iter()
                .min_by_key(|(_, memory)| memory.touched)
                .map(|(id, _)| Arc::clone(id));
            if let Some(oldest) = oldest {
                nodes.remove(&oldest);
            }
        }
        let memory = nodes.entry(Arc::clone(node)).or_default();
        memory.touched = now;
        change(memory);
    }
}
