//! Tests of the webhooks over real TLS: what they answer, and what nobody can make them do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use reef_config::{Change, ChangeBatch, Origin, parse};
use reef_inject::{Authority, Settings};
use reef_mesh::MeshIndex;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use super::{WebhookMetrics, Webhooks};
use crate::serve::shared::Shared;

/// Webhooks that run until dropped, and how to reach them.
struct Served {
    addr: SocketAddr,
    client: Arc<ClientConfig>,
    settings: watch::Sender<Arc<Settings>>,
    metrics: WebhookMetrics,
    _end: oneshot::Sender<()>,
}

/// Settings of the workloads of one namespace that have a label.
const PROXY_CONFIG: &str = "
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {name: many, namespace: shop}
spec: {selector: {matchLabels: {threads: many}}, concurrency: 7}
";

fn origin() -> Origin {
    Origin {
        path: Arc::from("mesh.yaml"),
        line: 1,
    }
}

fn key_pair(dir: &Path) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-subj",
            "/CN=reef",
            "-addext",
            "subjectAltName=DNS:reef.test",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .expect("openssl makes a certificate");
    assert!(made.status.success(), "{made:?}");
    (
        CertificateDer::from_pem_file(cert).unwrap(),
        PrivateKeyDer::from_pem_file(key).unwrap(),
    )
}

fn serve() -> Served {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = key_pair(dir.path());
    let tls = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert).unwrap();
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    let settings = Settings {
        authority: Authority::Inline("-----BEGIN CERTIFICATE-----".to_owned()),
        ..Settings::default()
    };
    let (settings, latest) = watch::channel(Arc::new(settings));
    let (end, ended) = oneshot::channel::<()>();
    let (bound, addr) = std::sync::mpsc::channel();
    let mut index = MeshIndex::default();
    let mesh = parse::mesh_config("defaultConfig: {concurrency: 6}", &origin());
    let object = parse::object(PROXY_CONFIG, &origin()).objects.remove(0);
    index.apply(ChangeBatch {
        changes: vec![
            Change::MeshConfig(Arc::new(mesh.unwrap().0)),
            Change::Apply(Arc::new(object)),
        ],
        synced: true,
    });
    let shared = Arc::new(Shared::following(None, None));
    shared.snapshot.store(Some(Arc::clone(index.snapshot())));
    let metrics = WebhookMetrics::default();
    let counted = metrics.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            bound.send(listener.local_addr().unwrap()).unwrap();
            let hooks = Webhooks::new(latest, counted)
                .validating(true)
                .of_mesh(shared);
            let end = async move { drop(ended.await) };
            hooks.serve(listener, &tls, end).await;
        });
    });
    Served {
        addr: addr.recv().unwrap(),
        client: Arc::new(client),
        settings,
        metrics,
        _end: end,
    }
}

impl Served {
    fn connect(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::try_from("reef.test").unwrap();
        let session = ClientConnection::new(Arc::clone(&self.client), name).unwrap();
        let stream = TcpStream::connect(self.addr).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        StreamOwned::new(session, stream)
    }

    /// Status and body of one request on a connection of its own.
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> (u16, String) {
        let mut stream = self.connect();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: reef.test\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        // A server that refuses need not read all of it.
        let _unsent = stream.write_all(body);
        answer(&mut stream)
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, text) = self.ask("POST", path, body.to_string().as_bytes());
        (status, serde_json::from_str(&text).unwrap_or_default())
    }
}

fn answer(stream: &mut impl Read) -> (u16, String) {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        // The connection may end without the last word of TLS.
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(count) => bytes.extend(&chunk[..count]),
        }
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    (status.unwrap_or_default(), body.to_owned())
}

fn review(object: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u", "operation": "CREATE", "namespace": "shop", "object": object,
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
        },
    })
}

fn pod() -> Value {
    json!({ "metadata": {}, "spec": { "containers": [{ "name": "app" }] } })
}

#[test]
fn pods_are_injected_by_the_latest_settings_on_both_of_istiods_paths() {
    let served = serve();
    for path in ["/inject", "/inject/cluster/east/net/n1"] {
        let (status, answer) = served.post(path, &review(&pod()));
        assert_eq!(status, 200);
        assert_eq!(answer["response"]["patchType"], "JSONPatch");
    }
    let first = served.post("/inject", &review(&pod())).1;
    served.settings.send_modify(|settings| {
        Arc::make_mut(settings).proxy_image = "another:1".to_owned();
    });
    let second = served.post("/inject", &review(&pod())).1;
    assert_ne!(first["response"]["patch"], second["response"]["patch"]);
}

