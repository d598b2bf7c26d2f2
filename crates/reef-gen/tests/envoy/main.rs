//! Golden cases and random meshes through a real Envoy: `--mode validate`, with routes and load
//! assignments inline. Fails without `ENVOY_BIN`.
//!
//! `REEF_ENVOY_MESHES` is the number of random meshes, `REEF_SEED` what they are drawn from. Starting
//! Envoy is what takes time, so several meshes share a run: their names get a prefix, and listeners
//! get addresses of their own, once it is checked that no two of one mesh have the same.

#[path = "../it/meshes.rs"]
mod meshes;
#[path = "../it/world.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests in `it`, which use the rest"
)]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Map, Value, json};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};
use world::{Output, cases, of_case, output};

/// How many random meshes share a run of Envoy.
const TOGETHER: usize = 20;

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
    let wanted: usize = wanted.and_then(|text| text.parse().ok()).unwrap_or(500);
    let envoy = Envoy::new("random");
    let seed = meshes::seed();
    let mut runner = TestRunner::new(ProptestConfig {
        rng_seed: RngSeed::Fixed(seed),
        ..ProptestConfig::default()
    });
    let mut left = wanted;
    let mut refused = Vec::new();
    while left > 0 {
        let some: Vec<meshes::Mesh> = (0..left.min(TOGETHER))
            .map(|_| {
                let tree = meshes::meshes().new_tree(&mut runner);
                tree.expect("a mesh is drawn").current()
            })
            .collect();
        left -= some.len();
        let outputs: Vec<Output> = some.iter().map(|mesh| output(&mesh.class("a0"))).collect();
        if envoy.run(&together(&outputs)).is_ok() {
            continue;
        }
        let before = refused.len();
        for (mesh, out) in some.iter().zip(&outputs) {
            if let Err(why) = envoy.validate(out) {
                refused.push(format!("{why}\n{mesh:#?}"));
            }
        }
        assert!(
            refused.len() > before,
            "refused only together (REEF_SEED={seed})"
        );
    }
    assert!(
        refused.is_empty(),
        "{} of {wanted} refused (REEF_SEED={seed}), the first: {}",
        refused.len(),
        refused.first().map_or("", String::as_str)
    );
}

#[test]
fn access_log_formats_are_judged_as_envoy_judges_them() {
    let envoy = Envoy::new("formats");
    // Every operator that stands in the lists, in each form, and parameters of those that look at theirs.
    let lists = include_str!("../../../reef-config/src/access_log/operators.rs");
    let names: BTreeSet<&str> = lists
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|name| name.len() > 2 && name.bytes().all(|b| b == b'_' || b.is_ascii_uppercase()))
        .collect();
    let parameters = [
        "",
        "()",
        "(a)",
        "(a):5",
        ":5",
        "(a:b)",
        "(a:b:ms)",
        "(:a?:b)",
        "(NQ:ORIG)",
        "(DECODED)",
        "(CLUSTER:a)",
        "(a:FIELD:b)",
        "(URI)",
        "(request.headers['a-b'])",
        "(SNAKE_STRING)",
        "(response.code >= 400 ? 'bad' : 'good')",
        "(%Y)%9f)",
    ];
    let formats = names.iter().flat_map(|name| {
        let forms = parameters.iter();
        forms.map(move |form| format!("100%% %{name}{form}%"))
    });
    let (taken, refused): (Vec<String>, Vec<String>) =
        formats.partition(|format| reef_config::access_log::check_text(format).is_ok());
    assert!(taken.len() > 200 && refused.len() > 1000, "{}", taken.len());
    envoy
        .run(&logging(&taken))
        .expect("what Reef takes, Envoy takes");
    // Starting Envoy takes time, and it stops at the first it refuses; so some of them.
    let more = [
        "%NOPE%",
        "100%",
        "%lower%",
        "%REQ(a)%REQ(b)%",
        "%REQ(a b)%",
        "%REQ(a):x%",
    ];
    let some = refused
        .iter()
        .map(String::as_str)
        .step_by(refused.len() / 30);
    // What Reef cannot judge it refuses, whatever Envoy says.
    for format in some.chain(more).filter(|format| !format.contains("%CEL(")) {
        let format = vec![format.to_owned()];
        assert!(envoy.run(&logging(&format)).is_err(), "{format:?}");
    }
}

