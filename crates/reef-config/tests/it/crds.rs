//! The files of `deploy/crds` are the definitions, and objects that Reef is tested with fit them.
//!
//! `REEF_WRITE_DOCS=1` writes the files again; `cargo xtask crds` does.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use reef_config::Kind;
use reef_config::schema::{Definition, definitions};
use serde_json::Value;

const HEADER: &str = "# Made by `cargo xtask crds` from the types of crates/reef-config.\n";

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn text(definition: &Definition) -> String {
    let yaml = serde_saphyr::to_string(&definition.object).expect("a definition is plain data");
    format!("{HEADER}{yaml}")
}

#[test]
fn the_committed_definitions_are_those_of_the_types() {
    let folder = folder("deploy/crds");
    let write = std::env::var_os("REEF_WRITE_DOCS").is_some();
    if write {
        fs::create_dir_all(&folder).unwrap();
    }
    let mut wanted = BTreeSet::new();
    for definition in definitions() {
        let file = format!("{}.yaml", definition.name);
        let path = folder.join(&file);
        wanted.insert(file);
        let now = text(&definition);
        if write {
            fs::write(&path, &now).unwrap();
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == now,
            "{}: stale; `cargo xtask crds` writes it",
            path.display()
        );
        let read: Value = serde_saphyr::from_str(&there).unwrap();
        assert_eq!(read, definition.object, "{}", path.display());
    }
    let there: BTreeSet<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, wanted, "files of {}", folder.display());
}

/// What of a value a schema does not admit.
fn misfits(value: &Value, schema: &Value, path: &str, found: &mut Vec<String>) {
    if schema["x-kubernetes-int-or-string"] == true {
        if !(value.is_string() || value.is_i64()) {
            found.push(format!("{path}: neither number nor string"));
        }
        return;
    }
    let fits = match schema["type"].as_str().unwrap_or_default() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        _ => false,
    };
    if !fits {
        found.push(format!("{path}: {value} is no {}", schema["type"]));
        return;
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    if let Some(known) = schema["enum"].as_array()
        && !known.contains(value)
    {
        found.push(format!("{path}: {value} is none of {known:?}"));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        misfits(item, &schema["items"], &format!("{path}[{index}]"), found);
    }
    for (key, field) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        let property = schema["properties"].get(key);
        match property.or_else(|| schema.get("additionalProperties")) {
            Some(property) => misfits(field, property, &path, found),
            None => found.push(format!("{path}: unknown")),
        }
    }
}

/// The YAML files below a folder.
fn yaml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            yaml_files(&path, found);
        } else if path.extension().is_some_and(|end| end == "yaml") {
            found.push(path);
        }
    }
}

#[test]
fn objects_of_the_golden_cases_fit_the_definitions() {
    let definitions = definitions();
    let mut files = Vec::new();
    yaml_files(&folder("deploy/examples"), &mut files);
    yaml_files(&folder("crates/reef-gen/tests/golden"), &mut files);
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    for file in files {
        for document in fs::read_to_string(&file).unwrap().split("\n---") {
            if !document.contains(".istio.io/") {
                continue;
            }
            // As kubectl reads it, `n` is a string. Outputs and broken inputs are no objects.
            let options = serde_saphyr::options! { strict_booleans: true };
            let Ok(object) = serde_saphyr::from_str_with_options::<Value>(document, options) else {
                continue;
            };
            let (version, kind) = (&object["apiVersion"], &object["kind"]);
            let (Some(version), Some(kind)) = (version.as_str(), kind.as_str()) else {
                continue;
            };
            let Some(kind) = Kind::from_api(version, kind).filter(|kind| kind.is_istio()) else {
                continue;
            };
            let definition = definitions.iter().find(|d| d.kind == kind).unwrap();
            let versions = &definition.object["spec"]["versions"];
            let schema = &versions[0]["schema"]["openAPIV3Schema"]["properties"];
            let path = format!("{}: {kind}.spec", file.display());
            if let Some(spec) = object.get("spec") {
                misfits(spec, &schema["spec"], &path, &mut found);
                seen.insert(kind);
            }
        }
    }
    assert!(seen.len() >= 9, "only {seen:?}");
    assert!(found.is_empty(), "{}", found.join("\n"));
}
