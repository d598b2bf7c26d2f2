//! Texts of a pod: members by path, variables, and the files of downward volumes.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

/// What is at a path of names with dots between them.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, name| &value[name])
}

/// The text at a path.
pub(super) fn member(value: &Value, path: &str) -> Result<String> {
    let text = at(value, path).as_str();
    text.map(str::to_owned)
        .with_context(|| format!("no text at {path}"))
}

/// The items of a list; nothing has none.
pub(super) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Replaces `$(NAME)` of known variables; `$$` is `$`.
pub(super) fn expanded(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        let named = after
            .strip_prefix('(')
            .and_then(|after| after.split_once(')'));
        rest = match (after.strip_prefix('$'), named) {
            (Some(after), _) => {
                result.push('$');
                after
            }
            (None, Some((name, after))) if variables.contains_key(name) => {
                result.push_str(&variables[name]);
                after
            }
            _ => {
                result.push('$');
                after
            }
        };
    }
    result + rest
}

/// A map as the kubelet writes it into a file.
pub(super) fn downward_file(map: &Value) -> String {
    let lines = map.as_object().into_iter().flatten().map(|(key, value)| {
        let value = value.as_str().unwrap_or_default();
        format!("{key}={}\n", quoted(value))
    });
    lines.collect()
}

/// As Go's `%q`.
fn quoted(text: &str) -> String {
    let mut result = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => result.extend(['\\', c]),
            '\n' => result.push_str("\\n"),
            '\t' => result.push_str("\\t"),
            '\r' => result.push_str("\\r"),
            c if c.is_control() => result.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => result.push(c),
        }
    }
    result + "\""
}
