//! The app of a pod: HTTP/1.1, HTTP/2 and gRPC on some ports, TCP on others.
//!
//! Every answer begins with the app's name, so that a test can tell who answered.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

use crate::control;

/// Settings of an app.
#[derive(Debug, Clone, Default)]
pub struct AppOptions {
    /// What it calls itself.
    pub name: String,
    /// Where HTTP is: a port, `address:port`, or a path.
    pub http: Vec<String>,
    /// Where lines over TCP are.
    pub tcp: Vec<String>,
    /// Where lines are after a greeting: the server speaks first.
    pub banner: Vec<String>,
    /// Where connections are that go on elsewhere, byte by byte: `place=address:port`.
    pub relay: Vec<String>,
    /// Unix socket by which a test makes it call others.
    pub control: Option<PathBuf>,
}

impl AppOptions {
    /// Reads `--name N --http WHERE --tcp WHERE --banner WHERE --relay WHERE=TO --control PATH`.
    ///
    /// # Errors
    /// For anything else.
    pub fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(flag) = args.next() {
            let value = args.next().with_context(|| format!("{flag}: no value"))?;
            match flag.as_str() {
                "--name" => value.clone_into(&mut options.name),
                "--http" => options.http.push(value.clone()),
                "--tcp" => options.tcp.push(value.clone()),
                "--banner" => options.banner.push(value.clone()),
                "--relay" => options.relay.push(value.clone()),
                "--control" => options.control = Some(value.into()),
                other => anyhow::bail!("unknown flag {other}"),
            }
        }
        Ok(options)
    }
}

/// Serves until one of the listeners fails.
///
/// # Errors
/// When a port cannot be opened.
pub async fn run(options: AppOptions) -> Result<()> {
    let name: Arc<str> = options.name.into();
    let mut servers = JoinSet::new();
    for place in options.http {
        let listener = Listener::open(&place).await?;
        servers.spawn(serve(listener, Arc::clone(&name), http_connection));
    }
    for place in options.tcp {
        let listener = Listener::open(&place).await?;
        servers.spawn(serve(listener, Arc::clone(&name), tcp_connection));
    }
    for place in options.banner {
        let listener = Listener::open(&place).await?;
        servers.spawn(serve(listener, Arc::clone(&name), banner_connection));
    }
    for relay in options.relay {
        let (place, to) = relay.split_once('=').context("--relay: WHERE=TO")?;
        let listener = Listener::open(place).await?;
        servers.spawn(serve(listener, to.into(), relay_connection));
    }
    if let Some(path) = options.control {
        servers.spawn(control::serve(path));
    }
    while let Some(ended) = servers.join_next().await {
        ended.context("a listener panicked")??;
    }
    Ok(())
}

/// A stream of either kind, and who is at its other end.
struct Accepted {
    stream: Box<dyn Stream>,
    peer: String,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn open(place: &str) -> Result<Self> {
        let context = || format!("cannot listen on {place}");
        if place.starts_with('/') {
            let listener = UnixListener::bind(place).with_context(context)?;
            // The proxy is another user.
            std::fs::set_permissions(place, Permissions::from_mode(0o777))?;
            return Ok(Self::Unix(listener));
        }
        let bound = match place.parse::<u16>() {
            // Both families, where the machine has both.
            Ok(port) => match TcpListener::bind(("::", port)).await {
                Ok(listener) => Ok(listener),
                Err(_) => TcpListener::bind(("0.0.0.0", port)).await,
            },
            Err(_) => TcpListener::bind(place).await,
        };
        Ok(Self::Tcp(bound.with_context(context)?))
    }

    async fn accept(&self) -> Result<Accepted> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Accepted {
                    stream: Box::new(stream),
                    peer: peer.ip().to_canonical().to_string(),
                }
            }
            Self::Unix(listener) => Accepted {
                stream: Box::new(listener.accept().await?.0),
                peer: "unix".to_owned(),
            },
        })
    }
}

async fn serve<F, W>(listener: Listener, name: Arc<str>, connection: F) -> Result<()>
where
    F: Fn(Accepted, Arc<str>) -> W,
    W: Future<Output = ()> + Send + 'static,
{
    let mut open = JoinSet::new();
    loop {
        let accepted = listener.accept().await?;
        open.spawn(connection(accepted, Arc::clone(&name)));
        while open.try_join_next().is_some() {}
    }
}

