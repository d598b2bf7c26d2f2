//! The process at its end: SIGTERM with proxies connected.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reef_testkit::{Code, DeltaClient};
use serde_json::Value;
use tokio::time::Instant;

use crate::mesh::{QUIET, directory, node, service};

/// A `reef serve` in a process of its own.
pub(crate) struct Process {
    child: Child,
    pub(crate) grpc: SocketAddr,
    monitoring: SocketAddr,
}

impl Process {
    pub(crate) fn start(dir: &Path, options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_reef"))
            .args(["serve", "--log-format", "json", "--config-dir"])
            .arg(dir)
            .args(["--grpc-addr", "127.0.0.1:0"])
            .args(["--http-addr", "127.0.0.1:0"])
            .args(["--monitoring-addr", "127.0.0.1:0"])
            .args(options)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening: Value = lines
            .by_ref()
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .find(|line: &Value| line["message"] == "listening")
            .unwrap();
        // The pipe is read to its end, so that the process never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        let addr = |field: &str| {
            let text = listening[field].as_str().unwrap();
            text.parse().unwrap()
        };
        Self {
            grpc: addr("grpc"),
            monitoring: addr("monitoring"),
            child,
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// The exit code, once the process ended.
    pub(crate) async fn ended(&mut self, patience: Duration) -> Option<i32> {
        let start = Instant::now();
        while start.elapsed() < patience {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the process did not end within {patience:?}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A proxy of this process, settled, as soon as it serves.
pub(crate) async fn connected(process: &Process, pod: &str) -> DeltaClient {
    for _ in 0..200 {
        if let Ok(mut client) = DeltaClient::connect(process.grpc, &node(pod, "shop")).await
            && client.settle(QUIET).await.is_ok()
        {
            return client;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the process did not become ready");
}

fn ready(addr: SocketAddr) -> Option<u16> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(addr).ok()?;
    stream.write_all(b"GET /ready HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_open_streams_spread_over_the_drain_duration() {
    let dir = directory(&[(
        "web.yaml",
        service("shop", "web", "10.96.0.1", &["10.1.0.1"]),
    )]);
    let mut process = Process::start(dir.path(), &["--drain-duration", "2s"]);
    let mut clients = Vec::new();
    for i in 0..8 {
        clients.push(connected(&process, &format!("web-{i}")).await);
    }
    assert_eq!(ready(process.monitoring), Some(200));
    let start = Instant::now();
    process.signal("TERM");
    let mut ends = Vec::new();
    let mut tasks = tokio::task::JoinSet::new();
    for mut client in clients {
        tasks.spawn(async move {
            loop {
                match client.next(Duration::from_secs(10)).await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("the stream stayed open"),
                    Err(status) => return (start.elapsed(), status.code()),
                }
            }
        });
    }
    // Not ready from the first moment on, while streams still live.
    let mut seen = Vec::new();
    while start.elapsed() < Duration::from_millis(300) {
        seen.push(ready(process.monitoring));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(seen.contains(&Some(503)), "{seen:?}");
    while let Some(end) = tasks.join_next().await {
        ends.push(end.unwrap());
    }
    ends.sort_by_key(|(at, _)| *at);
    let (first, last) = (ends.first().unwrap(), ends.last().unwrap());
    assert!(last.0 < Duration::from_secs(4), "{ends:?}");
    assert!(
        last.0.saturating_sub(first.0) > Duration::from_millis(100),
        "all at once: {ends:?}"
    );
    assert!(
        ends.iter().all(|(_, code)| *code == Code::Unavailable),
        "{ends:?}"
    );
    assert_eq!(process.ended(Duration::from_secs(5)).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn second_sigint_ends_the_process_at_once() {
    let dir = directory(&[(
        "web.yaml",
        service("shop", "web", "10.96.0.1", &["10.1.0.1"]),
    )]);
    let mut process = Process::start(dir.path(), &["--drain-duration", "60s"]);
    let mut clients = Vec::new();
    for i in 0..4 {
        clients.push(connected(&process, &format!("web-{i}")).await);
    }
    process.signal("INT");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(process.child.try_wait().unwrap().is_none(), "it drains");
    process.signal("INT");
    assert_eq!(process.ended(Duration::from_secs(5)).await, Some(130));
}
