//! The transport: thin tonic services over [`crate::protocol`], and the life of their streams.
//!
//! Every stream is one task of one `JoinSet`; a panic in it is caught there, logged and counted. A stream's body
//! makes its frames when the transport asks for them, so a slow reader holds at most `stream`'s few responses.

mod body;
mod connection;
mod methods;
mod questions;
mod requests;
mod stream;
pub mod tls;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::service::Routes;
use tracing::error;

pub use wire::{Frames, from_delta, from_sotw};

use crate::metrics::ServerMetrics;
use crate::protocol::{NackMemory, Options};
use crate::provider::ResourceProvider;

/// Largest request accepted: a delta reconnect of a proxy with 20,000 clusters is 2.7 MB (section 19).
pub const MAX_REQUEST_BYTES: usize = 32 << 20;

/// Between two HTTP/2 pings; finds a black-holed stream.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);

/// How long a ping may stay unanswered.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Streams per connection. An Envoy without ADS opens one per subscription, so this is well above the 16 of a
/// well-configured one.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 1024;

/// How long a client may leave responses unread before its stream ends. Well above what blocks Envoy's main thread
/// (tens of seconds for its largest updates); a stream that only withholds its ACKs is never ended.
pub const STUCK_AFTER: Duration = Duration::from_secs(300);

/// The transport failed.
#[derive(Debug, thiserror::Error)]
#[error("no connection can be accepted any more")]
pub struct ServeError {
    /// What the listener says.
    source: std::io::Error,
}

/// What all streams share.
pub(crate) struct Shared {
    pub(crate) provider: Arc<dyn ResourceProvider>,
    pub(crate) memory: Arc<NackMemory>,
    pub(crate) metrics: ServerMetrics,
    pub(crate) options: Options,
    pub(crate) control_plane: String,
    pub(crate) stuck_after: Duration,
    /// Turns for computing large responses: as many at a time as there are processors.
    pub(crate) large_compares: Semaphore,
    pub(crate) start: Instant,
    /// What all streams are told.
    pub(crate) signals: watch::Sender<Signals>,
    tasks: Mutex<JoinSet<()>>,
    drawn: AtomicU64,
}

/// What all streams and connections are told; one value for all, so that it costs them nothing until it changes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Signals {
    /// `Some(window)` once the server drains.
    pub(crate) drain: Option<Duration>,
    /// How often somebody asked for names.
    pub(crate) asked: u64,
    /// How old a connection may get, about; `None` is for ever.
    pub(crate) max_age: Option<Duration>,
    /// Whether connections may get older for the time being.
    pub(crate) age_suspended: bool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("control_plane", &self.control_plane)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The moment of a stream or connection in a window, in `0.0..1.0`: the golden-ratio sequence spreads any number
    /// of them evenly.
    pub(crate) fn share(&self) -> f64 {
        let drawn =
            u32::try_from(self.drawn.fetch_add(1, Ordering::Relaxed) & 0xffff).unwrap_or_default();
        (f64::from(drawn) * 0.618_033_988_749_895).fract()
    }

    fn reap(&self, tasks: &mut JoinSet<()>) {
        while let Some(ended) = tasks.try_join_next() {
            self.note(ended);
        }
    }

    fn note(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(failure) = ended
            && failure.is_panic()
        {
            error!(%failure, "a stream panicked");
        }
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        self.reap(&mut tasks);
        tasks.spawn(task);
    }
}

/// Counts a panic where it happens; the task's `JoinSet` hears of it later.
pub(crate) struct PanicCount(pub(crate) ServerMetrics);

impl Drop for PanicCount {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panicked();
        }
    }
}

/// The discovery server: hands out tonic services, and ends their streams.
#[derive(Debug, Clone)]
pub struct DiscoveryServer {
    shared: Arc<Shared>,
}

impl DiscoveryServer {
    /// A server of `provider`'s resources. `control_plane` is its identifier in every response.
    #[must_use]
    pub fn new(
        provider: Arc<dyn ResourceProvider>,
        control_plane: impl Into<String>,
        options: Options,
        metrics: ServerMetrics,
    ) -> Self {
        Self::with_stuck_after(provider, control_plane, options, metrics, STUCK_AFTER)
    }

