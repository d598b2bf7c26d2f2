//! The routers, asked as a client would ask, over a scripted `Inspect`.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of a test binary; a failure is a test failure"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use reef_admin::{
    Among, Audience, BuildInfo, Caller, Deciding, Inspect, InspectError, MeshPage, ProblemReport,
    ProxySummary, Readiness, Refused, Rights, TypeSync, http_router, match_proxy,
    monitoring_router, paths,
};
use serde_json::{Value, json};
use tower::ServiceExt;

const WEB: &str = "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local";
const CDS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

struct Scripted {
    ready: bool,
}

impl Inspect for Scripted {
    fn readiness(&self) -> Readiness {
        if self.ready {
            Readiness::Ready
        } else {
            Readiness::NotReady("the initial list".to_owned())
        }
    }
    fn build(&self) -> BuildInfo {
        BuildInfo {
            version: "1.2.3".to_owned(),
            revision: "abc".to_owned(),
        }
    }
    fn rights<'a>(&'a self, caller: Caller<'a>) -> Deciding<'a> {
        let near = caller.peer.is_some_and(|peer| peer.ip().is_loopback());
        let rights = match caller.token {
            Some("system") => Ok(Rights::Everything),
            Some("down") => Err(Refused::Unavailable("nobody can be asked".to_owned())),
            Some(token) => match token.strip_prefix("ns-") {
                Some(namespace) => Ok(Rights::Namespace(namespace.into())),
                None => Err(Refused::Unauthenticated("no such token".to_owned())),
            },
            None if near => Ok(Rights::Everything),
            None if caller.peer.is_some_and(|peer| peer.ip().is_ipv6()) && caller.syncz => {
                Ok(Rights::Everything)
            }
            None => Err(Refused::Forbidden("loopback only".to_owned())),
        };
        Box::pin(async { rights })
    }
    fn metrics(&self) -> String {
        "pilot_xds{version=\"1\"} 1\n# EOF\n".to_owned()
    }
    fn proxies(&self) -> Vec<ProxySummary> {
        let sync = TypeSync {
            sent: "n2".to_owned(),
            acked: "n1".to_owned(),
            resources: 3,
            ..TypeSync::default()
        };
        vec![ProxySummary {
            id: WEB.to_owned(),
            namespace: "shop".to_owned(),
            cluster_id: "Kubernetes".to_owned(),
            kind: "sidecar".to_owned(),
            istio_version: "1.30.0".to_owned(),
            delta: true,
            connected_at: String::new(),
            address: "127.0.0.1:1".to_owned(),
            services: 3,
            mesh_services: 9,
            class: "c1".to_owned(),
            types: BTreeMap::from([(CDS.to_owned(), sync)]),
        }]
    }
    fn problems(&self) -> Vec<ProblemReport> {
        vec![ProblemReport {
            severity: "error".to_owned(),
            origin: "a.yaml:3".to_owned(),
            object: "Service shop/web".to_owned(),
            field: "spec.ports[0].port".to_owned(),
            reason: "not a port".to_owned(),
        }]
    }
    fn status(&self) -> Value {
        json!({"services": 9})
    }
    fn config_dump(&self, id: &str, types: &[String]) -> Result<Value, InspectError> {
        Ok(json!({"id": id, "types": types}))
    }
    fn sidecar(&self, id: &str) -> Result<Value, InspectError> {
        Ok(json!({"sidecar": id}))
    }
    fn mesh_page(&self, page: MeshPage, among: Among<'_>) -> Value {
        let Among { proxy, namespace } = among;
        json!({"page": format!("{page:?}"), "proxy": proxy, "namespace": namespace})
    }
    fn why(&self, _id: &str, service: &str) -> Result<Value, InspectError> {
        if service == "bad" {
            Err(InspectError::Bad("no host".to_owned()))
        } else {
            Ok(json!({"service": service}))
        }
    }
}

fn router(ready: bool) -> Router {
    monitoring_router(Arc::new(Scripted { ready }))
}

