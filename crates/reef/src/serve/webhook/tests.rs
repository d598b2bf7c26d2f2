//! Tests of the webhooks over real TLS: what they answer, and what nobody can make them do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reef_inject::{Authority, Settings};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use super::{WebhookMetrics, Webhooks};

/// Webhooks that run until dropped, and how to reach them.
struct Served {
    addr: SocketAddr,
    client: Arc<ClientConfig>,
    settings: watch::Sender<Arc<Settings>>,
    _end: oneshot::Sender<()>,
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
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            bound.send(listener.local_addr().unwrap()).unwrap();
            let hooks = Webhooks::new(latest, WebhookMetrics::default()).validating(true);
            let end = async move { drop(ended.await) };
            hooks.serve(listener, &tls, end).await;
        });
    });
    Served {
        addr: addr.recv().unwrap(),
        client: Arc::new(client),
        settings,
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