#[test]
fn pods_are_injected_as_the_mesh_says() {
    let served = serve();
    let patch = |pod: &Value| {
        let answer = served.post("/inject", &review(pod)).1;
        let patch = answer["response"]["patch"].as_str().unwrap().to_owned();
        String::from_utf8(STANDARD.decode(patch).unwrap()).unwrap()
    };
    let threads = |number: u8| format!("\"--concurrency\",\"{number}\"");
    let plain = patch(&pod());
    assert!(plain.contains(&threads(6)), "{plain}");
    let mut labelled = pod();
    labelled["metadata"] = json!({ "labels": { "threads": "many" } });
    let chosen = patch(&labelled);
    assert!(chosen.contains(&threads(7)), "{chosen}");
}

#[test]
fn objects_are_validated() {
    let served = serve();
    let mut review = review(&json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Sidecar",
        "metadata": { "name": "s" }, "spec": { "egress": [] , "ingress": [{}] },
    }));
    review["request"]["kind"] =
        json!({ "group": "networking.istio.io", "version": "v1", "kind": "Sidecar" });
    let (status, answer) = served.post("/validate", &review);
    assert_eq!(
        (status, &answer["response"]["allowed"]),
        (200, &json!(false))
    );
    review["request"]["object"]["spec"] = json!({ "egress": [{ "hosts": ["./*"] }] });
    let (_, answer) = served.post("/validate", &review);
    assert_eq!(answer["response"]["allowed"], true, "{answer}");
}

#[test]
fn answers_are_counted_under_istiods_names_and_resources_are_not_told_apart_without_end() {
    let served = serve();
    let page = || {
        let mut registry = Registry::default();
        served.metrics.register(&mut registry);
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        page
    };
    let mut review = review(&json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Sidecar",
        "metadata": { "name": "s" }, "spec": { "egress": [{ "hosts": ["./*"] }] },
    }));
    review["request"]["kind"] =
        json!({ "group": "networking.istio.io", "version": "v1", "kind": "Sidecar" });
    review["request"]["resource"] =
        json!({ "group": "networking.istio.io", "version": "v1", "resource": "sidecars" });
    served.post("/validate", &review);
    served.post("/validate", &review);
    review["request"]["object"]["spec"] = json!({ "egress": [], "ingress": [{}] });
    served.post("/validate", &review);
    served.ask("POST", "/validate", b"{}");
    let (status, _) = served.post("/inject", &self::review(&pod()));
    assert_eq!(status, 200);
    let text = page();
    let sidecars = "group=\"networking.istio.io\",version=\"v1\",resource=\"sidecars\"";
    for line in [
        format!("galley_validation_passed{{{sidecars}}} 2"),
        format!("galley_validation_failed{{{sidecars},reason=\"invalid_resource\"}} 1"),
        "galley_validation_http_error{status=\"400\"} 1".to_owned(),
        "sidecar_injection_time_seconds_count 1".to_owned(),
        "sidecar_injection_success_total 1".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "no {line}: {text}");
    }
    review["request"]["operation"] = json!("DELETE");
    for number in 0..70 {
        review["request"]["resource"]["resource"] = json!(format!("made-up-{number}"));
        served.post("/validate", &review);
    }
    let text = page();
    let series = |line: &&str| line.starts_with("galley_validation_passed{");
    assert_eq!(text.lines().filter(series).count(), 59, "{text}");
    assert!(text.contains("reef_validation_passed_total 72"), "{text}");
}

