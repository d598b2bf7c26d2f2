//! The mesh at one moment, immutable and shared.

use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use reef_config::names::{Hostname, Namespace};
use reef_config::{Labels, ObjectKey, istio};
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use crate::addressed::Addressed;
use crate::runs::Runs;
use crate::service::{self, ByAge, Hosted};
use crate::sharded::{self, Sharded};
use crate::{
    DestinationPolicy, DestinationRuleIndex, ExportTo, MeshSettings, NetworkGateways, NodeInfo,
    Pod, Rule, Service, ServiceEndpoints, ServiceKey, SidecarRule, VirtualServiceRule,
    WorkloadInstance, workload,
};

/// Persistent hash map of the snapshot; a change copies a path, not the map.
pub(crate) type Map<K, V> = HashTrieMapSync<K, V, FixedState>;
/// Persistent ordered map.
pub(crate) type Ordered<K, V> = RedBlackTreeMapSync<K, V>;
/// Services, oldest first.
pub(crate) type Services = Runs<ByAge>;
/// Rules of one kind by namespace, oldest first.
pub(crate) type Rules<T> = Map<Namespace, Arc<[Arc<T>]>>;

/// Branching of the maps: shallow and still a path of a few hundred bytes per change.
const TRIE_DEGREE: u8 = 32;

/// An empty persistent map.
///
/// The hasher's seed is fixed: the order of these maps reaches nobody, and equal meshes get equal
/// memory use.
pub(crate) fn empty<K: Eq + std::hash::Hash, V>() -> Map<K, V> {
    HashTrieMapSync::new_with_hasher_and_degree_and_ptr_kind(FixedState::default(), TRIE_DEGREE)
}

/// An immutable view of the mesh. Cloning it shares everything.
#[derive(Debug, Clone)]
pub struct MeshSnapshot {
    pub(crate) settings: Arc<MeshSettings>,
    /// Services with their endpoints, by host name.
    pub(crate) by_host: Sharded<Hosted>,
    pub(crate) by_order: Services,
    pub(crate) by_namespace: Map<Namespace, Services>,
    /// Kubernetes services with a selector, by namespace and one label of the selector.
    pub(crate) selecting: Sharded<Arc<Service>>,
    /// Services that workloads serve by address: service entries, those without selector; by it.
    pub(crate) addressed: Addressed,
    /// Services of other namespaces that have workloads of a namespace behind them; rare.
    pub(crate) guests: Map<Namespace, Arc<[ServiceKey]>>,
    pub(crate) pods: Sharded<Arc<Pod>>,
    pub(crate) pods_by_ip: Sharded<Arc<Pod>>,
    pub(crate) nodes: Map<Arc<str>, Arc<NodeInfo>>,
    pub(crate) namespaces: Map<Namespace, Arc<NamespaceInfo>>,
    pub(crate) workload_entries: Map<IpAddr, Arc<[Arc<WorkloadInstance>]>>,
    pub(crate) sidecars: Rules<SidecarRule>,
    pub(crate) virtual_services: Rules<VirtualServiceRule>,
    pub(crate) public_virtual_services: Arc<[Arc<VirtualServiceRule>]>,
    pub(crate) exported_virtual_services: Rules<VirtualServiceRule>,
    pub(crate) destination_rules: Map<Namespace, Arc<DestinationRuleIndex>>,
    pub(crate) gateways: Rules<Rule<istio::Gateway>>,
    pub(crate) peer_authentications: Rules<Rule<istio::PeerAuthentication>>,
    pub(crate) request_authentications: Rules<Rule<istio::RequestAuthentication>>,
    pub(crate) authorization_policies: Rules<Rule<istio::AuthorizationPolicy>>,
    pub(crate) envoy_filters: Rules<Rule<istio::EnvoyFilter>>,
    pub(crate) telemetries: Rules<Rule<istio::Telemetry>>,
    pub(crate) proxy_configs: Rules<Rule<istio::ProxyConfig>>,
    pub(crate) workload_groups: Rules<Rule<istio::WorkloadGroup>>,
    pub(crate) network_gateways: Arc<NetworkGateways>,
}

/// Labels and annotations of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespaceInfo {
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
}

impl Default for MeshSnapshot {
    fn default() -> Self {
        Self::empty(Arc::default())
    }
}

