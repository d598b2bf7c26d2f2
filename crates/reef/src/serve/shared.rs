//! What the writer publishes and everyone else reads: one pointer each, swapped whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use reef_config::{Kind, Problem};
use reef_kube::KindStates;
use reef_mesh::MeshSnapshot;
use reef_push::Sizes;
use tokio::sync::watch;

use super::registry::Registry;

/// Read by streams and pages, written by the writer.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The latest snapshot; `None` until the initial list is complete.
    pub(super) snapshot: ArcSwapOption<MeshSnapshot>,
    /// The latest facts for pages.
    pub(super) facts: ArcSwap<Facts>,
    /// Connected streams.
    pub(super) registry: Arc<Registry>,
    /// How each kind of a cluster is followed; `None` where files are.
    pub(super) kinds: Option<watch::Receiver<Arc<KindStates>>>,
    draining: AtomicBool,
}

/// What the writer knows besides the snapshot.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Problems of sources, objects, scopes and resources, sorted.
    pub(super) problems: Vec<Problem>,
    /// Objects by kind.
    pub(super) objects: BTreeMap<Kind, usize>,
    /// What the push engine holds.
    pub(super) sizes: Sizes,
    /// Pods that endpoints refer to and that are not there.
    pub(super) awaited_pods: usize,
}

impl Shared {
    /// Nothing yet, of a source whose kinds fare like this.
    pub(super) fn following(kinds: Option<watch::Receiver<Arc<KindStates>>>) -> Self {
        Self {
            kinds,
            ..Self::default()
        }
    }

    /// What the initial list waits for, if somebody knows.
    pub(super) fn waiting(&self) -> Option<String> {
        self.kinds.as_ref()?.borrow().waiting()
    }

    /// Whether the initial list is complete and the process does not end.
    pub(super) fn serving(&self) -> Result<(), &'static str> {
        if self.draining.load(Ordering::Acquire) {
            Err("the server is shutting down")
        } else if self.snapshot.load().is_none() {
            Err("the initial list of objects is not complete")
        } else {
            Ok(())
        }
    }

    /// No stream is accepted from now on.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }
}