/// What a gateway between networks does that looks at nothing.
async fn relay_connection(accepted: Accepted, to: Arc<str>) {
    let mut from = accepted.stream;
    if let Ok(mut to) = tokio::net::TcpStream::connect(&*to).await {
        // Who broke it is the other ends' to see.
        tokio::io::copy_bidirectional(&mut from, &mut to)
            .await
            .unwrap_or_default();
    }
}

async fn http_connection(accepted: Accepted, name: Arc<str>) {
    let Accepted { stream, peer } = accepted;
    let peer: Arc<str> = peer.into();
    let service = service_fn(move |request| answer(request, Arc::clone(&name), Arc::clone(&peer)));
    // A broken connection is the client's to see.
    auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
        .unwrap_or_default();
}

async fn answer(
    request: Request<Incoming>,
    name: Arc<str>,
    peer: Arc<str>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let headers: BTreeMap<&str, String> = request
        .headers()
        .iter()
        .map(|(key, value)| {
            (
                key.as_str(),
                String::from_utf8_lossy(value.as_bytes()).into(),
            )
        })
        .collect();
    let grpc = headers
        .get("content-type")
        .is_some_and(|kind| kind.starts_with("application/grpc"));
    let status = behave(request.uri().path()).await;
    let authority = request.uri().authority().map(ToString::to_string);
    let text = json!({
        "app": &*name,
        "peer": &*peer,
        "host": authority.or_else(|| headers.get("host").cloned()),
        "path": request.uri().path(),
        "times": times(request.uri().path()).to_string(),
        "version": format!("{:?}", request.version()),
        "headers": headers,
    })
    .to_string();
    let value = HeaderValue::from_str(&name).unwrap_or(HeaderValue::from_static("?"));
    let mut response = Response::new(if grpc {
        grpc_body(&text)
    } else {
        Full::new(Bytes::from(text)).boxed()
    });
    *response.status_mut() = status;
    response.headers_mut().insert("x-app", value);
    let kind = if grpc {
        "application/grpc"
    } else {
        "application/json"
    };
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static(kind));
    Ok(response)
}

/// Counts a request for a path, and says how often the path behind `/times` was asked for.
fn times(path: &str) -> u64 {
    static ASKED: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());
    let mut asked = ASKED.lock();
    *asked.entry(path.to_owned()).or_default() += 1;
    let path = path.strip_prefix("/times").unwrap_or(path);
    asked.get(path).copied().unwrap_or_default()
}

/// What some paths ask of the app: `/slow/500` waits so many milliseconds, `/status/503` answers so,
/// `/flaky/NAME` fails the first time it is asked for.
async fn behave(path: &str) -> StatusCode {
    static FAILED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let argument = |prefix: &str| path.strip_prefix(prefix)?.parse::<u16>().ok();
    if let Some(pause) = argument("/slow/") {
        tokio::time::sleep(Duration::from_millis(pause.into())).await;
    }
    if path.starts_with("/flaky/") && FAILED.lock().insert(path.to_owned()) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let asked = argument("/status/").and_then(|status| StatusCode::from_u16(status).ok());
    asked.unwrap_or(StatusCode::OK)
}

/// One uncompressed gRPC message, and trailers that say OK.
fn grpc_body(text: &str) -> BoxBody<Bytes, Infallible> {
    let mut frame = vec![0_u8];
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    frame.extend(length.to_be_bytes());
    frame.extend(text.as_bytes());
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    Full::new(Bytes::from(frame))
        .with_trailers(async move { Some(Ok(trailers)) })
        .boxed()
}

async fn tcp_connection(accepted: Accepted, name: Arc<str>) {
    lines(accepted, name).await.unwrap_or_default();
}

/// Speaks first, as databases and mail servers do.
async fn banner_connection(mut accepted: Accepted, name: Arc<str>) {
    let text = format!("{name} is here\n");
    if accepted.stream.write_all(text.as_bytes()).await.is_ok() {
        lines(accepted, name).await.unwrap_or_default();
    }
}

async fn lines(accepted: Accepted, name: Arc<str>) -> std::io::Result<()> {
    let Accepted { stream, peer } = accepted;
    let (read, mut write) = tokio::io::split(stream);
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let text = format!("{name} {line} from {peer}\n");
        write.write_all(text.as_bytes()).await?;
    }
    Ok(())
}
