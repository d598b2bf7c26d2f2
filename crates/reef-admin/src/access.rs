//! The guard of the pages below `/debug`: who may read which, how many at a time, for how long.
//!
//! A page not in the table of pages is for nobody but those who may read everything; a new one is closed until somebody
//! says whom it is for.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tracing::warn;

use crate::inspect::Inspect;
use crate::pages;
use crate::routes::error;

/// Debug pages made at a time. Each takes a blocking thread and up to as much memory as a proxy's configuration.
static TURNS: Semaphore = Semaphore::const_new(4);

/// Metrics pages made at a time: two Prometheus servers, as they come in pairs.
static METRICS_TURNS: Semaphore = Semaphore::const_new(2);

/// How long a request waits for its turn.
const WAIT: Duration = Duration::from_secs(5);

/// How long a page may take; a config dump of a very large proxy takes a few seconds.
const LIMIT: Duration = Duration::from_secs(30);

/// Longest token looked at; one of Kubernetes has about 1 KB.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Whom a page is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Anybody: it names nothing of the mesh.
    Anyone,
    /// As [`Self::Proxies`], and tools on the same machine without a token.
    Syncz,
    /// Whoever may read something: it names nothing of the mesh.
    Index,
    /// It is about proxies: whoever may read everything, and callers of a namespace about its proxies.
    Proxies,
    /// It is about the mesh: whoever may read everything.
    Mesh,
}

/// Who asks for a page.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// The other end of the connection; `None` if the transport did not say.
    pub peer: Option<SocketAddr>,
    /// The bearer token that came along. Never logged.
    pub token: Option<&'a str>,
    /// Whether the page is [`Audience::Syncz`].
    pub syncz: bool,
}

impl std::fmt::Debug for Caller<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller")
            .field("peer", &self.peer)
            .field("token", &self.token.map(|_| "…"))
            .field("syncz", &self.syncz)
            .finish()
    }
}

/// What a caller may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rights {
    /// Everything.
    Everything,
    /// What belongs to proxies of this namespace.
    Namespace(Arc<str>),
}

impl Rights {
    /// The namespace it is limited to.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Everything => None,
            Self::Namespace(namespace) => Some(namespace),
        }
    }

    /// Whether a page for this audience may be read.
    #[must_use]
    pub fn allow(&self, audience: Audience) -> bool {
        *self == Self::Everything || audience != Audience::Mesh
    }
}

/// Why somebody may not read a page. The texts are shown to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is no token, or it is not accepted.
    Unauthenticated(String),
    /// Who asks may not.
    Forbidden(String),
    /// It cannot be decided now.
    Unavailable(String),
}

/// The decision about a caller, when it is made.
pub type Deciding<'a> = Pin<Box<dyn Future<Output = Result<Rights, Refused>> + Send + 'a>>;

/// Rights decided elsewhere, put into a request that came in no HTTP. No request from the network has this extension.
#[derive(Debug, Clone)]
pub(crate) struct Granted(pub(crate) Rights);

/// Lets a request to a debug page pass if its caller may read it, and limits what it costs.
pub(crate) async fn guard(
    State(inspect): State<Arc<dyn Inspect>>,
    mut request: Request,
    next: Next,
) -> Response {
    let audience = pages::audience(request.uri().path());
    let headers = request.headers().clone();
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let caller = Caller {
        peer: peer.map(|peer| peer.0),
        token: bearer(&headers),
        syncz: audience == Audience::Syncz,
    };
    // A request as a whole cannot be lent to whoever waits.
    let granted = request.extensions().get::<Granted>().cloned();
    let rights = match granted {
        Some(Granted(rights)) => Ok(rights),
        None => inspect.rights(caller).await,
    };
    let rights = match rights.and_then(|rights| limited(rights, audience)) {
        Ok(rights) => rights,
        Err(refused) => {
            let (status, reason) = match refused {
                Refused::Unauthenticated(reason) => (StatusCode::UNAUTHORIZED, reason),
                Refused::Forbidden(reason) => (StatusCode::FORBIDDEN, reason),
                Refused::Unavailable(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
            };
            warn!(peer = ?caller.peer, path = request.uri().path(), reason, "debug request refused");
            return error(&headers, status, &reason);
        }
    };
    request.extensions_mut().insert(rights);
    in_turn(&TURNS, &headers, request, next).await
}

/// Limits what metrics pages cost.
pub(crate) async fn metrics_guard(request: Request, next: Next) -> Response {
    let headers = request.headers().clone();
    in_turn(&METRICS_TURNS, &headers, request, next).await
}

fn limited(rights: Rights, audience: Audience) -> Result<Rights, Refused> {
    if rights.allow(audience) {
        Ok(rights)
    } else {
        Err(Refused::Forbidden(
            "this page is about the whole mesh; callers of its system namespace may read it"
                .to_owned(),
        ))
    }
}

/// Answers in turn and in time.
async fn in_turn(
    turns: &'static Semaphore,
    headers: &HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let Ok(Ok(turn)) = timeout(WAIT, turns.acquire()).await else {
        let text = "too many pages are being made; try again later";
        return error(headers, StatusCode::SERVICE_UNAVAILABLE, text);
    };
    let answer = TURN.scope(Arc::new(turn), next.run(request));
    match timeout(LIMIT, answer).await {
        Ok(response) => response,
        Err(_late) => error(
            headers,
            StatusCode::GATEWAY_TIMEOUT,
            "this page takes too long",
        ),
    }
}

tokio::task_local! {
    /// The turn of the request that is answered.
    static TURN: Arc<SemaphorePermit<'static>>;
}

/// Makes a page on a blocking thread. What nobody waits for any more goes on to its end and keeps its turn, so that
/// nobody gets more work out of this by going away.
pub(crate) async fn blocking<T: Send + 'static>(
    make: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    let turn = TURN.try_with(Arc::clone).ok();
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        make()
    })
    .await
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    let good = scheme.eq_ignore_ascii_case("bearer") && token.len() <= MAX_TOKEN_BYTES;
    good.then_some(token)
}
