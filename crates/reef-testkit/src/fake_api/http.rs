//! As much of HTTP/1.1 as a client of an API server needs, by hand, so that it can be broken anywhere.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

use serde_json::Value;

use super::answers::{self, Target};
use super::store::Wanted;
use super::{Asked, Instead, Interfere, Shared, protobuf, writes};

/// Largest head of a request.
const HEAD_BYTES: usize = 64 << 10;

/// Largest body of a request, as etcd takes it.
const BODY_BYTES: usize = 3 << 19;

/// The media type of Kubernetes' protobuf.
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// The watch ends if it is not told how long to last.
const WATCH_TIME: Duration = Duration::from_secs(1800);

/// Answers connections until dropped.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move {
                        // A client that goes away is no concern of the server's.
                        let _gone = connection(stream, &shared).await;
                    });
                }
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn connection(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut read = Vec::new();
    loop {
        let Some(asked) = request(&mut stream, &mut read).await? else {
            return Ok(());
        };
        shared.asked.lock().push(asked.clone());
        let proto = asked.in_protobuf() && shared.protobuf.load(Ordering::Acquire);
        let instead = shared
            .script
            .lock()
            .as_ref()
            .and_then(|script| script(&asked));
        let drip = match instead {
            None => None,
            Some(Instead::Drip(bytes, every)) => Some((bytes, every)),
            Some(Instead::Late(after)) => {
                time::sleep(after).await;
                None
            }
            Some(Instead::Reset) => return Ok(()),
            Some(Instead::Silence) => return std::future::pending().await,
            Some(Instead::Refuse(code, message, retry_after)) => {
                let body = answers::status(code, &message);
                answer(&mut stream, code, &body, retry_after, proto).await?;
                continue;
            }
            Some(Instead::Body(text)) => {
                let mut out = Out::begin(&mut stream, None, proto).await?;
                out.write(&text).await?;
                out.end().await?;
                continue;
            }
        };
        let found = answers::target(&shared.store.lock(), &asked.path);
        match found {
            Err((code, Value::Null)) => nothing(&mut stream, code).await?,
            Err((code, body)) => answer(&mut stream, code, &body, None, proto).await?,
            Ok(target) if asked.method != "GET" || target.name.is_some() => {
                let (code, body) = writes::answer(&mut shared.store.lock(), &target, &asked);
                shared.tell();
                answer(&mut stream, code, &body, None, proto).await?;
            }
            Ok(target) if asked.is_watch() => {
                watch(&mut stream, shared, &asked, target, (drip, proto)).await?
            }
            Ok(target) => {
                let wanted = wanted(&asked, &target);
                let (code, body) = answers::list(&shared.store.lock(), &target, &asked, &wanted);
                answer(&mut stream, code, &body, None, proto).await?;
            }
        }
    }
}

fn wanted(asked: &Asked, target: &Target) -> Wanted {
    let selector = asked.get("fieldSelector").unwrap_or_default();
    Wanted::new(target.namespace.clone(), selector)
}

/// Reads one request; `None` when the client is gone.
async fn request(stream: &mut TcpStream, read: &mut Vec<u8>) -> std::io::Result<Option<Asked>> {
    let end = loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        let mut more = [0; 4096];
        let count = stream.read(&mut more).await?;
        if count == 0 || read.len() > HEAD_BYTES {
            return Ok(None);
        }
        read.extend_from_slice(more.get(..count).unwrap_or_default());
    };
    let head: Vec<u8> = read.drain(..end).collect();
    let head = String::from_utf8_lossy(&head);
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.trim())
    };
    let accepts = header("accept");
    let length: usize = header("content-length").parse().unwrap_or_default();
    let (content_type, _) = header("content-type")
        .split_once(';')
        .unwrap_or((header("content-type"), ""));
    while read.len() < length.min(BODY_BYTES) {
        let mut more = [0; 4096];
        let count = stream.read(&mut more).await?;
        if count == 0 {
            return Ok(None);
        }
        read.extend_from_slice(more.get(..count).unwrap_or_default());
    }
    let body: Vec<u8> = read.drain(..length.min(read.len())).collect();
    let mut words = head.split(' ');
    let method = words.next().unwrap_or("GET");
    let target = words.next().unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key), decoded(value))
        });
    Ok(Some(Asked {
        at: Instant::now(),
        method: method.to_owned(),
        accepts: accepts.to_owned(),
        content_type: content_type.to_owned(),
        body: String::from_utf8_lossy(&body).into_owned(),
        path: path.to_owned(),
        query: query.collect(),
    }))
}

fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let hex: Vec<u8> = bytes.by_ref().take(2).collect();
            let hex = String::from_utf8_lossy(&hex).into_owned();
            out.push(u8::from_str_radix(&hex, 16).unwrap_or(b'?'));
        } else {
            out.push(byte);
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

async fn answer(
    stream: &mut TcpStream,
    code: u16,
    body: &Value,
    retry_after: Option<u64>,
    proto: bool,
) -> std::io::Result<()> {
    let (written, body) = if proto {
        (PROTOBUF, protobuf::answer(body))
    } else {
        ("application/json", body.to_string().into_bytes())
    };
    let retry = retry_after.map(|seconds| format!("Retry-After: {seconds}\r\n"));
    let head = format!(
        "HTTP/1.1 {code} Status\r\nContent-Type: {written}\r\nContent-Length: {}\r\n{}\r\n",
        body.len(),
        retry.unwrap_or_default()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await
}

/// What a path gets that leads nowhere.
async fn nothing(stream: &mut TcpStream, code: u16) -> std::io::Result<()> {
    let text = "404 page not found\n";
    let head = format!(
        "HTTP/1.1 {code} Status\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
        text.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(text.as_bytes()).await
}

/// A body in chunks.
struct Out<'s> {
    stream: &'s mut TcpStream,
    drip: Option<(usize, Duration)>,
    /// Lines are written as frames.
    proto: bool,
}

impl<'s> Out<'s> {
    async fn begin(
        stream: &'s mut TcpStream,
        drip: Option<(usize, Duration)>,
        proto: bool,
    ) -> std::io::Result<Self> {
        let written = if proto {
            "application/vnd.kubernetes.protobuf;stream=watch"
        } else {
            "application/json"
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {written}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        Ok(Self {
            stream,
            drip,
            proto,
        })
    }

    async fn write(&mut self, text: &str) -> std::io::Result<()> {
        let (size, every) = self.drip.unwrap_or((usize::MAX, Duration::ZERO));
        let bytes = if self.proto {
            protobuf::frames(text)
        } else {
            text.as_bytes().to_vec()
        };
        for chunk in bytes.chunks(size.min(64 << 10)) {
            let mut framed = format!("{:x}\r\n", chunk.len()).into_bytes();
            framed.extend_from_slice(chunk);
            framed.extend_from_slice(b"\r\n");
            self.stream.write_all(&framed).await?;
            if self.drip.is_some() {
                time::sleep(every).await;
            }
        }
        Ok(())
    }

    async fn end(self) -> std::io::Result<()> {
        self.stream.write_all(b"0\r\n\r\n").await
    }
}

/// Takes a watch off the list of open ones, however it ends.
struct Open<'s> {
    shared: &'s Shared,
    plural: String,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut watches = self.shared.watches.lock();
        if let Some(at) = watches.iter().position(|open| *open == self.plural) {
            watches.remove(at);
        }
    }
}

async fn watch(
    stream: &mut TcpStream,
    shared: &Shared,
    asked: &Asked,
    target: Target,
    (drip, proto): (Option<(usize, Duration)>, bool),
) -> std::io::Result<()> {
    let mut interfere = shared.interfere.subscribe();
    let mut moved = shared.moved.subscribe();
    let wanted = wanted(asked, &target);
    let seconds = asked
        .get("timeoutSeconds")
        .and_then(|text| text.parse().ok());
    let end = Instant::now() + seconds.map_or(WATCH_TIME, Duration::from_secs);
    let mut out = Out::begin(stream, drip, proto).await?;
    let _open = Open {
        shared,
        plural: target.plural.clone(),
    };
    shared.watches.lock().push(target.plural.clone());

    let from: Option<u64> = asked
        .get("resourceVersion")
        .and_then(|text| text.parse().ok());
    let mut at = match from {
        Some(version) if version > 0 => {
            if version < shared.store.lock().oldest {
                out.write(&answers::gone_event()).await?;
                return out.end().await;
            }
            version
        }
        _ => {
            let (objects, version) = {
                let store = shared.store.lock();
                (store.list(&target.plural, &wanted), store.version)
            };
            let mut text = String::new();
            for object in objects {
                text.push_str(&answers::line(
                    "ADDED",
                    &answers::of_version(&object, &target),
                ));
            }
            if asked.get("sendInitialEvents") == Some("true") {
                text.push_str(&answers::bookmark(&target, version, true));
            }
            out.write(&text).await?;
            version
        }
    };
    loop {
        let (text, newest) = {
            let store = shared.store.lock();
            let news = store.history.iter().filter(|event| event.version > at);
            let lines = news.filter_map(|event| answers::change(event, &target, &wanted));
            (lines.collect::<String>(), store.version)
        };
        at = at.max(newest);
        // What was to happen before these changes happens before they are told.
        while let Ok(told) = interfere.try_recv() {
            interfered(&mut out, &target, told).await?;
        }
        if !text.is_empty() {
            out.write(&text).await?;
        }
        tokio::select! {
            told = interfere.recv() => match told {
                Ok(told) => interfered(&mut out, &target, told).await?,
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return out.end().await,
            },
            _ = moved.changed() => {}
            () = time::sleep_until(end) => {
                if asked.get("allowWatchBookmarks") == Some("true") {
                    out.write(&answers::bookmark(&target, at, false)).await?;
                }
                return out.end().await;
            }
        }
    }
}

/// Does to a watch what it is told; an error ends its connection.
async fn interfered(
    out: &mut Out<'_>,
    target: &Target,
    (plural, how): (String, Interfere),
) -> std::io::Result<()> {
    if !plural.is_empty() && plural != target.plural {
        return Ok(());
    }
    match how {
        Interfere::Send(bytes) => out.write(&bytes).await,
        Interfere::Mute => std::future::pending().await,
        Interfere::Break => Err(std::io::ErrorKind::ConnectionAborted.into()),
    }
}
