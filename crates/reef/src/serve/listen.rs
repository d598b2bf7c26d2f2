//! Starting and ending: sockets are bound first, so that a wrong address ends the start, then threads and tasks.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use reef_admin::Inspect;
use reef_server::metrics::ServerMetrics;
use reef_server::protocol::Options;
use reef_server::service::DiscoveryServer;
use reef_server::service::tls::{self, HandshakeLimits, TlsSettings};
use reef_source::Source as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{error, warn};

use super::access::{Access, Vouch};
use super::certs::Keeper;
use super::identity::{Gate, follow_keys};
use super::inspect::Pages;
use super::kube::{ClusterSettings, Feed};
use super::metrics::Metrics;
use super::provider::Provider;
use super::secure::{ChannelSettings, suspend_age};
use super::shared::{ServingCertificate, Shared};
use super::status::Status;
use super::webhook::{WebhookArgs, WebhookMetrics, authority};
use super::writer::{Inputs, Writer};
use crate::cli::ServeArgs;
use crate::mesh::MeshOptions;

/// Seats asked for and not yet given. A storm of connects waits in its sockets, not here.
const WAITING_CONNECTS: usize = 256;

/// Pages that wait for the writer; each holds one blocking thread meanwhile.
const WAITING_ASKS: usize = 4;

/// Batches read and not yet applied; the source merges what it cannot hand over.
const WAITING_BATCHES: usize = 4;

/// Connections that wait to be accepted; the kernel takes `net.core.somaxconn` if that is less. After a restart all
/// proxies come at once: with the usual 128, of 1,000 most had to try again a second later and some were reset.
const BACKLOG: u32 = 4096;

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

/// A server that runs; ends when drained or dropped.
#[derive(Debug)]
pub struct Running {
    grpc: SocketAddr,
    secure: Option<SocketAddr>,
    serving: Option<ServingCertificate>,
    http: SocketAddr,
    monitoring: SocketAddr,
    https: Option<SocketAddr>,
    server: DiscoveryServer,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    drain_duration: Duration,
}

impl Running {
    /// Lets connections get older than their maximum age until told otherwise, for as long as newcomers cannot be
    /// authenticated.
    pub fn suspend_connection_age(&self, suspended: bool) {
        self.server.suspend_age(suspended);
    }

