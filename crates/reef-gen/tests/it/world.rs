//! A mesh and one proxy of it, read from files or text, and what that proxy receives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reef_config::parse;
use reef_config::{Change, ChangeBatch, Origin, Problem, Spec};
use reef_gen::{
    ClassInput, build_cluster, build_endpoints, build_listener, build_name_table, build_route,
    cluster_keys, endpoint_keys, listener_keys, name_table_keys, problems, route_keys,
};
use reef_mesh::{Locality, MeshIndex, MeshSnapshot, MetaValue, ProxyIdentity, ProxyNode, identify};
use serde_json::Value;
use xds_api::envoy::config::cluster::v3::Cluster;
use xds_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use xds_api::envoy::config::listener::v3::Listener;
use xds_api::envoy::config::route::v3::RouteConfiguration;
use xds_api::istio::networking::nds::v1::NameTable;

/// What one proxy receives.
#[derive(Debug)]
pub(crate) struct Output {
    pub clusters: Vec<Cluster>,
    pub endpoints: Vec<ClusterLoadAssignment>,
    pub listeners: Vec<Listener>,
    pub routes: Vec<RouteConfiguration>,
    /// At most one: the agent's.
    pub names: Vec<NameTable>,
    pub problems: Vec<Problem>,
}

/// Folders of golden cases, by name.
pub(crate) fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut found: Vec<PathBuf> = std::fs::read_dir(&root)
        .expect("the golden folder is there")
        .map(|entry| entry.expect("readable folder").path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found
}

/// The snapshot of objects in YAML; documents in the order given.
pub(crate) fn snapshot(documents: &[&str], mesh: Option<&str>) -> Arc<MeshSnapshot> {
    snapshot_in(MeshIndex::new("cluster.local"), documents, mesh)
}

/// The snapshot an index makes of objects in YAML.
pub(crate) fn snapshot_in(
    index: MeshIndex,
    documents: &[&str],
    mesh: Option<&str>,
) -> Arc<MeshSnapshot> {
    filled(index, documents, mesh).snapshot().clone()
}

/// The index, with objects in YAML applied.
fn filled(mut index: MeshIndex, documents: &[&str], mesh: Option<&str>) -> MeshIndex {
    let origin = Origin {
        path: Arc::from("in.yaml"),
        line: 1,
    };
    let mut changes = Vec::new();
    if let Some(text) = mesh {
        let (config, _) = parse::mesh_config(text, &origin).expect("mesh configuration parses");
        changes.push(Change::MeshConfig(Arc::new(config)));
    }
    for text in documents {
        let parsed = parse::object(text, &origin);
        assert!(!parsed.has_errors(), "{text}\n{:?}", parsed.problems);
        // As whoever reads ConfigMap `istio` tells it.
        for object in &parsed.objects {
            if let Spec::ConfigMap(map) = &object.spec
                && let Some(text) = map.data.get("meshNetworks")
            {
                let (networks, told) = parse::mesh_networks(text, &origin).expect("networks parse");
                assert_eq!(told, []);
                changes.push(Change::MeshNetworks(Arc::new(networks)));
            }
        }
        changes.extend(
            parsed
                .objects
                .into_iter()
                .map(|object| Change::Apply(Arc::new(object))),
        );
    }
    index.apply(ChangeBatch {
        changes,
        synced: true,
    });
    index
}

/// Splits a file at its document separators.
pub(crate) fn documents(text: &str) -> Vec<&str> {
    parse::documents(text.as_bytes())
        .expect("the file splits")
        .into_iter()
        .map(|document| document.text)
        .collect()
}

/// Reads a proxy: `id`, `metadata`, `locality`.
pub(crate) fn node(text: &str) -> ProxyNode {
    #[derive(serde::Deserialize)]
    struct File {
        id: String,
        #[serde(default)]
        metadata: BTreeMap<String, Value>,
        #[serde(default)]
        locality: String,
    }
    let file: File = serde_saphyr::from_str(text).expect("proxy.yaml parses");
    let metadata: reef_mesh::Metadata = file
        .metadata
        .into_iter()
        .map(|(key, value)| (key, meta(value)))
        .collect();
    ProxyNode::parse(&file.id, metadata, Locality::parse(&file.locality)).expect("valid node")
}

fn meta(value: Value) -> MetaValue {
    match value {
        Value::Null => MetaValue::Null,
        Value::Bool(value) => MetaValue::Bool(value),
        Value::Number(number) => MetaValue::Number(number.as_f64().unwrap_or_default()),
        Value::String(text) => MetaValue::from(text.as_str()),
        Value::Array(list) => MetaValue::List(list.into_iter().map(meta).collect()),
        Value::Object(map) => MetaValue::Map(
            map.into_iter()
                .map(|(key, value)| (key, meta(value)))
                .collect(),
        ),
    }
}

/// The class of a proxy.
pub(crate) fn class(snapshot: &Arc<MeshSnapshot>, proxy: &ProxyIdentity) -> ClassInput {
    let scope = reef_scope::resolve(snapshot, &reef_scope::select(snapshot, proxy));
    let facts = reef_gen::facts(snapshot, &scope, proxy);
    let targets = snapshot.service_targets(proxy);
    ClassInput::new(snapshot.clone(), scope, facts, targets)
}

/// Builds everything a class receives.
pub(crate) fn output(input: &ClassInput) -> Output {
    let mut found = problems(input);
    found.extend(input.scope.problems.iter().cloned());
    Output {
        clusters: cluster_keys(input)
            .iter()
            .map(|key| build_cluster(key).0)
            .collect(),
        endpoints: endpoint_keys(input).iter().map(build_endpoints).collect(),
        listeners: listener_keys(input)
            .iter()
            .map(|key| build_listener(key).0)
            .collect(),
        routes: route_keys(input)
            .iter()
            .map(|key| build_route(key).0)
            .collect(),
        names: name_table_keys(input)
            .iter()
            .map(build_name_table)
            .collect(),
        problems: found,
    }
}

/// Everything a golden case's proxy receives, and what is wrong with its mesh.
pub(crate) fn of_case(case: &Path) -> Output {
    let index = index_of_case(case);
    let mut found = output(&class_in(case, index.snapshot()));
    found.problems.extend(index.problems());
    found
}

/// The class of a golden case's proxy.
pub(crate) fn class_of_case(case: &Path) -> ClassInput {
    class_in(case, index_of_case(case).snapshot())
}

fn index_of_case(case: &Path) -> MeshIndex {
    let objects = std::fs::read_to_string(case.join("in.yaml")).expect("in.yaml");
    let mesh = std::fs::read_to_string(case.join("mesh.yaml")).ok();
    filled(
        MeshIndex::new("cluster.local"),
        &documents(&objects),
        mesh.as_deref(),
    )
}

fn class_in(case: &Path, snapshot: &Arc<MeshSnapshot>) -> ClassInput {
    let proxy = std::fs::read_to_string(case.join("proxy.yaml")).expect("proxy.yaml");
    class(snapshot, &identify(snapshot, &node(&proxy)))
}

/// The golden case of this name.
pub(crate) fn named(name: &str) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    of_case(&root.join(name))
}
