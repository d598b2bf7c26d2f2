//! What is said to a request, without how it is sent.

use serde_json::{Map, Value, json};

use super::Asked;
use super::store::{Event, Store, Wanted};

/// Where a request points: a plural of a version of a group, perhaps in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) api_version: String,
    pub(crate) plural: String,
    pub(crate) namespace: Option<String>,
}

/// A status and a body.
pub(crate) type Answer = (u16, Value);

/// `Status`, the body of everything that is none of the other answers.
pub(crate) fn status(code: u16, message: &str) -> Value {
    let reason = match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        410 => "Expired",
        422 => "Invalid",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

/// The event that ends a watch whose version is forgotten.
pub(crate) fn gone_event() -> String {
    let object = status(410, "too old resource version");
    line("ERROR", &object)
}

/// A line of a watch.
pub(crate) fn line(happened: &str, object: &Value) -> String {
    // As the real server writes it: the type first.
    format!("{{\"type\":\"{happened}\",\"object\":{object}}}\n")
}

/// The line of a bookmark.
pub(crate) fn bookmark(target: &Target, version: u64, list_end: bool) -> String {
    let mut metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
    if list_end {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let object = json!({"kind": "", "apiVersion": target.api_version, "metadata": metadata});
    line("BOOKMARK", &object)
}

/// The line of a change, if a watch is to be told of it.
pub(crate) fn change(event: &Event, target: &Target, wanted: &Wanted) -> Option<String> {
    if event.plural != target.plural {
        return None;
    }
    // What a selector does not want any more is gone for its watch.
    let happened = if wanted.has(&event.object) {
        event.happened
    } else {
        "DELETED"
    };
    Some(line(happened, &of_version(&event.object, target)))
}

/// The object as that version of the API has it.
pub(crate) fn of_version(object: &Value, target: &Target) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = json!(target.api_version);
    object
}

/// Finds what a path points to; `Err` is the answer otherwise.
pub(crate) fn target(store: &Store, path: &str) -> Result<Target, Answer> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["apis"] => return Err((200, groups(store))),
        ["apis", group, version] => return Err(resources(store, group, version)),
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Err((404, status(404, "no such path"))),
    };
    let (namespace, plural) = match rest {
        [plural] => (None, *plural),
        ["namespaces", namespace, plural] => (Some((*namespace).to_owned()), *plural),
        _ => return Err((404, status(404, "no such path"))),
    };
    let key = (group.to_owned(), version.to_owned(), plural.to_owned());
    if !store.served.contains(&key) {
        let message = "the server could not find the requested resource";
        return Err((404, status(404, message)));
    }
    Ok(Target {
        api_version: if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        },
        plural: plural.to_owned(),
        namespace,
    })
}

fn groups(store: &Store) -> Value {
    let mut groups: Map<String, Value> = Map::new();
    for (group, version, _) in store.served.iter().filter(|(group, ..)| !group.is_empty()) {
        let row = groups
            .entry(group)
            .or_insert_with(|| json!({"name": group, "versions": []}));
        let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
        if let Some(versions) = row["versions"]
            .as_array_mut()
            .filter(|v| !v.contains(&version))
        {
            versions.push(version);
        }
    }
    let groups: Vec<Value> = groups.into_iter().map(|(_, row)| row).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn resources(store: &Store, group: &str, version: &str) -> Answer {
    let of = |(g, v, _): &&(String, String, String)| g == group && v == version;
    let rows: Vec<Value> = store
        .served
        .iter()
        .filter(of)
        .map(|(_, _, plural)| json!({"name": plural, "namespaced": true, "verbs": ["list", "watch"]}))
        .collect();
    if rows.is_empty() {
        return (
            404,
            status(404, "the server could not find the requested resource"),
        );
    }
    let group_version = format!("{group}/{version}");
    let list = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": rows,
    });
    (200, list)
}

/// A list, or a page of it.
pub(crate) fn list(store: &Store, target: &Target, asked: &Asked, wanted: &Wanted) -> Answer {
    let mut items = store.list(&target.plural, wanted);
    let (mut from, mut version) = (0, store.version);
    if let Some(token) = asked.get("continue").filter(|token| !token.is_empty()) {
        let parts: Vec<usize> = token
            .split('/')
            .filter_map(|part| part.parse().ok())
            .collect();
        let [at, of] = parts.as_slice() else {
            return (400, status(400, "the continue token is not ours"));
        };
        (from, version) = (*at, u64::try_from(*of).unwrap_or_default());
        if version < store.oldest {
            return (410, status(410, "the continue token is too old"));
        }
    }
    let limit = asked.get("limit").and_then(|limit| limit.parse().ok());
    let limit: usize = limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let rest = items.split_off(from.min(items.len()));
    let more = rest.len() > limit;
    let page: Vec<Value> = rest
        .into_iter()
        .take(limit)
        .map(|object| {
            let mut object = of_version(&object, target);
            // A list of a built-in kind says the kind once.
            if let Some(fields) = object.as_object_mut().filter(|_| !target.is_istio()) {
                fields.remove("apiVersion");
                fields.remove("kind");
            }
            object
        })
        .collect();
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if more {
        // Signs that a query has to encode.
        metadata["continue"] = json!(format!("{}/{version}", from + limit));
    }
    let body = json!({
        "kind": "List", "apiVersion": target.api_version, "metadata": metadata, "items": page,
    });
    (200, body)
}

impl Target {
    fn is_istio(&self) -> bool {
        self.api_version.contains("istio.io")
    }
}
