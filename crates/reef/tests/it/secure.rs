//! The encrypted port: what a handshake must be, how long it may take, how its certificate is exchanged, and what is left
//! when there are no file descriptors.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reef::serve::{Certificate, ChannelSettings, Running, start};
use reef_identity::certs::{KeyedCert, LEAF_LIFE, issue_leaf, make_ca};
use reef_testkit::DeltaClient;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{
    self, ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion,
};

use crate::mesh::{PATIENCE, QUIET, directory, node, page, service, settings, until_ready, write};

const NAME: &str = "reef.reef-system.svc";

#[expect(clippy::disallowed_methods, reason = "certificates are for now")]
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// A server over files with a certificate of its own authority.
struct Secure {
    server: Running,
    config: TempDir,
    files: TempDir,
    ca: KeyedCert,
}

fn put(files: &Path, leaf: &KeyedCert) {
    write(files, "tls.key", &leaf.key);
    write(files, "tls.crt", &leaf.cert);
}

async fn secure() -> Secure {
    let ca = make_ca("test", now()).unwrap();
    let leaf = issue_leaf(&ca, &[NAME.to_owned()], now(), LEAF_LIFE).unwrap();
    let files = tempfile::tempdir().unwrap();
    put(files.path(), &leaf);
    let config = directory(&[("a.yaml", service("shop", "web", "10.96.0.1", &["10.1.0.1"]))]);
    let mut settings = settings(config.path());
    settings.channel = ChannelSettings {
        secure_addr: Some("127.0.0.1:0".parse().unwrap()),
        certificate: Certificate::Files {
            cert: files.path().join("tls.crt"),
            key: files.path().join("tls.key"),
        },
        ..ChannelSettings::default()
    };
    Secure {
        server: start(settings).await.unwrap(),
        config,
        files,
        ca,
    }
}

impl Secure {
    fn addr(&self) -> SocketAddr {
        self.server.secure_addr().unwrap()
    }

    fn connector(
        &self,
        version: &'static SupportedProtocolVersion,
        alpn: &[&[u8]],
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.ca.cert.as_bytes()).unwrap();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    fn h2(&self) -> TlsConnector {
        self.connector(&rustls::version::TLS13, &[b"h2"])
    }

