//! The node message of a stream, read as a proxy of the mesh.

use reef_mesh::{Locality, MetaValue, Metadata, ProxyNode};
use reef_server::provider::NodeInfo;
use serde_json::Value;

/// Reads the node message of a stream as a proxy.
pub(crate) fn parse(node: &NodeInfo) -> Result<ProxyNode, reef_mesh::NodeError> {
    let mut metadata = match &node.metadata {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key, meta(value)))
            .collect(),
        _ => Metadata::default(),
    };
    // A gRPC library says what it is; whoever wrote its bootstrap need not repeat it.
    if node.user_agent_name.starts_with("gRPC") && metadata.get("GENERATOR").is_none() {
        metadata.insert("GENERATOR", MetaValue::from("grpc"));
    }
    let locality = Locality {
        region: node.locality.region.as_str().into(),
        zone: node.locality.zone.as_str().into(),
        subzone: node.locality.sub_zone.as_str().into(),
    };
    ProxyNode::parse(&node.id, metadata, locality)
}

fn meta(value: &Value) -> MetaValue {
    match value {
        Value::Null => MetaValue::Null,
        Value::Bool(value) => MetaValue::Bool(*value),
        Value::Number(number) => MetaValue::Number(number.as_f64().unwrap_or_default()),
        Value::String(text) => MetaValue::from(text.as_str()),
        Value::Array(list) => MetaValue::List(list.iter().map(meta).collect()),
        Value::Object(map) => {
            MetaValue::Map(map.iter().map(|(key, value)| (key, meta(value))).collect())
        }
    }
}
