//! Options of `reef serve` that change what proxies are sent.

use reef::mesh::MeshOptions;
use reef::serve::{Settings, start};
use reef_config::ClusterId;
use reef_xds::ResourceType;

use crate::mesh::{connect, directory, json, node, pod, service, settings};

#[tokio::test(flavor = "multi_thread")]
async fn domain_and_cluster_of_the_options_are_those_of_the_mesh() {
    let text = service("shop", "web", "10.96.0.1", &["10.1.0.1"]).replace(
        "conditions:",
        "targetRef: {kind: Pod, name: web-1, namespace: shop}, conditions:",
    );
    let dir = directory(&[(
        "web.yaml",
        format!(
            "{text}---\n{}",
            pod("shop", "web-1", "10.1.0.1", "app: web")
        ),
    )]);
    let server = start(Settings {
        mesh: MeshOptions {
            domain: "mesh.internal".to_owned(),
            cluster: ClusterId::from("east"),
            ..MeshOptions::default()
        },
        ..settings(dir.path())
    })
    .await
    .unwrap();
    let id = node("x", "shop").replace("cluster.local", "mesh.internal");
    let client = connect(&server, &id).await;
    let web = "outbound|80||web.shop.svc.mesh.internal";
    assert!(client.names(ResourceType::Cluster).contains(&web));
    let dump = json(&server, "/debug/config_dump?proxyID=x.shop&types=eds").await;
    let dump = dump.to_string();
    assert!(
        dump.contains(";east\""),
        "the pod's cluster is told: {dump}"
    );
    assert_eq!(json(&server, "/debug/syncz").await[0]["cluster_id"], "east");
}