    /// The address xDS is served on.
    #[must_use]
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc
    }

    /// The address xDS is served on over TLS, if it is.
    #[must_use]
    pub fn secure_addr(&self) -> Option<SocketAddr> {
        self.secure
    }

    /// The certificate of the authority that Reef made and serves under, PEM; `None` if it did not, or not yet.
    #[must_use]
    pub fn authority(&self) -> Option<String> {
        self.serving.as_ref()?.borrow().as_ref()?.ca.clone()
    }

    /// The address of the HTTP port.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// The address of the monitoring port.
    #[must_use]
    pub fn monitoring_addr(&self) -> SocketAddr {
        self.monitoring
    }

    /// The address of the admission webhooks, if there are any.
    #[must_use]
    pub fn https_addr(&self) -> Option<SocketAddr> {
        self.https
    }

    /// Ends in order: not ready, streams end spread over the drain duration, then the sockets and the writer.
    pub async fn drain(mut self) {
        self.shared.drain();
        // Half for the streams to leave one by one, half for what they still have to say.
        let window = self.drain_duration / 2;
        let limit = self.drain_duration;
        if tokio::time::timeout(limit, self.server.drain(window))
            .await
            .is_err()
        {
            warn!("streams were still open at the end of the drain duration");
        }
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(1), ended)
            .await
            .is_err()
        {
            warn!("requests were still running at the end");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Starts a server.
///
/// # Errors
/// If an address cannot be bound or may not be, or a directory cannot be read.
pub async fn start(settings: Settings) -> anyhow::Result<Running> {
    let status = Status::open(&settings)?;
    let book = status.as_ref().map(Status::book);
    let (source, cluster) = Feed::open(&settings, book).await?;
    let channel = &settings.channel;
    let authorizer = channel.authorizer(settings.insecure_xds, cluster.as_ref());
    authorizer.check_bind(settings.grpc_addr)?;
    let (grpc_listener, grpc) = bind("--grpc-addr", settings.grpc_addr)?;
    let (http_listener, http) = bind("--http-addr", settings.http_addr)?;
    let (monitoring_listener, monitoring) = bind("--monitoring-addr", settings.monitoring_addr)?;

    let webhook_metrics = WebhookMetrics::default();
    let webhooks = settings.webhooks.open(webhook_metrics.clone())?;
    let registered = settings.webhooks.registered();
    let https = settings.webhooks.https_addr.filter(|_| webhooks.is_some());
    let https = https.map(|addr| bind("--https-addr", addr)).transpose()?;

    let secure = channel.address(cluster.as_ref());
    let secure = secure
        .map(|addr| bind("--secure-grpc-addr", addr))
        .transpose()?;
    let mut keeper = None;
    if secure.is_some() || https.is_some() {
        let mut made = channel.keeper(cluster.as_ref(), &settings.mesh.domain)?;
        made.begin().await?;
        keeper = Some(made);
    }
    let certificates = keeper.as_ref().map(Keeper::certificates);
    let (own_namespace, own_cluster) = (channel.namespace.clone(), cluster.clone());
    let tokens = channel.tokens(cluster.as_ref());
    let server_metrics = ServerMetrics::new();
    let serving = keeper.as_ref().map(Keeper::serving);
    let shared = Arc::new(Shared::following(source.states(), serving.clone()));
    let metrics = Arc::new(Metrics::new(|registry| {
        server_metrics.register(registry);
        webhook_metrics.register(registry);
        if let Some(status) = &status {
            status.register(registry);
        }
        source.register(registry.sub_registry_with_prefix("reef"));
    }));
    let (stop, stopped) = watch::channel(false);
    let (connects, connect_inputs) = mpsc::channel(WAITING_CONNECTS);

    let (emit, batches) = mpsc::channel(WAITING_BATCHES);
    let times = (settings.debounce_after, settings.debounce_max);
    let writer = Writer::new(
        settings.mesh,
        times,
        Arc::clone(&shared),
        Arc::clone(&metrics),
    );
    let (asks, ask_inputs) = mpsc::channel(WAITING_ASKS);
    let inputs = Inputs {
        batches,
        asks: ask_inputs,
        connects: connect_inputs,
        stop: stopped.clone(),
    };
    std::thread::Builder::new()
        .name("reef-writer".to_owned())
        .spawn(move || writer.run(inputs))
        .context("the writer thread does not start")?;

    let gate = Gate::new(authorizer.clone(), tokens.clone(), Arc::clone(&shared));
    let gate = Arc::new(gate);
    let vouch: Arc<dyn Vouch> = Arc::<Gate>::clone(&gate);
    let access = Arc::new(Access::new(authorizer, tokens.is_some().then_some(vouch)));
    let later = Arc::new(OnceLock::new());
    let provider = Provider {
        connects,
        shared: Arc::clone(&shared),
        gate,
        access: Arc::clone(&access),
        pages: Arc::clone(&later),
        metrics: Arc::clone(&metrics),
    };
    let identifier = format!("reef-{}", env!("CARGO_PKG_VERSION"));
    let server = DiscoveryServer::new(
        Arc::new(provider),
        identifier,
        Options::default(),
        server_metrics,
    );
    server.limit_age(settings.max_server_conn_age);
    let pages = Arc::new(Pages {
        shared: Arc::clone(&shared),
        metrics,
        access,
        asks,
        server: server.clone(),
    });
    // Streams come later.
    let pages: Arc<dyn Inspect> = Arc::<Pages>::clone(later.get_or_init(|| pages));

    let mut tasks = JoinSet::new();
    if let (Some(status), Some(cluster)) = (status, &cluster) {
        let end = ended(stopped.clone());
        tasks.spawn(status.run(cluster.clone(), shared.reported.subscribe(), end));
    }
    if let (Some(cluster), Some(tokens)) = (cluster, tokens) {
        let end = ended(stopped.clone());
        let aging = suspend_age(server.clone(), Arc::clone(&tokens), source.states());
        tasks.spawn(async move {
            tokio::select! {
                () = follow_keys(cluster, tokens) => {}
                () = aging => {}
                () = end => {}
            }
        });
    }
    let secure_addr = secure.as_ref().map(|(_, addr)| *addr);
    if let (Some((listener, _)), Some(certificates)) = (secure, &certificates) {
        let discovery = server.clone();
        let tls = TlsSettings {
            certificates: Arc::clone(certificates),
            limits: HandshakeLimits::default(),
        };
        let end = ended(stopped.clone());
        tasks.spawn(async move {
            if let Err(failure) = discovery.serve_tls(listener, &tls, end).await {
                error!(%failure, "the encrypted xDS port failed");
            }
        });
    }
    if let Some(keeper) = keeper {
        let end = ended(stopped.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = keeper.run() => {}
                () = end => {}
            }
        });
    }
    let end = ended(stopped.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = source.run(emit) => {}
            () = end => {}
        }
    });
    let end = ended(stopped.clone());
    let discovery = server.clone();
    tasks.spawn(async move {
        if let Err(failure) = discovery.serve(grpc_listener, end).await {
            error!(%failure, "the xDS port failed");
        }
    });
    let admin = [
        (http_listener, reef_admin::http_router(Arc::clone(&pages))),
        (monitoring_listener, reef_admin::monitoring_router(pages)),
    ];
    for (listener, router) in admin {
        let end = ended(stopped.clone());
        tasks.spawn(async move {
            if let Err(failure) = reef_admin::serve(listener, router, end).await {
                error!(%failure, "an admin port failed");
            }
        });
    }
    let https_addr = https.as_ref().map(|(_, addr)| *addr);
    if let (Some((listener, _)), Some((hooks, injection)), Some(certificates)) =
        (https, webhooks, certificates)
    {
        let tls = tls::server_config(certificates, &[b"h2", b"http/1.1"])?;
        if let Some(serving) = serving.clone() {
            let told =
                authority::follow(injection, serving, own_namespace, own_cluster, registered);
            let end = ended(stopped.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = told => {}
                    () = end => {}
                }
            });
        }
        let end = ended(stopped);
        let hooks = hooks.of_mesh(Arc::clone(&shared));
        tasks.spawn(async move { hooks.serve(listener, &tls, end).await });
    }
    let drain_duration = settings.drain_duration;
    Ok(Running {
        grpc,
        secure: secure_addr,
        serving,
        http,
        monitoring,
        https: https_addr,
        server,
        shared,
        stop,
        tasks,
        drain_duration,
    })
}

fn listen(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if addr.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // As `TcpListener::bind` does, so that a restart need not wait for old connections.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

fn bind(option: &str, addr: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = listen(addr).with_context(|| format!("{option} {addr} cannot be bound"))?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

async fn ended(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is an end too.
    let _gone = stopped.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests;
