//! A snapshot as canonical text, to compare whole snapshots.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::hash::Hash;

use crate::MeshSnapshot;
use crate::snapshot::Map;

impl MeshSnapshot {
    /// Writes everything the snapshot holds, in an order that depends on the content alone.
    ///
    /// For tests and for comparing replicas; the form is not stable. Costs a walk over everything.
    #[must_use]
    pub fn dump(&self) -> String {
        let mut text = String::new();
        let out = &mut text;
        section(out, "settings", &self.settings);
        section(out, "services", &self.by_order.iter().collect::<Vec<_>>());
        section(out, "hosts", &self.by_host.iter().collect::<Vec<_>>());
        let namespaces: BTreeMap<_, Vec<_>> = self
            .by_namespace
            .iter()
            .map(|(namespace, services)| (namespace, services.iter().collect()))
            .collect();
        section(out, "services by namespace", &namespaces);
        let selecting: Vec<_> = self.selecting.iter().collect();
        section(out, "services by selector", &selecting);
        section(out, "services by address", &self.addressed.iter());
        map(out, "guests", &self.guests);
        section(out, "pods", &self.pods.iter().collect::<Vec<_>>());
        let by_ip: Vec<_> = self.pods_by_ip.iter().collect();
        section(out, "pods by ip", &by_ip);
        map(out, "nodes", &self.nodes);
        map(out, "namespaces", &self.namespaces);
        map(out, "workload entries", &self.workload_entries);
        map(out, "sidecars", &self.sidecars);
        map(out, "virtual services", &self.virtual_services);
        section(
            out,
            "public virtual services",
            &self.public_virtual_services,
        );
        map(
            out,
            "exported virtual services",
            &self.exported_virtual_services,
        );
        map(out, "destination rules", &self.destination_rules);
        map(out, "gateways", &self.gateways);
        map(out, "peer authentications", &self.peer_authentications);
        map(
            out,
            "request authentications",
            &self.request_authentications,
        );
        map(out, "authorization policies", &self.authorization_policies);
        map(out, "envoy filters", &self.envoy_filters);
        map(out, "telemetries", &self.telemetries);
        map(out, "proxy configs", &self.proxy_configs);
        map(out, "workload groups", &self.workload_groups);
        section(out, "network gateways", &self.network_gateways);
        text
    }
}

fn map<K: Debug + Ord + Eq + Hash, V: Debug>(out: &mut String, name: &str, map: &Map<K, V>) {
    section(out, name, &map.iter().collect::<BTreeMap<_, _>>());
}

fn section(out: &mut String, name: &str, value: &dyn Debug) {
    // Writing to a string does not fail.
    let written = writeln!(out, "{name}: {value:#?}");
    debug_assert!(written.is_ok());
}
