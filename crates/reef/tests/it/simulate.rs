//! `reef simulate`, asked of a directory, of a dump and of a running server.

use std::process::{Command, Output};

use serde_json::Value;

use crate::mesh::{connect, directory, node, pod, serve, service};

fn reef(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reef"))
        .args(args)
        .output()
        .unwrap()
}

fn told(args: &[&str]) -> Value {
    let output = reef(&[&["simulate", "-o", "json"], args].concat());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn files() -> [(&'static str, String); 2] {
    [
        (
            "cart.yaml",
            service("shop", "cart", "10.96.0.1", &["10.1.0.1", "10.1.0.2"]),
        ),
        ("web.yaml", pod("shop", "web-1", "10.9.9.9", "app: web")),
    ]
}

#[test]
fn a_directory_and_a_dump_of_it_give_the_same_answer() {
    let dir = directory(&files());
    let path = dir.path().to_str().unwrap();
    let pod = ["--config-dir", path, "--proxy", "web-1.shop"];
    let answer = told(&[&["http://cart/x?y"], &pod[..]].concat());
    assert_eq!(answer["proxy"], "web-1.shop");
    assert_eq!(answer["destination"], "10.96.0.1:80");
    assert_eq!(answer["through"], "virtualOutbound");
    let outcome = &answer["outcomes"][0];
    let cluster = "outbound|80||cart.shop.svc.cluster.local";
    assert_eq!(outcome["cluster"], cluster);
    assert_eq!(outcome["endpoints"][1]["address"], "10.1.0.2:80");
    assert_eq!(
        answer["reasons"]["cart.shop.svc.cluster.local"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let node = dir.path().join("node");
    std::fs::write(
        &node,
        "id: sidecar~10.9.9.9~web-1.shop~shop.svc.cluster.local\n",
    )
    .unwrap();
    let node = node.to_str().unwrap();
    let rendered = reef(&["render", path, "--node", node]);
    let dump = dir.path().join("dump");
    std::fs::write(&dump, rendered.stdout).unwrap();
    let of_dump = told(&["http://cart/x?y", "--dump", dump.to_str().unwrap()]);
    assert_eq!(of_dump["outcomes"], answer["outcomes"]);

    let page = reef(&[&["simulate", "tcp://203.0.113.1:9"], &pod[..]].concat());
    let page = String::from_utf8_lossy(&page.stdout).into_owned();
    for part in [
        "TCP to port 9 from web-1.shop",
        "listener      virtualOutbound",
        "100% forwarded",
        "cluster       PassthroughCluster",
        "endpoint      100% 203.0.113.1:9",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    let nobody = reef(&["simulate", "x", "--config-dir", path, "--proxy", "no.where"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no Pod no.where"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_is_asked_what_its_proxy_holds() {
    let dir = directory(&files());
    let server = serve(dir.path()).await;
    let client = connect(&server, &node("web-1", "shop")).await;
    let address = server.monitoring_addr().to_string();
    let answer = tokio::task::spawn_blocking(move || {
        let live = ["--proxy", "web-1.shop", "--admin-addr", &address];
        told(&[&["http://cart.shop/"], &live[..]].concat())
    })
    .await
    .unwrap();
    let outcome = &answer["outcomes"][0];
    assert_eq!(outcome["virtual_host"], "cart.shop.svc.cluster.local:80");
    assert_eq!(outcome["endpoints"][0]["address"], "10.1.0.1:80");
    let reasons = &answer["reasons"]["cart.shop.svc.cluster.local"];
    assert_eq!(reasons.as_array().unwrap().len(), 1, "{answer}");
    drop(client);
}
