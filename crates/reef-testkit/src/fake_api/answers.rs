//! What is said to a request, without how it is sent.

use serde_json::{Map, Value, json};

use super::Asked;
use super::store::{self, Event, Store, Wanted};

/// Where a request points: a plural of a version of a group, perhaps in a namespace, perhaps one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) api_version: String,
    pub(crate) kind: &'static str,
    pub(crate) plural: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
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
        409 => "Conflict",
        410 => "Expired",
        422 => "Invalid",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    failure(code, reason, message)
}

fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

/// A request for one object is refused; the details name it.
pub(crate) fn refusal(code: u16, reason: &str, target: &Target, name: &str) -> Answer {
    let group = target.api_version.rsplit_once('/').map(|(group, _)| group);
    let message = format!("{reason}: {} {name:?}", target.plural);
    let mut status = failure(code, reason, &message);
    status["details"] = json!({"kind": target.plural});
    if !name.is_empty() {
        status["details"]["name"] = json!(name);
    }
    if let Some(group) = group {
        status["details"]["group"] = json!(group);
    }
    if reason == "Invalid" {
        // Only versions are looked at here.
        let field = "metadata.resourceVersion";
        status["details"]["causes"] = json!([{"reason": "FieldValueInvalid", "field": field}]);
    }
    (code, status)
}

/// A list as of a version that is not there yet.
pub(crate) fn too_large() -> Answer {
    let mut status = status(504, "Too large resource version");
    let cause =
        json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
    status["details"] = json!({"causes": [cause], "retryAfterSeconds": 1});
    (504, status)
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
    let object =
        json!({"kind": target.kind, "apiVersion": target.api_version, "metadata": metadata});
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

/// Finds what a path points to; `Err` is the answer otherwise, without a body if there is nothing there.
pub(crate) fn target(store: &Store, path: &str) -> Result<Target, Answer> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["apis"] => return Err((200, groups(store))),
        ["apis", group, version] => return Err(resources(store, group, version)),
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Err((404, Value::Null)),
    };
    let (namespace, plural, one) = match rest {
        [plural] => (None, *plural, &[][..]),
        ["namespaces", namespace, plural, one @ ..] => {
            (Some((*namespace).to_owned()), *plural, one)
        }
        [plural, one @ ..] => (None, *plural, one),
        _ => return Err((404, Value::Null)),
    };
    let (name, subresource) = match one {
        [] => (None, None),
        [name] => (Some((*name).to_owned()), None),
        [name, subresource] => (Some((*name).to_owned()), Some((*subresource).to_owned())),
        _ => return Err((404, Value::Null)),
    };
    let key = (group.to_owned(), version.to_owned(), plural.to_owned());
    let kind = store::kind_of(group, plural);
    let Some(kind) = kind.filter(|_| store.served.contains(&key)) else {
        // The server's own groups know what they lack.
        let message = "the server could not find the requested resource";
        let own = || status(404, message);
        return Err((404, if group.is_empty() { own() } else { Value::Null }));
    };
    Ok(Target {
        kind,
        name,
        subresource,
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
        .filter_map(|(_, _, plural)| {
            let kind = store::kind_of(group, plural)?;
            let namespaced = store::is_namespaced(kind);
            let verbs = [
                "create", "delete", "get", "list", "patch", "update", "watch",
            ];
            Some(json!({"name": plural, "kind": kind, "namespaced": namespaced, "verbs": verbs}))
        })
        .collect();
    if rows.is_empty() {
        return (404, Value::Null);
    }
    let group_version = format!("{group}/{version}");
    let list = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": rows,
    });
    (200, list)
}

/// A list, or a page of it.
pub(crate) fn list(store: &Store, target: &Target, asked: &Asked, wanted: &Wanted) -> Answer {
    let number = |name| asked.get(name).and_then(|text| text.parse::<u64>().ok());
    if number("resourceVersion") > Some(store.version) {
        return too_large();
    }
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
    let left = rest.len().saturating_sub(limit);
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
    if left > 0 {
        // Signs that a query has to encode.
        metadata["continue"] = json!(format!("{}/{version}", from + limit));
        if wanted.fields.is_empty() {
            metadata["remainingItemCount"] = json!(left);
        }
    }
    let body = json!({
        "kind": format!("{}List", target.kind), "apiVersion": target.api_version, "metadata": metadata, "items": page,
    });
    (200, body)
}

impl Target {
    pub(crate) fn is_istio(&self) -> bool {
        self.api_version.contains("istio.io")
    }
}
