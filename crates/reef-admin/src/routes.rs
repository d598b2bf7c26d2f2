//! The two routers and their handlers.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Extension, Router};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::access::{self, Rights, guard, metrics_guard};
use crate::inspect::{
    Among, Inspect, InspectError, MeshPage, ProxySummary, Readiness, match_proxy,
};
use crate::pages;
use crate::syncz::SyncRow;

/// istioctl looks for this text to try the next replica, so it is kept to the letter.
pub const NOT_CONNECTED: &str =
    "Proxy not connected to this Pilot instance. It may be connected to another instance.";

type Shared = Arc<dyn Inspect>;
type Reader = Extension<Rights>;
type Answer = Result<serde_json::Value, InspectError>;
type ProxyAnswer = fn(&dyn Inspect, &str, &Ask) -> Answer;

/// The router of the monitoring port (15014): metrics, health and debug pages.
pub fn monitoring_router(inspect: Arc<dyn Inspect>) -> Router {
    common(&inspect)
        .route(
            "/metrics",
            get(metrics).layer(middleware::from_fn(metrics_guard)),
        )
        .with_state(inspect)
}

/// The router of the HTTP port (8080): health and debug pages, no metrics, as istiod has it.
pub fn http_router(inspect: Arc<dyn Inspect>) -> Router {
    common(&inspect).with_state(inspect)
}

fn common(inspect: &Shared) -> Router<Shared> {
    let debug = Router::new()
        .route("/debug", get(index))
        .route("/debug/", get(index))
        .route("/debug/status", get(status))
        .route("/debug/syncz", get(syncz))
        .route("/debug/proxies", get(proxies))
        .route("/debug/config_dump", proxy_page(config_dump))
        .route("/debug/sidecarz", proxy_page(sidecarz))
        .route("/debug/why", proxy_page(why))
        .route("/debug/problems", get(problems))
        .route("/debug/list", get(list))
        .route("/debug/adsz", mesh_page(MeshPage::Adsz))
        .route("/debug/connections", mesh_page(MeshPage::Connections))
        .route("/debug/registryz", mesh_page(MeshPage::Registryz))
        .route("/debug/endpointShardz", mesh_page(MeshPage::EndpointShardz))
        .route("/debug/endpointz", mesh_page(MeshPage::EndpointShardz))
        .route("/debug/networkz", mesh_page(MeshPage::Networkz))
        .route("/debug/configz", mesh_page(MeshPage::Configz))
        .route("/debug/mesh", mesh_page(MeshPage::Mesh))
        .route("/debug/resourcesz", mesh_page(MeshPage::Resourcesz))
        .route("/debug/instancesz", mesh_page(MeshPage::Instancesz))
        .route("/debug/authorizationz", mesh_page(MeshPage::Authorizationz))
        .route("/debug/telemetryz", mesh_page(MeshPage::Telemetryz))
        .route("/debug/push_status", mesh_page(MeshPage::PushStatus))
        .route("/debug/cachez", get(cachez))
        .route("/debug/edsz", proxy_page(edsz))
        .route_layer(middleware::from_fn_with_state(Arc::clone(inspect), guard));
    Router::new()
        .route("/ready", get(ready))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/version", get(version))
        .merge(debug)
        .fallback(unknown)
}

#[derive(Debug, Deserialize)]
struct Ask {
    #[serde(rename = "proxyID")]
    proxy: Option<String>,
    service: Option<String>,
    namespace: Option<String>,
    types: Option<String>,
    sizes: Option<String>,
    pretty: Option<String>,
}

impl Ask {
    fn pretty(&self) -> bool {
        self.pretty.is_some()
    }
}

async fn ready(State(inspect): State<Shared>) -> Response {
    match inspect.readiness() {
        Readiness::Ready => (StatusCode::OK, "ready\n").into_response(),
        Readiness::NotReady(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {why}\n"),
        )
            .into_response(),
    }
}

async fn version(State(inspect): State<Shared>) -> Response {
    json(&inspect.build(), false)
}

