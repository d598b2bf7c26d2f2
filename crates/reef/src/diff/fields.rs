//! Two JSON forms of a message, compared field by field.
//!
//! Elements of a list are told by what names them (`name`, the address of an endpoint, a locality, the domains of a
//! virtual host); where nothing does, or not each differently, by their place.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// One field that differs; without `old` it comes, without `new` it goes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct FieldChange {
    /// Where: `filter_chains[name=x].filters[0].name`.
    pub(super) path: String,
    /// What was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) old: Option<Value>,
    /// What is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) new: Option<Value>,
}

/// The fields that differ, in the order of their names.
pub(super) fn changes(old: &Value, new: &Value) -> Vec<FieldChange> {
    let mut found = Vec::new();
    compare(String::new(), Some(old), Some(new), &mut found);
    found
}

fn compare(path: String, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<FieldChange>) {
    match (old, new) {
        _ if old == new => {}
        (Some(Value::Object(was)), Some(Value::Object(is))) => {
            let both: BTreeMap<&String, ()> =
                was.keys().chain(is.keys()).map(|key| (key, ())).collect();
            for key in both.into_keys() {
                let inner = match path.as_str() {
                    "" => key.clone(),
                    within => format!("{within}.{key}"),
                };
                compare(inner, was.get(key), is.get(key), found);
            }
        }
        (Some(Value::Array(was)), Some(Value::Array(is))) => lists(&path, was, is, found),
        _ => found.push(FieldChange {
            path,
            old: old.cloned(),
            new: new.cloned(),
        }),
    }
}

fn lists(path: &str, was: &[Value], is: &[Value], found: &mut Vec<FieldChange>) {
    let (Some(before), Some(after)) = (named(was), named(is)) else {
        return by_place(path, was, is, found);
    };
    for (name, old) in &before {
        let at = format!("{path}[{name}]");
        compare(at, Some(old), lookup(&after, name), found);
    }
    for (name, new) in &after {
        if lookup(&before, name).is_none() {
            let at = format!("{path}[{name}]");
            compare(at, None, Some(new), found);
        }
    }
    let order = |all: &[(String, &Value)], others: &[(String, &Value)]| -> Vec<Value> {
        let stay = all
            .iter()
            .filter(|(name, _)| lookup(others, name).is_some());
        stay.map(|(name, _)| Value::from(name.as_str())).collect()
    };
    let (old, new) = (order(&before, &after), order(&after, &before));
    if old != new {
        found.push(FieldChange {
            path: format!("{path} (order)"),
            old: Some(old.into()),
            new: Some(new.into()),
        });
    }
}

fn lookup<'a>(list: &[(String, &'a Value)], name: &str) -> Option<&'a Value> {
    let found = list.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| *value)
}

/// Compares what is between the common front and the common end.
fn by_place(path: &str, was: &[Value], is: &[Value], found: &mut Vec<FieldChange>) {
    let front = was.iter().zip(is).take_while(|(a, b)| a == b).count();
    let rest = was.len().min(is.len()) - front;
    let pairs = was.iter().rev().zip(is.iter().rev());
    let end = pairs.take(rest).take_while(|(a, b)| a == b).count();
    let middle = |list: &[Value]| list.len() - front - end;
    for offset in 0..middle(was).max(middle(is)) {
        let of = |list: &[Value]| {
            let at = (offset < middle(list)).then_some(front + offset)?;
            list.get(at).cloned()
        };
        let at = format!("{path}[{}]", front + offset);
        compare(at, of(was).as_ref(), of(is).as_ref(), found);
    }
}

/// The elements with what names them; `None` if some has no name or two have the same.
fn named(list: &[Value]) -> Option<Vec<(String, &Value)>> {
    let mut found: Vec<(String, &Value)> = Vec::with_capacity(list.len());
    let mut seen = std::collections::BTreeSet::new();
    for value in list {
        let name = name(value)?;
        if !seen.insert(name.clone()) {
            return None;
        }
        found.push((name, value));
    }
    Some(found)
}

fn name(value: &Value) -> Option<String> {
    if let Some(name) = value["name"].as_str() {
        return Some(format!("name={name}"));
    }
    let address = &value["endpoint"]["address"];
    if let Some(path) = address["pipe"]["path"].as_str() {
        return Some(path.to_owned());
    }
    let socket = &address["socket_address"];
    if let Some(host) = socket["address"].as_str() {
        return Some(format!("{host}:{}", socket["port_value"]));
    }
    let locality = value.get("lb_endpoints").map(|_| &value["locality"])?;
    let part = |part: &str| locality[part].as_str().unwrap_or_default();
    Some(format!(
        "{}/{}/{} priority {}",
        part("region"),
        part("zone"),
        part("sub_zone"),
        value["priority"].as_u64().unwrap_or_default()
    ))
}
