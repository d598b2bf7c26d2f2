//! The one writer: applies changes, links what they touch, publishes what differs.

use std::collections::BTreeMap;
use std::sync::Arc;

use reef_config::{ChangeBatch, Kind, Problem};

use crate::{ChangeReport, MeshSnapshot};

/// Holds all objects and turns changes into snapshots.
#[derive(Debug, Default)]
pub struct MeshIndex {
    snapshot: Arc<MeshSnapshot>,
}

impl MeshIndex {
    /// Makes an empty index for a cluster domain such as `cluster.local`.
    #[must_use]
    pub fn new(_domain: &str) -> Self {
        Self::default()
    }

    /// Applies a batch. `None` if nothing differs afterwards.
    pub fn apply(&mut self, _batch: ChangeBatch) -> Option<(Arc<MeshSnapshot>, ChangeReport)> {
        None
    }

    /// The current snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<MeshSnapshot> {
        &self.snapshot
    }

    /// Everything known to be wrong, sorted.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// Number of objects by kind.
    #[must_use]
    pub fn object_counts(&self) -> BTreeMap<Kind, usize> {
        BTreeMap::new()
    }
}
