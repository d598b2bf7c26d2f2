//! What a batch changed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use reef_config::ObjectKey;
use reef_config::names::Namespace;

use crate::ServiceKey;

/// Exactly what differs between two snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeReport {
    /// Services added, removed or different in anything but endpoints sent over EDS: facts derived
    /// from endpoints (service accounts, all-endpoints-TLS), addresses of headless services,
    /// inline endpoints of DNS services and the addresses behind selector-less services count.
    pub services: BTreeSet<ServiceKey>,
    /// Services of which only the endpoints differ; never one that is in `services`.
    pub endpoints: BTreeSet<ServiceKey>,
    /// `Sidecar` objects added, changed or removed.
    pub sidecars: BTreeSet<ObjectKey>,
    /// All other rules added, changed or removed: `VirtualService`, `DestinationRule`,
    /// `PeerAuthentication` and so on.
    pub rules: BTreeSet<ObjectKey>,
    /// Pods (namespace, name) whose facts about a proxy on them may differ.
    pub proxies: BTreeSet<(Namespace, Arc<str>)>,
    /// Addresses whose workload entry differs: a proxy there may be another workload.
    pub addresses: BTreeSet<IpAddr>,
    /// Namespaces whose labels or annotations differ.
    pub namespaces: BTreeSet<Namespace>,
    /// Nodes added, removed or moved: proxies that name one may have another locality.
    pub nodes: BTreeSet<Arc<str>>,
    /// Networks whose gateways differ; those that have gateways now, and those that had some, are among them.
    pub networks: BTreeSet<Arc<str>>,
    /// Services with endpoints in these networks: proxies elsewhere reach them otherwise. Neither they nor their
    /// endpoints need differ.
    pub led: BTreeSet<ServiceKey>,
    /// Mesh-wide settings differ; everything may depend on them.
    pub settings: bool,
    /// The list of problems differs.
    pub problems: bool,
}

impl ChangeReport {
    /// True if nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// True if at most endpoints differ, and the gateways through which they are reached.
    #[must_use]
    pub fn only_endpoints(&self) -> bool {
        self.services.is_empty()
            && self.sidecars.is_empty()
            && self.rules.is_empty()
            && self.proxies.is_empty()
            && self.addresses.is_empty()
            && self.namespaces.is_empty()
            && self.nodes.is_empty()
            && !self.settings
    }

    /// Adds what `later` reports, for consumers that skip snapshots.
    pub fn merge(&mut self, later: Self) {
        self.services.extend(later.services);
        self.endpoints.extend(later.endpoints);
        self.endpoints.retain(|key| !self.services.contains(key));
        self.sidecars.extend(later.sidecars);
        self.rules.extend(later.rules);
        self.proxies.extend(later.proxies);
        self.addresses.extend(later.addresses);
        self.namespaces.extend(later.namespaces);
        self.nodes.extend(later.nodes);
        self.networks.extend(later.networks);
        self.led.extend(later.led);
        self.settings |= later.settings;
        self.problems |= later.problems;
    }
}
