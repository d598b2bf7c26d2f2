//! Starting: sockets are bound first, so that a wrong address ends the start, then the writer's thread and the tasks.

use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use reef_admin::Inspect;
use reef_config::ChangeBatch;
use reef_identity::{Authorizer, Tokens};
use reef_kube::Cluster;
use reef_server::metrics::ServerMetrics;
use reef_server::protocol::Options;
use reef_server::service::DiscoveryServer;
use reef_server::service::tls::{self, Certificates, HandshakeLimits, TlsSettings};
use reef_source::Source as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tracing::error;

use super::access::{Access, Vouch};
use super::certs::Keeper;
use super::identity::{Gate, follow_keys};
use super::inspect::Pages;
use super::kube::Feed;
use super::metrics::Metrics;
use super::ports::Ports;
use super::provider::{Connect, Provider};
use super::running::Running;
use super::secure::suspend_age;
use super::settings::Settings;
use super::shared::Shared;
use super::status::Status;
use super::tasks::Tasks;
use super::webhook::{WebhookMetrics, authority};
use super::writer::{Ask, Inputs, Writer};

/// Seats asked for and not yet given. A storm of connects waits in its sockets, not here.
const WAITING_CONNECTS: usize = 256;

/// Pages that wait for the writer; each holds one blocking thread meanwhile.
const WAITING_ASKS: usize = 4;

/// Batches read and not yet applied; the source merges what it cannot hand over.
const WAITING_BATCHES: usize = 4;

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
    let webhook_metrics = WebhookMetrics::default();
    let webhooks = settings.webhooks.open(webhook_metrics.clone())?;
    let ports = Ports::bind(&settings, cluster.as_ref(), webhooks.is_some())?;
    let keeper = match ports.secure.is_some() || ports.https.is_some() {
        true => Some(keeper(&settings, cluster.as_ref()).await?),
        false => None,
    };
    let certificates = keeper.as_ref().map(Keeper::certificates);
    let serving = keeper.as_ref().map(Keeper::serving);

    let server_metrics = ServerMetrics::new();
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
    let mut tasks = Tasks::new(stopped.clone());
    let doors = spawn_writer(&settings, &shared, &metrics, stopped)?;
    let tokens = channel.tokens(cluster.as_ref());
    let emit = doors.batches.clone();
    let front = Front {
        shared: &shared,
        metrics: &metrics,
        authorizer,
        tokens: tokens.clone(),
    };
    let (server, pages) = front.open(doors, server_metrics);
    server.limit_age(settings.max_server_conn_age);

    if let (Some(status), Some(cluster)) = (status, &cluster) {
        let written = status.run(cluster.clone(), Arc::clone(&shared), tasks.end());
        tasks.spawn(written);
    }
    if let (Some(cluster), Some(tokens)) = (cluster.clone(), tokens) {
        let aging = suspend_age(server.clone(), Arc::clone(&tokens), source.states());
        tasks.until_end(async move {
            tokio::select! {
                () = follow_keys(cluster, tokens) => {}
                () = aging => {}
            }
        });
    }
    if let Some(keeper) = keeper {
        tasks.until_end(keeper.run());
    }
    tasks.until_end(source.run(emit));

    let addresses = ports.addresses;
    if let (Some((hooks, injection)), Some(certificates), Some(listener)) =
        (webhooks, &certificates, ports.https)
    {
        let tls = tls::server_config(Arc::clone(certificates), &[b"h2", b"http/1.1"])?;
        if let Some(serving) = serving.clone() {
            let registered = settings.webhooks.registered();
            let namespace = channel.namespace.clone();
            let told = authority::follow(injection, serving, namespace, cluster, registered);
            tasks.until_end(told);
        }
        let hooks = hooks.of_mesh(Arc::clone(&shared));
        let end = tasks.end();
        tasks.spawn(async move { hooks.serve(listener, &tls, end).await });
    }
    if let (Some(listener), Some(certificates)) = (ports.secure, certificates) {
        tasks.serve_tls(server.clone(), listener, certificates);
    }
    tasks.serve(server.clone(), ports.grpc);
    let admin = [
        (ports.http, reef_admin::http_router(Arc::clone(&pages))),
        (ports.monitoring, reef_admin::monitoring_router(pages)),
    ];
    for (listener, router) in admin {
        let end = tasks.end();
        tasks.spawn(async move {
            if let Err(failure) = reef_admin::serve(listener, router, end).await {
                error!(%failure, "an admin port failed");
            }
        });
    }
    Ok(Running {
        addresses,
        serving,
        server,
        shared,
        stop,
        tasks,
        drain_duration: settings.drain_duration,
    })
}

