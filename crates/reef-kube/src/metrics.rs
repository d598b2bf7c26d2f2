//! What following a cluster costs and how it fares. The binary sets the `reef_` prefix.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, LabelValueEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use reef_config::Kind;
use tokio::sync::watch;

use crate::KindStates;
use crate::api::ApiError;

/// Why a kind was listed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Relist {
    /// The server forgot the version.
    Gone,
    /// The server's history went back.
    Rewound,
    /// What it sent could not be read.
    Unreadable,
    /// We panicked.
    Panicked,
    /// More namespaces are read.
    Reading,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: KindLabel,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTask {
    task: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    kind: KindLabel,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct KindLabel(Kind);

impl EncodeLabelValue for KindLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        self.0.as_str().encode(encoder)
    }
}

/// Counts; cheap to clone, all clones count together.
#[derive(Debug, Clone, Default)]
pub struct KubeMetrics {
    events: Family<OfKind, Counter>,
    relists: Family<Why, Counter>,
    failures: Family<Why, Counter>,
    panics: Family<OfTask, Counter>,
}

impl KubeMetrics {
    /// Registers everything; `states` are read at each scrape.
    pub fn register(&self, registry: &mut Registry, states: watch::Receiver<Arc<KindStates>>) {
        registry.register(
            "source_watch_events",
            "Objects the API server told of, lists included (unstable)",
            self.events.clone(),
        );
        registry.register(
            "source_relists",
            "Lists after the first, by reason (unstable)",
            self.relists.clone(),
        );
        registry.register(
            "source_request_failures",
            "Lists and watches that failed, by reason (unstable)",
            self.failures.clone(),
        );
        registry.register(
            "source_panics",
            "Panics while a kind was followed or looked for; it is tried again (unstable)",
            self.panics.clone(),
        );
        registry.register_collector(Box::new(Fares(states)));
    }

    pub(crate) fn event(&self, kind: Kind) {
        let labels = OfKind {
            kind: KindLabel(kind),
        };
        self.events.get_or_create_owned(&labels).inc();
    }

    pub(crate) fn relisted(&self, kind: Kind, why: Relist) {
        let reason = match why {
            Relist::Gone => "gone",
            Relist::Rewound => "rewound",
            Relist::Unreadable => "unreadable",
            Relist::Panicked => "panic",
            Relist::Reading => "selected",
        };
        self.relists
            .get_or_create_owned(&labels(kind, reason))
            .inc();
    }

    pub(crate) fn panicked(&self, task: &'static str) {
        self.panics.get_or_create_owned(&OfTask { task }).inc();
    }

    pub(crate) fn failed(&self, kind: Kind, error: &ApiError) {
        let reason = match error {
            ApiError::Unreachable(_) => "unreachable",
            ApiError::Timeout(_) => "timeout",
            ApiError::Unreadable(_) => "unreadable",
            ApiError::Refused { code, .. } => match code {
                401 => "unauthorized",
                403 => "forbidden",
                429 => "too-many-requests",
                500.. => "server-error",
                _ => "refused",
            },
        };
        self.failures
            .get_or_create_owned(&labels(kind, reason))
            .inc();
    }
}

fn labels(kind: Kind, reason: &'static str) -> Why {
    Why {
        kind: KindLabel(kind),
        reason,
    }
}

/// How each kind fares at a scrape.
#[derive(Debug)]
struct Fares(watch::Receiver<Arc<KindStates>>);

impl Collector for Fares {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let states = Arc::clone(&self.0.borrow());
        let mut family = encoder.encode_descriptor(
            "source_stale_seconds",
            "How long what is known of a kind may be old; 0 while it is followed (unstable)",
            None,
            MetricType::Gauge,
        )?;
        for (kind, status) in &states.kinds {
            let since = status.state.stale_since();
            let seconds = since.map_or(0.0, |since| since.elapsed().as_secs_f64());
            let labels = OfKind {
                kind: KindLabel(*kind),
            };
            family.encode_family(&labels)?.encode_gauge(&seconds)?;
        }
        let mut family = encoder.encode_descriptor(
            "source_objects",
            "Objects the API server has of a kind, those that do not count included (unstable)",
            None,
            MetricType::Gauge,
        )?;
        for (kind, status) in &states.kinds {
            let objects = i64::try_from(status.objects).unwrap_or(i64::MAX);
            let labels = OfKind {
                kind: KindLabel(*kind),
            };
            family.encode_family(&labels)?.encode_gauge(&objects)?;
        }
        Ok(())
    }
}
