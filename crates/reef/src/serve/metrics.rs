//! Metrics: istiod's names where the meaning is equal, `reef_*` otherwise.
//!
//! istiod's counters have no `_total` suffix and dashboards ask for them so; [`Plain`] writes them as they are.
//! No label is a stream, and none a node but for the rejections istiod tells so, of which a few are shown.

mod mesh;
mod plain;
mod process;
mod proxies;

use std::time::{Duration, Instant};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use reef_config::{Change, Kind, ObjectKey};
use reef_mesh::{ChangeReport, MeshSnapshot};
use reef_push::{PushMetrics, PushPlan};
use reef_server::provider::StreamReport;

pub(super) use self::mesh::TOLD;
pub(super) use self::plain::Plain;
use super::registry::Taken;
use super::shared::Shared;
use crate::clock;

/// istiod's buckets for times of pushes, in seconds, with finer ones below.
const PUSH_SECONDS: [f64; 15] = [
    0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.3, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0,
];

/// All metrics of the binary.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    started: Instant,
    convergence: Histogram,
    queue: Histogram,
    debounce: Histogram,
    triggers: Family<TriggerLabel, Plain>,
    held_back: Counter,
    services: Gauge,
    virtual_services: Gauge,
    uptime: Gauge,
    objects: Family<KindLabel, Gauge>,
    problems: Family<SeverityLabel, Gauge>,
    push: PushMetrics,
    mesh: mesh::MeshMetrics,
    proxies: proxies::ProxyMetrics,
    process: process::Process,
    clusters: Family<ClusterLabel, Gauge>,
}