/// Who keeps the certificates of the ports that need one.
async fn keeper(settings: &Settings, cluster: Option<&Cluster>) -> anyhow::Result<Keeper> {
    let mut keeper = settings.channel.keeper(cluster, &settings.mesh.domain)?;
    keeper.begin().await?;
    Ok(keeper)
}

/// The ways to the writer.
struct Doors {
    batches: mpsc::Sender<ChangeBatch>,
    connects: mpsc::Sender<Connect>,
    asks: mpsc::Sender<Ask>,
}

/// Starts the writer on its thread.
fn spawn_writer(
    settings: &Settings,
    shared: &Arc<Shared>,
    metrics: &Arc<Metrics>,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<Doors> {
    let (batches, batch_inputs) = mpsc::channel(WAITING_BATCHES);
    let (connects, connect_inputs) = mpsc::channel(WAITING_CONNECTS);
    let (asks, ask_inputs) = mpsc::channel(WAITING_ASKS);
    let writer = Writer::new(
        settings.mesh.clone(),
        (settings.debounce_after, settings.debounce_max),
        Arc::clone(shared),
        Arc::clone(metrics),
    );
    let inputs = Inputs {
        batches: batch_inputs,
        asks: ask_inputs,
        connects: connect_inputs,
        stop,
    };
    std::thread::Builder::new()
        .name("reef-writer".to_owned())
        .spawn(move || writer.run(inputs))
        .context("the writer thread does not start")?;
    Ok(Doors {
        batches,
        connects,
        asks,
    })
}

/// What streams and pages ask for, and who may.
struct Front<'s> {
    shared: &'s Arc<Shared>,
    metrics: &'s Arc<Metrics>,
    authorizer: Authorizer,
    tokens: Option<Arc<Tokens>>,
}

impl Front<'_> {
    /// The server of streams, and the pages about them. Each may ask the other: streams for debug data, pages for what
    /// streams have.
    fn open(self, doors: Doors, metrics: ServerMetrics) -> (DiscoveryServer, Arc<dyn Inspect>) {
        let tokened = self.tokens.is_some();
        let gate = Gate::new(
            self.authorizer.clone(),
            self.tokens,
            Arc::clone(self.shared),
        );
        let gate = Arc::new(gate);
        let vouch: Arc<dyn Vouch> = Arc::<Gate>::clone(&gate);
        let access = Arc::new(Access::new(self.authorizer, tokened.then_some(vouch)));
        let later = Arc::new(OnceLock::new());
        let provider = Provider {
            connects: doors.connects,
            shared: Arc::clone(self.shared),
            gate,
            access: Arc::clone(&access),
            pages: Arc::clone(&later),
            metrics: Arc::clone(self.metrics),
        };
        let identifier = format!("reef-{}", env!("CARGO_PKG_VERSION"));
        let server =
            DiscoveryServer::new(Arc::new(provider), identifier, Options::default(), metrics);
        let pages = Arc::new(Pages {
            shared: Arc::clone(self.shared),
            metrics: Arc::clone(self.metrics),
            access,
            asks: doors.asks,
            server: server.clone(),
        });
        // Streams come later.
        let pages: Arc<dyn Inspect> = Arc::<Pages>::clone(later.get_or_init(|| pages));
        (server, pages)
    }
}

/// The ports of streams.
impl Tasks {
    fn serve(&mut self, server: DiscoveryServer, listener: TcpListener) {
        let end = self.end();
        self.spawn(async move {
            if let Err(failure) = server.serve(listener, end).await {
                error!(%failure, "the xDS port failed");
            }
        });
    }

    fn serve_tls(
        &mut self,
        server: DiscoveryServer,
        listener: TcpListener,
        certificates: Arc<Certificates>,
    ) {
        let tls = TlsSettings {
            certificates,
            limits: HandshakeLimits::default(),
        };
        let end = self.end();
        self.spawn(async move {
            if let Err(failure) = server.serve_tls(listener, &tls, end).await {
                error!(%failure, "the encrypted xDS port failed");
            }
        });
    }
}
