//! One request as a client makes it, and what came back.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long one call may take, connection included.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// Protocol of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// HTTP/1.1 GET.
    Http1,
    /// HTTP/2 GET with prior knowledge.
    Http2,
    /// HTTP/2 POST with gRPC's framing and trailers.
    Grpc,
    /// One line there, lines back.
    Tcp,
    /// TCP where the server speaks first: waits for its line and says nothing.
    Banner,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// What to speak.
    pub protocol: Protocol,
    /// Where to connect: `address:port`.
    pub address: String,
    /// The `Host` header; for TCP unused.
    pub authority: String,
    /// The path; for TCP the line to send.
    pub path: String,
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// HTTP status; 200 for TCP.
    pub status: u16,
    /// Name of the app that answered; empty if the answer is not an app's.
    pub app: String,
    /// `grpc-status` of the trailers or, in an answer without body, of the headers.
    pub grpc_status: Option<String>,
    /// The body.
    pub body: String,
}

/// Makes a call.
///
/// # Errors
/// When there is no answer within [`TIMEOUT`], or it breaks off.
pub async fn perform(call: &Call) -> Result<Answer> {
    let work = async {
        match call.protocol {
            Protocol::Tcp | Protocol::Banner => tcp(call).await,
            Protocol::Http1 | Protocol::Http2 | Protocol::Grpc => http(call).await,
        }
    };
    match tokio::time::timeout(TIMEOUT, work).await {
        Ok(answer) => answer,
        Err(_) => bail!("{}: no answer in {TIMEOUT:?}", call.address),
    }
}

/// Makes a call on a runtime of its own, for callers that have none.
///
/// # Errors
/// As [`perform`].
pub fn block(call: &Call) -> Result<Answer> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?
        .block_on(perform(call))
}

/// Gets a page from an address this process can reach itself.
///
/// # Errors
/// As [`perform`], and when the status is not 200.
pub fn page(address: &str, path: &str) -> Result<String> {
    let answer = block(&Call {
        protocol: Protocol::Http1,
        address: address.to_owned(),
        authority: address.to_owned(),
        path: path.to_owned(),
    })?;
    if answer.status != 200 {
        bail!("{address}{path}: {} {}", answer.status, answer.body.trim());
    }
    Ok(answer.body)
}

/// Fetches a page of Reef that may be shown to bearers of a token only.
///
/// # Errors
/// When it is not answered with 200.
pub fn page_as(address: &str, path: &str, token: Option<&str>) -> Result<String> {
    let Some(token) = token else {
        return page(address, path);
    };
    let output = std::process::Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--max-time", "10"])
        .args(["--header", &format!("authorization: Bearer {token}")])
        .arg(format!("http://{address}{path}"))
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{address}{path}: {}", said.trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

async fn tcp(call: &Call) -> Result<Answer> {
    let mut stream = TcpStream::connect(&call.address).await?;
    if call.protocol == Protocol::Tcp {
        let line = format!("{}\n", call.path);
        stream.write_all(line.as_bytes()).await?;
    }
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await?;
    if line.is_empty() {
        bail!("{}: closed without an answer", call.address);
    }
    let app = line.split(' ').next().unwrap_or_default().to_owned();
    Ok(Answer {
        status: 200,
        app,
        grpc_status: None,
        body: line,
    })
}

async fn http(call: &Call) -> Result<Answer> {
    let stream = TcpStream::connect(&call.address).await?;
    let io = TokioIo::new(stream);
    // Ends the connection when the answer is there.
    let mut connections = JoinSet::new();
    let response = if call.protocol == Protocol::Http1 {
        let request = Request::get(&call.path)
            .header("host", &call.authority)
            .body(Full::new(Bytes::new()))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        connections.spawn(async move { connection.await.is_ok() });
        sender.send_request(request).await?
    } else {
        let uri = format!("http://{}{}", call.authority, call.path);
        let request = if call.protocol == Protocol::Grpc {
            // One uncompressed message of two bytes.
            let body = Bytes::from_static(&[0, 0, 0, 0, 2, b'h', b'i']);
            Request::post(uri)
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Full::new(body))?
        } else {
            Request::get(uri).body(Full::new(Bytes::new()))?
        };
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
        connections.spawn(async move { connection.await.is_ok() });
        sender.send_request(request).await?
    };
    let status = response.status().as_u16();
    let header = |name: &str| {
        let value = response.headers().get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let app = header("x-app").unwrap_or_default();
    let early_status = header("grpc-status");
    let collected = response.into_body().collect().await?;
    let grpc_status = collected
        .trailers()
        .and_then(|trailers| trailers.get("grpc-status")?.to_str().ok())
        .map(str::to_owned)
        .or(early_status);
    Ok(Answer {
        status,
        app,
        grpc_status,
        body: String::from_utf8_lossy(&collected.to_bytes()).into_owned(),
    })
}
