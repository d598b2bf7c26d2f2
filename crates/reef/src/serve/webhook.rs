//! The admission webhooks, HTTPS on port 15017: `/inject` gives pods their sidecar, `/validate` checks objects.
//!
//! ```text
//! accept ─► TLS ─► HTTP ─► path ─► body, within a budget of bytes ─► reef_inject::review, on few threads
//! ```
//!
//! Whoever reaches the port may ask, as with istiod: an answer says nothing that is not in the question. So nothing
//! here may cost much: connections, bytes in flight, and reviews at work each have their bound, and everything has a
//! deadline.

pub(super) mod authority;
mod metrics;
mod start;

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use reef_config::Namespace;
use reef_inject::{MeshSays, Settings, review};
use reef_mesh::settings_around_annotation;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::shared::Shared;
use crate::clock;

pub use metrics::WebhookMetrics;
pub use start::WebhookArgs;

/// Largest review. etcd takes objects of 1.5 MB, a review has the object twice at most, and some more about it.
const MAX_BODY_BYTES: usize = 4 << 20;

/// Bytes of reviews read at the same time, in KiB: four of the largest, or hundreds of usual size.
const BODY_BUDGET_KIB: u32 = 16 << 10;

/// Reviews at work at the same time. One costs about a millisecond, and memory of some ten times its size.
const WORKERS: usize = 2;

/// Open connections. The API servers keep a few each; 500 webhooks at once still fit.
const MAX_CONNECTIONS: usize = 1024;

/// Time for a TLS handshake, and for the headers of a request.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Time for a whole request; the API server waits 10 seconds.
const REQUEST: Duration = Duration::from_secs(10);

/// Time somebody who sends too much may go on, so that they see the answer before the connection ends.
const LINGER: Duration = Duration::from_secs(1);

/// What the webhooks answer by.
#[derive(Debug)]
pub struct Webhooks {
    settings: watch::Receiver<Arc<Settings>>,
    validates: bool,
    mesh: Option<Arc<Shared>>,
    metrics: WebhookMetrics,
    budget: Arc<Semaphore>,
    workers: Arc<Semaphore>,
}

impl Webhooks {
    /// Webhooks that inject by the latest settings.
    #[must_use]
    pub fn new(settings: watch::Receiver<Arc<Settings>>, metrics: WebhookMetrics) -> Self {
        Self {
            settings,
            validates: false,
            mesh: None,
            metrics,
            budget: Arc::new(Semaphore::new(
                BODY_BUDGET_KIB.try_into().unwrap_or(usize::MAX),
            )),
            workers: Arc::new(Semaphore::new(WORKERS)),
        }
    }

    /// The same, answering `/validate` too or not.
    #[must_use]
    pub fn validating(self, validates: bool) -> Self {
        Self { validates, ..self }
    }

    /// The same, asking the mesh that is served what it says of proxies.
    #[must_use]
    pub(super) fn of_mesh(self, mesh: Arc<Shared>) -> Self {
        Self {
            mesh: Some(mesh),
            ..self
        }
    }

