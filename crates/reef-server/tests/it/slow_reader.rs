//! A client that stops reading (23.3 item 18): it costs a bounded amount, other clients nothing, and it gets only the
//! latest state when it reads again.

use std::time::Duration;

use reef_server::provider::StreamReport;
use tonic::Code;
use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

use crate::kit::*;
use crate::tonic_kit::{Client, Server, first};

type DeltaClient = Client<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

/// Larger than the client's window and the server's socket buffer together would take in a few pieces.
const SIZE: usize = 1 << 20;

/// Content of `round`, of [`SIZE`] bytes.
fn content(round: usize) -> String {
    format!("{round:06}{}", "x".repeat(SIZE))
}

/// The round a response tells.
fn round(response: &DeltaDiscoveryResponse) -> usize {
    let value = &response.resources[0].resource.as_ref().unwrap().value;
    let text = std::str::from_utf8(&value[2..8]).unwrap();
    text.parse().unwrap()
}

async fn take(client: &mut DeltaClient) -> DeltaDiscoveryResponse {
    let response = client.next().await.unwrap();
    client
        .send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    response
}

fn publish(server: &Server, world: &mut World, round: usize) {
    world.set(Endpoint, "a", &content(round));
    server.provider.views.send_replace(world.view());
}

#[tokio::test]
async fn reef_18_slow_reader_gets_only_the_latest_state() {
    let mut world = World::default();
    world.set(Endpoint, "a", &content(0));
    let server = Server::start(&world).await;
    let mut slow = server.delta().await;
    let mut quick = server.delta().await;
    for client in [&mut slow, &mut quick] {
        client.send(first(Endpoint, &["a"])).await;
        assert_eq!(round(&take(client).await), 0);
    }
    // Two seconds of changes; the slow one reads nothing, the quick one everything.
    let rounds = 100;
    for change in 1..=rounds {
        publish(&server, &mut world, change);
        assert_eq!(
            round(&take(&mut quick).await),
            change,
            "nobody waits for the slow one"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let sent = server
        .provider
        .reports
        .lock()
        .iter()
        .filter(|event| matches!(event, StreamReport::Sent { .. }))
        .count();
    let to_the_slow_one = sent - (rounds + 1) - 1;
    // One in the body, two in the queue, one computed; the socket takes some more of a megabyte each.
    assert!(
        to_the_slow_one <= 8,
        "{to_the_slow_one} responses wait for a reader"
    );

    let mut seen = Vec::new();
    while seen.last() != Some(&rounds) {
        seen.push(round(&take(&mut slow).await));
    }
    assert!(
        seen.len() <= to_the_slow_one + 1,
        "{seen:?}: what waited merged"
    );
    assert!(seen.is_sorted(), "{seen:?}");
}

#[tokio::test]
async fn reef_18_client_that_never_reads_again_is_let_go_and_told_so() {
    let mut world = World::default();
    world.set(Endpoint, "a", &content(0));
    let server = Server::start_with(&world, Duration::from_millis(300)).await;
    let mut silent = server.delta().await;
    let mut stuck = server.delta().await;
    for client in [&mut stuck, &mut silent] {
        client.send(first(Endpoint, &["a"])).await;
    }
    // One reads and never answers, which is not for the transport to judge; the other does not even read.
    let mut last = 0;
    let ended = || {
        server
            .metrics()
            .contains("reef_xds_streams_ended_total{reason=\"stuck\"} 1")
    };
    for change in 1..200 {
        if ended() {
            break;
        }
        publish(&server, &mut world, change);
        let unread = tokio::time::timeout(Duration::from_millis(50), silent.next());
        if let Ok(response) = unread.await {
            last = round(&response.unwrap());
        }
    }
    assert!(ended(), "{}", server.metrics());
    assert!(
        server.metrics().contains("pilot_xds_write_timeout 1"),
        "{}",
        server.metrics()
    );
    assert!(last > 0, "the one that reads is served");
    // What was handed over before comes, then the reason.
    let end = loop {
        if let Err(status) = stuck.next().await {
            break status;
        }
    };
    assert_eq!(end.code(), Code::Unavailable);
    assert!(end.message().contains("has not read"), "{end}");
}
