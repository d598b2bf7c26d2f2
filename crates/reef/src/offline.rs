//! A mesh read once, from directories or a cluster, without serving it: what `reef check` and `reef render` look at.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reef_config::{Change, ChangeBatch, Object, ObjectKey, Problem};
use reef_kube::{Cluster, KubeOptions};
use reef_mesh::{ChangeReport, MeshIndex};
use reef_push::{PushEngine, PushOptions};
use reef_source::Contents;

use crate::cli::MeshArgs;
use crate::serve::ClusterSettings;

/// How long a cluster may take to be read.
const PATIENCE: Duration = Duration::from_secs(60);

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
    Ok(offline(
        reef_source::load(dirs, mesh.mesh_config.as_deref()),
        mesh,
    ))
}

/// Reads a cluster: the one kubectl would ask, if none is named.
///
/// # Errors
/// If it cannot be reached, a kind may not be read, or it takes longer than a minute.
pub(crate) fn load_cluster(cluster: &ClusterSettings, mesh: &MeshArgs) -> anyhow::Result<Offline> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime does not start")?;
    let file = mesh.mesh_config.as_deref();
    let options = KubeOptions {
        cluster: mesh.options().cluster,
        mesh_config_map: file.is_none().then(|| cluster.mesh_config_map.clone()),
        ..KubeOptions::default()
    };
    let batch = runtime.block_on(async {
        let client = Cluster::connect_as_kubectl(&cluster.connect).await?;
        anyhow::Ok(reef_kube::read_once(client, options, PATIENCE).await?)
    })?;
    let mut contents = reef_source::load(&[], file);
    for change in batch.changes {
        contents.add(change);
    }
    contents.problems.sort();
    Ok(offline(contents, mesh))
}

fn offline(contents: Contents, mesh: &MeshArgs) -> Offline {
    let Contents {
        objects,
        mesh_config,
        mesh_networks,
        problems: source_problems,
    } = contents;
    let options = mesh.options();
    let mut keys = Vec::with_capacity(objects.len());
    let config = mesh_config.map(Change::MeshConfig).into_iter();
    let networks = mesh_networks.map(Change::MeshNetworks);
    let mut changes: Vec<Change> = config.chain(networks).collect();
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
    Offline {
        index,
        engine,
        keys,
        objects: all,
        source_problems,
    }
}