    /// Serves until `end`; running requests are let go then.
    ///
    /// The certificate is what the resolver of `tls` gives at the time of a handshake.
    pub async fn serve(
        self,
        listener: TcpListener,
        tls: &ServerConfig,
        end: impl Future<Output = ()> + Send,
    ) {
        let mut tls = tls.clone();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let hooks = Arc::new(self);
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut open = JoinSet::new();
        let mut end = std::pin::pin!(end);
        loop {
            let seat = Arc::clone(&connections).acquire_owned();
            let accepted = async {
                // Closed never: the semaphore lives as long as this loop.
                let seat = seat.await.ok();
                (listener.accept().await, seat)
            };
            tokio::select! {
                () = &mut end => return,
                (accepted, seat) = accepted => match accepted {
                    Ok((stream, _)) => {
                        let (acceptor, hooks) = (acceptor.clone(), Arc::clone(&hooks));
                        open.spawn(async move {
                            connection(stream, acceptor, hooks).await;
                            drop(seat);
                        });
                    }
                    Err(failure) => {
                        // Too many files are open: others end soon.
                        warn!(%failure, "a webhook connection cannot be accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
            while open.try_join_next().is_some() {}
        }
    }

    async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let hook = match Hook::of(request.uri().path()) {
            Some(Hook::Validate) if !self.validates => {
                return text(StatusCode::NOT_FOUND, "validation is off (--validation)");
            }
            Some(hook) => hook,
            None if request.uri().path() == "/ready" => return text(StatusCode::OK, "ok"),
            None => return text(StatusCode::NOT_FOUND, "/inject and /validate are here"),
        };
        if request.method() != Method::POST {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "a review is posted");
            let post = HeaderValue::from_static("POST");
            response.headers_mut().insert(ALLOW, post);
            return response;
        }
        self.metrics.asked(hook);
        let (body, _seat) = match timeout(REQUEST, self.body(request.into_body())).await {
            Ok(Ok(body)) => body,
            Ok(Err(refused)) => return self.refuse(hook, refused),
            Err(_elapsed) => {
                let slow = text(StatusCode::REQUEST_TIMEOUT, "the review came too slowly");
                return self.refuse(hook, slow);
            }
        };
        let begun = clock::now();
        let reviewed = self.review(hook, body).await;
        let took = clock::now().saturating_duration_since(begun);
        match reviewed {
            Some(Ok(answer)) => {
                self.metrics.answered(hook, &answer, took);
                let mut response = Response::new(Full::from(answer.body));
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, json);
                response
            }
            Some(Err(error)) => {
                self.refuse(hook, text(StatusCode::BAD_REQUEST, &error.to_string()))
            }
            None => {
                let failed = text(StatusCode::INTERNAL_SERVER_ERROR, "the review failed");
                self.refuse(hook, failed)
            }
        }
    }

    /// Counts what is no answer to a review.
    fn refuse(&self, hook: Hook, response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
        self.metrics.refused(hook, response.status().as_u16());
        response
    }

    /// The body, and its share of the budget.
    async fn body(
        &self,
        mut body: Incoming,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Response<Full<Bytes>>> {
        let limit = u64::try_from(MAX_BODY_BYTES).unwrap_or(u64::MAX);
        let length = body.size_hint();
        if length.lower() > limit {
            // A stream that broke says so whenever it is asked.
            let rest = async move { while let Some(Ok(_)) = body.frame().await {} };
            #[expect(
                clippy::disallowed_methods,
                reason = "it must outlive the answer, and ends by itself within a second"
            )]
            drop(tokio::spawn(timeout(LINGER, rest)));
            return Err(too_large());
        }
        // Of what nobody says the length it may be the largest.
        let expected = length.upper().unwrap_or(limit).min(limit);
        let kib = u32::try_from(expected / 1024 + 1).unwrap_or(BODY_BUDGET_KIB);
        let seat = Arc::clone(&self.budget).acquire_many_owned(kib).await.ok();
        match Limited::new(body, MAX_BODY_BYTES).collect().await {
            Ok(body) => Ok((body.to_bytes(), seat)),
            Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
            Err(_) => Err(text(StatusCode::BAD_REQUEST, "the review ended too soon")),
        }
    }

    /// Reviews on a thread of its own kind: a large object takes its time. `None`: the review panicked.
    async fn review(
        &self,
        hook: Hook,
        body: Bytes,
    ) -> Option<Result<review::Answer, review::ReviewError>> {
        let _seat = self.workers.acquire().await.ok()?;
        let settings = Arc::clone(&self.settings.borrow());
        let mesh = self.mesh.clone();
        let work = tokio::task::spawn_blocking(move || match hook {
            Hook::Inject => review::mutate_in_mesh(&body, &settings, |namespace, labels| {
                let snapshot = mesh?.snapshot.load_full()?;
                let labels = labels.iter().map(|(key, value)| (&**key, &**value));
                let (under, over) = settings_around_annotation(
                    &snapshot,
                    &Namespace::new(namespace),
                    &labels.collect(),
                );
                Some(MeshSays { under, over })
            }),
            Hook::Validate => review::validate(&body),
        });
        work.await.ok()
    }
}

/// The two webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    /// Gives pods their sidecar.
    Inject,
    /// Checks objects.
    Validate,
}

impl Hook {
    /// By path; istiod's injector has variables after its name, which mean nothing here.
    fn of(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.split('/');
        match parts.next() {
            Some("inject") => Some(Self::Inject),
            Some("validate") => Some(Self::Validate),
            _ => None,
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, hooks: Arc<Webhooks>) {
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(failure)) => {
            debug!(%failure, "a webhook connection has no TLS");
            return;
        }
        Err(_elapsed) => return,
    };
    let service = service_fn(move |request| {
        let hooks = Arc::clone(&hooks);
        async move { Ok::<_, Infallible>(hooks.answer(request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(30)));
    // A connection that breaks is its client's to mend.
    if let Err(failure) = builder
        .serve_connection(TokioIo::new(stream), service)
        .await
    {
        debug!(failure, "a webhook connection ended");
    }
}

fn too_large() -> Response<Full<Bytes>> {
    let mut response = text(
        StatusCode::PAYLOAD_TOO_LARGE,
        "the review is larger than any object can be",
    );
    let close = HeaderValue::from_static("close");
    response
        .headers_mut()
        .insert(hyper::header::CONNECTION, close);
    response
}

fn text(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{message}\n")));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests;