    /// The certificate a handshake shows now.
    async fn shown(&self) -> Vec<u8> {
        let stream = TcpStream::connect(self.addr()).await.unwrap();
        let stream = handshake(&self.h2(), stream).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    async fn metrics(&self) -> String {
        page(&self.server, "/metrics").await.1
    }
}

async fn handshake(
    connector: &TlsConnector,
    stream: TcpStream,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = NAME.try_into().unwrap();
    connector.connect(name, stream).await
}

/// A way through TLS for a client that has none; `to` is the encrypted port.
async fn tunnel(connector: TlsConnector, to: SocketAddr, tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let mut inner = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            let connector = connector.clone();
            inner.spawn(async move {
                let stream = TcpStream::connect(to).await.unwrap();
                let mut server = handshake(&connector, stream).await.unwrap();
                // Ends when either side does.
                let _end = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    addr
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_served_over_tls_and_outlives_the_certificate() {
    let secure = secure().await;
    let mut tasks = JoinSet::new();
    let through = tunnel(secure.h2(), secure.addr(), &mut tasks).await;
    let who = node("web-1", "shop");
    let mut client = until_ready(|| DeltaClient::connect(through, &who)).await;

    let before = secure.shown().await;
    // Half of an exchange is none: a key of another certificate changes nothing.
    let other = issue_leaf(&secure.ca, &[NAME.to_owned()], now(), LEAF_LIFE).unwrap();
    write(secure.files.path(), "tls.key", &other.key);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(secure.shown().await, before);
    put(secure.files.path(), &other);
    let wanted = CertificateDer::from_pem_slice(other.cert.as_bytes()).unwrap();
    let mut shown = before.clone();
    for _ in 0..100 {
        shown = secure.shown().await;
        if shown == wanted.as_ref() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(shown, wanted.as_ref());

    let more = service("shop", "cart", "10.96.0.2", &["10.1.0.2"]);
    write(secure.config.path(), "b.yaml", &more);
    assert!(
        client.next(PATIENCE).await.unwrap().is_some(),
        "a push on the old connection"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_is_tls_1_3_for_http_2() {
    let secure = secure().await;
    let connect = || async { TcpStream::connect(secure.addr()).await.unwrap() };
    let old = secure.connector(&rustls::version::TLS12, &[b"h2"]);
    assert!(handshake(&old, connect().await).await.is_err());
    let http1 = secure.connector(&rustls::version::TLS13, &[b"http/1.1"]);
    assert!(handshake(&http1, connect().await).await.is_err());
    // Who names no protocol is let go after the handshake; plaintext and noise before.
    let silent = secure.connector(&rustls::version::TLS13, &[]);
    let mut silent = handshake(&silent, connect().await).await.unwrap();
    let mut byte = [0];
    assert!(!matches!(silent.read(&mut byte).await, Ok(1..)));
    for noise in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0; 64],
    ] {
        let mut stream = connect().await;
        stream.write_all(noise).await.unwrap();
        let mut rest = Vec::new();
        let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "{noise:?}");
        assert!(rest.len() < 64, "{rest:?}");
    }
    let metrics = secure.metrics().await;
    assert!(
        metrics.contains("reef_xds_handshakes_failed_total{reason=\"handshake\"} 6"),
        "{metrics}"
    );
    assert!(handshake(&secure.h2(), connect().await).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_session_is_kept_for_a_client_that_comes_back() {
    let secure = secure().await;
    let connector = secure.h2();
    for _ in 0..2 {
        let stream = TcpStream::connect(secure.addr()).await.unwrap();
        let mut stream = handshake(&connector, stream).await.unwrap();
        // With the first word of HTTP/2 the client has read whatever it could go on with.
        assert!(stream.read(&mut [0; 9]).await.unwrap() > 0);
        let session = stream.get_ref().1;
        assert_eq!(session.tls13_tickets_received(), 0);
        assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_are_not_finished_keep_nobody_out() {
    let secure = secure().await;
    // The beginning of a record that never comes.
    let mut held = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(secure.addr()).await.unwrap();
        stream.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
        held.push(stream);
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let other = async {
        let stream = socket.connect(secure.addr()).await.unwrap();
        handshake(&secure.h2(), stream).await.unwrap()
    };
    let other = tokio::time::timeout(Duration::from_secs(2), other).await;
    assert!(other.is_ok(), "another address gets in meanwhile");
    // Those beyond what one address may have were let go at once, the others when their time was up.
    for stream in &mut held {
        let mut byte = [0];
        let end = tokio::time::timeout(PATIENCE, stream.read(&mut byte)).await;
        assert!(!matches!(end, Err(_) | Ok(Ok(1..))), "{end:?}");
    }
    let metrics = secure.metrics().await;
    for line in [
        "reef_xds_handshakes_failed_total{reason=\"too-many-of-one-address\"} 44",
        "reef_xds_handshakes_failed_total{reason=\"deadline\"} 256",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert!(secure.shown().await.len() > 100);
}

#[tokio::test]
async fn a_certificate_that_is_of_no_use_ends_the_start() {
    let config = directory(&[]);
    let mut settings = settings(config.path());
    settings.channel.secure_addr = Some("127.0.0.1:0".parse().unwrap());
    let error = start(settings.clone()).await.unwrap_err();
    assert!(
        format!("{error:#}").contains("--tls-cert-file"),
        "{error:#}"
    );
    settings.channel.certificate = Certificate::Files {
        cert: "/nowhere/tls.crt".into(),
        key: "/nowhere/tls.key".into(),
    };
    let error = start(settings).await.unwrap_err();
    assert!(
        format!("{error:#}").contains("/nowhere/tls.crt"),
        "{error:#}"
    );
}

/// A process that ends with its value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

async fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_file_descriptors_streams_live_and_accepting_goes_on_later() {
    let config = directory(&[("a.yaml", service("shop", "web", "10.96.0.1", &["10.1.0.1"]))]);
    let (grpc, http, monitoring) = (free_port().await, free_port().await, free_port().await);
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "ulimit -n 64; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_reef"),
        ])
        .args(["serve", "--config-dir"])
        .arg(config.path())
        .args(["--grpc-addr", &grpc.to_string()])
        .args(["--http-addr", &http.to_string()])
        .args(["--monitoring-addr", &monitoring.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _reef = Process(command.spawn().unwrap());
    let who = node("web-1", "shop");
    let mut client = until_ready(|| DeltaClient::connect(grpc, &who)).await;

    let mut held = Vec::new();
    for _ in 0..120 {
        held.push(TcpStream::connect(grpc).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(
        client.next(QUIET).await.unwrap().is_none(),
        "the stream lives"
    );
    drop(held);
    let again = tokio::time::timeout(Duration::from_secs(5), DeltaClient::connect(grpc, &who));
    assert!(again.await.unwrap().is_ok());
    let more = service("shop", "cart", "10.96.0.2", &["10.1.0.2"]);
    write(config.path(), "b.yaml", &more);
    assert!(
        client.next(PATIENCE).await.unwrap().is_some(),
        "a push on the first stream"
    );
    let mut stream = TcpStream::connect(monitoring).await.unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).await.unwrap();
    let refused = metrics
        .lines()
        .find_map(|line| line.strip_prefix("reef_xds_accepts_failed_total "));
    assert!(refused.is_some_and(|count| count != "0"), "{metrics}");
}
