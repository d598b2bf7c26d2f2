//! What comes in and what the mesh is like, under istiod's names.

use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use reef_config::{Change, Kind, ObjectKey, Problem, Severity};
use reef_mesh::{ChangeReport, Health, MeshSnapshot, Resolution};

use super::plain::Plain;
use super::signed;
use crate::serve::shared::Facts;

/// istiod's buckets.
const INIT_SECONDS: [f64; 8] = [0.001, 0.01, 0.1, 0.5, 1.0, 3.0, 5.0, 10.0];

/// Names of rejected objects that are told apart.
const MAX_REJECTED: usize = 200;

/// Inputs and state of the mesh.
#[derive(Debug)]
pub(super) struct MeshMetrics {
    updates: Family<TypeLabel, Plain>,
    config_events: Family<EventLabel, Plain>,
    registry_events: Family<EventLabel, Plain>,
    rejected: Family<RejectedLabel, Plain>,
    rejected_series: AtomicUsize,
    init: Histogram,
    no_instances: Gauge,
    dns_without_endpoints: Gauge,
    not_ready: Gauge,
    no_pod: Gauge,
    pending_pod: Gauge,
    told: [Gauge; 5],
}

/// istiod's counts of what the rules contradict, by the codes of the problems that tell it.
pub(in crate::serve) const TOLD: [(&str, &[&str], &str); 5] = [
    (
        "pilot_conflict_inbound_listener",
        &["sidecar-ingress", "inbound-conflict"],
        "Inbound ports that have no listener of their own",
    ),
    (
        "pilot_conflict_outbound_listener_tcp_over_current_tcp",
        &["listener-conflict"],
        "Outbound ports that lost a listener to another one",
    ),
    (
        "pilot_duplicate_envoy_clusters",
        &["host-conflict"],
        "Clusters left out because another has their name",
    ),
    (
        "pilot_vservice_dup_domain",
        &["duplicate-host", "duplicate-domain", "IST0109"],
        "Hosts of virtual services that others have already",
    ),
    (
        "pilot_destrule_subsets",
        &["duplicate-subset"],
        "Subsets that another rule of the host has defined already",
    ),
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabel {
    r#type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RejectedLabel {
    r#type: &'static str,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabel {
    r#type: &'static str,
    event: &'static str,
}

impl Default for MeshMetrics {
    fn default() -> Self {
        Self {
            updates: Family::default(),
            config_events: Family::default(),
            registry_events: Family::default(),
            rejected: Family::default(),
            rejected_series: AtomicUsize::new(0),
            init: Histogram::new(INIT_SECONDS),
            no_instances: Gauge::default(),
            dns_without_endpoints: Gauge::default(),
            not_ready: Gauge::default(),
            no_pod: Gauge::default(),
            pending_pod: Gauge::default(),
            told: <[Gauge; 5]>::default(),
        }
    }
}

impl MeshMetrics {
    /// Registers everything.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "pilot_inbound_updates",
            "Changes of the mesh by type: config, eds, svc, svcdelete",
            self.updates.clone(),
        );
        registry.register(
            "pilot_k8s_cfg_events",
            "Events of configuration objects by kind",
            self.config_events.clone(),
        );
        registry.register(
            "pilot_k8s_reg_events",
            "Events of Kubernetes objects by kind",
            self.registry_events.clone(),
        );
        registry.register(
            "pilot_total_rejected_configs",
            "Objects rejected, by kind and name; of the first 200 names",
            self.rejected.clone(),
        );
        registry.register(
            "pilot_pushcontext_init_seconds",
            "Seconds to index a change",
            self.init.clone(),
        );
        registry.register(
            "pilot_eds_no_instances",
            "Services with EDS endpoints and none of them",
            self.no_instances.clone(),
        );
        registry.register(
            "pilot_dns_cluster_without_endpoints",
            "Services resolved by DNS without any name",
            self.dns_without_endpoints.clone(),
        );
        registry.register(
            "pilot_endpoint_not_ready",
            "Endpoints that are not ready",
            self.not_ready.clone(),
        );
        registry.register(
            "endpoint_no_pod",
            "Pods that endpoints refer to and that are not there",
            self.no_pod.clone(),
        );
        registry.register(
            "pilot_k8s_endpoints_pending_pod",
            "Pods that endpoints wait for",
            self.pending_pod.clone(),
        );
        for ((name, _, help), gauge) in TOLD.iter().zip(&self.told) {
            registry.register(*name, *help, gauge.clone());
        }
    }

    /// Counts what the problems tell.
    pub(super) fn tell(&self, facts: &Facts) {
        for gauge in [&self.no_pod, &self.pending_pod] {
            gauge.set(signed(facts.awaited_pods));
        }
        for ((_, codes, _), gauge) in TOLD.iter().zip(&self.told) {
            let told = facts.problems.iter();
            gauge.set(signed(
                told.filter(|problem| codes.contains(&problem.code)).count(),
            ));
        }
    }

    /// Counts an event; `known` tells whether the object was there before.
    pub(super) fn event(&self, change: &Change, known: impl Fn(&ObjectKey) -> bool) {
        let (kind, event) = match change {
            Change::Apply(object) if known(&object.key) => (object.key.kind, "update"),
            Change::Apply(object) => (object.key.kind, "add"),
            Change::Delete(key) => (key.kind, "delete"),
            Change::MeshConfig(_) | Change::MeshNetworks(_) => return,
            Change::Problems { problems, .. } => return self.rejected(problems),
        };
        let family = if kind.is_istio() {
            &self.config_events
        } else {
            &self.registry_events
        };
        let label = EventLabel {
            r#type: name(kind),
            event,
        };
        family.get_or_create(&label).add(1);
    }

    /// Counts the objects that are not in effect as written.
    fn rejected(&self, problems: &[Problem]) {
        for problem in problems {
            let Some(key) = &problem.object else { continue };
            if problem.severity != Severity::Error {
                continue;
            }
            let label = RejectedLabel {
                r#type: key.kind.as_str(),
                name: format!("{}/{}", key.namespace, key.name),
            };
            // Whoever writes objects chooses their names; they must not fill the page without end.
            if self.rejected.get(&label).is_none()
                && self.rejected_series.fetch_add(1, Ordering::Relaxed) >= MAX_REJECTED
            {
                continue;
            }
            self.rejected.get_or_create(&label).add(1);
        }
    }

    /// Counts what a batch changed and how long that took.
    pub(super) fn indexed(&self, report: &ChangeReport, snapshot: &MeshSnapshot, seconds: f64) {
        self.init.observe(seconds);
        let gone = |key: &&reef_mesh::ServiceKey| snapshot.service(key).is_none();
        let deleted = report.services.iter().filter(gone).count();
        for (ty, count) in [
            ("config", report.rules.len() + report.sidecars.len()),
            ("eds", report.endpoints.len()),
            ("svc", report.services.len() - deleted),
            ("svcdelete", deleted),
        ] {
            if count > 0 {
                let label = TypeLabel { r#type: ty };
                let count = u64::try_from(count).unwrap_or(u64::MAX);
                self.updates.get_or_create(&label).add(count);
            }
        }
    }

    /// Counts what a snapshot is like; linear in endpoints, so for the page only.
    pub(super) fn measure(&self, snapshot: &MeshSnapshot) {
        let (mut no_instances, mut no_names, mut not_ready) = (0, 0, 0);
        for service in snapshot.services() {
            let endpoints = snapshot.endpoints(&service.key);
            let none = endpoints.is_none_or(|all| all.is_empty());
            match service.resolution {
                Resolution::ClientSide if none => no_instances += 1,
                Resolution::Dns | Resolution::DnsRoundRobin if none => no_names += 1,
                _ => {}
            }
            not_ready += endpoints
                .into_iter()
                .flat_map(|all| all.iter())
                .filter(|endpoint| endpoint.health == Health::Unhealthy)
                .count();
        }
        self.no_instances.set(no_instances);
        self.dns_without_endpoints.set(no_names);
        self.not_ready.set(signed(not_ready));
    }
}

/// istiod calls the kinds it watches for endpoints and pods in the plural.
fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Service => "Services",
        Kind::EndpointSlice => "EndpointSlice",
        Kind::Pod => "Pods",
        Kind::Node => "Nodes",
        other => other.as_str(),
    }
}
