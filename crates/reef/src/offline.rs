//! A mesh read from directories once, without serving it: what `reef check` and `reef render` look at.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use reef_config::{Change, ChangeBatch, Object, ObjectKey, Problem};
use reef_mesh::{ChangeReport, MeshIndex};
use reef_push::{PushEngine, PushOptions};

use crate::cli::MeshArgs;

/// The mesh.
#[derive(Debug)]
pub(crate) struct Offline {
    /// The index, everything applied.
    pub(crate) index: MeshIndex,
    /// An engine on its snapshot, without proxies.
    pub(crate) engine: PushEngine,
    /// The keys of all objects.
    pub(crate) keys: Vec<ObjectKey>,
    /// All objects.
    pub(crate) objects: Vec<Arc<Object>>,
    /// What the source found wrong.
    pub(crate) source_problems: Vec<Problem>,
}

/// Reads directories.
///
/// # Errors
/// If one of them is none.
pub(crate) fn load(dirs: &[PathBuf], mesh: &MeshArgs) -> anyhow::Result<Offline> {
    for dir in dirs {
        if !dir.is_dir() {
            bail!("{} is not a directory", dir.display());
        }
    }
    let options = mesh.options();
    let (objects, mesh_config, source_problems) =
        reef_source::load(dirs, mesh.mesh_config.as_deref());
    let mut keys = Vec::with_capacity(objects.len());
    let mut changes: Vec<Change> = mesh_config.map(Change::MeshConfig).into_iter().collect();
    let mut all = Vec::with_capacity(objects.len());
    for object in objects {
        let mut object = Arc::unwrap_or_clone(object);
        object.key.cluster = options.cluster.clone();
        keys.push(object.key.clone());
        let object = Arc::new(object);
        changes.push(Change::Apply(Arc::clone(&object)));
        all.push(object);
    }
    let mut index = options.index();
    index.apply(ChangeBatch {
        changes,
        synced: true,
    });
    let mut engine = PushEngine::new(PushOptions { idle_classes: 0 });
    engine.apply(Arc::clone(index.snapshot()), &ChangeReport::default());
    Ok(Offline {
        index,
        engine,
        keys,
        objects: all,
        source_problems,
    })
}
