//! The life of connections: accepting, HTTP/2, age, and how one ends without losing a word.
//!
//! A proxy opens its next stream on the connection it has, so an error on a stream moves nobody: neither to another
//! replica when this one gets old connections, nor away when it ends. A connection that has to go is therefore told so
//! first (GOAWAY), then its streams end, and what they still have to say goes out before it closes.
//!
//! Every connection draws its share of the drain window, and of the jitter of its age, when it is accepted, so that
//! those accepted together do not leave together.

use std::future::{pending, ready};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::service::Routes;
use tower::Service as _;
use tracing::{debug, warn};

use super::tls::Handshakes;
use super::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MAX_STREAMS_PER_CONNECTION, Shared};
use crate::status::StreamEnd;

/// How long a connection may take to close once its streams were ended; as long as a drain window usually is.
const CLOSING: Duration = Duration::from_secs(5);

/// How long a new connection may stay without a stream. Clients open one at once; only who means no stream comes here.
const FIRST_STREAM: Duration = Duration::from_secs(30);

/// How long a connection that comes while the server drains is kept, so that its client is told why.
const LATE: Duration = Duration::from_millis(200);

/// How far ages of connections differ: a tenth of the age in each direction, as with gRPC's own servers.
const AGE_JITTER: f64 = 0.1;

/// Wait after a failed accept: file descriptors are short then, and some will come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a connection is to its streams; put into the extensions of every request.
#[derive(Debug, Clone)]
pub(super) struct Carrier {
    /// The other end.
    pub(super) peer: Option<SocketAddr>,
    /// Whether it is encrypted.
    pub(super) tls: bool,
    /// Says when it has to go.
    pub(super) leave: Arc<Leave>,
}

/// Tells the streams of a connection that it goes, and why.
#[derive(Debug, Default)]
pub(super) struct Leave {
    why: OnceLock<StreamEnd>,
    told: Notify,
    used: AtomicBool,
}

impl Leave {
    /// Tells all streams, those to come included.
    pub(super) fn say(&self, why: StreamEnd) {
        if self.why.set(why).is_ok() {
            self.told.notify_waiters();
        }
    }

    /// Waits until it is said.
    pub(super) async fn said(&self) -> StreamEnd {
        loop {
            let mut told = pin!(self.told.notified());
            // Listens from here on, so that nothing is lost between the look and the wait.
            told.as_mut().enable();
            if let Some(why) = self.why.get() {
                return why.clone();
            }
            told.await;
        }
    }
}

/// Accepts connections until `until` is ready, and returns when all of them are gone.
pub(super) async fn accept(
    shared: &Arc<Shared>,
    routes: Routes,
    listener: TcpListener,
    tls: Option<Handshakes>,
    until: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let mut connections = JoinSet::new();
    let closing = Arc::new(Leave::default());
    let mut until = pin!(until);
    let outcome = loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let (shared, routes) = (Arc::clone(shared), routes.clone());
                    let closing = Arc::clone(&closing);
                    prepare(&stream);
                    // Two tasks, so that neither takes room for the state of the other.
                    match tls.clone() {
                        None => connections
                            .spawn(serve(shared, routes, stream, Some(peer), false, closing)),
                        Some(tls) => connections.spawn(async move {
                            match tls.accept(stream, peer.ip()).await {
                                Ok(stream) => {
                                    // Boxed: a session has its kilobyte in each place it was moved from, too.
                                    let stream = Box::new(stream);
                                    serve(shared, routes, stream, Some(peer), true, closing).await;
                                }
                                Err(failure) => shared.metrics.handshake_failed(failure.as_str()),
                            }
                        }),
                    };
                }
                Err(error) if refused(&error) => break Err(error),
                Err(error) if passing(&error) => {}
                Err(error) => {
                    shared.metrics.accept_failed();
                    warn!(%error, "no connection can be accepted for now");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = &mut until => break Ok(()),
        }
    };
    drop(listener);
    closing.say(StreamEnd::Draining);
    while connections.join_next().await.is_some() {}
    outcome
}

/// Whether the listener itself is of no use any more.
fn refused(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidInput | ErrorKind::NotConnected | ErrorKind::Unsupported
    )
}

/// Whether only the connection that was about to be accepted is lost.
fn passing(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    )
}

/// Sets what an accepted socket needs.
pub(super) fn prepare(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "the socket stays with delays");
    }
}

/// Serves one connection to its end. `closing` ends it at once.
pub(super) async fn serve<I>(
    shared: Arc<Shared>,
    routes: Routes,
    io: I,
    peer: Option<SocketAddr>,
    tls: bool,
    closing: Arc<Leave>,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let leave = Arc::new(Leave::default());
    let carrier = Carrier {
        peer,
        tls,
        leave: Arc::clone(&leave),
    };
    let service = service_fn(move |mut request: Request<Incoming>| {
        carrier.leave.used.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(carrier.clone());
        routes.clone().call(request)
    });
    let mut connection = pin!(builder().serve_connection(TokioIo::new(io), service));
    let why = tokio::select! {
        // The client is gone, or spoke something else than HTTP/2.
        _ended = connection.as_mut() => return,
        why = has_to_go(&shared) => why,
        why = closing.said() => why,
        () = unused(&leave) => StreamEnd::Aged,
    };
    // First the word that no stream is taken any more, so that nobody whose stream ends comes back here.
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        _ended = connection.as_mut() => return,
        () = ready(()) => {}
    }
    leave.say(why);
    if timeout(CLOSING, connection).await.is_err() {
        debug!(peer = ?peer, "connection cut");
    }
}

/// The limits and keep-alive this protocol needs.
fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .max_header_list_size(16 * 1024);
    builder
}

/// Ends when the connection has had no stream for too long since it was accepted.
async fn unused(leave: &Leave) {
    sleep(FIRST_STREAM).await;
    if leave.used.load(Ordering::Relaxed) {
        pending::<()>().await;
    }
}

/// Ends when the connection has to go: it reached its age, or the server drains.
async fn has_to_go(shared: &Shared) -> StreamEnd {
    let mut signals = shared.signals.subscribe();
    let born = Instant::now();
    let share = shared.share();
    let late = signals.borrow().drain.is_some();
    // Not before this moment, whatever the age: when ages count again, those past them do not leave together.
    let mut not_before = born;
    let mut suspended = false;
    loop {
        let now = *signals.borrow_and_update();
        if let Some(window) = now.drain {
            let wait = if late { LATE } else { window.mul_f64(share) };
            sleep(wait).await;
            return StreamEnd::Draining;
        }
        if suspended && !now.age_suspended {
            let spread = now.max_age.unwrap_or_default().mul_f64(2.0 * AGE_JITTER);
            not_before = Instant::now() + spread.mul_f64(share);
        }
        suspended = now.age_suspended;
        let due = now
            .max_age
            .filter(|_| !suspended)
            .map(|age| age.mul_f64(1.0 - AGE_JITTER + 2.0 * AGE_JITTER * share))
            .and_then(|age| born.checked_add(age))
            .map(|due| due.max(not_before));
        tokio::select! {
            changed = signals.changed() => if changed.is_err() {
                return StreamEnd::Draining;
            },
            () = reached(due) => return StreamEnd::Aged,
        }
    }
}

async fn reached(due: Option<Instant>) {
    match due {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