    /// As [`Self::new`], with another limit than [`STUCK_AFTER`].
    #[must_use]
    pub fn with_stuck_after(
        provider: Arc<dyn ResourceProvider>,
        control_plane: impl Into<String>,
        options: Options,
        metrics: ServerMetrics,
        stuck_after: Duration,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                provider,
                memory: Arc::new(NackMemory::new()),
                metrics,
                options,
                control_plane: control_plane.into(),
                stuck_after,
                large_compares: Semaphore::new(
                    std::thread::available_parallelism().map_or(1, usize::from),
                ),
                start: Instant::now(),
                signals: watch::Sender::new(Signals::default()),
                tasks: Mutex::new(JoinSet::new()),
                drawn: AtomicU64::new(0),
            }),
        }
    }

    /// All services: ADS and the single-type ones.
    #[must_use]
    pub fn routes(&self) -> Routes {
        methods::routes(&self.shared)
    }

    /// Serves `listener` until `until` is ready; then accepts nothing more and returns when the connections are done.
    ///
    /// What is still open when `until` becomes ready is told to go; [`Self::drain`] before spreads that over time.
    ///
    /// # Errors
    /// [`ServeError`] if the listener cannot go on.
    pub async fn serve(
        &self,
        listener: tokio::net::TcpListener,
        until: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        connection::accept(&self.shared, self.routes().prepare(), listener, None, until)
            .await
            .map_err(|source| ServeError { source })
    }

    /// As [`Self::serve`], with TLS 1.3 in front: handshakes are limited in time and number, and the certificate is the
    /// one the settings hold when a handshake comes.
    ///
    /// # Errors
    /// [`ServeError`] if the listener cannot go on.
    pub async fn serve_tls(
        &self,
        listener: tokio::net::TcpListener,
        settings: &tls::TlsSettings,
        until: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let tls = tls::Handshakes::new(settings).map_err(|error| ServeError {
            source: std::io::Error::other(error),
        })?;
        let routes = self.routes().prepare();
        connection::accept(&self.shared, routes, listener, Some(tls), until)
            .await
            .map_err(|source| ServeError { source })
    }

    /// Says how old connections may get, give or take a tenth; `None`, the default, is for ever.
    ///
    /// A proxy stays on the connection it has, so without this a replica that joins gets new proxies only. A connection
    /// that is too old is told to go, then its streams end with `Unavailable`, and their client opens another
    /// connection, perhaps to another replica.
    pub fn limit_age(&self, max_age: Option<Duration>) {
        self.shared
            .signals
            .send_modify(|signals| signals.max_age = max_age);
    }

    /// Lets connections get older than [`Self::limit_age`] says, until told otherwise: while newcomers cannot be
    /// authenticated, nobody should have to come anew. Those past their age when it ends leave spread over a fifth of it.
    pub fn suspend_age(&self, suspended: bool) {
        self.shared.signals.send_if_modified(|signals| {
            std::mem::replace(&mut signals.age_suspended, suspended) != suspended
        });
    }

    /// Asks every stream whose session wants it ([`ProxySession::wants_names`]) for the names it is subscribed to; they
    /// come as [`StreamReport::Names`], soon.
    ///
    /// [`ProxySession::wants_names`]: crate::provider::ProxySession::wants_names
    /// [`StreamReport::Names`]: crate::provider::StreamReport::Names
    pub fn ask_names(&self) {
        self.shared
            .signals
            .send_modify(|signals| signals.asked += 1);
    }

    /// Ends every connection and its streams, these with `Unavailable`, spread over `window`, and waits for the streams.
    /// New ones end at once.
    pub async fn drain(&self, window: Duration) {
        self.shared
            .signals
            .send_modify(|signals| signals.drain = Some(window));
        loop {
            let mut tasks = std::mem::take(&mut *self.shared.tasks.lock());
            if tasks.is_empty() {
                return;
            }
            while let Some(ended) = tasks.join_next().await {
                self.shared.note(ended);
            }
        }
    }
}
