//! Asking for a page from within the process: debug data over xDS is the same pages by another way.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, StatusCode};
use tower::ServiceExt as _;

use crate::access::{Granted, Rights};
use crate::inspect::Inspect;
use crate::routes::http_router;

/// Largest page handed on; a response of this size is more than a client of gRPC takes.
const MAX_BYTES: usize = 256 << 20;

/// Answers as the HTTP port would answer `GET /debug/{page}` from somebody with these rights: the status code and the
/// body. `page` has a query if it needs one: `config_dump?proxyID=web-1.shop`.
pub async fn ask(inspect: &Arc<dyn Inspect>, rights: Rights, page: &str) -> (u16, Bytes) {
    let refused = |text: String| (StatusCode::BAD_REQUEST.as_u16(), Bytes::from(text));
    let page = page.trim_start_matches('/');
    let request = Request::get(format!("/debug/{page}"))
        .extension(Granted(rights))
        .body(Body::empty());
    let request = match request {
        Ok(request) => request,
        Err(error) => return refused(format!("`{page}` is not a page: {error}\n")),
    };
    // The router never fails.
    let Ok(response) = http_router(Arc::clone(inspect)).oneshot(request).await;
    let status = response.status().as_u16();
    match to_bytes(response.into_body(), MAX_BYTES).await {
        Ok(body) => (status, body),
        Err(error) => refused(format!("the page is too large: {error}\n")),
    }
}