/// Accessors of rules that are kept as written: by namespace, oldest first.
macro_rules! rule_lists {
    ($($(#[$meta:meta])* $name:ident: $type:ty,)*) => {
        impl MeshSnapshot {
            $($(#[$meta])*
            #[must_use]
            pub fn $name(&self, namespace: &Namespace) -> &[Arc<$type>] {
                self.$name.get(namespace).map_or(&[], |list| list)
            })*
        }
    };
}

rule_lists! {
    /// `Sidecar`s of a namespace in selection order: those with a selector first, then oldest first.
    sidecars: SidecarRule,
    /// `VirtualService`s of a namespace, oldest first; delegates are not among them.
    virtual_services: VirtualServiceRule,
    /// `Gateway`s of a namespace, oldest first.
    gateways: Rule<istio::Gateway>,
    /// `PeerAuthentication`s of a namespace, oldest first.
    peer_authentications: Rule<istio::PeerAuthentication>,
    /// `RequestAuthentication`s of a namespace, oldest first.
    request_authentications: Rule<istio::RequestAuthentication>,
    /// `AuthorizationPolicy`s of a namespace, oldest first.
    authorization_policies: Rule<istio::AuthorizationPolicy>,
    /// `EnvoyFilter`s of a namespace, oldest first.
    envoy_filters: Rule<istio::EnvoyFilter>,
    /// `Telemetry`s of a namespace, oldest first.
    telemetries: Rule<istio::Telemetry>,
    /// `ProxyConfig`s of a namespace, oldest first.
    proxy_configs: Rule<istio::ProxyConfig>,
    /// `WorkloadGroup`s of a namespace, oldest first.
    workload_groups: Rule<istio::WorkloadGroup>,
}

impl MeshSnapshot {
    /// A mesh with nothing in it.
    #[must_use]
    pub fn empty(settings: Arc<MeshSettings>) -> Self {
        Self {
            settings,
            by_host: Sharded::new(),
            by_order: Services::new(),
            by_namespace: empty(),
            selecting: Sharded::new(),
            addressed: Addressed::new(),
            guests: empty(),
            pods: Sharded::new(),
            pods_by_ip: Sharded::new(),
            nodes: empty(),
            namespaces: empty(),
            workload_entries: empty(),
            sidecars: empty(),
            virtual_services: empty(),
            public_virtual_services: Arc::from([]),
            exported_virtual_services: empty(),
            destination_rules: empty(),
            gateways: empty(),
            peer_authentications: empty(),
            request_authentications: empty(),
            authorization_policies: empty(),
            envoy_filters: empty(),
            telemetries: empty(),
            proxy_configs: empty(),
            workload_groups: empty(),
            network_gateways: Arc::default(),
        }
    }

    /// Mesh-wide settings.
    #[must_use]
    pub fn settings(&self) -> &Arc<MeshSettings> {
        &self.settings
    }

    /// The gateways between networks.
    #[must_use]
    pub fn network_gateways(&self) -> &Arc<NetworkGateways> {
        &self.network_gateways
    }

    /// The service with this key.
    #[must_use]
    pub fn service(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.hosted(key).map(|hosted| &hosted.service)
    }

    /// All services: oldest first, then by name and namespace.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.by_order.iter().map(|service| &service.0)
    }

    /// Number of services.
    #[must_use]
    pub fn service_count(&self) -> usize {
        self.by_order.len()
    }

    /// Services with this host name, by namespace.
    pub fn services_of_host(&self, host: &Hostname) -> impl Iterator<Item = &Arc<Service>> {
        let found = self.by_host.at(sharded::hash(host));
        let found = found.map(|hosted| &hosted.service);
        found.filter(move |service| service.key.hostname == *host)
    }

    /// A service with its endpoints.
    fn hosted(&self, key: &ServiceKey) -> Option<&Hosted> {
        let mut found = self.by_host.at(sharded::hash(&key.hostname));
        found.find(|hosted| hosted.service.key == *key)
    }

    /// Services of one namespace, oldest first.
    pub fn services_of_namespace(
        &self,
        namespace: &Namespace,
    ) -> impl Iterator<Item = &Arc<Service>> {
        self.by_namespace
            .get(namespace)
            .into_iter()
            .flat_map(|services| services.iter())
            .map(|service| &service.0)
    }

    /// Endpoints of a service; `None` if it has none of its own kind (aliases) or is not there.
    #[must_use]
    pub fn endpoints(&self, key: &ServiceKey) -> Option<&Arc<ServiceEndpoints>> {
        self.hosted(key)?.endpoints.as_ref()
    }

    /// All `AuthorizationPolicy`s, in no order.
    pub fn every_authorization_policy(
        &self,
    ) -> impl Iterator<Item = &Arc<Rule<istio::AuthorizationPolicy>>> {
        self.authorization_policies
            .values()
            .flat_map(|list| list.iter())
    }

    /// All `RequestAuthentication`s, in no order.
    pub fn every_request_authentication(
        &self,
    ) -> impl Iterator<Item = &Arc<Rule<istio::RequestAuthentication>>> {
        self.request_authentications
            .values()
            .flat_map(|list| list.iter())
    }

    /// All `Telemetry`s, in no order.
    pub fn every_telemetry(&self) -> impl Iterator<Item = &Arc<Rule<istio::Telemetry>>> {
        self.telemetries.values().flat_map(|list| list.iter())
    }

    /// Services of other namespaces that have workloads of `namespace` behind them.
    #[must_use]
    pub fn services_with_guests_of(&self, namespace: &Namespace) -> &[ServiceKey] {
        self.guests.get(namespace).map_or(&[], |list| list)
    }

    /// The pod of this name.
    #[must_use]
    pub fn pod(&self, namespace: &Namespace, name: &str) -> Option<&Arc<Pod>> {
        let mut found = self.pods.at(workload::hash(namespace, name));
        found.find(|pod| *pod.name == *name && pod.namespace == *namespace)
    }

    /// All pods, in no order.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.values()
    }

    /// The pod with this address; of several the first by key. Pods on the host's network and
    /// finished pods are not found by address.
    #[must_use]
    pub fn pod_by_ip(&self, ip: IpAddr) -> Option<&Arc<Pod>> {
        let mut found = self.pods_by_ip.at(sharded::hash(ip));
        found.find(|pod| pod.ips.contains(&ip))
    }

    /// The node of this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Arc<NodeInfo>> {
        self.nodes.get(name)
    }

    /// Labels and annotations of a namespace, if its object is known.
    #[must_use]
    pub fn namespace(&self, namespace: &Namespace) -> Option<&Arc<NamespaceInfo>> {
        self.namespaces.get(namespace)
    }

    /// The `WorkloadEntry` object with this address; of several the first by key.
    #[must_use]
    pub fn workload_entry_by_ip(&self, ip: IpAddr) -> Option<&Arc<WorkloadInstance>> {
        self.workload_entries.get(&ip).and_then(|list| list.first())
    }

    /// The `WorkloadEntry` object of a namespace with this address; of several the first by name.
    #[must_use]
    pub fn workload_entry_at(
        &self,
        ip: IpAddr,
        namespace: &Namespace,
    ) -> Option<&Arc<WorkloadInstance>> {
        let list = self.workload_entries.get(&ip)?;
        list.iter().find(|entry| entry.namespace == *namespace)
    }

    /// Kubernetes services of a namespace whose selector is not empty and selects `labels`.
    pub(crate) fn services_selecting(
        &self,
        namespace: &Namespace,
        labels: &Labels,
    ) -> impl Iterator<Item = &Arc<Service>> {
        let each = labels.iter().flat_map(move |(label, value)| {
            let place = (namespace, label, value);
            let found = self.selecting.at(sharded::hash(place));
            found.filter(move |service| service::selector_place(service) == Some(place))
        });
        each.filter(move |service| service.selector.selects(labels))
    }

    /// `VirtualService`s that clients in `namespace` may use and that are bound to `mesh`:
    /// private ones, then those exported to the namespace by name, then public ones; each group
    /// oldest first.
    pub fn mesh_virtual_services(
        &self,
        namespace: &Namespace,
    ) -> impl Iterator<Item = &Arc<VirtualServiceRule>> {
        let named = self
            .exported_virtual_services
            .get(namespace)
            .map_or(&[][..], |list| list);
        let own = move |rule: &&Arc<VirtualServiceRule>| rule.object.namespace == *namespace;
        let private = named.iter().filter(own);
        let exported = named
            .iter()
            .filter(move |rule| rule.object.namespace != *namespace);
        private
            .chain(exported)
            .chain(self.public_virtual_services.iter())
            .filter(|rule| rule.for_mesh())
    }

    /// The `DestinationRule`s for `service` as clients in `client` see it: their own namespace's,
    /// else the service namespace's, else the root namespace's.
    ///
    /// Empty if there is none. Of several, the first whose selector matches the proxy applies,
    /// else the last without selector.
    #[must_use]
    pub fn destination_rules(
        &self,
        client: &Namespace,
        service: &ServiceKey,
    ) -> Vec<Arc<DestinationPolicy>> {
        let root = &self.settings.root_namespace;
        let host = &service.hostname;
        if let Some(index) = self.destination_rules.get(client) {
            let own = index.for_own_clients(host, client == root);
            if !own.is_empty() {
                return own.to_vec();
            }
        }
        for namespace in [&service.namespace, root] {
            if let Some(index) = self.destination_rules.get(namespace) {
                let theirs = index.for_others(host, client);
                if !theirs.is_empty() {
                    return theirs;
                }
            }
        }
        Vec::new()
    }
}

impl MeshSnapshot {
    /// The host a `DestinationRule` is about, short names resolved.
    #[must_use]
    pub fn destination_rule_host(&self, object: &ObjectKey) -> Option<&Hostname> {
        let index = self.destination_rules.get(&object.namespace)?;
        index.host_of(object)
    }
}

/// True if an object exported so is visible by name (not because it is public) in some namespace.
pub(crate) fn named_targets(export: &ExportTo) -> &[Namespace] {
    match export {
        ExportTo::Namespaces(list) => list,
        ExportTo::Public | ExportTo::Nobody => &[],
    }
}
