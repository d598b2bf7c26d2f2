//! The values of the chart and what their comments say.
//!
//! Reads the one style in which `values.yaml` is written: two spaces a level, a comment above each value. A comment
//! before an empty line belongs to nobody.

use std::fmt::Write as _;

use serde_json::Value as Json;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    /// Path, such as `global.proxy.image`.
    pub(super) path: String,
    /// The default as it is written; a list's is on one line.
    pub(super) default: String,
    /// The comment above it.
    pub(super) about: String,
}

/// Reads the values of a file, in its order. A section is none: only what is in it.
pub(super) fn read(text: &str) -> Vec<Value> {
    let mut values: Vec<Value> = Vec::new();
    let mut sections: Vec<String> = Vec::new();
    let mut about: Vec<&str> = Vec::new();
    for line in text.lines() {
        let bare = line.trim_start();
        if bare.is_empty() {
            about.clear();
        } else if let Some(comment) = bare.strip_prefix('#') {
            about.push(comment.trim());
        } else if let Some(item) = bare.strip_prefix("- ") {
            list_item(&mut values, &sections, item, &mut about);
        } else if let Some((key, default)) = bare.split_once(':') {
            sections.truncate((line.len() - bare.len()) / 2);
            sections.push(key.to_owned());
            if !default.trim().is_empty() {
                values.push(Value {
                    path: sections.join("."),
                    default: default.trim().to_owned(),
                    about: std::mem::take(&mut about).join(" "),
                });
            } else if text_follows(text, line) {
                // Kept for the list or section that follows.
                continue;
            }
            about.clear();
        }
    }
    values
}

/// Whether the line after this one is the first item of a list.
fn text_follows(text: &str, line: &str) -> bool {
    let at = text
        .find(&format!("{line}\n"))
        .map(|at| at + line.len() + 1);
    at.and_then(|at| text.get(at..))
        .is_some_and(|rest| rest.trim_start().starts_with("- "))
}

/// Adds an item to the list that the innermost section is.
fn list_item(values: &mut Vec<Value>, sections: &[String], item: &str, about: &mut Vec<&str>) {
    let path = sections.join(".");
    match values.last_mut().filter(|value| value.path == path) {
        Some(value) => {
            value.default.pop();
            value.default.push_str(", ");
            value.default.push_str(item);
            value.default.push(']');
        }
        None => values.push(Value {
            path,
            default: format!("[{item}]"),
            about: std::mem::take(about).join(" "),
        }),
    }
}

/// The table of a README.
pub(super) fn table(values: &[Value]) -> String {
    let mut table = "| Value | Default | Meaning |\n|---|---|---|\n".to_owned();
    for value in values {
        let Value {
            path,
            default,
            about,
        } = value;
        writeln!(table, "| `{path}` | `{default}` | {about} |").unwrap_or_default();
    }
    table
}

/// What the schema has and the values lack, and the other way round.
///
/// A value of free form (`{}`) and a list are leaves, whatever the schema says of their inside.
pub(super) fn compare(values: &[Value], schema: &Json) -> Vec<String> {
    let mut known = Vec::new();
    leaves(schema, "", &mut known);
    let mut found = Vec::new();
    for value in values {
        let fits = |known: &String| {
            *known == value.path
                || value.path.starts_with(&format!("{known}."))
                || known.starts_with(&format!("{}.", value.path))
        };
        if !known.iter().any(fits) {
            found.push(format!("values.schema.json lacks {}", value.path));
        }
    }
    for path in known {
        // Kubernetes' own: `resources` and `seccompProfile` may have more than the defaults.
        let more = [
            "limits.cpu",
            "ephemeral-storage",
            "localhostProfile",
            "memory.targetAverageUtilization",
        ];
        let there = values
            .iter()
            .any(|value| value.path == path || value.path.starts_with(&format!("{path}.")));
        if !there && !more.iter().any(|end| path.ends_with(end)) {
            found.push(format!("values.yaml lacks {path}, which the schema has"));
        }
    }
    found
}

/// The paths of a schema that have no properties, and complaints about what is not strict as paths that nobody has.
fn leaves(schema: &Json, path: &str, found: &mut Vec<String>) {
    let Some(properties) = schema.get("properties").and_then(Json::as_object) else {
        found.push(path.to_owned());
        return;
    };
    if schema.get("additionalProperties") != Some(&Json::Bool(false)) {
        found.push(format!("{path}(additionalProperties is not false)"));
    }
    for (name, property) in properties {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        leaves(property, &path, found);
    }
}