/// A listener for each format.
fn logging(formats: &[String]) -> Value {
    let extension = |name: &str, message: &str| {
        let url = format!("type.googleapis.com/envoy.extensions.formatter.{message}");
        json!({"name": name, "typed_config": {"@type": url}})
    };
    let formatters = [
        extension("envoy.formatter.metadata", "metadata.v3.Metadata"),
        extension(
            "envoy.formatter.req_without_query",
            "req_without_query.v3.ReqWithoutQuery",
        ),
    ];
    let listeners: Vec<Value> = (10_000u16..)
        .zip(formats)
        .map(|(port, format)| {
            json!({
                "name": format!("l{port}"),
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                "access_log": [{"name": "log", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                    "path": "/dev/null",
                    "log_format": {
                        "text_format_source": {"inline_string": format},
                        "formatters": formatters,
                    },
                }}],
                "filter_chains": [{}],
            })
        })
        .collect();
    bootstrap(&[], &listeners)
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
        let (clusters, listeners) = resources(out);
        self.run(&bootstrap(&clusters, &listeners))
    }

    fn run(&self, bootstrap: &Value) -> Result<(), String> {
        let file = self.folder.join("bootstrap.json");
        std::fs::write(&file, bootstrap.to_string()).expect("bootstrap is written");
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

fn bootstrap(clusters: &[Value], listeners: &[Value]) -> Value {
    json!({
        "node": {"id": "sidecar~10.244.1.10~client-0.default~default.svc.cluster.local", "cluster": "golden"},
        "static_resources": {"clusters": clusters, "listeners": listeners},
    })
}

/// Several meshes in one bootstrap.
fn together(all: &[Output]) -> Value {
    let (mut clusters, mut listeners) = (Vec::new(), Vec::new());
    let mut address = 0u32;
    for (index, out) in all.iter().enumerate() {
        let names: BTreeSet<&str> = out.clusters.iter().map(|one| one.name.as_str()).collect();
        let prefix = format!("m{index}~");
        let (mut some, mut more) = resources(out);
        for cluster in &mut some {
            rename(cluster, &prefix, &names);
        }
        let mut taken = BTreeSet::new();
        for listener in &mut more {
            rename(listener, &prefix, &names);
            if let Some(Value::String(name)) = listener.get_mut("name") {
                name.insert_str(0, &prefix);
            }
            readdress(listener, &mut address, &mut taken);
        }
        clusters.extend(some);
        listeners.extend(more);
    }
    bootstrap(&clusters, &listeners)
}

/// Puts a prefix before whatever is the name of a cluster or of a DNS cache.
fn rename(value: &mut Value, prefix: &str, names: &BTreeSet<&str>) {
    match value {
        Value::String(text) if names.contains(text.as_str()) => text.insert_str(0, prefix),
        Value::Object(fields) => {
            if let Some(Value::String(name)) = fields
                .get_mut("dns_cache_config")
                .and_then(|cache| cache.get_mut("name"))
            {
                name.insert_str(0, prefix);
            }
            fields
                .values_mut()
                .for_each(|inner| rename(inner, prefix, names));
        }
        Value::Array(list) => list
            .iter_mut()
            .for_each(|inner| rename(inner, prefix, names)),
        _ => {}
    }
}

/// Moves a listener to addresses nobody else has.
fn readdress(listener: &mut Value, last: &mut u32, taken: &mut BTreeSet<String>) {
    let mut places: Vec<&mut Value> = Vec::new();
    if let Some(fields) = listener.as_object_mut() {
        for (key, value) in fields.iter_mut() {
            match (key.as_str(), value) {
                ("address", address) => places.push(address),
                ("additional_addresses", Value::Array(list)) => places.extend(
                    list.iter_mut()
                        .filter_map(|one| one.as_object_mut()?.get_mut("address")),
                ),
                _ => {}
            }
        }
    }
    for place in places {
        assert!(taken.insert(place.to_string()), "two listeners at {place}");
        *last += 1;
        let ip = std::net::Ipv4Addr::from(0x7f00_0000 + *last);
        *place = json!({"socket_address": {"address": ip.to_string(), "port_value": 20_000}});
    }
}

/// Clusters and listeners with everything inline that Envoy would ask for.
fn resources(out: &Output) -> (Vec<Value>, Vec<Value>) {
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
    (clusters, listeners)
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
