//! Tests of the layer check, and the check itself over this repository.

use super::{Layers, check, inherits_lints};
use crate::repo::Metadata;

const TABLE: &str = r#"
test_only = ["kit"]
[uses]
low = []
high = ["low"]
kit = ["low"]
[only_in]
tonic = ["high"]
[optional_in]
tonic = ["low"]
"#;

fn violations_of(package: &str, dependency: serde_json::Value) -> Vec<String> {
    let table: Layers = toml::from_str(TABLE).unwrap();
    let packages: Vec<serde_json::Value> = ["low", "high", "kit"]
        .into_iter()
        .map(|name| {
            let dependencies = if name == package {
                vec![dependency.clone()]
            } else {
                Vec::new()
            };
            serde_json::json!({
                "name": name, "manifest_path": "/x/Cargo.toml",
                "dependencies": dependencies, "targets": [],
            })
        })
        .collect();
    let metadata: Metadata =
        serde_json::from_value(serde_json::json!({ "packages": packages })).unwrap();
    table.violations(&metadata)
}

fn edge(name: &str, kind: Option<&str>, optional: bool, internal: bool) -> serde_json::Value {
    serde_json::json!({
        "name": name, "kind": kind, "optional": optional,
        "path": internal.then_some("/x"),
    })
}

#[test]
fn an_edge_against_the_direction_is_found() {
    assert_eq!(
        violations_of("high", edge("low", None, false, true)),
        [""; 0]
    );
    assert_eq!(
        violations_of("low", edge("high", None, false, true)),
        ["low → high: not in the table"]
    );
}

#[test]
fn a_test_crate_serves_tests_only() {
    assert_eq!(
        violations_of("high", edge("kit", Some("dev"), false, true)),
        [""; 0]
    );
    assert_eq!(
        violations_of("high", edge("kit", None, false, true)),
        ["high → kit: only for tests"]
    );
}

#[test]
fn a_banned_crate_is_found_unless_it_is_behind_a_feature() {
    assert_eq!(
        violations_of("kit", edge("tonic", None, false, false)),
        ["kit → tonic: banned here"]
    );
    assert_eq!(
        violations_of("low", edge("tonic", None, false, false)),
        ["low → tonic: banned here"]
    );
    assert_eq!(
        violations_of("low", edge("tonic", None, true, false)),
        [""; 0]
    );
}

#[test]
fn lints_must_be_inherited() {
    assert!(inherits_lints("[lints]\nworkspace = true\n").unwrap());
    assert!(!inherits_lints("[lints.rust]\nunsafe_code = \"forbid\"\n").unwrap());
}

#[test]
fn this_workspace_keeps_its_layers() {
    assert_eq!(check().unwrap(), [""; 0]);
}