#[test]
fn what_is_no_review_is_answered_with_its_status() {
    let served = serve();
    assert_eq!(
        served.ask("POST", "/inject", b"kind: AdmissionReview").0,
        400
    );
    assert_eq!(served.ask("POST", "/inject", b"{}").0, 400);
    assert_eq!(served.ask("POST", "/inject", b"").0, 400);
    assert_eq!(served.ask("POST", "/validate", b"\xff").0, 400);
    assert_eq!(served.ask("GET", "/inject", b"").0, 405);
    assert_eq!(served.ask("POST", "/injection", b"{}").0, 404);
    assert_eq!(served.ask("GET", "/ready", b"").0, 200);
    let deep = format!("{}1{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
    let body = review(&json!("HERE"))
        .to_string()
        .replace("\"HERE\"", &deep);
    let (status, text) = served.ask("POST", "/inject", body.as_bytes());
    assert_eq!(status, 200);
    assert!(text.contains("\"allowed\":false"), "{text}");
}

#[test]
fn a_body_of_a_hundred_megabytes_is_refused_unread() {
    let served = serve();
    // By its length, before any of it is sent.
    let mut stream = served.connect();
    let head = "POST /inject HTTP/1.1\r\nhost: reef.test\r\ncontent-length: 104857600\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(answer(&mut stream).0, 413);
    // Without a length, once it is too long.
    let mut stream = served.connect();
    let head = "POST /inject HTTP/1.1\r\nhost: reef.test\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 1 << 16], b"\r\n".to_vec()].concat();
    for _ in 0..65 {
        if stream.write_all(&chunk).is_err() {
            break;
        }
    }
    let (status, _) = answer(&mut stream);
    assert_eq!(status, 413);
}

/// A frame of HTTP/2 of the first stream, or of the connection.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

#[test]
fn whoever_breaks_off_a_large_body_holds_up_nobody() {
    let served = serve();
    let mut client = (*served.client).clone();
    client.alpn_protocols = vec![b"h2".to_vec()];
    let http2 = Served {
        client: Arc::new(client),
        addr: served.addr,
        settings: served.settings.clone(),
        metrics: served.metrics.clone(),
        _end: oneshot::channel().0,
    };
    // POST, https, /inject, a host, and a length.
    let head = b"\x83\x87\x04\x07/inject\x01\x01x\x0f\x0d\x09100000000";
    let attack = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, 4, 1, head),
        frame(0, 0, 1, &[b' '; 100]),
    ]
    .concat();
    // As many as the server has threads, and more.
    for _ in 0..4 {
        let mut stream = http2.connect();
        stream.write_all(&attack).unwrap();
        // It is refused, and what comes of it read for a while; then it is cancelled.
        std::thread::sleep(Duration::from_millis(100));
        stream.write_all(&frame(3, 0, 1, &[0, 0, 0, 8])).unwrap();
    }
    std::thread::sleep(Duration::from_millis(200));
    let (status, _) = served.post("/inject", &review(&pod()));
    assert_eq!(status, 200);
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the answer's time on a real socket is what is tested"
)]
fn five_hundred_at_once_are_answered_and_slow_ones_hold_up_nobody() {
    let served = Arc::new(serve());
    // Reviews that never end, and connections that never speak.
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = served.connect();
        let head = "POST /inject HTTP/1.1\r\nhost: reef.test\r\ncontent-length: 1000\r\n\r\n{";
        stream.write_all(head.as_bytes()).unwrap();
        slow.push(stream);
    }
    let silent: Vec<TcpStream> = (0..20)
        .map(|_| TcpStream::connect(served.addr).unwrap())
        .collect();
    let body = Arc::new(review(&pod()).to_string());
    let threads: Vec<_> = (0..50)
        .map(|_| {
            let (served, body) = (Arc::clone(&served), Arc::clone(&body));
            std::thread::spawn(move || {
                (0..10)
                    .filter(|_| served.ask("POST", "/inject", body.as_bytes()).0 == 200)
                    .count()
            })
        })
        .collect();
    let answered: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
    assert_eq!(answered, 500);
    // Alone again, one is quick; the machine may be busy with other tests, so the best of some counts.
    let mut stream = served.connect();
    let best = (0..20)
        .map(|_| {
            let begin = Instant::now();
            let length = body.len();
            write!(
                stream,
                "POST /inject HTTP/1.1\r\nhost: reef.test\r\ncontent-length: {length}\r\n\r\n{body}"
            )
            .unwrap();
            let mut first = [0; 16384];
            assert!(stream.read(&mut first).unwrap() > 0);
            begin.elapsed()
        })
        .min();
    assert!(best < Some(Duration::from_millis(50)), "{best:?}");
    drop((slow, silent));
}
