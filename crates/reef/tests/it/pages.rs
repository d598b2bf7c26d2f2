//! The admin pages of a running server, asked as `reef status` and `reef why` ask.

use reef::ask;
use reef::cli::{AdminArgs, Output, OutputArgs, StatusArgs, WhyArgs};
use reef::serve::Running;
use serde_json::Value;

use crate::mesh::{connect, directory, node, serve, service, sidecar};

fn why_args(server: &Running, proxy: &str, service: &str) -> WhyArgs {
    WhyArgs {
        proxy: proxy.to_owned(),
        service: service.to_owned(),
        admin: AdminArgs {
            admin_addr: server.monitoring_addr(),
        },
        output: OutputArgs {
            output: Output::Json,
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_why_tell_who_holds_what_and_why() {
    let dir = directory(&[
        (
            "web.yaml",
            service("shop", "web", "10.96.0.1", &["10.1.0.1"]),
        ),
        ("db.yaml", service("data", "db", "10.96.0.2", &["10.1.0.2"])),
        (
            "hidden.yaml",
            service("data", "hidden", "10.96.0.3", &["10.1.0.3"]),
        ),
        (
            "sidecar.yaml",
            sidecar("shop", &["./*", "data/db.data.svc.cluster.local"]),
        ),
        (
            "broken.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: 7}\n".to_owned(),
        ),
    ]);
    let server = serve(dir.path()).await;
    let _client = connect(&server, &node("web-1", "shop")).await;

    let answers = tokio::task::spawn_blocking(move || {
        let mut status = Vec::new();
        let args = StatusArgs {
            admin: AdminArgs {
                admin_addr: server.monitoring_addr(),
            },
            output: OutputArgs {
                output: Output::Json,
            },
        };
        ask::status(&args, &mut status).unwrap();
        let mut yes = Vec::new();
        assert!(ask::why(&why_args(&server, "web-1.shop", "db.data"), &mut yes).unwrap());
        let mut no = Vec::new();
        assert!(!ask::why(&why_args(&server, "web-1.shop", "hidden.data"), &mut no).unwrap());
        let nobody =
            ask::why(&why_args(&server, "web-9.shop", "db.data"), &mut Vec::new()).unwrap_err();
        assert!(nobody.to_string().contains("web-9.shop"), "{nobody}");
        [status, yes, no].map(|json| serde_json::from_slice::<Value>(&json).unwrap())
    })
    .await
    .unwrap();
    let [status, yes, no] = answers;
    assert_eq!(status["status"]["services"], 3);
    assert_eq!(status["proxies"][0]["services"], 2);
    assert_eq!(status["proxies"][0]["id"], node("web-1", "shop"));
    let problem = status["problems"]
        .as_array()
        .unwrap()
        .iter()
        .find(|problem| problem["severity"] == "error")
        .unwrap();
    assert!(
        problem["origin"]
            .as_str()
            .unwrap()
            .ends_with("broken.yaml:1"),
        "{problem}"
    );
    assert_eq!(yes["services"][0]["hostname"], "db.data.svc.cluster.local");
    let reason = yes["services"][0]["reasons"][0].as_str().unwrap();
    assert!(
        reason.contains("data/db.data.svc.cluster.local"),
        "{reason}"
    );
    assert!(
        no["reasons"][0]
            .as_str()
            .unwrap()
            .contains("no egress host"),
        "{no}"
    );
}
