//! Where the objects come from: directories, or a cluster with its mesh configuration perhaps in a file.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use prometheus_client::registry::Registry;
use reef_config::ChangeBatch;
use reef_kube::status::StatusBook;
use reef_kube::{Cluster, ClusterOptions, KindStates, KubeOptions, KubeSource};
use reef_source::{FileOptions, FileSource, Source};
use tokio::sync::{mpsc, watch};

use super::Settings;

/// Batches of the file with the mesh configuration that wait; it is one object.
const WAITING_FILES: usize = 1;

/// A cluster to follow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Where its API server is.
    pub connect: ClusterOptions,
    /// Namespace and name of the ConfigMap with the mesh configuration.
    pub mesh_config_map: (String, String),
}

/// The source of a server.
#[derive(Debug)]
pub(super) enum Feed {
    /// Directories.
    Files(Box<FileSource>),
    /// A cluster.
    Cluster {
        /// The objects.
        objects: Box<KubeSource>,
        /// A file with the mesh configuration, which wins.
        mesh_config: Option<Box<FileSource>>,
    },
}

impl Feed {
    /// Makes the source and, of a cluster, the client for whatever else asks the API server, which need not be there.
    /// The status of objects is noted in `book`.
    pub(super) async fn open(
        settings: &Settings,
        book: Option<StatusBook>,
    ) -> anyhow::Result<(Self, Option<Cluster>)> {
        let files = |dirs: Vec<PathBuf>| {
            FileSource::new(
                dirs,
                settings.mesh_config.clone(),
                FileOptions {
                    cluster: settings.mesh.cluster.clone(),
                    compare_every: settings.compare_every,
                    ..FileOptions::default()
                },
            )
        };
        let Some(cluster) = &settings.cluster else {
            for dir in &settings.config_dirs {
                if !dir.is_dir() {
                    bail!("--config-dir {} is not a directory", dir.display());
                }
            }
            let files = files(settings.config_dirs.clone());
            return Ok((Self::Files(Box::new(files)), None));
        };
        let client = Cluster::connect(&cluster.connect)
            .await
            .context("no --config-dir is given and there is no cluster to follow")?;
        let mesh_config = settings
            .mesh_config
            .is_some()
            .then(|| Box::new(files(Vec::new())));
        let options = KubeOptions {
            cluster: settings.mesh.cluster.clone(),
            mesh_config_map: mesh_config
                .is_none()
                .then(|| cluster.mesh_config_map.clone()),
            ..KubeOptions::default()
        };
        let mut objects = KubeSource::new(client.clone(), options);
        if let Some(book) = book {
            objects = objects.noting(book);
        }
        let feed = Self::Cluster {
            objects: Box::new(objects),
            mesh_config,
        };
        Ok((feed, Some(client)))
    }

    /// Registers what it counts.
    pub(super) fn register(&self, registry: &mut Registry) {
        match self {
            Self::Files(files) => files.metrics().register(registry),
            Self::Cluster {
                objects,
                mesh_config,
            } => {
                objects.metrics().register(registry, objects.states());
                if let Some(file) = mesh_config {
                    file.metrics().register(registry);
                }
            }
        }
    }

    /// How each kind is followed, of a cluster.
    pub(super) fn states(&self) -> Option<watch::Receiver<Arc<KindStates>>> {
        match self {
            Self::Files(_) => None,
            Self::Cluster { objects, .. } => Some(objects.states()),
        }
    }
}

impl Source for Feed {
    async fn run(self, out: mpsc::Sender<ChangeBatch>) {
        match self {
            Self::Files(files) => files.run(out).await,
            Self::Cluster {
                objects,
                mesh_config: None,
            } => objects.run(out).await,
            Self::Cluster {
                objects,
                mesh_config: Some(file),
            } => {
                let (tell, mut told) = mpsc::channel(WAITING_FILES);
                let forward = async {
                    // Its first batch comes before the first of the cluster, which waits for nobody.
                    let first = told.recv().await;
                    let Some(first) = first else { return };
                    if send(&out, first).await.is_err() {
                        return;
                    }
                    let rest = async {
                        while let Some(batch) = told.recv().await {
                            if send(&out, batch).await.is_err() {
                                return;
                            }
                        }
                    };
                    tokio::join!(objects.run(out.clone()), rest);
                };
                tokio::select! {
                    () = file.run(tell) => {}
                    () = forward => {}
                }
            }
        }
    }
}

/// Hands a batch of the file on; it is not everything there is.
async fn send(
    out: &mpsc::Sender<ChangeBatch>,
    batch: ChangeBatch,
) -> Result<(), mpsc::error::SendError<ChangeBatch>> {
    out.send(ChangeBatch {
        synced: false,
        ..batch
    })
    .await
}