async fn metrics(State(inspect): State<Shared>) -> Response {
    let text = match access::blocking(move || inspect.metrics()).await {
        Ok(text) => text,
        Err(failure) => return failed(&failure),
    };
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn index() -> Html<String> {
    Html(pages::index())
}

async fn status(State(inspect): State<Shared>, Query(ask): Query<Ask>) -> Response {
    blocking(move || json(&inspect.status(), ask.pretty())).await
}

async fn syncz(
    State(inspect): State<Shared>,
    Extension(rights): Reader,
    Query(ask): Query<Ask>,
) -> Response {
    blocking(move || {
        let rows: Vec<SyncRow> = visible(&*inspect, &rights)
            .into_iter()
            .filter(|proxy| match &ask.namespace {
                None => true,
                Some(namespace) => proxy.namespace == *namespace,
            })
            .map(SyncRow::from)
            .collect();
        json(&rows, ask.pretty())
    })
    .await
}

async fn proxies(
    State(inspect): State<Shared>,
    Extension(rights): Reader,
    Query(ask): Query<Ask>,
) -> Response {
    blocking(move || json(&visible(&*inspect, &rights), ask.pretty())).await
}

/// The connected proxies a caller may know of.
fn visible(inspect: &dyn Inspect, rights: &Rights) -> Vec<ProxySummary> {
    let mut proxies = inspect.proxies();
    if let Some(namespace) = rights.namespace() {
        proxies.retain(|proxy| proxy.namespace == namespace);
    }
    proxies
}

async fn problems(State(inspect): State<Shared>, Query(ask): Query<Ask>) -> Response {
    blocking(move || json(&inspect.problems(), ask.pretty())).await
}

async fn list(Query(ask): Query<Ask>) -> Response {
    json(&pages::names(), ask.pretty())
}

/// A page about the whole mesh.
fn mesh_page(page: MeshPage) -> MethodRouter<Shared> {
    get(move |state, reader, ask| of_mesh(state, reader, ask, page))
}

async fn cachez(state: State<Shared>, reader: Reader, ask: Query<Ask>) -> Response {
    let page = if ask.sizes.is_some() {
        MeshPage::CacheSizes
    } else {
        MeshPage::Cachez
    };
    of_mesh(state, reader, ask, page).await
}

async fn of_mesh(
    State(inspect): State<Shared>,
    Extension(rights): Reader,
    Query(ask): Query<Ask>,
    page: MeshPage,
) -> Response {
    blocking(move || {
        let among = Among {
            proxy: ask.proxy.as_deref(),
            namespace: rights.namespace(),
        };
        json(&inspect.mesh_page(page, among), ask.pretty())
    })
    .await
}

/// A page about one proxy.
fn proxy_page(answer: ProxyAnswer) -> MethodRouter<Shared> {
    get(move |state, reader, ask, headers| of_proxy(state, reader, ask, headers, answer))
}

fn config_dump(inspect: &dyn Inspect, id: &str, ask: &Ask) -> Answer {
    let types: Vec<String> = ask
        .types
        .iter()
        .flat_map(|list| list.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    inspect.config_dump(id, &types)
}

fn edsz(inspect: &dyn Inspect, id: &str, _ask: &Ask) -> Answer {
    inspect.config_dump(id, &["eds".to_owned()])
}

fn sidecarz(inspect: &dyn Inspect, id: &str, _ask: &Ask) -> Answer {
    inspect.sidecar(id)
}

fn why(inspect: &dyn Inspect, id: &str, ask: &Ask) -> Answer {
    match &ask.service {
        Some(service) => inspect.why(id, service),
        None => Err(InspectError::Bad(
            "the query needs `service=HOST`".to_owned(),
        )),
    }
}

async fn unknown(request: Request) -> Response {
    let text = format!("no page `{}`; `/debug/` lists them", request.uri().path());
    error(request.headers(), StatusCode::NOT_FOUND, &text)
}

/// Answers a question about one proxy on a blocking thread.
async fn of_proxy(
    State(inspect): State<Shared>,
    Extension(rights): Reader,
    Query(ask): Query<Ask>,
    headers: HeaderMap,
    answer: ProxyAnswer,
) -> Response {
    blocking(move || {
        let Some(query) = ask.proxy.as_deref().filter(|query| !query.is_empty()) else {
            let text = "the query needs `proxyID=POD.NAMESPACE` or a full node id";
            return error(&headers, StatusCode::BAD_REQUEST, text);
        };
        // A proxy the caller may not know of is as if it were not there.
        let connected = visible(&*inspect, &rights);
        let Some(id) = match_proxy(connected.iter().map(|proxy| proxy.id.as_str()), query) else {
            return not_connected(&headers, query, connected.len());
        };
        match answer(&*inspect, id, &ask) {
            Ok(value) => json(&value, ask.pretty()),
            Err(InspectError::Gone) => not_connected(&headers, query, connected.len()),
            Err(InspectError::Bad(text)) => error(&headers, StatusCode::BAD_REQUEST, &text),
        }
    })
    .await
}

fn not_connected(headers: &HeaderMap, query: &str, connected: usize) -> Response {
    let text =
        format!("{NOT_CONNECTED} Asked for `{query}`; {connected} proxies are connected here.");
    error(headers, StatusCode::NOT_FOUND, &text)
}

async fn blocking(answer: impl FnOnce() -> Response + Send + 'static) -> Response {
    match access::blocking(answer).await {
        Ok(response) => response,
        Err(failure) => failed(&failure),
    }
}

/// A handler that panicked hurts only its request.
fn failed(failure: &tokio::task::JoinError) -> Response {
    warn!(%failure, "debug page failed");
    (
        StatusCode::INTERNAL_SERVER_ERROR,
        "this page failed; the log says more\n",
    )
        .into_response()
}

fn json<T: Serialize>(value: &T, pretty: bool) -> Response {
    let text = if pretty {
        serde_json::to_string_pretty(value)
    } else {
        serde_json::to_string(value)
    };
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text + "\n").into_response(),
        Err(failure) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{failure}\n")).into_response(),
    }
}

/// An error in the form the caller asked for: JSON if it accepts JSON, else one line of text.
pub(crate) fn error(headers: &HeaderMap, status: StatusCode, text: &str) -> Response {
    let wants_json = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"));
    if wants_json {
        let body = serde_json::json!({ "error": text });
        (
            status,
            [(header::CONTENT_TYPE, "application/json")],
            format!("{body}\n"),
        )
            .into_response()
    } else {
        (status, format!("{text}\n")).into_response()
    }
}
