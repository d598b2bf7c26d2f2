//! Typed objects back to the JSON of their API, for pages. What was not read is not there; defaults may be.

use serde_json::{Map, Value, json};

use crate::kind::Kind;
use crate::mesh_config::MeshConfig;
use crate::object::Object;

impl Object {
    /// The object in the shape of the Kubernetes API: `apiVersion`, `kind`, `metadata` and the content.
    ///
    /// Fields that are empty or unset are left out. Fields Reef does not read are not there.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut content = self.spec.to_value();
        prune(&mut content);
        let kind = self.key.kind;
        if matches!(kind.group(), "security.istio.io" | "telemetry.istio.io")
            && let Some(selector) = content.get_mut("selector").and_then(Value::as_object_mut)
            && let Some(labels) = selector.remove("labels")
        {
            selector.insert("matchLabels".to_owned(), labels);
        }
        let mut metadata = json!({
            "name": &*self.key.name,
            "namespace": self.key.namespace.as_str(),
            "labels": &self.meta.labels,
            "annotations": &self.meta.annotations,
            "generation": self.meta.generation,
        });
        prune(&mut metadata);
        let mut object = Map::new();
        object.insert("apiVersion".to_owned(), api_version(kind).into());
        object.insert("kind".to_owned(), kind.as_str().into());
        object.insert("metadata".to_owned(), metadata);
        match content {
            Value::Object(fields) if !kind.is_istio() => object.extend(fields),
            content => {
                object.insert("spec".to_owned(), content);
            }
        }
        Value::Object(object)
    }
}

impl MeshConfig {
    /// The configuration in effect, defaults included; fields that are empty or unset are left out.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        prune(&mut value);
        value
    }
}

/// The version the API stores a kind in.
fn api_version(kind: Kind) -> String {
    let version = match kind {
        Kind::EnvoyFilter => "v1alpha3",
        Kind::ProxyConfig => "v1beta1",
        _ => "v1",
    };
    match kind.group() {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    }
}

/// Maps of matches, of which an empty one means "is there".
const MATCHES: [&str; 3] = ["headers", "withoutHeaders", "queryParams"];

/// Removes fields that say nothing. Elements of lists stay: an empty rule is a rule.
fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                if !MATCHES.contains(&name.as_str()) {
                    prune(field);
                }
            }
            fields.retain(|_, field| match field {
                Value::Null => false,
                Value::String(text) => !text.is_empty(),
                Value::Array(list) => !list.is_empty(),
                Value::Object(map) => !map.is_empty(),
                Value::Bool(_) | Value::Number(_) => true,
            });
        }
        Value::Array(list) => list.iter_mut().for_each(prune),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
