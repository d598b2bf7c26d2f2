//! What comes in and what the mesh is like, under istiod's names.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use reef_config::{Change, Kind, ObjectKey};
use reef_mesh::{ChangeReport, Health, MeshSnapshot, Resolution};

use super::plain::Plain;
use super::signed;

/// istiod's buckets.
const INIT_SECONDS: [f64; 8] = [0.001, 0.01, 0.1, 0.5, 1.0, 3.0, 5.0, 10.0];

/// Inputs and state of the mesh.
#[derive(Debug)]
pub(super) struct MeshMetrics {
    updates: Family<TypeLabel, Plain>,
    config_events: Family<EventLabel, Plain>,
    registry_events: Family<EventLabel, Plain>,
    init: Histogram,
    no_instances: Gauge,
    dns_without_endpoints: Gauge,
    not_ready: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabel {
    r#type: &'static str,
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
            init: Histogram::new(INIT_SECONDS),
            no_instances: Gauge::default(),
            dns_without_endpoints: Gauge::default(),
            not_ready: Gauge::default(),
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
    }

    /// Counts an event; `known` tells whether the object was there before.
    pub(super) fn event(&self, change: &Change, known: impl Fn(&ObjectKey) -> bool) {
        let (kind, event) = match change {
            Change::Apply(object) if known(&object.key) => (object.key.kind, "update"),
            Change::Apply(object) => (object.key.kind, "add"),
            Change::Delete(key) => (key.kind, "delete"),
            Change::MeshConfig(_) | Change::Problems { .. } => return,
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
