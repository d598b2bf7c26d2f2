//! Every golden case through a real Envoy: `--mode validate`, with routes and load assignments
//! inline. Fails without `ENVOY_BIN`.

#[path = "../it/world.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests in `it`, which use the rest"
)]
mod world;

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Map, Value, json};

use world::{Output, cases, of_case};

#[test]
fn envoy_accepts_every_golden_case() {
    let envoy = std::env::var_os("ENVOY_BIN").expect("ENVOY_BIN names the Envoy binary");
    let folder = std::env::temp_dir().join(format!("reef-gen-envoy-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("temporary folder");
    let mut refused = Vec::new();
    for case in cases() {
        let name = case
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let output = of_case(&case);
        // For clients that are no Envoy; a real one reads them in `reef-e2e`.
        if output
            .listeners
            .iter()
            .any(|one| one.api_listener.is_some())
        {
            continue;
        }
        let file = folder.join(format!("{name}.json"));
        std::fs::write(&file, bootstrap(&output).to_string()).expect("bootstrap is written");
        let result = Command::new(&envoy)
            .args(["--mode", "validate", "-l", "warning", "-c"])
            .arg(&file)
            .output()
            .expect("envoy starts");
        if !result.status.success() {
            refused.push(format!(
                "{name}: {}",
                String::from_utf8_lossy(&result.stderr)
            ));
        }
    }
    std::fs::remove_dir_all(&folder).expect("temporary folder is removed");
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

fn bootstrap(out: &Output) -> Value {
    let routes: BTreeMap<&str, Value> = out
        .routes
        .iter()
        .map(|route| {
            (
                route.name.as_str(),
                reef_xds::json::message_to_json(route).expect("known"),
            )
        })
        .collect();
    let assignments: BTreeMap<&str, Value> = out
        .endpoints
        .iter()
        .map(|all| {
            (
                all.cluster_name.as_str(),
                reef_xds::json::message_to_json(all).expect("known"),
            )
        })
        .collect();
    let clusters: Vec<Value> = out
        .clusters
        .iter()
        .map(|cluster| {
            let mut json = reef_xds::json::message_to_json(cluster).expect("known");
            if let Some(fields) = json.as_object_mut() {
                inline_endpoints(fields, &assignments);
            }
            json
        })
        .collect();
    let listeners: Vec<Value> = out
        .listeners
        .iter()
        .map(|listener| {
            let mut json = reef_xds::json::message_to_json(listener).expect("known");
            inline_routes(&mut json, &routes);
            json
        })
        .collect();
    json!({
        "node": {"id": "sidecar~10.244.1.10~client-0.default~default.svc.cluster.local", "cluster": "golden"},
        "static_resources": {"clusters": clusters, "listeners": listeners},
    })
}

fn inline_endpoints(cluster: &mut Map<String, Value>, assignments: &BTreeMap<&str, Value>) {
    if cluster.remove("eds_cluster_config").is_none() {
        return;
    }
    let name = cluster
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let assignment = assignments
        .get(name)
        .expect("an EDS cluster has a load assignment")
        .clone();
    cluster.insert("type".to_owned(), json!("STATIC"));
    cluster.insert("load_assignment".to_owned(), assignment);
}

fn inline_routes(value: &mut Value, routes: &BTreeMap<&str, Value>) {
    match value {
        Value::Object(fields) => {
            if let Some(rds) = fields.remove("rds") {
                let name = rds["route_config_name"].as_str().expect("rds has a name");
                let route = routes.get(name).expect("the route is sent").clone();
                fields.insert("route_config".to_owned(), route);
            }
            fields
                .values_mut()
                .for_each(|inner| inline_routes(inner, routes));
        }
        Value::Array(list) => list
            .iter_mut()
            .for_each(|inner| inline_routes(inner, routes)),
        _ => {}
    }
}
