//! What proxies are sent, and what they are not.

use reef_testkit::DeltaClient;
use reef_xds::ResourceType;

use crate::mesh::{PATIENCE, QUIET, connect, directory, node, serve, service, sidecar, write};

const WEB: &str = "outbound|80||web.shop.svc.cluster.local";
const DB: &str = "outbound|80||db.data.svc.cluster.local";

fn shop() -> Vec<(&'static str, String)> {
    vec![
        (
            "web.yaml",
            service("shop", "web", "10.96.0.1", &["10.1.0.1"]),
        ),
        (
            "db.yaml",
            service("data", "db", "10.96.0.2", &["10.1.0.2", "10.1.0.3"]),
        ),
        (
            "other.yaml",
            service("other", "other", "10.96.0.3", &["10.1.0.4"]),
        ),
        (
            "sidecar.yaml",
            sidecar("shop", &["./*", "data/db.data.svc.cluster.local"]),
        ),
    ]
}

fn outbound(client: &DeltaClient, ty: ResourceType) -> Vec<&str> {
    client
        .names(ty)
        .into_iter()
        .filter(|name| name.starts_with("outbound|"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_gets_exactly_what_its_sidecar_leads_to() {
    let dir = directory(&shop());
    let server = serve(dir.path()).await;
    let client = connect(&server, &node("web-1", "shop")).await;
    assert_eq!(outbound(&client, ResourceType::Cluster), [DB, WEB]);
    assert_eq!(outbound(&client, ResourceType::Endpoint), [DB, WEB]);
    let clusters = client.names(ResourceType::Cluster);
    for fixed in [
        "BlackHoleCluster",
        "InboundPassthroughCluster",
        "PassthroughCluster",
    ] {
        assert!(clusters.contains(&fixed), "{clusters:?} lacks {fixed}");
    }
    let listeners = client.names(ResourceType::Listener);
    assert!(
        listeners.contains(&"virtualOutbound") && listeners.contains(&"virtualInbound"),
        "{listeners:?}"
    );
    assert_eq!(client.names(ResourceType::Route), ["80"]);

    let wide = connect(&server, &node("x", "elsewhere")).await;
    assert_eq!(
        outbound(&wide, ResourceType::Cluster).len(),
        3,
        "no Sidecar, so everything"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_resends_nothing_to_a_client_that_has_it_all() {
    let dir = directory(&shop());
    let first = serve(dir.path()).await;
    let client = connect(&first, &node("web-1", "shop")).await;
    let held = client.held().clone();
    drop(client);
    first.drain().await;

    let second = serve(dir.path()).await;
    // Ready once another proxy has been answered.
    let _other = connect(&second, &node("x", "elsewhere")).await;
    let mut again =
        DeltaClient::reconnect(second.grpc_addr(), &node("web-1", "shop"), held.clone())
            .await
            .unwrap();
    let resent: Vec<String> = again
        .settle(QUIET)
        .await
        .unwrap()
        .into_iter()
        .flat_map(|answer| answer.names)
        .collect();
    assert_eq!(resent, Vec::<String>::new());

    // The stream lives: a change arrives, alone.
    write(
        dir.path(),
        "db.yaml",
        &service("data", "db", "10.96.0.2", &["10.1.0.2"]),
    );
    let answer = again.next(PATIENCE).await.unwrap().unwrap();
    assert_eq!(
        (answer.ty, answer.names),
        (ResourceType::Endpoint, vec![DB.to_owned()])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_loses_nothing_that_was_good() {
    let dir = directory(&shop());
    let server = serve(dir.path()).await;
    let mut client = connect(&server, &node("web-1", "shop")).await;
    let before = client.held().clone();

    write(
        dir.path(),
        "web.yaml",
        "kind: Service\nmetadata: {name: [\n\0",
    );
    write(
        dir.path(),
        "noise.yaml",
        "\u{fffd}\u{0}: : :\n---\n- - -\n---\nkind: 7\n",
    );
    // A good change in another file shows that the bad ones were read and passed over.
    write(
        dir.path(),
        "db.yaml",
        &service("data", "db", "10.96.0.2", &["10.1.0.2"]),
    );
    let answer = client.next(PATIENCE).await.unwrap().unwrap();
    assert_eq!(
        (answer.ty, &answer.names),
        (ResourceType::Endpoint, &vec![DB.to_owned()])
    );
    assert_eq!(client.settle(QUIET).await.unwrap(), []);
    let clusters = ResourceType::Cluster;
    assert_eq!(client.held().get(&clusters), before.get(&clusters));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_widened_scope_reaches_only_its_namespace() {
    let dir = directory(&shop());
    let server = serve(dir.path()).await;
    let mut shop = connect(&server, &node("web-1", "shop")).await;
    let mut wide = connect(&server, &node("x", "elsewhere")).await;
    write(
        dir.path(),
        "sidecar.yaml",
        &sidecar("shop", &["./*", "data/*", "other/*"]),
    );
    let answer = shop.next(PATIENCE).await.unwrap().unwrap();
    let other = "outbound|80||other.other.svc.cluster.local";
    assert_eq!(
        (answer.ty, answer.names),
        (ResourceType::Cluster, vec![other.to_owned()])
    );
    shop.settle(QUIET).await.unwrap();
    assert!(outbound(&shop, ResourceType::Endpoint).contains(&other));
    assert_eq!(wide.settle(QUIET).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_id_that_is_none_is_refused_for_good() {
    let dir = directory(&shop());
    let server = serve(dir.path()).await;
    let _ready = connect(&server, &node("web-1", "shop")).await;
    let status = match DeltaClient::connect(server.grpc_addr(), "web-1").await {
        Ok(mut client) => client.next(PATIENCE).await.unwrap_err(),
        Err(status) => status,
    };
    assert_eq!(
        status.code(),
        reef_testkit::Code::InvalidArgument,
        "{status}"
    );
    assert!(status.message().contains("web-1"), "{status}");
}
