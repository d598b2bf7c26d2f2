//! Requests for one object: reading, creating, replacing, patching and deleting it, with the versions that keep two
//! writers apart.

use serde_json::{Value, json};

use super::Asked;
use super::answers::{Answer, Target, of_version, refusal};
use super::store::Store;

/// Fields of `metadata` that belong to the server.
const OWNED: [&str; 5] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "namespace",
];

/// What a request for one object does.
pub(super) fn answer(store: &mut Store, target: &Target, asked: &Asked) -> Answer {
    let namespace = target.namespace.clone().unwrap_or_default();
    let Some(name) = target.name.as_deref() else {
        return match asked.method.as_str() {
            "POST" => create(store, target, &namespace, asked),
            _ => refusal(405, "MethodNotAllowed", target, ""),
        };
    };
    let status = target.subresource.as_deref() == Some("status");
    if status && store.without_status.contains(&target.plural) {
        return (404, Value::Null);
    }
    let Some(before) = store.object(&target.plural, &namespace, name).cloned() else {
        // Of the kinds here only this one may be made by replacing it.
        if asked.method == "PUT" && target.plural == "leases" {
            return create(store, target, &namespace, asked);
        }
        return refusal(404, "NotFound", target, name);
    };
    let written = match asked.method.as_str() {
        "GET" => return (200, of_version(&before, target)),
        "DELETE" => {
            store.delete(&target.plural, &namespace, name);
            return (
                200,
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}),
            );
        }
        "PUT" => body(asked),
        "PATCH" if asked.content_type == "application/merge-patch+json" => {
            body(asked).map(|patch| {
                let mut object = before.clone();
                merge(&mut object, &patch);
                object
            })
        }
        "PATCH" => return refusal(415, "UnsupportedMediaType", target, name),
        _ => return refusal(405, "MethodNotAllowed", target, name),
    };
    let Some(mut after) = written else {
        return refusal(400, "BadRequest", target, name);
    };
    let (had, has) = (
        &before["metadata"]["resourceVersion"],
        &after["metadata"]["resourceVersion"],
    );
    match has.as_str().unwrap_or_default() {
        "" => return refusal(422, "Invalid", target, name),
        version if Some(version) != had.as_str() => return refusal(409, "Conflict", target, name),
        _ => {}
    }
    for field in OWNED {
        after["metadata"][field] = before["metadata"][field].clone();
    }
    // One writer has the status, the other everything else.
    if status {
        let status = after["status"].take();
        after = before.clone();
        after["status"] = status;
    } else if has_status(target) {
        after["status"] = before["status"].clone();
    }
    strip_nulls(&mut after);
    if after != before {
        if let Some(manager) = asked.get("fieldManager") {
            let part = status.then_some("status");
            let row = json!({"manager": manager, "operation": "Update", "subresource": part});
            after["metadata"]["managedFields"] = json!([row]);
        }
        store.apply(after);
    }
    match store.object(&target.plural, &namespace, name) {
        Some(object) => (200, of_version(object, target)),
        None => refusal(404, "NotFound", target, name),
    }
}

fn create(store: &mut Store, target: &Target, namespace: &str, asked: &Asked) -> Answer {
    let Some(mut object) = body(asked) else {
        return refusal(400, "BadRequest", target, "");
    };
    let name = object["metadata"]["name"].as_str().map(ToOwned::to_owned);
    let Some(name) = name else {
        return refusal(422, "Invalid", target, "");
    };
    if store.object(&target.plural, namespace, &name).is_some() {
        return refusal(409, "AlreadyExists", target, &name);
    }
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = json!(namespace);
    }
    if has_status(target)
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("status");
        if target.plural == "pods" {
            fields.insert("status".to_owned(), json!({"phase": "Pending"}));
        }
    }
    if ["pods", "endpointslices"].contains(&&*target.plural) {
        object["metadata"]["generation"] = json!(1);
    }
    store.apply(object);
    match store.object(&target.plural, namespace, &name) {
        Some(object) => (201, of_version(object, target)),
        None => refusal(500, "InternalError", target, &name),
    }
}

fn body(asked: &Asked) -> Option<Value> {
    serde_json::from_str(&asked.body)
        .ok()
        .filter(Value::is_object)
}

/// Whether the status is written apart from the rest.
fn has_status(target: &Target) -> bool {
    target.is_istio() || ["pods", "services", "namespaces", "nodes"].contains(&&*target.plural)
}

/// RFC 7396.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            if let Some(fields) = into.as_object_mut() {
                fields.remove(key);
            }
        } else {
            merge(&mut into[key], value);
        }
    }
}

/// Fields that are `null` are not there.
fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}
