//! A few tests over real sockets: the frames are what generated messages decode, streams end as they should.

use std::time::Duration;

use reef_server::provider::StreamReport;
use tonic::Code;
use xds_api::envoy::config::core::v3::{ControlPlane, Node};
use xds_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};

use crate::kit::*;
use crate::tonic_kit::{Client, Server, first, node};

#[tokio::test]
async fn delta_frames_decode_and_updates_arrive() {
    let mut world = World::of(&[Cluster], &["a", "b"]);
    let large = "x".repeat(3 << 20);
    world.set(Cluster, "large", &large);
    let server = Server::start(&world).await;
    let mut client = server.delta().await;
    client.send(first(Cluster, &[])).await;

    let mut names = Vec::new();
    let mut nonces = Vec::new();
    while names.len() < 3 {
        let response = client.next().await.unwrap();
        assert_eq!(response.type_url, Cluster.type_url());
        assert_eq!(
            response.control_plane,
            Some(ControlPlane {
                identifier: "reef-test".into()
            })
        );
        for sent in &response.resources {
            let body = sent.resource.as_ref().unwrap();
            assert_eq!(body.type_url, Cluster.type_url());
            assert_eq!(sent.version.len(), 32);
            assert_eq!((&sent.ttl, sent.aliases.len()), (&None, 0));
            if sent.name == "large" {
                assert_eq!(body.value.len(), "large=".len() + large.len());
            }
            names.push(sent.name.clone());
        }
        nonces.push(response.nonce);
    }
    assert_eq!(names, ["a", "b", "large"]);

    world.set(Cluster, "b", "2").remove(Cluster, "a");
    server.provider.views.send_replace(world.view());
    for nonce in nonces {
        client
            .send(DeltaDiscoveryRequest {
                type_url: Cluster.type_url().into(),
                response_nonce: nonce,
                ..DeltaDiscoveryRequest::default()
            })
            .await;
    }
    let changed = client.next().await.unwrap();
    assert_eq!(changed.resources.len(), 1);
    assert_eq!(
        &changed.resources[0].resource.as_ref().unwrap().value[..],
        b"b=2"
    );
    let removed = client.next().await.unwrap();
    assert_eq!(removed.removed_resources, ["a"]);
    assert!(
        server.metrics().contains("pilot_xds_pushes{type=\"cds\"}"),
        "{}",
        server.metrics()
    );
}

#[tokio::test]
async fn sotw_frames_decode() {
    let server = Server::start(&World::of(&[Listener], &["a", "b"])).await;
    let mut client = server.sotw().await;
    client
        .send(DiscoveryRequest {
            node: node("n1"),
            type_url: Listener.type_url().into(),
            ..DiscoveryRequest::default()
        })
        .await;
    let response = client.next().await.unwrap();
    let values: Vec<_> = response
        .resources
        .iter()
        .map(|any| any.value.clone())
        .collect();
    assert_eq!(values, ["a=1", "b=1"]);
    assert_eq!(response.type_url, Listener.type_url());
    assert!(!response.nonce.is_empty() && !response.version_info.is_empty());
    assert_eq!(response.control_plane.unwrap().identifier, "reef-test");
}

