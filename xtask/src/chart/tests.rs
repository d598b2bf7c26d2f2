//! The chart of this repository, and how its values are read.

use super::values::{Value, compare, read, table};
use super::{complaints, helm, lint, manifest};
use crate::repo::root;

const TEXT: &str = "\
# Of the file.

# The name.
name: reef
hub: \"\"
section:
  # How many,
  # at least.
  count: 1
# Who may.
audiences:
  - a
  - b
# Free.
labels: {}
";

fn value(path: &str, default: &str, about: &str) -> Value {
    Value {
        path: path.to_owned(),
        default: default.to_owned(),
        about: about.to_owned(),
    }
}

#[test]
fn values_have_the_comment_above_them() {
    assert_eq!(
        read(TEXT),
        [
            value("name", "reef", "The name."),
            value("hub", "\"\"", ""),
            value("section.count", "1", "How many, at least."),
            value("audiences", "[a, b]", "Who may."),
            value("labels", "{}", "Free."),
        ]
    );
}

#[test]
fn a_table_has_a_row_a_value() {
    let table = table(&read(TEXT));
    assert!(table.ends_with("| `labels` | `{}` | Free. |\n"), "{table}");
    assert_eq!(table.lines().count(), 2 + 5);
}

#[test]
fn schema_and_values_must_have_the_same_paths() {
    let leaf = serde_json::json!({"type": "string"});
    let schema = serde_json::json!({
        "additionalProperties": false,
        "properties": {
            "name": &leaf, "hub": &leaf, "audiences": &leaf, "labels": &leaf, "gone": &leaf,
            "section": {"properties": {"count": &leaf}},
        },
    });
    assert_eq!(
        compare(&read(TEXT), &schema),
        [
            "values.yaml lacks gone, which the schema has",
            "values.yaml lacks section(additionalProperties is not false), which the schema has",
        ]
    );
    let empty = serde_json::json!({"additionalProperties": false, "properties": {}});
    assert_eq!(compare(&read(TEXT), &empty).len(), 5);
}

#[test]
fn the_chart_is_documented_and_strict_and_its_readme_is_made_of_its_values() {
    let found = complaints().unwrap();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_plain_manifest_is_what_the_chart_renders_to() {
    let Some(helm) = helm() else {
        // The stage `chart` tells it: a machine without Helm can't say.
        println!("left out: there is no helm");
        return;
    };
    lint(&helm).unwrap();
    let there = std::fs::read_to_string(root().join(super::MANIFEST)).unwrap();
    assert!(
        manifest(&helm).unwrap() == there,
        "stale: run cargo xtask chart"
    );
}

#[test]
fn every_value_is_set_to_something_else_by_a_file_of_ci() {
    let chart = root().join(super::CHART);
    let read_file = |path: &std::path::Path| read(&std::fs::read_to_string(path).unwrap());
    let mut set: Vec<Value> = Vec::new();
    for entry in std::fs::read_dir(chart.join("ci")).unwrap() {
        set.extend(read_file(&entry.unwrap().path()));
    }
    // A whole section may be set at once, or a map that is empty by default be filled.
    let inside = |path: &str, of: &str| {
        path.strip_prefix(of)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    let values = read_file(&chart.join("values.yaml"));
    let missing: Vec<&str> = values
        .iter()
        .filter(|value| {
            !set.iter().any(|one| {
                let is_it = one.path == value.path && one.default != value.default;
                is_it || inside(&one.path, &value.path) || inside(&value.path, &one.path)
            })
        })
        .map(|value| value.path.as_str())
        .collect();
    assert!(missing.is_empty(), "no file of ci/ sets {missing:?}");
}
