//! Debug data over the state-of-the-world stream: one answer to each question, and nobody is taken for a proxy.

use std::time::Duration;

use tonic::Code;
use xds_api::envoy::service::discovery::v3::DiscoveryRequest;

use crate::kit::*;
use crate::tonic_kit::{Server, first, node};

fn question(id: &str, type_url: &str, names: &[&str], nonce: &str) -> DiscoveryRequest {
    DiscoveryRequest {
        node: node(id),
        type_url: type_url.to_owned(),
        resource_names: strings(names),
        response_nonce: nonce.to_owned(),
        ..DiscoveryRequest::default()
    }
}

#[tokio::test]
async fn question_is_answered_once_whatever_nonce_it_carries() {
    let server = Server::start(&World::of(&[Cluster], &["a"])).await;
    let mut client = server.sotw().await;
    // istioctl's first request has a time for a nonce.
    let asked = "2026-11-21 22:00:00.123 +0000 UTC";
    client
        .send(question("ctl", "istio.io/debug/syncz", &["x", "y"], asked))
        .await;
    let answer = client.next().await.unwrap();
    assert_eq!(answer.type_url, "istio.io/debug/syncz");
    let values: Vec<_> = answer.resources.iter().map(|any| &*any.value).collect();
    assert_eq!(values, [b"x", b"y"]);
    assert_eq!(answer.control_plane.unwrap().identifier, "asked by ctl");
    assert!(!answer.nonce.is_empty() && answer.nonce != asked);

    // Its ACK is no question; the next one is, and the node need not be told again.
    let ack = question("", "istio.io/debug/syncz", &["x", "y"], &answer.nonce);
    client.send(ack).await;
    let mut other = question("", "istio.io/debug", &["list"], &answer.nonce);
    other.response_nonce = asked.to_owned();
    other.node = None;
    client.send(other).await;
    let second = client.next().await.unwrap();
    assert_eq!(
        (&*second.type_url, &*second.resources[0].value),
        ("istio.io/debug", &b"list"[..])
    );
    assert_ne!(second.nonce, answer.nonce);
    assert!(server.provider.opened.lock().is_empty(), "no session");
    let pushed = server.metrics();
    assert!(!pushed.contains("pilot_xds_pushes{"), "{pushed}");
}

#[tokio::test]
async fn question_nobody_may_ask_here_ends_its_stream_with_the_reason() {
    let server = Server::start(&World::of(&[Cluster], &["a"])).await;
    let mut client = server.sotw().await;
    client
        .send(question("foreign", "istio.io/debug/syncz", &[], ""))
        .await;
    let refused = client.next().await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    // Not over delta, not on a single-type stream, not of another type once debug data is asked for.
    let mut delta = server.delta().await;
    let mut request = first(Cluster, &["x"]);
    request.type_url = "istio.io/debug/syncz".to_owned();
    delta.send(request).await;
    let ended = delta.next().await.unwrap_err();
    assert_eq!(ended.code(), Code::InvalidArgument);
    let mut mixed = server.sotw().await;
    mixed
        .send(question("ctl", "istio.io/debug/syncz", &["x"], ""))
        .await;
    mixed.next().await.unwrap();
    mixed
        .send(question("ctl", Cluster.type_url(), &[], ""))
        .await;
    let ended = mixed.next().await.unwrap_err();
    assert_eq!(ended.code(), Code::InvalidArgument);
    assert!(server.provider.opened.lock().is_empty());
}

#[tokio::test]
async fn proxy_that_asks_for_debug_data_on_its_own_stream_gets_none() {
    let server = Server::start(&World::of(&[Cluster], &["a"])).await;
    let mut client = server.sotw().await;
    client
        .send(question("n1", Cluster.type_url(), &[], ""))
        .await;
    assert_eq!(client.next().await.unwrap().resources.len(), 1);
    client
        .send(question("n1", "istio.io/debug/syncz", &["x"], ""))
        .await;
    let silent = tokio::time::timeout(Duration::from_millis(300), client.responses.message());
    assert!(silent.await.is_err(), "it was answered, or ended");
}
