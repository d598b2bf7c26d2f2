//! Where objects come from: the [`Source`] trait, a directory of files, and memory.
//!
//! Ten-line tour:
//! - [`Source`]: emits `ChangeBatch`es until it is dropped.
//! - [`FileSource`]: directories of YAML and JSON, followed as they change.
//! - [`MemorySource`]: batches handed in by a test or an embedding program.
//! - [`load`]: one read of directories, for `reef check` and benchmarks.
//!
//! ```text
//! directories ──walk──► stamps ──changed files──► documents ──changed hashes──► objects ──claims──► Change
//! ```
//!
//! A file is read only when its name, size, inode or times differ, and of it only the documents whose hash
//! differs are parsed. A file somebody is writing is left alone until it is closed; a version that lacks objects
//! the last one had has to stay as it is for a moment before they are deleted. Per document the source keeps a hash, the keys and a line; the objects themselves
//! belong to whoever receives them. This crate does not know the mesh, xDS or a Kubernetes client.

mod claims;
mod doubt;
mod file;
mod file_source;
mod memory;
mod mesh;
mod metrics;
mod tree;
mod walk;
mod watch;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reef_config::{
    Change, ChangeBatch, ClusterId, MeshConfig, MeshNetworks, Object, ObjectKey, Problem,
};
use tokio::sync::mpsc;

pub use file_source::{FileOptions, FileSource};
pub use memory::{MemoryHandle, MemorySource};
pub use metrics::SourceMetrics;

/// What is to be told when the ConfigMap with the mesh configuration is this one.
#[must_use]
pub fn mesh_config_of(config_map: &Object) -> Vec<Change> {
    let mut changes = Vec::new();
    mesh::apply_object(config_map, &mut changes);
    changes
}

/// What is to be told when that ConfigMap is gone: the defaults are back.
#[must_use]
pub fn mesh_config_gone(config_map: &ObjectKey) -> Vec<Change> {
    let mut changes = Vec::new();
    mesh::delete_object(config_map, &mut changes);
    changes
}

/// Emits what differs, batch by batch.
pub trait Source: Send + 'static {
    /// Runs until the receiver is gone, or the future is dropped, which stops everything the source started.
    ///
    /// The first batches hold the initial list; the one that completes it is marked `synced`. A full channel
    /// makes the source wait, in which time further changes are merged into the next batch.
    fn run(self, out: mpsc::Sender<ChangeBatch>) -> impl Future<Output = ()> + Send;
}

/// What directories hold.
#[derive(Debug, Default)]
pub struct Contents {
    /// The objects.
    pub objects: Vec<Arc<Object>>,
    /// The mesh configuration, if there is one.
    pub mesh_config: Option<Arc<MeshConfig>>,
    /// The networks of the mesh, if somebody says anything of them.
    pub mesh_networks: Option<Arc<MeshNetworks>>,
    /// What is wrong, sorted.
    pub problems: Vec<Problem>,
}

impl Contents {
    /// Adds what a change tells; nothing was there before, so nothing can go.
    pub fn add(&mut self, change: Change) {
        match change {
            Change::Apply(object) => self.objects.push(object),
            Change::MeshConfig(config) => self.mesh_config = Some(config),
            Change::MeshNetworks(networks) => self.mesh_networks = Some(networks),
            Change::Problems { problems, .. } => self.problems.extend(problems),
            Change::Delete(_) => {}
        }
    }
}

/// Reads directories once.
///
/// Blocks; uses two threads for large inputs.
#[must_use]
pub fn load(dirs: &[PathBuf], mesh_config: Option<&Path>) -> Contents {
    let mut tree = tree::Tree::new(
        dirs.to_vec(),
        mesh_config.map(Path::to_path_buf),
        ClusterId::default(),
        SourceMetrics::default(),
    );
    let mut contents = Contents::default();
    for change in tree.refresh(&tree::Look::at_once(), &mut |_| {}) {
        contents.add(change);
    }
    contents.problems.sort();
    contents
}

#[cfg(test)]
mod tests;
