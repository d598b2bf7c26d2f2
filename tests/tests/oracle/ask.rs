//! Asks the real Envoy.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::Request as HttpRequest;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use reef_simulate::{Protocol, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::app::HELLO;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(10);

/// What came back.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// An answer of HTTP.
    Answer {
        status: u16,
        headers: BTreeMap<String, String>,
        body: String,
        took: Duration,
    },
    /// What an app said that was called by TCP: its address.
    Address(String),
    /// Nothing: the connection ended.
    Closed,
}

/// Open connections of one worker, by address and kind.
#[derive(Default)]
pub(crate) struct Client {
    plain: BTreeMap<SocketAddr, http1::SendRequest<Full<Bytes>>>,
    multi: BTreeMap<SocketAddr, http2::SendRequest<Full<Bytes>>>,
    drivers: JoinSet<()>,
}

impl Client {
    /// Asks.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<Told> {
        let ip = request.to.context("a request without address")?;
        let to = SocketAddr::new(ip, request.port);
        let work = async {
            match request.protocol {
                Protocol::Tcp => raw(to, HELLO).await,
                Protocol::Tls => raw(to, &client_hello(request)).await,
                _ => self.http(to, request).await,
            }
        };
        tokio::time::timeout(LIMIT, work)
            .await
            .with_context(|| format!("no answer in {LIMIT:?}"))?
    }

    async fn http(&mut self, to: SocketAddr, request: &Request) -> Result<Told> {
        let multi = request.protocol == Protocol::Http2;
        let uri = if multi {
            format!("http://{}{}", request.host, request.path)
        } else {
            request.path.clone()
        };
        let mut message = HttpRequest::builder()
            .method(request.method.as_str())
            .uri(&uri);
        if !multi {
            message = message.header("host", &request.host);
        }
        for (name, value) in request.headers.iter() {
            message = message.header(name, value);
        }
        let message = message
            .body(Full::new(Bytes::new()))
            .with_context(|| format!("{uri} is not for this client"))?;
        let begin = reef_e2e::mesh::now();
        let sent = if multi {
            self.by_http2(to, message).await
        } else {
            self.by_http1(to, message).await
        };
        let Ok(response) = sent else {
            return Ok(Told::Closed);
        };
        let status = response.status().as_u16();
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in response.headers() {
            let value = String::from_utf8_lossy(value.as_bytes());
            let all = headers.entry(name.as_str().to_owned()).or_default();
            if !all.is_empty() {
                all.push(',');
            }
            all.push_str(&value);
        }
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Told::Answer {
            status,
            headers,
            body: String::from_utf8_lossy(&body).into_owned(),
            took: begin.elapsed(),
        })
    }

    async fn by_http1(
        &mut self,
        to: SocketAddr,
        message: HttpRequest<Full<Bytes>>,
    ) -> Result<http::Response<hyper::body::Incoming>> {
        if let Some(mut open) = self.plain.remove(&to)
            && open.ready().await.is_ok()
        {
            let response = open.send_request(message.clone()).await;
            if let Ok(response) = response {
                self.plain.insert(to, open);
                return Ok(response);
            }
        }
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let (mut open, driver) = http1::handshake(TokioIo::new(stream)).await?;
        self.drivers
            .spawn(async move { driver.await.unwrap_or_default() });
        let response = open.send_request(message).await?;
        self.plain.insert(to, open);
        Ok(response)
    }

    async fn by_http2(
        &mut self,
        to: SocketAddr,
        message: HttpRequest<Full<Bytes>>,
    ) -> Result<http::Response<hyper::body::Incoming>> {
        if let Some(open) = self.multi.get_mut(&to)
            && open.ready().await.is_ok()
        {
            return Ok(open.send_request(message).await?);
        }
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let (mut open, driver) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        self.drivers
            .spawn(async move { driver.await.unwrap_or_default() });
        let response = open.send_request(message).await?;
        self.multi.insert(to, open);
        Ok(response)
    }
}

/// Says some bytes and reads the line that comes back.
async fn raw(to: SocketAddr, bytes: &[u8]) -> Result<Told> {
    let mut stream = TcpStream::connect(to).await?;
    let mut text = String::new();
    let said = stream.write_all(bytes).await;
    if said.is_err() || stream.read_to_string(&mut text).await.is_err() || text.is_empty() {
        return Ok(Told::Closed);
    }
    if text.starts_with("HTTP/1.1 400") {
        return Ok(Told::Answer {
            status: 400,
            headers: BTreeMap::new(),
            body: String::new(),
            took: Duration::ZERO,
        });
    }
    Ok(Told::Address(text.trim().to_owned()))
}

/// The first message of TLS 1.3, as far as inspectors read it.
fn client_hello(request: &Request) -> Vec<u8> {
    let mut extensions = Vec::new();
    let mut extension = |kind: u16, content: &[u8]| {
        extensions.extend(kind.to_be_bytes());
        extensions.extend(length(content));
        extensions.extend(content);
    };
    if let Some(name) = &request.sni {
        let mut entry = vec![0];
        entry.extend(length(name.as_bytes()));
        entry.extend(name.as_bytes());
        let mut list = length(&entry).to_vec();
        list.extend(entry);
        extension(0, &list);
    }
    if !request.alpn.is_empty() {
        let mut names = Vec::new();
        for name in &request.alpn {
            names.push(u8::try_from(name.len()).unwrap_or(0));
            names.extend(name.as_bytes());
        }
        let mut list = length(&names).to_vec();
        list.extend(names);
        extension(16, &list);
    }
    // Supported groups, signature algorithms, versions: what every client sends.
    extension(10, &[0, 2, 0, 29]);
    extension(13, &[0, 2, 4, 3]);
    extension(43, &[4, 3, 4, 3, 3]);
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend([0, 4, 0x13, 0x01, 0xc0, 0x2f]);
    hello.extend([1, 0]);
    hello.extend(length(&extensions));
    hello.extend(extensions);
    let mut handshake = vec![1, 0];
    handshake.extend(length(&hello));
    handshake.extend(hello);
    let mut record = vec![22, 3, 1];
    record.extend(length(&handshake));
    record.extend(handshake);
    record
}

fn length(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(0).to_be_bytes()
}
