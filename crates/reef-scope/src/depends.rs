//! Whether a change can alter a scope.

use std::sync::Arc;

use reef_config::Kind;
use reef_mesh::{ChangeReport, DestinationPolicy, MeshSnapshot, ServiceKey};

use crate::egress::beats;
use crate::{Scope, ScopeSource};

impl Scope {
    /// True if the scope must be resolved again; `snapshot` is the one after the change.
    ///
    /// Endpoint-only changes never do. A change to a service that another of the same host name
    /// hides does not either. Which scope a proxy gets is another question: see
    /// [`select`](crate::select).
    #[must_use]
    pub fn depends_on(&self, report: &ChangeReport, snapshot: &MeshSnapshot) -> bool {
        if report.settings {
            return true;
        }
        if let ScopeSource::Sidecar(key) | ScopeSource::RootSidecar(key) = &self.id.source
            && report.sidecars.contains(key)
        {
            return true;
        }
        report
            .services
            .iter()
            .any(|key| self.touched_by(key, snapshot))
            || self.touched_by_virtual_services(report, snapshot)
            || self.touched_by_destination_rules(report, snapshot)
    }

    pub(crate) fn touched_by(&self, key: &ServiceKey, snapshot: &MeshSnapshot) -> bool {
        if self.interest.services.contains(key) {
            return true;
        }
        let consumer = &self.id.namespace;
        let Some(service) = snapshot.service(key) else {
            return false;
        };
        if !service.export_to.includes(consumer) {
            return false;
        }
        let wins = |old: &reef_mesh::Service| {
            beats(service, old, consumer)
                || (old.key.namespace != *consumer
                    && service.registry == old.registry
                    && (service.export_to != old.export_to || service.order() < old.order()))
        };
        let imported = self
            .interest
            .specs
            .iter()
            .zip(&self.egress)
            .any(|(spec, listener)| {
                spec.imports(service).is_some()
                    && listener
                        .services
                        .iter()
                        .find(|old| old.key.hostname == key.hostname)
                        .is_none_or(|old| wins(old))
            });
        imported
            || (self.interest.destinations.contains(&key.hostname)
                && self
                    .service(&key.hostname)
                    .is_none_or(|old| wins(&old.service)))
    }

    fn touched_by_virtual_services(&self, report: &ChangeReport, snapshot: &MeshSnapshot) -> bool {
        let changed = || {
            report
                .rules
                .iter()
                .filter(|key| key.kind == Kind::VirtualService)
        };
        if changed().any(|key| self.interest.rules.contains(key)) {
            return true;
        }
        let consumer = &self.id.namespace;
        changed().any(|key| {
            snapshot
                .virtual_services(&key.namespace)
                .iter()
                .filter(|rule| rule.object == *key || rule.delegates.contains(key))
                .filter(|rule| rule.for_mesh() && rule.export_to.includes(consumer))
                .any(|rule| {
                    self.interest
                        .specs
                        .iter()
                        .any(|spec| spec.imports_rule(rule))
                })
        })
    }

    fn touched_by_destination_rules(&self, report: &ChangeReport, snapshot: &MeshSnapshot) -> bool {
        let consumer = &self.id.namespace;
        let relevant = report.rules.iter().any(|key| {
            key.kind == Kind::DestinationRule
                && (key.namespace == *consumer
                    || key.namespace == snapshot.settings().root_namespace
                    || self.interest.namespaces.contains(&key.namespace))
        });
        relevant
            && self.services.iter().any(|scoped| {
                let now = snapshot.destination_rules(consumer, &scoped.service.key);
                // Policies the change did not touch are the same values.
                let same = |(old, new): (&Arc<DestinationPolicy>, &Arc<DestinationPolicy>)| {
                    Arc::ptr_eq(old, new) || old == new
                };
                scoped.destination_rules.len() != now.len()
                    || !scoped.destination_rules.iter().zip(&now).all(same)
            })
    }
}
