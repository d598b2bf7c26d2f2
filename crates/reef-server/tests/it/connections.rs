//! The end of connections: told to go first, then their streams end, and nobody comes back to them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;
use tonic::transport::Channel;
use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

use crate::kit::*;
use crate::tonic_kit::{ADS, Client, Server, first, open_on};

pub(crate) type Delta = Client<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

/// A stream on this connection that has all it asked for.
pub(crate) async fn settled(channel: &Channel) -> Delta {
    let mut client: Delta =
        open_on(channel.clone(), &format!("{ADS}/DeltaAggregatedResources")).await;
    client.send(first(Cluster, &[])).await;
    client.next().await.unwrap();
    client
}

/// The connections streams came over, in order.
fn connections(server: &Server) -> Vec<SocketAddr> {
    let opened = server.provider.opened.lock();
    opened.iter().filter_map(|(_, peer)| peer.address).collect()
}

#[tokio::test]
async fn connection_of_age_ends_and_its_client_opens_another() {
    let server = Server::start(&World::of(&[Cluster], &["a"])).await;
    server.server.limit_age(Some(Duration::from_millis(500)));
    let channel = server.channel().await;
    let mut clients = [settled(&channel).await, settled(&channel).await];
    for client in &mut clients {
        let ended = client.next().await.unwrap_err();
        assert_eq!(ended.code(), Code::Unavailable);
        assert!(ended.message().contains("maximum age"), "{ended}");
    }
    // At once, and not to the old connection, which would end it at once.
    let mut again = settled(&channel).await;
    let used = connections(&server);
    assert_eq!(used.len(), 3);
    assert_eq!(used[0], used[1], "two streams of one connection");
    assert_ne!(used[0], used[2], "the next came over another");
    server.server.limit_age(None);
    let quiet = tokio::time::timeout(Duration::from_secs(1), again.responses.message());
    assert!(quiet.await.is_err(), "without limit no age is too old");
    let counted = server.metrics();
    let line = "reef_xds_streams_ended_total{reason=\"aged\"} 2";
    assert!(counted.contains(line), "{counted}");
}

#[tokio::test]
async fn ages_of_connections_differ_and_can_be_suspended() {
    let server = Server::start(&World::of(&[Cluster], &["a"])).await;
    let age = Duration::from_secs(1);
    server.server.limit_age(Some(age));
    server.server.suspend_age(true);
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(settled(&server.channel().await).await);
    }
    let first = clients.first_mut().unwrap();
    let quiet = tokio::time::timeout(age.mul_f64(1.5), first.responses.message());
    assert!(quiet.await.is_err(), "suspended");
    let start = Instant::now();
    server.server.suspend_age(false);
    let mut ends = Vec::new();
    let mut tasks = tokio::task::JoinSet::new();
    for mut client in clients {
        tasks.spawn(async move {
            let ended = client.next().await.unwrap_err();
            (start.elapsed(), ended.code())
        });
    }
    while let Some(end) = tasks.join_next().await {
        ends.push(end.unwrap());
    }
    ends.sort_by_key(|(at, _)| *at);
    let (earliest, latest) = (ends[0].0, ends[7].0);
    assert!(
        latest < age * 5,
        "past their age, they leave soon: {ends:?}"
    );
    assert!(
        latest - earliest > age.mul_f64(0.05),
        "all at once: {ends:?}"
    );
    assert!(ends.iter().all(|(_, code)| *code == Code::Unavailable));
    let used: BTreeSet<SocketAddr> = connections(&server).into_iter().collect();
    assert_eq!(used.len(), 8);
}

#[tokio::test]
async fn drained_connection_takes_no_stream_any_more() {
    let server = Server::start(&World::of(&[Cluster], &["a"])).await;
    let channel = server.channel().await;
    let mut client = settled(&channel).await;
    let other = Server::start(&World::of(&[Cluster], &["a"])).await;
    let before = settled(&other.channel().await).await;
    server.server.drain(Duration::from_millis(50)).await;
    let ended = client.next().await.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    assert!(ended.message().contains("shutting down"), "{ended}");
    // It was told to go, so the next stream comes over a connection of its own.
    let mut late: Delta = open_on(channel, &format!("{ADS}/DeltaAggregatedResources")).await;
    assert_eq!(late.next().await.unwrap_err().code(), Code::Unavailable);
    drop(before);
}

#[tokio::test]
async fn noise_instead_of_http2_ends_that_connection_only() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = Server::start(&World::of(&[Cluster], &["a"])).await;
    for noise in [
        &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &[0xff; 64],
    ] {
        let mut stream = tokio::net::TcpStream::connect(server.address)
            .await
            .unwrap();
        stream.write_all(noise).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let read = tokio::time::timeout(Duration::from_secs(5), read).await;
        // Closed, or reset.
        assert!(read.is_ok(), "still open after {noise:?}");
        settled(&server.channel().await).await;
    }
}
