//! What the source sees of the status of Istio objects, so that what is right already is not written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use reef_config::ObjectKey;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::condition::TYPE;
use crate::resource;

/// The name under which Reef's writes are kept in `metadata.managedFields`.
pub(super) const MANAGER: &str = "reef";

/// An object as it was last seen, as far as its status goes.
#[derive(Debug, Clone)]
pub(super) struct Observed {
    /// `resourceVersion`.
    pub(super) version: Box<str>,
    /// `uid`.
    pub(super) uid: Box<str>,
    /// `generation`.
    pub(super) generation: Option<i64>,
    /// The version of its group it was read in.
    pub(super) api: &'static str,
    /// It is being deleted.
    pub(super) leaving: bool,
    /// When it was seen.
    pub(super) at: Instant,
    /// What is in its status; of most objects nothing.
    status: Option<Box<Status>>,
}

#[derive(Debug, Clone)]
struct Status {
    conditions: Vec<Value>,
    generation: Option<i64>,
    /// Reef wrote some of it.
    ours: bool,
}

impl Observed {
    /// All conditions.
    pub(super) fn conditions(&self) -> &[Value] {
        self.status
            .as_ref()
            .map_or(&[][..], |status| &status.conditions)
    }

    /// The condition of the type Reef writes.
    pub(super) fn condition(&self) -> Option<&Value> {
        self.conditions()
            .iter()
            .find(|condition| condition["type"] == TYPE)
    }

    /// Whether Reef wrote to this status.
    pub(super) fn is_ours(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.ours)
    }

    /// The generation the condition is about. Not every definition has it in conditions.
    pub(super) fn generation_told(&self) -> Option<i64> {
        let own = self
            .condition()
            .and_then(|c| number(&c["observedGeneration"]));
        own.or(self.status.as_ref()?.generation)
    }

    fn read(bytes: &[u8], kind: reef_config::Kind, at: Instant) -> Option<Self> {
        let seen: Seen = serde_json::from_slice(bytes).ok()?;
        let metadata = seen.metadata;
        let version = seen
            .api_version
            .as_deref()
            .and_then(|text| Some(text.split_once('/')?.1));
        let versions = resource::versions(kind);
        let known = version.and_then(|version| versions.iter().find(|v| **v == version));
        let status = seen.status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let generation = number(&status.observed_generation);
        let ours = metadata.managed_fields.iter().any(|managed| {
            &*managed.manager == MANAGER && managed.subresource.as_deref() == Some("status")
        });
        let status = (!conditions.is_empty() || generation.is_some()).then(|| {
            Box::new(Status {
                conditions,
                generation,
                ours,
            })
        });
        Some(Self {
            version: metadata.resource_version?,
            uid: metadata.uid.unwrap_or_default(),
            generation: metadata.generation,
            api: known.or(versions.first())?,
            leaving: metadata.deletion_timestamp.is_some(),
            at,
            status,
        })
    }
}

/// What is known of the status of each Istio object; the source writes it, a [`super::StatusWriter`] reads it.
///
/// Cheap to clone, all clones are one.
#[derive(Debug, Clone, Default)]
pub struct StatusBook(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    pages: Mutex<Pages>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Pages {
    objects: BTreeMap<ObjectKey, Observed>,
    /// Those of which the status has a condition that Reef wrote.
    marked: BTreeSet<ObjectKey>,
}

impl StatusBook {
    /// An object was told, as these bytes.
    pub(crate) fn note(&self, key: &ObjectKey, bytes: &[u8]) {
        if !key.kind.is_istio() {
            return;
        }
        let Some(observed) = Observed::read(bytes, key.kind, Instant::now()) else {
            // Without a version nothing can be written to it.
            self.forget(key);
            return;
        };
        let mut pages = self.0.pages.lock();
        if observed.condition().is_some() && observed.is_ours() {
            pages.marked.insert(key.clone());
        } else {
            pages.marked.remove(key);
        }
        pages.objects.insert(key.clone(), observed);
        drop(pages);
        self.0.news.notify_one();
    }

    /// An object is gone.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        let mut pages = self.0.pages.lock();
        pages.objects.remove(key);
        pages.marked.remove(key);
    }

    /// What was seen last.
    pub(super) fn observed(&self, key: &ObjectKey) -> Option<Observed> {
        self.0.pages.lock().objects.get(key).cloned()
    }

    /// Whether the object is there.
    pub(super) fn has(&self, key: &ObjectKey) -> bool {
        self.0.pages.lock().objects.contains_key(key)
    }

    /// The objects that have a condition of ours.
    pub(super) fn marked(&self) -> Vec<ObjectKey> {
        self.0.pages.lock().marked.iter().cloned().collect()
    }

    /// Resolves when something was seen since the last time.
    pub(super) async fn news(&self) {
        self.0.news.notified().await;
    }
}

/// A number, or one as text: what Protobuf's JSON makes of 64 bits.
fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    #[serde(default)]
    api_version: Option<Box<str>>,
    metadata: Metadata,
    #[serde(default, deserialize_with = "if_it_fits")]
    status: Option<Told>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: Option<Box<str>>,
    uid: Option<Box<str>>,
    generation: Option<i64>,
    deletion_timestamp: Option<Box<str>>,
    #[serde(default)]
    managed_fields: Vec<Managed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Managed {
    #[serde(default)]
    manager: Box<str>,
    #[serde(default)]
    subresource: Option<Box<str>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Told {
    conditions: Option<Vec<Value>>,
    observed_generation: Value,
}

/// A status that is no such status, as a definition without a schema may have it, is none.
fn if_it_fits<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Told>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}
