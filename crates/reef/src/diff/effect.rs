//! What Envoy does about a changed resource: drains, warms, or swaps in place. Observed on Envoy 1.40.

use std::collections::BTreeSet;

use reef_xds::ResourceType;
use serde::Serialize;
use serde_json::Value;

/// What happens in the proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Effect {
    /// Open connections are closed within the drain time.
    pub(super) drains: bool,
    /// It is not in use before something else has come.
    pub(super) warms: bool,
    /// The same for people.
    pub(super) meaning: String,
}

impl Effect {
    fn new(drains: bool, warms: bool, meaning: impl Into<String>) -> Self {
        Self {
            drains,
            warms,
            meaning: meaning.into(),
        }
    }
}

/// What Envoy does when a resource goes from `old` to `new`; null is none.
pub(super) fn of(ty: ResourceType, old: &Value, new: &Value) -> Effect {
    match ty {
        ResourceType::Cluster => of_cluster(old, new),
        ResourceType::Listener => of_listener(old, new),
        ResourceType::Route if new.is_null() => Effect::new(
            false,
            false,
            "ignored while a listener uses it: its routes stay",
        ),
        ResourceType::Route if old.is_null() => {
            Effect::new(false, false, "taken by the listeners that name it")
        }
        ResourceType::Route => Effect::new(
            false,
            false,
            "the whole table is swapped at once; connections stay",
        ),
        ResourceType::Endpoint if new.is_null() => {
            Effect::new(false, false, "ignored while its cluster is there")
        }
        ResourceType::Endpoint => Effect::new(
            false,
            false,
            "hosts are swapped at once; connections to hosts that stay are kept",
        ),
        _ => Effect::new(false, false, "swapped at once"),
    }
}

fn of_cluster(old: &Value, new: &Value) -> Effect {
    if new.is_null() {
        let meaning = "closed at once; a route that still names it answers 503";
        return Effect::new(true, false, meaning);
    }
    let until = match new["type"].as_str() {
        Some("EDS") => "until its endpoints have come, which are sent right behind it",
        Some("STRICT_DNS" | "LOGICAL_DNS") => "until its name is resolved",
        // Static ones are the default of the enumeration, and those of extensions have nothing to wait for.
        _ => "for no time: it has all it needs",
    };
    if old.is_null() {
        return Effect::new(false, true, format!("warms {until}"));
    }
    Effect::new(
        true,
        true,
        format!(
            "the new one warms {until}; the old one serves until then, its connections drain afterwards"
        ),
    )
}

fn of_listener(old: &Value, new: &Value) -> Effect {
    if new.is_null() {
        let meaning = "accepts nothing from then on; open connections drain within the drain time";
        return Effect::new(true, false, meaning);
    }
    let awaited: Vec<String> = routes(new)
        .difference(&routes(old))
        .map(|name| format!("`{name}`"))
        .collect();
    let warms = !awaited.is_empty();
    let waits = match warms {
        true => format!("warms until the routes {} have come", awaited.join(", ")),
        false => "warms for no time: it has all its routes".to_owned(),
    };
    if old.is_null() {
        return Effect::new(false, warms, waits);
    }
    if chainless(old) != chainless(new) || chains(old).is_empty() || chains(new).is_empty() {
        let meaning =
            format!("replaced as a whole: {waits}, then every connection of the old one drains");
        return Effect::new(true, warms, meaning);
    }
    let gone: Vec<String> = chains(old)
        .into_iter()
        .filter(|chain| !chains(new).contains(chain))
        .map(|chain| chain["name"].as_str().unwrap_or("without name").to_owned())
        .collect();
    if gone.is_empty() {
        let meaning = format!("filter chains are added in place: {waits}; connections stay");
        return Effect::new(false, warms, meaning);
    }
    let meaning = format!(
        "filter chains are swapped in place: {waits}; connections of {} drain, the others stay",
        gone.join(", ")
    );
    Effect::new(true, warms, meaning)
}

/// A listener without what may change in place.
fn chainless(listener: &Value) -> Value {
    let mut rest = listener.clone();
    if let Some(fields) = rest.as_object_mut() {
        fields.remove("filter_chains");
        fields.remove("default_filter_chain");
    }
    rest
}

/// All filter chains, the default one too.
fn chains(listener: &Value) -> Vec<&Value> {
    let listed = listener["filter_chains"].as_array().into_iter().flatten();
    listed.chain(listener.get("default_filter_chain")).collect()
}

/// Names of the route configurations a listener reads.
fn routes(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(value, &mut found);
    found
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                match inner.as_str() {
                    Some(route) if name == "route_config_name" => {
                        found.insert(route.to_owned());
                    }
                    _ => collect(inner, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}