/// Why something is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Trigger {
    /// Endpoints of a service.
    Endpoint,
    /// Services or rules.
    Config,
    /// A pod moved the proxy to another class.
    Proxy,
    /// Mesh-wide settings.
    Global,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TriggerLabel {
    r#type: Trigger,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabel {
    version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SeverityLabel {
    severity: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClusterLabel {
    cluster_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabel {
    component: &'static str,
    tag: &'static str,
}

impl EncodeLabelValue for Trigger {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        let name = match self {
            Self::Endpoint => "endpoint",
            Self::Config => "config",
            Self::Proxy => "proxy",
            Self::Global => "global",
        };
        EncodeLabelValue::encode(&name, encoder)
    }
}

impl Metrics {
    /// Registers everything; `register` adds what other rooms measure.
    pub(super) fn new(register: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::default();
        let version = env!("CARGO_PKG_VERSION");
        let metrics = Self {
            registry: Registry::default(),
            started: clock::now(),
            convergence: Histogram::new(PUSH_SECONDS),
            queue: Histogram::new(PUSH_SECONDS),
            debounce: Histogram::new(PUSH_SECONDS),
            triggers: Family::default(),
            held_back: Counter::default(),
            services: Gauge::default(),
            virtual_services: Gauge::default(),
            uptime: Gauge::default(),
            objects: Family::default(),
            problems: Family::default(),
            push: PushMetrics::default(),
            mesh: mesh::MeshMetrics::default(),
            proxies: proxies::ProxyMetrics::default(),
            process: process::Process::default(),
            clusters: Family::default(),
        };
        let info = Family::<VersionLabel, Gauge>::default();
        info.get_or_create(&VersionLabel {
            version: version.to_owned(),
        })
        .set(1);
        let build = Family::<BuildLabel, Gauge>::default();
        build
            .get_or_create(&BuildLabel {
                component: "pilot",
                tag: version,
            })
            .set(1);
        registry.register("pilot_info", "Version of this control plane", info);
        registry.register("istio_build", "Version of this control plane", build);
        registry.register(
            "pilot_proxy_convergence_time",
            "Seconds from a change to the proxy having taken it",
            metrics.convergence.clone(),
        );
        registry.register(
            "pilot_proxy_queue_time",
            "Seconds from a push to a proxy's stream turning to it",
            metrics.queue.clone(),
        );
        registry.register(
            "pilot_debounce_time",
            "Seconds changes waited for others",
            metrics.debounce.clone(),
        );
        registry.register(
            "pilot_push_triggers",
            "Pushes to proxies by reason",
            metrics.triggers.clone(),
        );
        registry.register(
            "pilot_services",
            "Services in the mesh",
            metrics.services.clone(),
        );
        registry.register(
            "pilot_virt_services",
            "Virtual services",
            metrics.virtual_services.clone(),
        );
        registry.register(
            "istiod_uptime_seconds",
            "Seconds since the start",
            metrics.uptime.clone(),
        );
        registry.register(
            "istiod_managed_clusters",
            "API servers that are followed",
            metrics.clusters.clone(),
        );
        registry.register(
            "reef_xds_held_back_resources",
            "Resources held back after a proxy rejected them alone (unstable)",
            metrics.held_back.clone(),
        );
        registry.register(
            "reef_config_objects",
            "Objects by kind (unstable)",
            metrics.objects.clone(),
        );
        registry.register(
            "reef_config_problems",
            "Problems by severity (unstable)",
            metrics.problems.clone(),
        );
        metrics
            .push
            .register(registry.sub_registry_with_prefix("reef"));
        metrics.mesh.register(&mut registry);
        metrics.proxies.register(&mut registry);
        metrics.process.register(&mut registry);
        register(&mut registry);
        Self {
            registry,
            ..metrics
        }
    }

    /// Counts what happened on a stream.
    pub(super) fn stream(&self, event: &StreamReport, taken: &Taken) {
        if matches!(event, StreamReport::Rejected { .. }) {
            self.held_back.inc();
        }
        for (since, histogram) in [
            (taken.settled, &self.convergence),
            (taken.queued, &self.queue),
        ] {
            if let Some(since) = since {
                histogram.observe(clock::now().saturating_duration_since(since).as_secs_f64());
            }
        }
    }

    /// Counts the changes of a batch; `known` tells whether an object was there before it.
    pub(super) fn events(&self, changes: &[Change], known: impl Fn(&ObjectKey) -> bool) {
        for change in changes {
            self.mesh.event(change, &known);
        }
    }

    /// Counts what a batch changed, and how long indexing it took.
    pub(super) fn indexed(&self, report: &ChangeReport, snapshot: &MeshSnapshot, took: Duration) {
        self.mesh.indexed(report, snapshot, took.as_secs_f64());
    }

    /// Counts one push that was built, for so many streams.
    pub(super) fn pushed(
        &self,
        trigger: Trigger,
        streams: usize,
        waited: Duration,
        plan: &PushPlan,
        built: Duration,
    ) {
        self.triggers
            .get_or_create(&TriggerLabel { r#type: trigger })
            .add(u64::try_from(streams).unwrap_or(u64::MAX));
        self.debounce.observe(waited.as_secs_f64());
        self.push.pushed(plan, built);
    }

    /// The page. Sizes are counted now, not maintained.
    pub(super) fn page(&self, shared: &Shared) -> String {
        let facts = shared.facts.load();
        if let Some(snapshot) = &*shared.snapshot.load() {
            self.services.set(signed(snapshot.service_count()));
            self.mesh.measure(snapshot);
            self.proxies.measure(snapshot, &shared.registry.streams());
        }
        self.mesh.tell(&facts);
        self.virtual_services.set(signed(
            facts
                .objects
                .get(&Kind::VirtualService)
                .copied()
                .unwrap_or_default(),
        ));
        self.uptime.set(
            i64::try_from(clock::now().duration_since(self.started).as_secs()).unwrap_or(i64::MAX),
        );
        for (kind, count) in &facts.objects {
            self.objects
                .get_or_create(&KindLabel {
                    kind: kind.as_str(),
                })
                .set(signed(*count));
        }
        for severity in [
            reef_config::Severity::Error,
            reef_config::Severity::Warning,
            reef_config::Severity::Info,
        ] {
            let count = facts
                .problems
                .iter()
                .filter(|problem| problem.severity == severity)
                .count();
            self.problems
                .get_or_create(&SeverityLabel {
                    severity: severity.as_str(),
                })
                .set(signed(count));
        }
        for (cluster_type, count) in [("local", i64::from(shared.kinds.is_some())), ("remote", 0)] {
            self.clusters
                .get_or_create(&ClusterLabel { cluster_type })
                .set(count);
        }
        self.push.set_sizes(&facts.sizes);
        self.process.measure();
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _ok = encode(&mut page, &self.registry);
        page
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
