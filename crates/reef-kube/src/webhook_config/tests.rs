//! Tests of what is patched.

use serde_json::json;

use super::bundle_patch;

#[test]
fn only_webhooks_with_another_bundle_are_patched_and_only_that_field() {
    let bundle = json!("TUE9PQ==");
    let webhook = |name: &str, bundle: &serde_json::Value| {
        json!({
            "name": name, "failurePolicy": "Fail", "rules": [{ "operations": ["CREATE"] }],
            "clientConfig": { "service": { "name": "reef" }, "caBundle": bundle },
        })
    };
    let configuration = json!({
        "webhooks": [webhook("a", &bundle), webhook("b", &json!("old")), webhook("c", &json!(null))],
    });
    let patch = bundle_patch(&configuration, &bundle).unwrap();
    let part = |name: &str| json!({ "name": name, "clientConfig": { "caBundle": "TUE9PQ==" } });
    assert_eq!(patch, json!({ "webhooks": [part("b"), part("c")] }));
    let configuration = json!({ "webhooks": [webhook("a", &bundle)] });
    assert_eq!(bundle_patch(&configuration, &bundle), None);
    assert_eq!(bundle_patch(&json!({}), &bundle), None);
}
