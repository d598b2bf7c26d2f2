//! `expect.yaml` of golden cases: what the rules say, written by hand before anything is recorded.
//!
//! The file is a list; every entry is one claim. What each key means is told in `docs/rules/README.md`.

use std::path::Path;

use prost::{Message, Name};
use serde::Deserialize;
use serde_json::{Map, Value};
use xds_api::Any;

use crate::world::{Output, cases, of_case};

/// One claim about what the proxy of a case receives.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expectation {
    /// Ids of the rules it proves.
    rule: Rules,
    clusters: Option<String>,
    endpoints: Option<String>,
    listeners: Option<String>,
    routes: Option<String>,
    /// A host of the table of names.
    name_table: Option<String>,
    /// A type of resource, whose names are the value, in the order sent.
    names: Option<String>,
    /// Text of a problem.
    problems: Option<String>,
    /// Where in the resource `has` is.
    #[serde(default)]
    at: String,
    has: Option<Value>,
    #[serde(default)]
    absent: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Rules {
    One(String),
    Several(Vec<String>),
}

impl Expectation {
    /// Ids of the rules it proves.
    pub(crate) fn rules(&self) -> Vec<&str> {
        match &self.rule {
            Rules::One(id) => vec![id],
            Rules::Several(ids) => ids.iter().map(String::as_str).collect(),
        }
    }
}

