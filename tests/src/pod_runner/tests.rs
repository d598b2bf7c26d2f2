//! Tests of what the small kubelet does to texts.

use std::collections::BTreeMap;

use serde_json::json;

use super::text::{downward_file, expanded};

#[test]
fn variables_are_replaced_as_the_kubelet_does() {
    let variables = BTreeMap::from([("A".to_owned(), "x$(A)".to_owned())]);
    for (text, expected) in [
        ("$(A)", "x$(A)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$x$(A)"),
        ("$(B)$A$", "$(B)$A$"),
        ("$(A", "$(A"),
    ] {
        assert_eq!(expanded(text, &variables), expected, "{text}");
    }
}

#[test]
fn maps_are_written_as_lines_the_bootstrap_reads() {
    let map = json!({ "a": "b=\"c\"\n\\", "empty": "" });
    let file = downward_file(&map);
    assert_eq!(file, "a=\"b=\\\"c\\\"\\n\\\\\"\nempty=\"\"\n");
    let read = reef_proxy::pod_info::strings(&file);
    assert_eq!(json!(read), map);
}
