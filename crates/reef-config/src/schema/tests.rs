//! The schemas fit the types they are made of, and the API server's demands.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Described, camel_case, definitions};
use crate::istio;
use crate::kind::Kind;

/// The names of a type's fields, by its schema and by serde.
fn fields<T: Described + Default + serde::Serialize>() -> (BTreeSet<String>, BTreeSet<String>) {
    let names = |value: &Value| {
        let object = value.as_object().expect("an object");
        object.keys().cloned().collect::<BTreeSet<String>>()
    };
    let schema = Value::from(T::schema());
    let serde = serde_json::to_value(T::default()).expect("serializes");
    (names(&schema["properties"]), names(&serde))
}

macro_rules! same_fields {
    ($($type:ident)*) => {$({
        let (schema, serde) = fields::<istio::$type>();
        assert_eq!(schema, serde, "{}", stringify!($type));
    })*};
}

#[test]
fn a_schema_has_the_fields_that_serde_reads() {
    same_fields! {
        AuthorizationPolicy DestinationRule EnvoyFilter Gateway PeerAuthentication ProxyConfig
        RequestAuthentication ServiceEntry Sidecar Telemetry VirtualService WorkloadEntry WorkloadGroup
        HttpRoute HttpMatchRequest TlsMatchAttributes OutlierDetection Source Operation
    }
}

#[test]
fn an_alias_is_a_field_too() {
    let schema = Value::from(istio::WorkloadSelector::schema());
    let names: Vec<&String> = schema["properties"]
        .as_object()
        .map(|properties| properties.keys().collect())
        .expect("an object");
    assert_eq!(names, ["labels", "matchLabels"]);
}

#[test]
fn every_istio_kind_has_a_definition_named_after_its_group() {
    let mut wanted: Vec<&str> = Kind::ALL
        .iter()
        .filter(|kind| kind.is_istio())
        .map(|kind| kind.as_str())
        .collect();
    wanted.sort_unstable();
    let found = definitions();
    let kinds: Vec<&str> = found.iter().map(|d| d.kind.as_str()).collect();
    assert_eq!(kinds, wanted);
    for definition in found {
        assert!(definition.name.ends_with(definition.kind.group()));
    }
}

/// Walks a schema: every field has a type and says what it is.
fn walk(schema: &Value, path: &str, is_field: bool) {
    let any = schema["x-kubernetes-int-or-string"] == true;
    assert!(any || schema["type"].is_string(), "{path}: no type");
    let described = schema["description"]
        .as_str()
        .is_some_and(|d| !d.is_empty());
    assert!(described || !is_field, "{path}: not documented");
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{path}.{name}"), true);
    }
    for nested in ["items", "additionalProperties"] {
        if let Some(nested) = schema.get(nested) {
            walk(nested, &format!("{path}[]"), false);
        }
    }
}

#[test]
fn every_field_of_a_definition_is_typed_and_documented() {
    for definition in definitions() {
        let versions = definition.object["spec"]["versions"].as_array();
        for version in versions.expect("versions") {
            let schema = &version["schema"]["openAPIV3Schema"];
            walk(schema, &definition.name, true);
        }
    }
}

#[test]
fn one_version_is_stored() {
    for definition in definitions() {
        let versions = definition.object["spec"]["versions"].as_array();
        let stored = versions
            .expect("versions")
            .iter()
            .filter(|version| version["storage"] == true);
        assert_eq!(stored.count(), 1, "{}", definition.name);
    }
}

#[test]
fn selectors_have_the_name_that_istio_has() {
    let selector = |kind: Kind, field: &str| {
        let found = definitions();
        let definition = found.iter().find(|d| d.kind == kind).expect("the kind");
        let version = &definition.object["spec"]["versions"][0];
        let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let labels = spec["properties"][field]["properties"].as_object();
        labels
            .expect("a selector")
            .keys()
            .cloned()
            .collect::<Vec<String>>()
    };
    assert_eq!(selector(Kind::Sidecar, "workloadSelector"), ["labels"]);
    assert_eq!(
        selector(Kind::DestinationRule, "workloadSelector"),
        ["matchLabels"]
    );
    assert_eq!(
        selector(Kind::PeerAuthentication, "selector"),
        ["matchLabels"]
    );
}

#[test]
fn names_are_spelled_as_serde_spells_them() {
    assert_eq!(
        camel_case("http1_max_pending_requests"),
        "http1MaxPendingRequests"
    );
    assert_eq!(camel_case("hosts"), "hosts");
}
