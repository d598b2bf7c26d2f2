//! Directories of objects and servers over them.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use reef::mesh::MeshOptions;
use reef::serve::{Running, Settings, start};
use reef_testkit::DeltaClient;
use reef_testkit::{Code, Status};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than a push takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A silence in which a response that was going to come would have come.
pub(crate) const QUIET: Duration = Duration::from_millis(400);

/// A Service with one port and its endpoints.
pub(crate) fn service(namespace: &str, name: &str, vip: &str, endpoints: &[&str]) -> String {
    let mut yaml = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{clusterIP: {vip}, ports: [{{name: http, port: 80}}]}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: {name}-a, namespace: {namespace}, labels: {{kubernetes.io/service-name: {name}}}}}\n\
         addressType: IPv4\nports: [{{name: http, port: 80, protocol: TCP}}]\nendpoints:\n"
    );
    for address in endpoints {
        writeln!(
            yaml,
            "- {{addresses: [{address}], conditions: {{ready: true}}}}"
        )
        .unwrap();
    }
    yaml
}

/// A running pod.
pub(crate) fn pod(namespace: &str, name: &str, ip: &str, labels: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}\n\
         spec: {{serviceAccountName: {name}-account}}\nstatus: {{podIP: {ip}, podIPs: [{{ip: {ip}}}], phase: Running}}\n"
    )
}

/// A Sidecar for a whole namespace.
pub(crate) fn sidecar(namespace: &str, hosts: &[&str]) -> String {
    let hosts: Vec<String> = hosts.iter().map(|host| format!("\"{host}\"")).collect();
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: default, namespace: {namespace}}}\n\
         spec: {{egress: [{{hosts: [{}]}}]}}\n",
        hosts.join(", ")
    )
}

/// The node id of a pod.
pub(crate) fn node(pod: &str, namespace: &str) -> String {
    format!("sidecar~10.9.9.9~{pod}.{namespace}~{namespace}.svc.cluster.local")
}

/// Writes a file as editors do: beside it, then renamed over it.
pub(crate) fn write(dir: &Path, name: &str, text: &str) {
    let draft = dir.join(format!(".{name}.tmp"));
    std::fs::write(&draft, text).unwrap();
    std::fs::rename(draft, dir.join(name)).unwrap();
}

/// A directory with these files.
pub(crate) fn directory(files: &[(&str, String)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(dir.path(), name, text);
    }
    dir
}

/// Settings over a directory, on free ports.
pub(crate) fn settings(dir: &Path) -> Settings {
    let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Settings {
        config_dirs: vec![dir.to_path_buf()],
        cluster: None,
        mesh_config: None,
        mesh: MeshOptions::default(),
        grpc_addr: free,
        channel: reef::serve::ChannelSettings::default(),
        http_addr: free,
        monitoring_addr: free,
        insecure_xds: false,
        webhooks: reef::serve::webhook::WebhookArgs::default(),
        status: false,
        debounce_after: Duration::from_millis(10),
        debounce_max: Duration::from_millis(100),
        compare_every: Duration::from_secs(30),
        drain_duration: Duration::from_millis(400),
        max_server_conn_age: None,
    }
}

/// A server of a directory, on free ports.
pub(crate) async fn serve(dir: &Path) -> Running {
    start(settings(dir)).await.unwrap()
}

/// Asks the monitoring port for a page; the status code and the body.
pub(crate) async fn page(server: &Running, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(server.monitoring_addr())
        .await
        .unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nAccept: application/json\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// A page that is there, as JSON.
pub(crate) async fn json(server: &Running, path: &str) -> Value {
    let (status, body) = page(server, path).await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// Asks for a page until `done` holds for it.
pub(crate) async fn json_until(
    server: &Running,
    path: &str,
    done: impl Fn(&Value) -> bool,
) -> Value {
    let mut last = Value::Null;
    for _ in 0..200 {
        last = json(server, path).await;
        if done(&last) {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{path} never came to that: {last}")
}

/// Connects as soon as the server is ready; until then it answers `Unavailable`, and nothing else.
pub(crate) async fn connect(server: &Running, node: &str) -> DeltaClient {
    until_ready(|| DeltaClient::connect(server.grpc_addr(), node)).await
}

/// Tries until the first response is there, and hands the client over with everything settled.
pub(crate) async fn until_ready<F>(mut attempt: impl FnMut() -> F) -> DeltaClient
where
    F: Future<Output = Result<DeltaClient, Status>>,
{
    for _ in 0..200 {
        let outcome = match attempt().await {
            Ok(mut client) => client.settle(QUIET).await.map(|answers| (client, answers)),
            Err(status) => Err(status),
        };
        match outcome {
            Ok((client, answers)) => {
                assert!(!answers.is_empty(), "a proxy that starts is told something");
                return client;
            }
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the server did not become ready");
}
