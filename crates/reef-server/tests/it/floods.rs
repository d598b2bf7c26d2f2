//! Frames of HTTP/2 that cost their sender nothing (T13): whoever floods with them keeps nobody out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::connections::settled;
use crate::kit::*;
use crate::tonic_kit::{ADS, Server};

/// How long others may take meanwhile; a machine at work may be slow.
const PATIENCE: Duration = Duration::from_secs(10);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head, &stream.to_be_bytes()[..], payload].concat()
}

/// The head of a stream of ADS, none of it compressed.
fn head() -> Vec<u8> {
    let path = format!("{ADS}/DeltaAggregatedResources");
    let mut head = vec![0x83, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    head.extend(path.as_bytes());
    head.extend(b"\x01\x01x\x0f\x10\x10application/grpc\x00\x02te\x08trailers");
    head
}

/// One flood: what opens it, and what goes on for ever.
struct Flood {
    name: &'static str,
    opening: Vec<u8>,
    wave: fn(u32) -> Vec<u8>,
    /// Whether the server must end the connection.
    is_cut: bool,
}

/// Streams of a wave, none of which was used before.
fn streams(wave: u32) -> impl Iterator<Item = u32> {
    (wave * 50..(wave + 1) * 50).map(|number| 2 * number + 1)
}

fn floods() -> Vec<Flood> {
    let flood = |name, opening: Vec<Vec<u8>>, wave, is_cut| Flood {
        name,
        opening: opening.concat(),
        wave,
        is_cut,
    };
    vec![
        flood(
            "streams that are reset at once",
            vec![],
            |wave| {
                streams(wave)
                    .flat_map(|stream| {
                        let opened = frame(HEADERS, END_HEADERS, stream, &head());
                        [opened, frame(RESET, 0, stream, &[0, 0, 0, 8])].concat()
                    })
                    .collect()
            },
            true,
        ),
        flood(
            "a head that never ends",
            vec![frame(HEADERS, 0, 1, &head())],
            |_| frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b").repeat(100),
            true,
        ),
        flood(
            "data that is empty",
            vec![frame(HEADERS, END_HEADERS, 1, &head())],
            |_| frame(DATA, 0, 1, &[]).repeat(100),
            false,
        ),
        flood(
            "pings",
            vec![],
            |_| frame(PING, 0, 0, &[0; 8]).repeat(100),
            false,
        ),
        flood(
            "settings",
            vec![],
            |_| frame(SETTINGS, 0, 0, &[]).repeat(100),
            false,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_frames_keep_nobody_out() {
    let server = Server::start(&World::of(&[Cluster], &["a"])).await;
    let before = server.channel().await;
    let mut neighbour = settled(&before).await;
    for flood in floods() {
        let end = Arc::new(AtomicBool::new(false));
        let (sent, cut) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut floods = JoinSet::new();
        for _ in 0..4 {
            let (end, sent, cut) = (Arc::clone(&end), Arc::clone(&sent), Arc::clone(&cut));
            let (address, wave, opening) = (server.address, flood.wave, flood.opening.clone());
            floods.spawn(async move {
                let stream = TcpStream::connect(address).await.unwrap();
                let (mut from, mut to) = stream.into_split();
                // What is answered is read, so that only the server's own limits end this.
                let reader = async {
                    let mut answers = vec![0; 1 << 16];
                    while matches!(from.read(&mut answers).await, Ok(1..)) {}
                };
                let writer = async {
                    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
                    let start = [&preface[..], &frame(SETTINGS, 0, 0, &[]), &opening].concat();
                    let mut written = to.write_all(&start).await;
                    let mut number = 0;
                    while written.is_ok() && !end.load(Ordering::Relaxed) {
                        let frames = wave(number);
                        written = to.write_all(&frames).await;
                        sent.fetch_add(frames.len(), Ordering::Relaxed);
                        number += 1;
                    }
                    written.is_err()
                };
                tokio::select! {
                    () = reader => { cut.fetch_add(1, Ordering::Relaxed); }
                    is_cut = writer => if is_cut { cut.fetch_add(1, Ordering::Relaxed); }
                }
            });
        }
        for _ in 0..3 {
            let channel = timeout(PATIENCE, server.channel()).await;
            let client = timeout(PATIENCE, settled(&channel.unwrap())).await;
            assert!(client.is_ok(), "{} keep others out", flood.name);
        }
        if flood.is_cut {
            while floods.join_next().await.is_some() {}
            assert_eq!(cut.load(Ordering::Relaxed), 4, "{}", flood.name);
        }
        end.store(true, Ordering::Relaxed);
        while let Some(ended) = timeout(PATIENCE, floods.join_next()).await.unwrap() {
            ended.unwrap();
        }
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent > 1000, "{}: only {sent} bytes", flood.name);
    }
    server.provider.views.send_modify(|_| {});
    let quiet = timeout(Duration::from_millis(200), neighbour.responses.message());
    assert!(quiet.await.is_err(), "the neighbour's stream lives");
}
