//! Golden cases and random meshes through a real Envoy: `--mode validate`, with routes and load
//! assignments inline. Fails without `ENVOY_BIN`. `REEF_ENVOY_MESHES` is the number of random meshes.

#[path = "../it/meshes.rs"]
mod meshes;
#[path = "../it/world.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests in `it`, which use the rest"
)]
mod world;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Map, Value, json};

use proptest::prelude::*;
use world::{Output, cases, of_case, output};

#[test]
fn envoy_accepts_every_golden_case() {
    let envoy = Envoy::new("golden");
    let mut refused = Vec::new();
    for case in cases() {
        let out = of_case(&case);
        // For clients that are no Envoy; a real one reads them in `reef-e2e`.
        if out.listeners.iter().any(|one| one.api_listener.is_some()) {
            continue;
        }
        if let Err(why) = envoy.validate(&out) {
            refused.push(format!("{}: {why}", case.display()));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn envoy_accepts_random_meshes() {
    let wanted = std::env::var("REEF_ENVOY_MESHES").ok();
    let wanted = wanted.and_then(|text| text.parse().ok()).unwrap_or(40);
    let config = ProptestConfig {
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::with_cases(wanted)
    };
    let envoy = Envoy::new("random");
    proptest!(config, |(mesh in meshes::meshes())| {
        let answer = envoy.validate(&output(&mesh.class("a0")));
        prop_assert!(answer.is_ok(), "{}", answer.unwrap_err());
    });
}

/// The binary, and a folder for its bootstraps.
struct Envoy {
    binary: OsString,
    folder: PathBuf,
}

impl Envoy {
    fn new(name: &str) -> Self {
        let binary = std::env::var_os("ENVOY_BIN").expect("ENVOY_BIN names the Envoy binary");
        let name = format!("reef-gen-envoy-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("temporary folder");
        Self { binary, folder }
    }

    fn validate(&self, out: &Output) -> Result<(), String> {
        let file = self.folder.join("bootstrap.json");
        std::fs::write(&file, bootstrap(out).to_string()).expect("bootstrap is written");
        let result = Command::new(&self.binary)
            .args(["--mode", "validate", "-l", "warning", "-c"])
            .arg(&file)
            .output()
            .expect("envoy starts");
        if result.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&result.stderr).into_owned())
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
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
