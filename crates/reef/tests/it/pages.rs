//! The admin pages of a running server, asked as `reef status` and `reef why` ask.

use std::collections::BTreeSet;

use reef::ask;
use reef::cli::{AdminArgs, Output, OutputArgs, StatusArgs, WhyArgs};
use reef::serve::Running;
use serde_json::Value;

use crate::mesh::{
    PATIENCE, QUIET, connect, directory, json, node, page, serve, service, sidecar, write,
};

fn why_args(server: &Running, proxy: &str, service: &str) -> WhyArgs {
    WhyArgs {
        proxy: proxy.to_owned(),
        service: service.to_owned(),
        admin: AdminArgs {
            admin_addr: server.monitoring_addr(),
            token_file: None,
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
                token_file: None,
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

#[tokio::test(flavor = "multi_thread")]
async fn pages_made_for_istiod_show_the_mesh() {
    let dir = directory(&[
        (
            "web.yaml",
            service("shop", "web", "10.96.0.1", &["10.1.0.1"]),
        ),
        ("sidecar.yaml", sidecar("shop", &["./*"])),
        (
            "mesh.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\n\
             data: {mesh: \"accessLogFile: /dev/stdout\"}\n"
                .to_owned(),
        ),
    ]);
    let server = serve(dir.path()).await;
    let _client = connect(&server, &node("web-1", "shop")).await;
    let _other = connect(&server, &node("web-2", "shop")).await;

    let adsz = json(&server, "/debug/adsz?proxyID=web-1").await;
    assert_eq!(adsz["totalClients"], 1);
    let client = &adsz["clients"][0];
    let id = client["connectionId"].as_str().unwrap();
    assert!(id.starts_with(&node("web-1", "shop")), "{id}");
    let watched = |message: &str| {
        let url = format!("type.googleapis.com/envoy.config.{message}");
        client["watches"][&url].clone()
    };
    assert_eq!(watched("cluster.v3.Cluster"), serde_json::json!(["*"]));
    assert_eq!(
        watched("endpoint.v3.ClusterLoadAssignment"),
        serde_json::json!(["outbound|80||web.shop.svc.cluster.local"])
    );
    let connections = json(&server, "/debug/connections").await;
    assert_eq!(connections["totalClients"], 2);
    assert!(connections["clients"][0].get("watches").is_none());

    let registry = json(&server, "/debug/registryz").await;
    assert_eq!(registry[0]["hostname"], "web.shop.svc.cluster.local");
    assert_eq!(registry[0]["Attributes"]["Namespace"], "shop");
    assert_eq!(registry[0]["defaultAddress"], "10.96.0.1");
    assert_eq!(registry[0]["ports"][0]["port"], 80);
    assert_eq!(registry[0]["ports"][0]["protocol"], "HTTP");
    for path in ["/debug/endpointz", "/debug/endpointShardz"] {
        let shards = json(&server, path).await;
        let shard =
            &shards["web.shop.svc.cluster.local"]["shop"]["Shards"]["Kubernetes/Kubernetes"];
        assert_eq!(shard[0]["Addresses"][0], "10.1.0.1", "{shards}");
        assert_eq!(shard[0]["ServicePortName"], "http");
    }
    let config = json(&server, "/debug/configz").await;
    assert_eq!(config.as_array().unwrap().len(), 1, "{config}");
    assert_eq!(config[0]["apiVersion"], "networking.istio.io/v1");
    assert_eq!(config[0]["spec"]["egress"][0]["hosts"][0], "./*");
    let mesh = json(&server, "/debug/mesh").await;
    assert_eq!(
        (&mesh["accessLogFile"], &mesh["rootNamespace"]),
        (&"/dev/stdout".into(), &"istio-system".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_istiods_names_each_once() {
    // Of a Service without selector the endpoints decide whom it selects, so a change of them is one of the Service.
    let web = |endpoints: &[&str]| {
        service("shop", "web", "10.96.0.1", endpoints).replace(
            "ports: [{name: http, port: 80}]}",
            "ports: [{name: http, port: 80}], selector: {app: web}}",
        )
    };
    let dir = directory(&[
        ("web.yaml", web(&["10.1.0.1"])),
        ("empty.yaml", service("shop", "empty", "10.96.0.2", &[])),
        ("sidecar.yaml", sidecar("shop", &["./*"])),
    ]);
    let server = serve(dir.path()).await;
    let mut client = connect(&server, &node("web-1", "shop")).await;
    write(dir.path(), "web.yaml", &web(&["10.1.0.1", "10.1.0.2"]));
    client.next(PATIENCE).await.unwrap().unwrap();
    client.settle(QUIET).await.unwrap();

    let (_, text) = page(&server, "/metrics").await;
    let mut families: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let all = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), all, "a name twice: {text}");
    for line in [
        "pilot_services 2",
        "pilot_eds_no_instances 1",
        "pilot_inbound_updates{type=\"eds\"} 1",
        "pilot_k8s_cfg_events{type=\"Sidecar\",event=\"add\"} 1",
        "pilot_k8s_reg_events{type=\"Services\",event=\"add\"} 2",
        "pilot_k8s_reg_events{type=\"EndpointSlice\",event=\"update\"} 1",
        "pilot_push_triggers{type=\"endpoint\"} 1",
        "pilot_endpoint_not_ready 0",
        "istiod_managed_clusters{cluster_type=\"local\"} 0",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "no {line} in {text}"
        );
    }
    documented(&families);
}

/// Every metric and page that docs/operations.md says is there is there, and it names every one of istiod's.
fn documented(families: &[&str]) {
    let rows = operations("## Metrics");
    let there = |state: &str| {
        let rows = rows.iter().filter(move |row| row[1] == state);
        rows.map(|row| row[0].as_str()).collect::<BTreeSet<_>>()
    };
    let page: BTreeSet<&str> = families.iter().copied().collect();
    let missing: Vec<_> = there("yes").difference(&page).copied().collect();
    assert!(missing.is_empty(), "not on the page: {missing:?}");
    let own = |family: &&&str| !family.starts_with("reef_") && !family.starts_with("process_");
    let (yes, later) = (there("yes"), there("on event"));
    let undocumented: Vec<_> = page
        .iter()
        .filter(own)
        .filter(|family| !yes.contains(*family) && !later.contains(*family))
        .collect();
    assert!(undocumented.is_empty(), "in no row: {undocumented:?}");
}

/// The rows of a table of docs/operations.md, without the marks of code.
fn operations(section: &str) -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(&format!("{section}\n")).unwrap();
    let table = rest.split("\n## ").next().unwrap();
    table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().replace('`', "")).collect()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_those_of_the_document_and_answer() {
    let dir = directory(&[
        (
            "web.yaml",
            service("shop", "web", "10.96.0.1", &["10.9.9.9"]),
        ),
        (
            "policy.yaml",
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {name: all, namespace: shop}\nspec: {rules: [{}]}\n"
                .to_owned(),
        ),
    ]);
    let server = serve(dir.path()).await;
    let _client = connect(&server, &node("web-1", "shop")).await;
    let documented: BTreeSet<String> = operations("## Pages")
        .into_iter()
        .map(|row| row[0].clone())
        .filter(|page| page != "/debug/list")
        .collect();
    let listed: BTreeSet<String> = json(&server, "/debug/list")
        .await
        .as_array()
        .unwrap()
        .iter()
        .map(|name| format!("/debug/{}", name.as_str().unwrap()))
        .collect();
    assert_eq!(listed, documented);
    for page in &listed {
        let _answer = json(&server, &format!("{page}?proxyID=web-1.shop&service=web")).await;
    }

    let targets = json(&server, "/debug/instancesz").await;
    let of_web = targets.as_object().unwrap().values().next().unwrap();
    assert_eq!(
        of_web[0]["Service"]["hostname"],
        "web.shop.svc.cluster.local"
    );
    assert_eq!(of_web[0]["Port"]["port"], 80);
    let policies = json(&server, "/debug/authorizationz").await;
    let policies = &policies["authorization_policies"];
    assert_eq!(policies["root_namespace"], "istio-system");
    assert_eq!(
        policies["namespace_to_policies"]["shop"][0]["metadata"]["name"],
        "all"
    );
    let eds = json(&server, "/debug/edsz?proxyID=web-1.shop").await;
    assert_eq!(eds["configs"].as_array().unwrap().len(), 1);
    let cached = json(&server, "/debug/cachez").await;
    let clusters = &cached["type.googleapis.com/envoy.config.cluster.v3.Cluster"];
    let names: Vec<&str> = clusters
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        names.contains(&"outbound|80||web.shop.svc.cluster.local"),
        "{names:?}"
    );
    let sizes = json(&server, "/debug/cachez?sizes").await;
    assert!(sizes["total"].as_str().unwrap().ends_with('B'), "{sizes}");
    let sidecar = json(&server, "/debug/sidecarz?proxyID=web-1.shop").await;
    assert_eq!(
        sidecar["servicesByHostname"]["web.shop.svc.cluster.local"],
        "shop"
    );
    let (status, _) = page(&server, "/debug/edsz").await;
    assert_eq!(status, 400, "a page about a proxy needs one");
}

#[tokio::test(flavor = "multi_thread")]
async fn rejections_and_versions_of_proxies_are_counted() {
    let dir = directory(&[
        (
            "web.yaml",
            service("shop", "web", "10.96.0.1", &["10.9.9.9"]),
        ),
        (
            "broken.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: broken, namespace: shop}\n\
             spec: {ports: 7}\n"
                .to_owned(),
        ),
    ]);
    let server = serve(dir.path()).await;
    let _client = connect(&server, &node("web-1", "shop")).await;
    let mut wrong = connect(&server, &node("web-2", "shop")).await;
    wrong.reject_next("cluster: no");
    write(
        dir.path(),
        "more.yaml",
        &service("shop", "more", "10.96.0.2", &["10.1.0.2"]),
    );
    wrong.next(PATIENCE).await.unwrap().unwrap();
    let mut text = String::new();
    for _ in 0..200 {
        text = page(&server, "/metrics").await.1;
        if text.contains("pilot_xds_cds_reject{") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for line in [
        "pilot_xds{version=\"unknown\"} 2",
        "pilot_total_xds_rejects{type=\"cds\"} 1",
        "pilot_total_rejected_configs{type=\"Service\",name=\"shop/broken\"} 1",
        "pilot_xds_cds_reject{node=\"web-2.shop\",err=\"Internal\"} 1",
        "pilot_no_ip 0",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "no {line} in {text}"
        );
    }
    let queued = text
        .lines()
        .find_map(|line| line.strip_prefix("pilot_proxy_queue_time_count "))
        .unwrap();
    assert!(queued.parse::<u64>().unwrap() >= 2, "{queued}");
}
