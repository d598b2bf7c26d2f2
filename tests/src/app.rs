//! The app of a pod: HTTP/1.1, HTTP/2 and gRPC on some ports, TCP on others.
//!
//! Every answer begins with the app's name, so that a test can tell who answered.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::control;

/// Settings of an app.
#[derive(Debug, Clone, Default)]
pub struct AppOptions {
    /// What it calls itself.
    pub name: String,
    /// Ports with HTTP.
    pub http: Vec<u16>,
    /// Ports with lines over TCP.
    pub tcp: Vec<u16>,
    /// Unix socket by which a test makes it call others.
    pub control: Option<PathBuf>,
}

impl AppOptions {
    /// Reads `--name N --http PORT --tcp PORT --control PATH`.
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
                "--http" => options.http.push(value.parse()?),
                "--tcp" => options.tcp.push(value.parse()?),
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
    for port in options.http {
        let listener = listen(port).await?;
        servers.spawn(serve(listener, Arc::clone(&name), http_connection));
    }
    for port in options.tcp {
        let listener = listen(port).await?;
        servers.spawn(serve(listener, Arc::clone(&name), tcp_connection));
    }
    if let Some(path) = options.control {
        servers.spawn(control::serve(path));
    }
    while let Some(ended) = servers.join_next().await {
        ended.context("a listener panicked")??;
    }
    Ok(())
}

async fn listen(port: u16) -> Result<TcpListener> {
    TcpListener::bind(("0.0.0.0", port))
        .await
        .with_context(|| format!("cannot listen on port {port}"))
}

async fn serve<F, W>(listener: TcpListener, name: Arc<str>, connection: F) -> Result<()>
where
    F: Fn(TcpStream, Arc<str>) -> W,
    W: Future<Output = ()> + Send + 'static,
{
    let mut open = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        open.spawn(connection(stream, Arc::clone(&name)));
        while open.try_join_next().is_some() {}
    }
}

async fn http_connection(stream: TcpStream, name: Arc<str>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&name)));
    // A broken connection is the client's to see.
    auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
        .unwrap_or_default();
}

async fn answer(
    request: Request<Incoming>,
    name: Arc<str>,
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
    let authority = request.uri().authority().map(ToString::to_string);
    let text = json!({
        "app": &*name,
        "host": authority.or_else(|| headers.get("host").cloned()),
        "path": request.uri().path(),
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

async fn tcp_connection(stream: TcpStream, name: Arc<str>) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let text = format!("{name} {line}\n");
        if write.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}