#[tokio::test]
async fn single_type_service_implies_its_type() {
    let server = Server::start(&World::of(&[Cluster, Endpoint], &["a"])).await;
    let mut client: Client<DeltaDiscoveryRequest, DeltaDiscoveryResponse> = server
        .open("/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints")
        .await;
    let mut request = first(Endpoint, &["a"]);
    request.type_url.clear();
    client.send(request).await;
    assert_eq!(client.next().await.unwrap().type_url, Endpoint.type_url());
    client.send(first(Cluster, &["a"])).await;
    assert_eq!(
        client.next().await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn every_type_has_a_service_of_its_own_in_both_variants() {
    use reef_xds::ResourceType as T;
    let services = [
        ("cluster.v3.Cluster", Cluster, "Clusters"),
        ("endpoint.v3.Endpoint", Endpoint, "Endpoints"),
        ("listener.v3.Listener", Listener, "Listeners"),
        ("route.v3.Route", Route, "Routes"),
        ("route.v3.ScopedRoutes", T::ScopedRoute, "ScopedRoutes"),
        ("route.v3.VirtualHost", VirtualHost, "VirtualHosts"),
        ("secret.v3.Secret", T::Secret, "Secrets"),
        (
            "extension.v3.ExtensionConfig",
            T::ExtensionConfig,
            "ExtensionConfigs",
        ),
        ("runtime.v3.Runtime", T::Runtime, "Runtime"),
    ];
    let server = Server::start(&World::of(&services.map(|(_, ty, _)| ty), &["a"])).await;
    for (service, ty, method) in services {
        let path = |variant| format!("/envoy.service.{service}DiscoveryService/{variant}{method}");
        let mut delta: Client<DeltaDiscoveryRequest, DeltaDiscoveryResponse> =
            server.open(&path("Delta")).await;
        let mut request = first(ty, &["a"]);
        request.type_url.clear();
        delta.send(request).await;
        let response = delta.next().await.unwrap();
        assert_eq!(response.type_url, ty.type_url());
        assert_eq!(response.resources[0].name, "a", "{service}");
        if ty == VirtualHost {
            continue; // There is no such method in the protocol.
        }
        let mut sotw: Client<DiscoveryRequest, DiscoveryResponse> =
            server.open(&path("Stream")).await;
        sotw.send(DiscoveryRequest {
            node: node("n1"),
            resource_names: vec!["a".to_owned()],
            ..DiscoveryRequest::default()
        })
        .await;
        let response = sotw.next().await.unwrap();
        assert_eq!(response.type_url, ty.type_url());
        assert_eq!(&response.resources[0].value[..], b"a=1", "{service}");
    }
}

#[tokio::test]
async fn reef_14_node_rules_refusals_and_large_requests() {
    let server = Server::start(&World::of(&[Cluster], &["a"])).await;
    for (id, code) in [
        ("", Code::InvalidArgument),
        ("early", Code::Unavailable),
        ("foreign", Code::PermissionDenied),
        ("panic", Code::Internal),
    ] {
        let mut client = server.delta().await;
        client
            .send(DeltaDiscoveryRequest {
                node: node(id),
                ..first(Cluster, &[])
            })
            .await;
        assert_eq!(
            client.next().await.unwrap_err().code(),
            code,
            "node id `{id}`"
        );
    }
    let mut client = server.delta().await;
    client
        .send(DeltaDiscoveryRequest {
            node: None,
            ..first(Cluster, &[])
        })
        .await;
    assert_eq!(
        client.next().await.unwrap_err().code(),
        Code::InvalidArgument,
        "no node at all"
    );
    let mut client = server.delta().await;
    client
        .send(DeltaDiscoveryRequest {
            type_url: String::new(),
            ..first(Cluster, &[])
        })
        .await;
    assert_eq!(
        client.next().await.unwrap_err().code(),
        Code::InvalidArgument,
        "no type on ADS"
    );
    assert!(
        server.metrics().contains("reef_xds_stream_panics_total 1"),
        "{}",
        server.metrics()
    );

    // The node once, a different one later, a large one, and a request of 3 MB.
    let mut client = server.delta().await;
    let large = Node {
        id: "n1".into(),
        cluster: "c".repeat(61_000),
        ..Node::default()
    };
    let names: Vec<String> = (0..60_000).map(|n| format!("{n:050}")).collect();
    let mut request = first(Cluster, &["a"]);
    request.node = Some(large);
    request.resource_names_subscribe.extend(names);
    client.send(request).await;
    assert_eq!(client.next().await.unwrap().resources.len(), 1);
    let mut again = first(Listener, &["x"]);
    again.node = node("somebody-else");
    client.send(again).await;
    assert_eq!(client.next().await.unwrap().removed_resources, ["x"]);
    let opened = server.provider.opened.lock();
    let (first_node, peer) = opened.last().unwrap();
    assert_eq!(
        (first_node.id.as_str(), first_node.cluster.len()),
        ("n1", 61_000)
    );
    assert!(peer.delta && peer.aggregated && peer.address.is_some());
}

#[tokio::test]
async fn drain_ends_every_stream_with_unavailable() {
    let mut server = Server::start(&World::of(&[Cluster], &["a"])).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = server.delta().await;
        client.send(first(Cluster, &[])).await;
        client.next().await.unwrap();
        clients.push(client);
    }
    assert!(server.metrics().contains("} 5"), "{}", server.metrics());
    server.server.drain(Duration::from_millis(50)).await;
    for client in &mut clients {
        assert_eq!(client.next().await.unwrap_err().code(), Code::Unavailable);
    }
    let mut late = server.delta().await;
    assert_eq!(late.next().await.unwrap_err().code(), Code::Unavailable);
    server.tasks.abort_all();
}

#[tokio::test]
async fn reports_follow_a_response_to_its_ack() {
    let server = Server::start(&World::of(&[Cluster], &["a"])).await;
    let mut client = server.delta().await;
    client.send(first(Cluster, &[])).await;
    let response = client.next().await.unwrap();
    client
        .send(DeltaDiscoveryRequest {
            type_url: Cluster.type_url().into(),
            response_nonce: response.nonce.clone(),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    let settled = || {
        server
            .provider
            .reports
            .lock()
            .iter()
            .any(|event| matches!(event, StreamReport::Settled { .. }))
    };
    for _ in 0..500 {
        if settled() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let reports = server.provider.reports.lock().clone();
    let kinds: Vec<&str> = reports
        .iter()
        .map(|event| match event {
            StreamReport::Subscribed {
                wildcard: true,
                names: 0,
                ..
            } => "subscribed",
            StreamReport::Sent { resources: 1, .. } => "sent",
            StreamReport::Acked { .. } => "acked",
            StreamReport::Settled { .. } => "settled",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["subscribed", "sent", "acked", "settled"]);
}

#[tokio::test]
async fn subscription_too_large_for_one_task_is_compared_aside() {
    let names: Vec<String> = (0..3000).map(|n| format!("n{n:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::of(&[Cluster], &names);
    let mut hand = Hand::delta(world.clone());
    assert!(!hand.state.compares_more_than(1000), "nothing is asked for");
    hand.subscribe(Cluster, &[], &[]);
    assert!(hand.state.compares_more_than(1000) && !hand.state.compares_more_than(3000));
    hand.all_acked();
    hand.change(|world| {
        world.set(Cluster, "n0007", "2");
    });
    assert!(
        !hand.state.compares_more_than(1000),
        "the log says what changed"
    );

    let server = Server::start(&world).await;
    let mut client = server.delta().await;
    client.send(first(Cluster, &[])).await;
    let all = client.next().await.unwrap();
    assert_eq!(all.resources.len(), 3000);
    // Another class: everything is compared, one differs.
    world.lineage += 1;
    world.set(Cluster, "n0007", "2");
    server.provider.views.send_replace(world.view());
    client
        .send(DeltaDiscoveryRequest {
            type_url: Cluster.type_url().into(),
            response_nonce: all.nonce,
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    let changed = client.next().await.unwrap();
    let changed: Vec<&str> = changed.resources.iter().map(|one| &*one.name).collect();
    assert_eq!(changed, ["n0007"]);
}

#[tokio::test]
async fn resources_whose_bytes_were_given_back_are_sent_as_they_were() {
    let mut world = World::of(&[Cluster], &["a", "b"]);
    world.cool();
    let found = world.view().resource(Cluster, "a").unwrap();
    assert!(!found.is_warm());
    let server = Server::start(&world).await;
    let mut client = server.delta().await;
    client.send(first(Cluster, &[])).await;
    let all = client.next().await.unwrap().resources;
    let all = all.iter().map(|one| {
        let body = &one.resource.as_ref().unwrap().value[..];
        (&*one.name, &*one.version, body)
    });
    let versions = ["a", "b"].map(|name| version(Cluster, name, "1").to_string());
    assert_eq!(
        all.collect::<Vec<_>>(),
        [
            ("a", &*versions[0], &b"a=1"[..]),
            ("b", &*versions[1], &b"b=1"[..])
        ]
    );
    assert!(found.is_warm(), "for who comes next");
}

#[tokio::test]
async fn stream_that_is_asked_tells_the_names_it_watches() {
    let world = World::of(&[Cluster, Endpoint], &["a", "b"]);
    let server = Server::start(&world).await;
    let mut client = server.delta().await;
    client.send(first(Cluster, &[])).await;
    client.next().await.unwrap();
    client.send(first(Endpoint, &["b", "a", "gone"])).await;
    client.next().await.unwrap();
    let told = || {
        let reports = server.provider.reports.lock();
        let names = reports.iter().filter_map(|event| match event {
            StreamReport::Names(all) => Some(all.clone()),
            _ => None,
        });
        names.collect::<Vec<_>>()
    };
    assert!(told().is_empty(), "nobody asked");
    for round in 1..=2 {
        server.server.ask_names();
        for _ in 0..500 {
            if told().len() == round {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let all = told();
        assert_eq!(all.len(), round);
        let shown: Vec<String> = all[round - 1]
            .iter()
            .map(|one| format!("{} {} {}", one.ty, one.wildcard, one.names.join(",")))
            .collect();
        assert_eq!(shown, ["CDS true ", "EDS false a,b,gone"]);
    }
}

#[tokio::test]
async fn sizes_of_requests_and_times_of_sending_are_counted() {
    let world = World::of(&[Cluster], &["a"]);
    let server = Server::start(&world).await;
    let mut client = server.delta().await;
    let request = first(Cluster, &["a-name-that-counts"]);
    let size = prost::Message::encoded_len(&request);
    client.send(request).await;
    client.next().await.unwrap();
    let line = |name: &str| {
        let page = server.metrics();
        page.lines()
            .find_map(|line| line.strip_prefix(&format!("{name} ")).map(str::to_owned))
    };
    assert_eq!(line("pilot_xds_recv_max"), Some(size.to_string()));
    assert_eq!(line("pilot_xds_send_time_count").as_deref(), Some("1"));
    assert_eq!(line("pilot_xds_write_timeout").as_deref(), Some("0"));
}
