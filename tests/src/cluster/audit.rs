//! Which verbs were used, by the API server's own log, and which a role grants.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

/// One line per request, without bodies.
pub(super) const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\n\
     omitStages: [RequestReceived]\nrules:\n- level: Metadata\n";
/// Name of the log.
pub(super) const LOG: &str = "audit.log";

/// One request, at one stage of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// `ResponseStarted` (of a watch), `ResponseComplete` or `Panic`.
    pub stage: String,
    /// `get`, `list`, `watch`, …
    pub verb: String,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub uri: String,
    /// Who asked.
    pub user: User,
    /// What it was about; nothing for paths that are no objects.
    pub object_ref: ObjectRef,
    /// How it ended.
    pub response_status: Status,
}

/// Who asked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct User {
    /// Name, as authorization sees it.
    pub username: String,
}

/// What a request was about.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    /// Plural name.
    pub resource: String,
    /// `status`, `token`, …; empty for the object itself.
    pub subresource: String,
    /// Empty for the core group.
    pub api_group: String,
    /// Empty for all, and for what has none.
    pub namespace: String,
    /// Empty for all.
    pub name: String,
}

/// How a request ended.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// As in HTTP.
    pub code: u16,
}

/// One thing one may do: what a role grants and a request needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Empty for the core group.
    pub group: String,
    /// `pods`, `pods/status`, …; for what is no object, the path.
    pub resource: String,
    /// `get`, `list`, …
    pub verb: String,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.group.is_empty() { "" } else { "." };
        write!(f, "{} {}{dot}{}", self.verb, self.resource, self.group)
    }
}

impl Event {
    /// The right the request needed.
    pub fn right(&self) -> Right {
        let object = &self.object_ref;
        let resource = match (object.resource.as_str(), object.subresource.as_str()) {
            ("", _) => self.uri.split('?').next().unwrap_or_default().to_owned(),
            (resource, "") => resource.to_owned(),
            (resource, sub) => format!("{resource}/{sub}"),
        };
        Right {
            group: object.api_group.clone(),
            resource,
            verb: self.verb.clone(),
        }
    }

    /// Whether authorization said no.
    pub fn denied(&self) -> bool {
        self.response_status.code == 403
    }
}

/// Reads a log; a last line that is half written is left out.
pub(super) fn read(log: &Path) -> Result<Vec<Event>> {
    let text = std::fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    let text = String::from_utf8_lossy(&text);
    let whole = text.rfind('\n').and_then(|end| text.get(..end));
    let lines = whole.unwrap_or_default().lines();
    lines
        .map(|line| serde_json::from_str(line).with_context(|| format!("no event: {line}")))
        .collect()
}

/// The rights a user's requests needed, and those of requests that were denied.
pub fn used(events: &[Event], user: &str) -> (BTreeSet<Right>, BTreeSet<Right>) {
    let of_user = || events.iter().filter(|event| event.user.username == user);
    let denied = of_user().filter(|event| event.denied()).map(Event::right);
    (of_user().map(Event::right).collect(), denied.collect())
}

/// The rights that roles among objects (ClusterRole or Role, as JSON) grant.
pub fn granted<'a>(objects: impl IntoIterator<Item = &'a Value>) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for object in objects {
        for rule in list(&object["rules"]) {
            for verb in list(&rule["verbs"]).filter_map(Value::as_str) {
                for group in list(&rule["apiGroups"]).filter_map(Value::as_str) {
                    for resource in list(&rule["resources"]).filter_map(Value::as_str) {
                        rights.insert(right(group, resource, verb));
                    }
                }
                for path in list(&rule["nonResourceURLs"]).filter_map(Value::as_str) {
                    rights.insert(right("", path, verb));
                }
            }
        }
    }
    rights
}

fn right(group: &str, resource: &str, verb: &str) -> Right {
    Right {
        group: group.to_owned(),
        resource: resource.to_owned(),
        verb: verb.to_owned(),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
