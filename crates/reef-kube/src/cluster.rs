//! Finding the API server: a kubeconfig, or the files every pod has.

use std::path::PathBuf;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

/// Where the API server is said to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterOptions {
    /// A kubeconfig; without one the process must run in a pod.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig; its current one if absent.
    pub context: Option<String>,
}

/// A client of one API server.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
}

/// Why there is no client. Nothing was asked of the server yet.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig is missing, cannot be read, or lacks what is asked for.
    #[error("kubeconfig {path}: {source}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<KubeconfigError>,
    },
    /// No kubeconfig was given and this is no pod.
    #[error("neither a kubeconfig nor a pod's service account: {0}")]
    InCluster(#[from] kube::config::InClusterError),
    /// The client cannot be made, for instance for a certificate that cannot be read.
    #[error("a client cannot be made: {0}")]
    Client(#[source] Box<kube::Error>),
}

impl Cluster {
    /// Makes a client; the server is not asked anything.
    ///
    /// # Errors
    /// If the options lead to no server or the credentials in them cannot be used.
    pub async fn connect(options: &ClusterOptions) -> Result<Self, ConnectError> {
        let config = match &options.kubeconfig {
            None => Config::incluster()?,
            Some(path) => {
                let failed = |source| ConnectError::Kubeconfig {
                    path: path.clone(),
                    source: Box::new(source),
                };
                let file = Kubeconfig::read_from(path).map_err(failed)?;
                let wanted = KubeConfigOptions {
                    context: options.context.clone(),
                    ..KubeConfigOptions::default()
                };
                Config::from_custom_kubeconfig(file, &wanted)
                    .await
                    .map_err(failed)?
            }
        };
        let client =
            Client::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)))?;
        Ok(Self { client })
    }

    /// The client, for the modules of this room.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl std::fmt::Debug for Cluster {
    /// Credentials are not shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}
