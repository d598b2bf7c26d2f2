//! What a proxy says about itself → identity → keys → resources, against a mesh of the seeds.
//!
//! First line: the node id. Second line: the locality. The rest: metadata as JSON.

use std::sync::{Arc, LazyLock};

use reef_mesh::{Locality, MeshSnapshot, MetaValue, Metadata, ProxyNode, identify};
use serde_json::Value;

use super::world;

static MESH: LazyLock<Arc<MeshSnapshot>> = LazyLock::new(|| world::snapshot(&world::SEEDS));

/// Tries one node.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.splitn(3, '\n');
    let id = lines.next().unwrap_or_default();
    let locality = Locality::parse(lines.next().unwrap_or_default());
    let metadata = match serde_json::from_str(lines.next().unwrap_or_default()) {
        Ok(Value::Object(map)) => map
            .into_iter()
            .map(|(key, value)| (key, meta(value)))
            .collect(),
        _ => Metadata::default(),
    };
    match ProxyNode::parse(id, metadata, locality) {
        Ok(node) => {
            assert!(!node.ips.is_empty());
            let _ports = node.pod_ports();
            let proxy = identify(&MESH, &node);
            let _resources = world::resources(&MESH, &proxy);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn meta(value: Value) -> MetaValue {
    match value {
        Value::Null => MetaValue::Null,
        Value::Bool(value) => MetaValue::Bool(value),
        Value::Number(number) => MetaValue::Number(number.as_f64().unwrap_or(f64::MAX)),
        Value::String(text) => MetaValue::from(text.as_str()),
        Value::Array(items) => MetaValue::List(items.into_iter().map(meta).collect()),
        Value::Object(map) => MetaValue::Map(
            map.into_iter()
                .map(|(key, value)| (key, meta(value)))
                .collect(),
        ),
    }
}