async fn ask(router: Router, path: &str, peer: &str, accept: &str) -> (StatusCode, String) {
    ask_with(router, path, peer, accept, None).await
}

async fn ask_with(
    router: Router,
    path: &str,
    peer: &str,
    accept: &str,
    token: Option<&str>,
) -> (StatusCode, String) {
    let peer: SocketAddr = peer.parse().unwrap();
    let mut request = Request::get(path)
        .header("accept", accept)
        .extension(ConnectInfo(peer));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn check(path: &str, status: StatusCode, part: &str) {
    let (got, body) = ask(router(true), path, "127.0.0.1:9", "*/*").await;
    assert_eq!(got, status, "{path}: {body}");
    assert!(body.contains(part), "{path}: `{body}` lacks `{part}`");
}

#[tokio::test]
async fn readiness_is_a_status_code_with_a_reason() {
    check("/ready", StatusCode::OK, "ready").await;
    let (status, body) = ask(router(false), "/ready", "127.0.0.1:9", "*/*").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body, "not ready: the initial list\n");
}

#[tokio::test]
async fn a_process_that_is_not_ready_is_still_healthy() {
    let (status, _) = ask(router(false), "/healthz", "127.0.0.1:9", "*/*").await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn pages_answer_with_what_inspect_says() {
    check("/version", StatusCode::OK, "\"version\":\"1.2.3\"").await;
    check("/metrics", StatusCode::OK, "pilot_xds").await;
    check("/debug/", StatusCode::OK, "/debug/syncz").await;
    check("/debug/status", StatusCode::OK, "\"services\":9").await;
    check("/debug/problems", StatusCode::OK, "spec.ports[0].port").await;
    check(
        "/debug/why?proxyID=web-1.shop&service=a.b",
        StatusCode::OK,
        "a.b",
    )
    .await;
}

#[tokio::test]
async fn syncz_has_the_field_names_of_istiod() {
    let (_, body) = ask(router(true), "/debug/syncz", "127.0.0.1:9", "*/*").await;
    let rows: Value = serde_json::from_str(&body).unwrap();
    let row = &rows[0];
    assert_eq!(row["cluster_id"], "Kubernetes");
    assert_eq!(row["proxy"], "web-1.shop");
    assert_eq!(row["proxy_type"], "sidecar");
    assert_eq!(row["istio_version"], "1.30.0");
    assert_eq!(
        (&row["cluster_sent"], &row["cluster_acked"]),
        (&json!("n2"), &json!("n1"))
    );
    assert_eq!(row["listener_sent"], "");
    assert_eq!(row["resources"][CDS]["sent"], "n2");
    let (_, other) = ask(
        router(true),
        "/debug/syncz?namespace=other",
        "127.0.0.1:9",
        "*/*",
    )
    .await;
    assert_eq!(other, "[]\n");
}

#[tokio::test]
async fn a_proxy_is_found_by_full_id_and_by_pod_and_namespace() {
    check("/debug/sidecarz?proxyID=web-1.shop", StatusCode::OK, WEB).await;
    check(
        &format!("/debug/sidecarz?proxyID={WEB}"),
        StatusCode::OK,
        WEB,
    )
    .await;
    check(
        "/debug/config_dump?proxyID=web-1.shop&types=CDS,lds",
        StatusCode::OK,
        "[\"cds\",\"lds\"]",
    )
    .await;
}

#[tokio::test]
async fn an_unknown_proxy_is_404_with_the_text_istioctl_matches() {
    check(
        "/debug/config_dump?proxyID=web-2.shop",
        StatusCode::NOT_FOUND,
        "not connected to this Pilot instance",
    )
    .await;
    check(
        "/debug/config_dump?proxyID=web-1",
        StatusCode::NOT_FOUND,
        "`web-1`",
    )
    .await;
    check("/debug/config_dump", StatusCode::BAD_REQUEST, "proxyID=").await;
    check(
        "/debug/why?proxyID=web-1.shop",
        StatusCode::BAD_REQUEST,
        "service=",
    )
    .await;
    check(
        "/debug/why?proxyID=web-1.shop&service=bad",
        StatusCode::BAD_REQUEST,
        "no host",
    )
    .await;
    check("/debug/nothing", StatusCode::NOT_FOUND, "`/debug/nothing`").await;
}

#[tokio::test]
async fn errors_are_json_for_a_client_that_accepts_json() {
    let (status, body) = ask(
        router(true),
        "/debug/sidecarz?proxyID=x",
        "127.0.0.1:9",
        "application/json",
    )
    .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let value: Value = serde_json::from_str(&body).unwrap();
    assert!(value["error"].as_str().unwrap().contains("`x`"));
}

#[tokio::test]
async fn debug_pages_are_refused_to_other_machines_and_probes_are_not() {
    for path in [
        "/debug/",
        "/debug/syncz",
        "/debug/config_dump?proxyID=web-1.shop",
        "/debug/problems",
    ] {
        let (status, body) = ask(router(true), path, "10.0.0.7:1", "*/*").await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {body}");
        assert!(body.contains("loopback"), "{path}: {body}");
    }
    for path in ["/ready", "/healthz", "/version", "/metrics"] {
        let (status, _) = ask(router(true), path, "10.0.0.7:1", "*/*").await;
        assert_eq!(status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn the_http_port_has_no_metrics() {
    let router = http_router(Arc::new(Scripted { ready: true }));
    let (status, _) = ask(router, "/metrics", "127.0.0.1:9", "*/*").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[test]
fn a_full_id_wins_over_a_pod_name_seen_earlier() {
    let ids = ["sidecar~1~a.b~x", "a.b"];
    assert_eq!(match_proxy(ids.into_iter(), "a.b"), Some("a.b"));
    assert_eq!(match_proxy(ids.into_iter(), "a"), None);
}

#[tokio::test]
async fn pages_about_the_mesh_have_istiods_paths() {
    for (path, page) in [
        ("/debug/adsz", "Adsz"),
        ("/debug/connections", "Connections"),
        ("/debug/registryz", "Registryz"),
        ("/debug/endpointz", "EndpointShardz"),
        ("/debug/endpointShardz", "EndpointShardz"),
        ("/debug/networkz", "Networkz"),
        ("/debug/configz", "Configz"),
        ("/debug/mesh", "Mesh"),
    ] {
        check(path, StatusCode::OK, &format!("\"page\":\"{page}\"")).await;
    }
    check(
        "/debug/adsz?proxyID=web",
        StatusCode::OK,
        "\"proxy\":\"web\"",
    )
    .await;
}

/// The routes as the source has them: a page that is added and not listed fails here.
#[tokio::test]
async fn index_lists_every_page_and_every_listed_page_is_there() {
    let source = include_str!("../../src/routes.rs");
    let routed: Vec<&str> = source
        .split(".route(")
        .skip(1)
        .filter_map(|rest| rest.split('"').nth(1))
        .filter(|path| !path.trim_end_matches('/').ends_with("/debug"))
        .collect();
    assert!(routed.len() > 15, "{routed:?}");
    let (_, index) = ask(router(true), "/debug/", "127.0.0.1:9", "*/*").await;
    for path in &routed {
        let (plain, query) = (format!("\"{path}\""), format!("\"{path}?"));
        assert!(
            index.contains(&plain) || index.contains(&query),
            "the index lacks {path}"
        );
    }
    let listed = index
        .split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    for link in listed {
        let path = link.split('?').next().unwrap();
        assert!(routed.contains(&path), "{path} is listed and not there");
    }
    check("/debug/list", StatusCode::OK, "\"endpointShardz\"").await;
}

/// What a caller of a namespace may read, page by page: what is about the mesh is refused, what is about proxies is
/// limited to its own.
#[tokio::test]
async fn a_caller_of_a_namespace_reads_what_is_about_its_own_proxies() {
    let far = "10.0.0.7:1";
    for (path, audience) in paths() {
        let query = match path {
            "/debug/config_dump" | "/debug/edsz" | "/debug/sidecarz" => "?proxyID=web-1.shop",
            "/debug/why" => "?proxyID=web-1.shop&service=a.b",
            _ => "",
        };
        let link = format!("{path}{query}");
        let ask = |token| ask_with(router(true), &link, far, "*/*", token);
        let (own, body) = ask(Some("ns-shop")).await;
        let (other, hidden) = ask(Some("ns-other")).await;
        let (system, _) = ask(Some("system")).await;
        let (nobody, _) = ask(Some("forged")).await;
        let (none, _) = ask(None).await;
        let (unknown, _) = ask(Some("down")).await;
        let got = [own, other, system, nobody, none, unknown].map(|status| status.as_u16());
        let about_one = !query.is_empty();
        let wanted = match audience {
            Audience::Anyone => [200; 6],
            Audience::Mesh => [403, 403, 200, 401, 403, 503],
            Audience::Proxies if about_one => [200, 404, 200, 401, 403, 503],
            Audience::Syncz | Audience::Index | Audience::Proxies => [200, 200, 200, 401, 403, 503],
        };
        assert_eq!(got, wanted, "{path}");
        match audience {
            Audience::Syncz => {
                assert!(body.contains("web-1.shop"), "{path}: {body}");
                assert_eq!(hidden, "[]\n", "{path}");
            }
            Audience::Proxies if about_one => assert!(
                hidden.contains("0 proxies are connected here"),
                "{path} tells of others: {hidden}"
            ),
            Audience::Proxies if path == "/debug/proxies" => assert_eq!(hidden, "[]\n"),
            Audience::Proxies => {
                let shown: Value = serde_json::from_str(&hidden).unwrap();
                assert_eq!(shown["namespace"], "other", "{path} is not limited");
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn only_the_page_of_the_sync_state_is_asked_for_as_such() {
    // The scripted decision opens it, and nothing else, to this peer.
    for (path, audience) in paths().filter(|(path, _)| path.starts_with("/debug")) {
        let (status, _) = ask(router(true), path, "[2001:db8::1]:9", "*/*").await;
        let open = status == StatusCode::OK;
        assert_eq!(open, audience == Audience::Syncz, "{path}: {status}");
    }
}

#[tokio::test]
async fn a_page_asked_for_within_the_process_is_the_page_of_these_rights() {
    let inspect: Arc<dyn Inspect> = Arc::new(Scripted { ready: true });
    let own = Rights::Namespace("shop".into());
    let other = Rights::Namespace("other".into());
    let ask = |rights: &Rights, page: &'static str| {
        let (inspect, rights) = (Arc::clone(&inspect), rights.clone());
        async move {
            let (status, body) = reef_admin::ask(&inspect, rights, page).await;
            (status, String::from_utf8(body.to_vec()).unwrap())
        }
    };
    let (status, body) = ask(&own, "config_dump?proxyID=web-1.shop").await;
    assert_eq!((status, body.contains(WEB)), (200, true), "{body}");
    assert_eq!(ask(&other, "config_dump?proxyID=web-1.shop").await.0, 404);
    assert_eq!(ask(&own, "configz").await.0, 403);
    assert_eq!(ask(&Rights::Everything, "configz").await.0, 200);
    for odd in ["../metrics", "nothing", "a b", "http://x/", ""] {
        let (status, body) = ask(&Rights::Everything, odd).await;
        assert!(status >= 400 || body.contains("<h1>Reef"), "{odd}: {body}");
        assert!(!body.contains("pilot_xds"), "{odd}: {body}");
    }
}

#[tokio::test]
async fn a_served_port_ends_requests_it_has_and_takes_no_new_ones() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(reef_admin::serve(listener, router(true), async {
        stopped.await.unwrap_or_default();
    }));
    let mut idle = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = b"GET /debug/proxies HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200", "the peer's address is known");
    stop.send(()).unwrap();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(5), serving.join_next()).await;
    ended
        .expect("idle connections hold nothing")
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap_or_default(), 0);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
