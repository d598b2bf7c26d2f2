//! What a server is started with, from the command line or from a test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::kube::ClusterSettings;
use super::secure::ChannelSettings;
use super::webhook::WebhookArgs;
use crate::cli::ServeArgs;
use crate::mesh::MeshOptions;

/// Everything a server is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Directories of objects.
    pub config_dirs: Vec<PathBuf>,
    /// A cluster to follow instead.
    pub cluster: Option<ClusterSettings>,
    /// File with the MeshConfig.
    pub mesh_config: Option<PathBuf>,
    /// Domain, cluster and the like.
    pub mesh: MeshOptions,
    /// Address of the xDS port; port 0 takes a free one.
    pub grpc_addr: SocketAddr,
    /// The encrypted xDS port, and who may come.
    pub channel: ChannelSettings,
    /// Address of the HTTP port.
    pub http_addr: SocketAddr,
    /// Address of the monitoring port.
    pub monitoring_addr: SocketAddr,
    /// Whether plaintext xDS may leave loopback.
    pub insecure_xds: bool,
    /// The admission webhooks.
    pub webhooks: WebhookArgs,
    /// Whether problems are written into the cluster.
    pub status: bool,
    /// Quiet time after a change.
    pub debounce_after: Duration,
    /// Longest wait of a change.
    pub debounce_max: Duration,
    /// How often all files are compared, whatever the kernel told.
    pub compare_every: Duration,
    /// How long streams may take to end.
    pub drain_duration: Duration,
    /// How old a connection may get, about; `None` is for ever.
    pub max_server_conn_age: Option<Duration>,
}

impl From<ServeArgs> for Settings {
    fn from(args: ServeArgs) -> Self {
        let cluster = args.config_dir.is_empty().then(|| args.cluster.settings());
        Self {
            cluster,
            config_dirs: args.config_dir,
            mesh: args.mesh.options(),
            mesh_config: args.mesh.mesh_config,
            grpc_addr: args.grpc_addr,
            channel: args.channel.settings(),
            http_addr: args.http_addr,
            monitoring_addr: args.monitoring_addr,
            insecure_xds: args.insecure_xds,
            webhooks: args.webhooks,
            status: args.status,
            debounce_after: args.debounce_after,
            debounce_max: args.debounce_max,
            compare_every: args.compare_every,
            drain_duration: args.drain_duration,
            max_server_conn_age: Some(args.max_server_conn_age).filter(|age| !age.is_zero()),
        }
    }
}
