//! All apps of a mesh in one: it is every address, and tells at which it was called, and with what.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::mesh::PORTS;
use crate::questions::{FAIL, ID, SLEEP};

/// A request as an app got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) at: String,
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
}

/// What apps got, by id of the request, in order.
pub(crate) type Log = Arc<Mutex<BTreeMap<String, Vec<Seen>>>>;

/// Headers of every answer of an app; some are what rules set, add to or remove.
pub(crate) const HEADERS: [(&str, &str); 4] = [
    ("x-set", "app"),
    ("x-both", "app"),
    ("x-remove", "app"),
    ("x-kept", "app"),
];
/// Header of an answer with the place of the request among those of its id.
pub(crate) const SERIAL: &str = "x-app-serial";
/// What a client says that speaks no HTTP.
pub(crate) const HELLO: &[u8] = b"ORACLE\n";

/// Listens on all ports.
pub(crate) async fn start(log: &Log, servers: &mut JoinSet<()>) -> Result<()> {
    for port in PORTS {
        // The proxy's own socket may be at the same port of loopback.
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseport(true)?;
        socket
            .bind((Ipv4Addr::UNSPECIFIED, port).into())
            .with_context(|| format!("port {port}"))?;
        let listener = socket.listen(1024)?;
        let log = Arc::clone(log);
        servers.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    open.spawn(connection(stream, Arc::clone(&log)));
                }
                while open.try_join_next().is_some() {}
            }
        });
    }
    Ok(())
}

async fn connection(stream: TcpStream, log: Log) {
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let mut first = [0_u8; 1];
    if !stream.peek(&mut first).await.is_ok_and(|read| read > 0) {
        return;
    }
    // No method of these tests begins with an O, except OPTIONS; a handshake begins with 22.
    let mut start = [0_u8; 2];
    let read = stream.peek(&mut start).await.unwrap_or(0);
    if first[0] == 22 || (read == 2 && start == *b"OR") {
        raw(stream, local).await.unwrap_or_default();
        return;
    }
    let service = service_fn(move |request| answer(request, local, Arc::clone(&log)));
    auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
        .unwrap_or_default();
}

async fn raw(mut stream: TcpStream, local: SocketAddr) -> std::io::Result<()> {
    let mut buffer = [0_u8; 2048];
    let _read = stream.read(&mut buffer).await?;
    stream.write_all(format!("{local}\n").as_bytes()).await?;
    stream.shutdown().await
}

async fn answer(
    request: Request<Incoming>,
    local: SocketAddr,
    log: Log,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = |name: &str| {
        let all = request.headers().get_all(name).iter();
        let all = all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        all.collect::<Vec<_>>().join(",")
    };
    let names = request.headers().keys();
    let headers = names
        .map(|name| (name.as_str().to_owned(), text(name.as_str())))
        .collect();
    let authority = request.uri().authority().map(ToString::to_string);
    let path = request.uri().path_and_query();
    let seen = Seen {
        at: local.to_string(),
        method: request.method().to_string(),
        host: authority.unwrap_or_else(|| text("host")),
        path: path.map(ToString::to_string).unwrap_or_default(),
        headers,
    };
    let serial = {
        let mut log = log.lock();
        let all = log.entry(text(ID)).or_default();
        all.push(seen);
        all.len() - 1
    };
    // Where nobody's patience is tested there is nothing to wait for.
    let limited = !text("x-envoy-expected-rq-timeout-ms").is_empty();
    if let (true, Ok(time)) = (limited, text(SLEEP).parse()) {
        tokio::time::sleep(Duration::from_millis(time)).await;
    }
    let mut response = Response::builder()
        .status(text(FAIL).parse().unwrap_or(200))
        .header(SERIAL, serial.to_string());
    for (name, value) in HEADERS {
        response = response.header(name, value);
    }
    let body = Full::new(Bytes::from_static(b"app"));
    Ok(response.body(body).unwrap_or_default())
}
