//! What one edit costs: bytes on the sockets of proxies, files read and documents parsed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reef::serve::Running;
use reef_testkit::DeltaClient;
use reef_xds::ResourceType;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::mesh::{
    PATIENCE, QUIET, connect, directory, node, page, serve, service, sidecar, write,
};

/// A relay before the server that counts what the server sends.
struct Relay {
    addr: SocketAddr,
    bytes: Arc<AtomicU64>,
}

impl Relay {
    async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let bytes = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&bytes);
        let mut tasks = tokio::task::JoinSet::new();
        let accept = async move {
            while let Ok((client, _)) = listener.accept().await {
                let upstream = TcpStream::connect(server).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = upstream.into_split();
                let count = Arc::clone(&count);
                tasks.spawn(async move {
                    // Ends when either side does.
                    let _end = tokio::io::copy(&mut from_client, &mut to_server).await;
                });
                tasks.spawn(async move {
                    let mut buffer = vec![0; 65_536];
                    while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
                        count.fetch_add(u64::try_from(read).unwrap(), Ordering::SeqCst);
                        if to_client.write_all(&buffer[..read]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "ends with the runtime of its test"
        )]
        tokio::spawn(accept);
        Self { addr, bytes }
    }

    /// What came since the last call.
    fn take(&self) -> u64 {
        self.bytes.swap(0, Ordering::SeqCst)
    }
}

struct Proxy {
    relay: Relay,
    client: DeltaClient,
}

impl Proxy {
    /// Connects through a relay and takes everything.
    async fn settled(server: &Running, node: &str) -> Self {
        let relay = Relay::start(server.grpc_addr()).await;
        let mut client = DeltaClient::connect(relay.addr, node).await.unwrap();
        client.next(PATIENCE).await.unwrap().unwrap();
        client.settle(QUIET * 3).await.unwrap();
        assert!(relay.take() > 1000, "everything is more than that");
        Self { relay, client }
    }
}

/// The value of a metric without labels, or of the one with these.
async fn metric(server: &Running, name: &str) -> u64 {
    let (_, text) = page(server, "/metrics").await;
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .unwrap_or("0")
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_edit_of_2000_services_is_one_resource_on_the_wire_and_one_file_read() {
    let vip = |i: usize| format!("10.97.{}.{}", i / 250, i % 250 + 1);
    let text =
        |i: usize, endpoints: &[&str]| service("shop", &format!("s{i:04}"), &vip(i), endpoints);
    let mut files: Vec<(String, String)> = (0..2000)
        .map(|i| (format!("s{i:04}.yaml"), text(i, &["10.1.0.1", "10.1.0.2"])))
        .collect();
    for (namespace, hosts) in [
        ("near", "shop/s0007.shop.svc.cluster.local"),
        ("far", "shop/s0008.shop.svc.cluster.local"),
    ] {
        files.push((format!("{namespace}.yaml"), sidecar(namespace, &[hosts])));
    }
    let files: Vec<(&str, String)> = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.clone()))
        .collect();
    let dir = directory(&files);
    let server = serve(dir.path()).await;
    // Ready once somebody was answered.
    drop(connect(&server, &node("first", "near")).await);
    let mut importers = Vec::new();
    for pod in ["a", "b"] {
        importers.push(Proxy::settled(&server, &node(pod, "near")).await);
    }
    // Imports everything, so it imports the service too.
    importers.push(Proxy::settled(&server, &node("c", "elsewhere")).await);
    let mut stranger = Proxy::settled(&server, &node("d", "far")).await;

    let counted = [
        "reef_source_files_read_total",
        "reef_source_documents_parsed_total",
        "reef_source_walks_total",
        "pilot_xds_pushes{type=\"eds\"}",
        "pilot_xds_pushes{type=\"cds\"}",
        "reef_xds_pushed_resources_total{type=\"eds\"}",
    ];
    let mut before = Vec::new();
    for name in counted {
        before.push(metric(&server, name).await);
    }
    write(
        dir.path(),
        "s0007.yaml",
        &text(7, &["10.1.0.1", "10.1.0.9"]),
    );
    for Proxy { relay, client } in &mut importers {
        let answer = client.next(PATIENCE).await.unwrap().unwrap();
        assert_eq!(answer.ty, ResourceType::Endpoint);
        assert_eq!(answer.names, ["outbound|80||s0007.shop.svc.cluster.local"]);
        assert_eq!(client.settle(QUIET).await.unwrap(), []);
        let bytes = relay.take();
        assert!(
            (100..1500).contains(&bytes),
            "{bytes} bytes on the wire for two endpoints"
        );
    }
    assert_eq!(stranger.client.settle(QUIET).await.unwrap(), []);
    // A ping of HTTP/2 is 17 bytes, and all it may be.
    let bytes = stranger.relay.take();
    assert!(
        bytes <= 34,
        "{bytes} bytes for a proxy that imports nothing of it"
    );

    let mut cost = Vec::new();
    for (name, before) in counted.into_iter().zip(before) {
        cost.push((name, metric(&server, name).await - before));
    }
    let cost: Vec<u64> = cost.into_iter().map(|(_, count)| count).collect();
    // One file, of it one document, no comparison of all names; three responses with a resource each.
    assert_eq!(cost, [1, 1, 0, 3, 0, 3], "{counted:?}");
}