/// The claims of a case; none if it has no `expect.yaml`.
pub(crate) fn of(case: &Path) -> Vec<Expectation> {
    let path = case.join("expect.yaml");
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Vec::new();
    };
    match serde_saphyr::from_str(&text) {
        Ok(claims) => claims,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

#[test]
fn every_case_does_what_its_expectations_say() {
    let mut wrong = Vec::new();
    for case in cases() {
        let name = case
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let claims = of(&case);
        if claims.is_empty() {
            wrong.push(format!("{name}: expect.yaml is missing or empty"));
            continue;
        }
        let out = of_case(&case);
        for (index, claim) in claims.iter().enumerate() {
            if let Err(why) = check(&out, claim) {
                wrong.push(format!("{name} #{index} {:?}: {why}", claim.rules()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check(out: &Output, claim: &Expectation) -> Result<(), String> {
    if let Some(text) = &claim.problems {
        let all: Vec<String> = out.problems.iter().map(ToString::to_string).collect();
        let found = all.iter().any(|problem| problem.contains(text));
        return if found == claim.absent {
            Err(format!("problems are {all:?}"))
        } else {
            Ok(())
        };
    }
    if let Some(kind) = &claim.names {
        let names = names(out, kind)?.into_iter().map(Value::String).collect();
        let wanted = claim.has.as_ref().ok_or("`names` needs `has`")?;
        return matches(&Value::Array(names), wanted, kind);
    }
    let (name, found) = resource(out, claim)?;
    match (&claim.has, found) {
        (_, None) if claim.absent => Ok(()),
        (_, Some(_)) if claim.absent => Err(format!("{name} is there")),
        (None, _) => Err("it claims nothing: `has` or `absent` is missing".to_owned()),
        (Some(_), None) => Err(format!("{name} is not there")),
        (Some(wanted), Some(json)) => {
            let mut place = &json;
            for step in steps(&claim.at)? {
                place = step.of(place).ok_or_else(|| {
                    format!(
                        "{name}: `{}` leads nowhere at {step:?} of {place}",
                        claim.at
                    )
                })?;
            }
            matches(place, wanted, &claim.at).map_err(|why| format!("{name}: {why}"))
        }
    }
}

fn names(out: &Output, kind: &str) -> Result<Vec<String>, String> {
    Ok(match kind {
        "clusters" => out.clusters.iter().map(|it| it.name.clone()).collect(),
        "endpoints" => out
            .endpoints
            .iter()
            .map(|it| it.cluster_name.clone())
            .collect(),
        "listeners" => out.listeners.iter().map(|it| it.name.clone()).collect(),
        "name_table" => out
            .names
            .iter()
            .flat_map(|table| table.table.keys().cloned())
            .collect(),
        "routes" => out.routes.iter().map(|it| it.name.clone()).collect(),
        other => return Err(format!("`{other}` is no type of resource")),
    })
}

fn resource<'a>(out: &Output, claim: &'a Expectation) -> Result<(&'a str, Option<Value>), String> {
    let given = [
        &claim.clusters,
        &claim.endpoints,
        &claim.listeners,
        &claim.routes,
        &claim.name_table,
    ];
    if given.iter().filter(|name| name.is_some()).count() != 1 {
        return Err(
            "needs one of clusters, endpoints, listeners, routes, name_table, names, problems"
                .into(),
        );
    }
    let found = if let Some(name) = &claim.clusters {
        (name, json(out.clusters.iter().find(|it| it.name == *name)))
    } else if let Some(name) = &claim.endpoints {
        (
            name,
            json(out.endpoints.iter().find(|it| it.cluster_name == *name)),
        )
    } else if let Some(name) = &claim.listeners {
        (name, json(out.listeners.iter().find(|it| it.name == *name)))
    } else if let Some(name) = &claim.routes {
        (name, json(out.routes.iter().find(|it| it.name == *name)))
    } else if let Some(name) = &claim.name_table {
        let table = json(out.names.first());
        let host = table.and_then(|table| table.get("table")?.get(name).cloned());
        (name, host)
    } else {
        return Err("names no resource".to_owned());
    };
    Ok((found.0, found.1))
}

fn json<M: Message + Name>(message: Option<&M>) -> Option<Value> {
    message.map(|message| reef_xds::json::to_json(&Any::pack(message)))
}

/// One step into a value.
#[derive(Debug, PartialEq)]
enum Step {
    Field(String),
    Index(usize),
    /// The element whose value at these fields prints as this text.
    Where(Vec<String>, String),
}

impl Step {
    fn of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        match self {
            Self::Field(name) => value.get(name),
            Self::Index(index) => value.get(index),
            Self::Where(fields, text) => value.as_array()?.iter().find(|element| {
                let inner = fields.iter().try_fold(*element, |at, field| at.get(field));
                inner.is_some_and(|inner| match inner {
                    Value::String(inner) => inner == text,
                    other => format!("{other}") == *text,
                })
            }),
        }
    }
}

/// Reads `a.b[0].c[name=x.y]["d.e"]`.
fn steps(path: &str) -> Result<Vec<Step>, String> {
    let mut found = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (inside, after) = inner.split_once(']').ok_or("`[` without `]`")?;
            found.push(if let Ok(index) = inside.parse() {
                Step::Index(index)
            } else if let Some((field, text)) = inside.split_once('=') {
                Step::Where(
                    field.split('.').map(str::to_owned).collect(),
                    text.to_owned(),
                )
            } else {
                Step::Field(inside.trim_matches('"').to_owned())
            });
            rest = after;
        } else {
            let plain = rest.strip_prefix('.').unwrap_or(rest);
            let end = plain.find(['.', '[']).unwrap_or(plain.len());
            let (field, after) = plain.split_at(end);
            found.push(Step::Field(field.to_owned()));
            rest = after;
        }
    }
    Ok(found)
}

/// Says where a value is not what is wanted.
fn matches(found: &Value, wanted: &Value, path: &str) -> Result<(), String> {
    match (found, wanted) {
        (_, Value::Object(wanted)) if wanted.keys().any(|key| key.starts_with('$')) => {
            special(found, wanted, path)
        }
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().try_for_each(|(key, wanted)| {
                let path = format!("{path}.{key}");
                match (found.get(key), wanted.as_str() == Some("$absent")) {
                    (None, true) => Ok(()),
                    (Some(found), true) => Err(format!("{path} is there: {found}")),
                    (None, false) => {
                        let known: Vec<&String> = found.keys().collect();
                        Err(format!("{path} is not there, only {known:?}"))
                    }
                    (Some(found), false) => matches(found, wanted, &path),
                }
            })
        }
        (Value::Array(found), Value::Array(wanted)) if found.len() == wanted.len() => found
            .iter()
            .zip(wanted)
            .enumerate()
            .try_for_each(|(index, (found, wanted))| {
                matches(found, wanted, &format!("{path}[{index}]"))
            }),
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => Ok(()),
        (found, wanted) if found == wanted => Ok(()),
        (found, wanted) => Err(format!("{path} is {found}, not {wanted}")),
    }
}

/// `$contains`, `$in_order`, `$none`: claims about a list of which not every element is told.
fn special(found: &Value, wanted: &Map<String, Value>, path: &str) -> Result<(), String> {
    let found = found
        .as_array()
        .ok_or_else(|| format!("{path} is no list: {found}"))?;
    let fits = |wanted: &Value| {
        found
            .iter()
            .position(|element| matches(element, wanted, path).is_ok())
    };
    for (key, list) in wanted {
        let list = list
            .as_array()
            .ok_or_else(|| format!("{key} takes a list"))?;
        match key.as_str() {
            "$contains" => list.iter().try_for_each(|wanted| {
                fits(wanted)
                    .map(|_| ())
                    .ok_or_else(|| format!("{path}: none of {found:?} is {wanted}"))
            })?,
            "$none" => list.iter().try_for_each(|wanted| match fits(wanted) {
                Some(index) => Err(format!("{path}[{index}] is {wanted}")),
                None => Ok(()),
            })?,
            "$in_order" => {
                let mut rest = found.iter();
                for wanted in list {
                    rest.find(|element| matches(element, wanted, path).is_ok())
                        .ok_or_else(|| format!("{path}: {wanted} is not next in {found:?}"))?;
                }
            }
            other => return Err(format!("{other} is unknown")),
        }
    }
    Ok(())
}

#[test]
fn claims_that_do_not_hold_fail() {
    let found = serde_json::json!({"a": [{"n": "x.y", "v": 1}, {"n": "z"}], "b": "t"});
    let hold = |wanted: Value| matches(&found, &wanted, "").is_ok();
    let j = |text: &str| -> Value { serde_json::from_str(text).expect("JSON") };
    for (wanted, holds) in [
        (r#"{"b": "t"}"#, true),
        (r#"{"b": "u"}"#, false),
        (r#"{"c": "t"}"#, false),
        (r#"{"c": "$absent"}"#, true),
        (r#"{"b": "$absent"}"#, false),
        (r#"{"a": [{"n": "x.y"}]}"#, false),
        (r#"{"a": [{"n": "x.y", "v": 1.0}, {}]}"#, true),
        (r#"{"a": {"$contains": [{"n": "z"}]}}"#, true),
        (r#"{"a": {"$contains": [{"n": "q"}]}}"#, false),
        (r#"{"a": {"$none": [{"n": "q"}]}}"#, true),
        (r#"{"a": {"$none": [{"n": "z"}]}}"#, false),
        (r#"{"a": {"$in_order": [{"v": 1}, {"n": "z"}]}}"#, true),
        (r#"{"a": {"$in_order": [{"n": "z"}, {"v": 1}]}}"#, false),
        (r#"{"a": {"$bogus": []}}"#, false),
    ] {
        assert_eq!(hold(j(wanted)), holds, "{wanted}");
    }
    let at = |path: &str| {
        let steps = steps(path).expect("a path");
        steps
            .iter()
            .try_fold(&found, |at, step| step.of(at))
            .cloned()
    };
    assert_eq!(at("a[n=x.y].v"), Some(Value::from(1)));
    assert_eq!(at("a[1][\"n\"]"), Some(Value::from("z")));
    assert_eq!(at("a[n=q].v"), None);
}
