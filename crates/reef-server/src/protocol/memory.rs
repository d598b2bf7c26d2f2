//! What clients rejected, by node id: shared by all streams of the server, bounded, without a clock of its own.
//!
//! Two things outlive a stream. A resource that was rejected when sent alone is *bad* for that node until its content
//! changes. A name of a rejected response that has not been resolved yet is *unresolved* for ten minutes: Envoy
//! reports the versions from before the rejection when it reconnects (`envoy-1.40-observed.md` B.3), so equality
//! proves nothing for those names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reef_xds::{ResourceType, Version};

/// How long an unresolved name is remembered. Envoy's back-off ends at 30 s; ten minutes outlast any reconnect that
/// still has the state of before.
pub const UNRESOLVED_FOR: Duration = Duration::from_secs(600);

/// Most nodes remembered; a mesh in which more than 4,096 proxies reject configuration at once is not helped by
/// isolation. At the per-node bound this is at most about 100 MiB, in practice a few kilobytes.
const MAX_NODES: usize = 4096;

/// Most names remembered per node, each of both kinds.
const MAX_NAMES: usize = 256;

type Key = (ResourceType, Arc<str>);

#[derive(Debug, Default)]
struct NodeMemory {
    bad: BTreeMap<Key, Version>,
    unresolved: BTreeMap<Key, Duration>,
    touched: Duration,
}

/// The shared memory of rejections.
#[derive(Debug, Default)]
pub struct NackMemory {
    nodes: Mutex<BTreeMap<Arc<str>, NodeMemory>>,
}

/// What is remembered about one type of one node.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recalled {
    /// Content not to send again.
    pub bad: Vec<(Arc<str>, Version)>,
    /// Names whose state at the client is not known.
    pub unresolved: Vec<Arc<str>>,
}

impl NackMemory {
    /// An empty memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything remembered about `ty` at `node`.
    #[must_use]
    pub fn recall(&self, node: &str, ty: ResourceType, now: Duration) -> Recalled {
        let mut nodes = self.nodes.lock();
        let Some(memory) = nodes.get_mut(node) else {
            return Recalled::default();
        };
        memory.unresolved.retain(|_, until| *until > now);
        let recalled = Recalled {
            bad: memory
                .bad
                .iter()
                .filter(|((of, _), _)| *of == ty)
                .map(|((_, name), version)| (Arc::clone(name), *version))
                .collect(),
            unresolved: memory
                .unresolved
                .keys()
                .filter(|(of, _)| *of == ty)
                .map(|(_, name)| Arc::clone(name))
                .collect(),
        };
        if memory.bad.is_empty() && memory.unresolved.is_empty() {
            nodes.remove(node);
        }
        recalled
    }

    /// Notes that the state of `name` at the client is not known.
    pub fn unresolved(&self, node: &Arc<str>, ty: ResourceType, name: &Arc<str>, now: Duration) {
        self.with_node(node, now, |memory| {
            memory
                .unresolved
                .insert((ty, Arc::clone(name)), now + UNRESOLVED_FOR);
            if memory.unresolved.len() > MAX_NAMES {
                forget_oldest(&mut memory.unresolved);
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
            memory.unresolved.remove(&key);
            if memory.bad.is_empty() && memory.unresolved.is_empty() {
                nodes.remove(node);
            }
        }
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

/// Drops the entry that would expire first.
fn forget_oldest(unresolved: &mut BTreeMap<Key, Duration>) {
    let oldest = unresolved
        .iter()
        .min_by_key(|(_, until)| **until)
        .map(|(key, _)| key.clone());
    if let Some(oldest) = oldest {
        unresolved.remove(&oldest);
    }
}
