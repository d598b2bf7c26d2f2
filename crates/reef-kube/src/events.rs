//! Events about objects, in their namespaces: what `kubectl get events` and `kubectl describe` show.
//!
//! An Event that is told again counts on. What was told is remembered for as long as the API server keeps Events, by
//! this process only: another leader begins Events of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use k8s_openapi::jiff::Timestamp;
use reef_config::ObjectKey;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::Cluster;
use crate::api::ApiError;

/// As long as an API server keeps an Event, unless told otherwise.
const KEPT: Duration = Duration::from_secs(3600);

/// Events remembered; some 300 bytes each.
const REMEMBERED: usize = 4096;

/// Largest answer: the Event that was written.
const ANSWER_BYTES: usize = 64 << 10;

/// Longest name of an object, and room for what makes an Event's name its own.
const NAME_BYTES: usize = 253 - 18;

/// What people are to be told of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct News {
    /// The object.
    pub(crate) key: ObjectKey,
    /// Whether it is bad.
    pub(crate) warning: bool,
    /// One word in camel case.
    pub(crate) reason: String,
    /// A sentence, or several.
    pub(crate) message: String,
}

impl News {
    /// `type` of the Event.
    pub(crate) fn event_type(&self) -> &'static str {
        if self.warning { "Warning" } else { "Normal" }
    }
}

/// Which of the objects of that name, and which version of it.
#[derive(Debug, Clone)]
pub(crate) struct About {
    /// The version of its group.
    pub(crate) api: &'static str,
    /// `uid`.
    pub(crate) uid: Box<str>,
    /// `resourceVersion`.
    pub(crate) version: Box<str>,
}

/// Tells Events.
#[derive(Debug)]
pub(crate) struct Recorder {
    cluster: Cluster,
    /// The pod.
    instance: String,
    told: BTreeMap<News, Told>,
}

#[derive(Debug)]
struct Told {
    name: String,
    first: String,
    count: u32,
    at: Instant,
}

impl Recorder {
    pub(crate) fn new(cluster: Cluster, instance: String) -> Self {
        Self {
            cluster,
            instance,
            told: BTreeMap::new(),
        }
    }

    /// Tells an Event, or counts on the one that said the same.
    ///
    /// # Errors
    /// If the API server does not take it.
    pub(crate) async fn tell(&mut self, news: &News, about: &About) -> Result<(), ApiError> {
        let at = Instant::now();
        self.forget(at);
        let now = Timestamp::now();
        let url = format!("/api/v1/namespaces/{}/events", news.key.namespace);
        if let Some(told) = self.told.get_mut(news) {
            let patch = json!({"count": told.count + 1, "lastTimestamp": seconds(now)});
            let how = (Method::PATCH, "application/merge-patch+json");
            let one = format!("{url}/{}", told.name);
            match self.cluster.send(how, &one, &patch, ANSWER_BYTES).await {
                Ok(_event) => {
                    told.count += 1;
                    told.at = at;
                    return Ok(());
                }
                // The API server kept it for a shorter time.
                Err(error) if error.code() == Some(404) => {}
                Err(error) => return Err(error),
            }
        }
        let before = self.told.get(news);
        let told = Told {
            name: name(&news.key.name, now),
            first: before.map_or_else(|| seconds(now), |told| told.first.clone()),
            count: before.map_or(1, |told| told.count + 1),
            at,
        };
        let event = self.event(news, about, &told, now);
        let how = (Method::POST, "application/json");
        self.cluster.send(how, &url, &event, ANSWER_BYTES).await?;
        self.told.insert(news.clone(), told);
        Ok(())
    }

    fn event(&self, news: &News, about: &About, told: &Told, now: Timestamp) -> Value {
        let News { key, .. } = news;
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": told.name, "namespace": key.namespace.as_str()},
            "involvedObject": {
                "apiVersion": format!("{}/{}", key.kind.group(), about.api),
                "kind": key.kind.as_str(),
                "namespace": key.namespace.as_str(),
                "name": &*key.name,
                "uid": about.uid,
                "resourceVersion": about.version,
            },
            "type": news.event_type(),
            "reason": news.reason,
            "message": news.message,
            "firstTimestamp": told.first,
            "lastTimestamp": seconds(now),
            "count": told.count,
            "source": {"component": "reef", "host": self.instance},
            "reportingComponent": "reef",
            "reportingInstance": self.instance,
        })
    }

    /// Forgets what the API server does not have any more, and the oldest of too many.
    fn forget(&mut self, now: Instant) {
        self.told
            .retain(|_, told| now.duration_since(told.at) < KEPT);
        if self.told.len() < REMEMBERED {
            return;
        }
        let mut times: Vec<Instant> = self.told.values().map(|told| told.at).collect();
        times.sort_unstable();
        if let Some(middle) = times.get(REMEMBERED / 2) {
            self.told.retain(|_, told| told.at > *middle);
        }
    }
}

/// A name nobody has: the object's and the time, as client-go makes it.
fn name(object: &str, now: Timestamp) -> String {
    let cut: String = object.chars().take(NAME_BYTES).collect();
    let cut = cut.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    format!("{cut}.{:x}", now.as_nanosecond())
}

/// A time as Kubernetes writes it where it writes seconds.
pub(crate) fn seconds(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
