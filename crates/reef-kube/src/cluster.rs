//! Finding the API server: a kubeconfig, or the files every pod has.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

/// How long a connection may take, TLS included; a stopped process still has a kernel that accepts for it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// Connections without a request are closed after this, so that a restart of the server leaves none behind.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

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
    /// Makes a client; the server is not asked anything, so it need not be there.
    ///
    /// The client tries nothing twice and has no limit on how long an answer takes: whoever asks decides.
    ///
    /// # Errors
    /// If the options lead to no server or the credentials in them cannot be used.
    pub async fn connect(options: &ClusterOptions) -> Result<Self, ConnectError> {
        match &options.kubeconfig {
            None => Self::of(Config::incluster()?),
            Some(path) => {
                let file = Kubeconfig::read_from(path);
                Self::by_kubeconfig(path, file, options).await
            }
        }
    }

    /// The same for what people type: without a kubeconfig in the options it is the one kubectl takes, which the variable
    /// `KUBECONFIG` names or the home folder has, and only without that the process must run in a pod.
    ///
    /// # Errors
    /// If none of these leads to a server, or the credentials cannot be used.
    pub async fn connect_as_kubectl(options: &ClusterOptions) -> Result<Self, ConnectError> {
        if options.kubeconfig.is_some() {
            return Self::connect(options).await;
        }
        let usual = Kubeconfig::read();
        match (usual.is_err(), Config::incluster()) {
            (true, Ok(config)) => Self::of(config),
            _ => {
                Self::by_kubeconfig(Path::new("of KUBECONFIG or ~/.kube/config"), usual, options)
                    .await
            }
        }
    }

    async fn by_kubeconfig(
        path: &Path,
        file: Result<Kubeconfig, KubeconfigError>,
        options: &ClusterOptions,
    ) -> Result<Self, ConnectError> {
        let failed = |source| ConnectError::Kubeconfig {
            path: path.to_path_buf(),
            source: Box::new(source),
        };
        let wanted = KubeConfigOptions {
            context: options.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = Config::from_custom_kubeconfig(file.map_err(failed)?, &wanted).await;
        Self::of(config.map_err(failed)?)
    }

    fn of(config: Config) -> Result<Self, ConnectError> {
        let client = client(config).map_err(|error| ConnectError::Client(Box::new(error)))?;
        Ok(Self { client })
    }

    /// The client, for the modules of this room.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}

/// The client of a configuration. `kube`'s own stack logs every failed request as an error and tries again on its
/// own, which would double the requests of whoever paces them.
fn client(config: Config) -> kube::Result<Client> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // It fails only if somebody was faster.
        let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(Duration::from_secs(20)));
    let connector = config.rustls_https_connector_with_connector(tcp)?;
    let connector = ServiceBuilder::new()
        .map_future(Box::pin)
        .timeout(CONNECT_TIMEOUT)
        .service(connector);
    let http: hyper_util::client::legacy::Client<_, Body> =
        hyper_util::client::legacy::Builder::new(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace))
}

impl std::fmt::Debug for Cluster {
    /// Credentials are not shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}
