//! Services: what can be called, whatever kind of object declared it.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use reef_config::names::{Hostname, Namespace};
use reef_config::{Age, Labels, ObjectKey};

use crate::sharded::Ranked;
use crate::{Address, ExportTo, Protocol, ServiceEndpoints};

/// Identity of a service: its host name and the namespace that declares it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// Fully qualified host name.
    pub hostname: Hostname,
    /// Namespace of the declaring object.
    pub namespace: Namespace,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.hostname)
    }
}

/// What kind of object declared a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Registry {
    /// A Kubernetes `Service`.
    Kubernetes,
    /// A `ServiceEntry`.
    ServiceEntry,
}

/// How a proxy finds the endpoints of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolution {
    /// Endpoints come over EDS: ClusterIP services and `STATIC` service entries.
    ClientSide,
    /// The original destination is used: headless services and `NONE` service entries.
    Passthrough,
    /// Names are resolved by the proxy, endpoints are inline.
    Dns,
    /// As `Dns`, with one connection pool that follows the answers.
    DnsRoundRobin,
    /// The requested name itself is resolved (wildcard hosts).
    DynamicDns,
    /// Another name of another service: ExternalName.
    Alias,
}

/// Which endpoints of a service are preferred by their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrafficDistribution {
    /// Those of the client's network, region and zone (`PreferClose`, `PreferSameZone`).
    SameZone,
    /// And of its subzone and node (`PreferSameNode`).
    SameNode,
}

impl TrafficDistribution {
    /// Annotation of services, service entries and namespaces.
    pub const ANNOTATION: &'static str = "networking.istio.io/traffic-distribution";

    /// Reads the API's value; `None` for none and for unknown ones.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "PreferClose" | "PreferSameZone" => Some(Self::SameZone),
            "PreferSameNode" => Some(Self::SameNode),
            _ => None,
        }
    }
}

/// The port of the workload behind a service port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetPort {
    /// The service port's own number.
    Same,
    /// This number.
    Number(u16),
    /// The container port of this name.
    Named(Arc<str>),
}

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServicePort {
    /// Number clients use.
    pub number: u16,
    /// Name; endpoints are matched by it. Empty if the only port has none.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port of the workload.
    pub target: TargetPort,
}

/// A service of the mesh.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Service {
    /// Identity.
    pub key: ServiceKey,
    /// Name of the declaring object.
    pub name: Arc<str>,
    /// Kind of the declaring object.
    pub registry: Registry,
    /// How endpoints are found.
    pub resolution: Resolution,
    /// When the declaring object was created; decides conflicts.
    pub created: Option<i64>,
    /// The declaring object.
    pub object: ObjectKey,
    /// Ports in declared order.
    pub ports: Box<[ServicePort]>,
    /// Virtual addresses in declared order; none for headless services.
    pub addresses: Box<[Address]>,
    /// Addresses found for a host of a service entry that declares none, one of each family; only
    /// proxies whose names are resolved beside them can use these.
    pub auto_addresses: Box<[Address]>,
    /// True for `clusterIP: None`.
    pub headless: bool,
    /// True if it is outside the mesh.
    pub mesh_external: bool,
    /// Who may see it.
    pub export_to: ExportTo,
    /// Pod selector; empty means none.
    pub selector: Labels,
    /// Labels of the declaring object.
    pub labels: Labels,
    /// Host names of the ExternalName services that lead here, sorted.
    pub aliases: Box<[Hostname]>,
    /// Target of an ExternalName service, fully qualified as written.
    pub external_name: Option<Hostname>,
    /// `internalTrafficPolicy: Local`: only endpoints on the client's node.
    pub local_traffic_only: bool,
    /// Which endpoints are preferred by place; `None` leaves it to the mesh.
    pub traffic_distribution: Option<TrafficDistribution>,
    /// Not-ready addresses are published as ready.
    pub publish_not_ready: bool,
    /// Sessions stick to draining endpoints (label `istio.io/persistent-session`).
    pub persistent_session: bool,
    /// DNS services connect to the first answer of a race (LOGICAL_DNS).
    pub race_first_connect: bool,
    /// SPIFFE identities a server may present besides those of its endpoints, sorted.
    pub subject_alt_names: Box<[Arc<str>]>,
    /// SPIFFE identities of its endpoints, sorted; derived.
    pub service_accounts: Box<[Arc<str>]>,
    /// True if it has endpoints and all accept mesh mTLS; derived.
    pub all_endpoints_tls: bool,
}

/// A service in a list of services, oldest first, then by name, namespace and host name; one object may declare several.
///
/// A list holds a pointer where a key would be stored a second time.
#[derive(Debug, Clone)]
pub(crate) struct ByAge(pub(crate) Arc<Service>);

impl PartialEq for ByAge {
    fn eq(&self, other: &Self) -> bool {
        self.0.order() == other.0.order()
    }
}

impl Eq for ByAge {}

impl PartialOrd for ByAge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByAge {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.order().cmp(&other.0.order())
    }
}

impl Ranked for Arc<Service> {
    type Rank<'a> = &'a ServiceKey;

    fn rank(&self) -> &ServiceKey {
        &self.key
    }
}

/// A service with the endpoints it has, if it has any of its own kind.
#[derive(Debug, Clone)]
pub(crate) struct Hosted {
    pub(crate) service: Arc<Service>,
    pub(crate) endpoints: Option<Arc<ServiceEndpoints>>,
}

impl Ranked for Hosted {
    type Rank<'a> = &'a ServiceKey;

    fn rank(&self) -> &ServiceKey {
        &self.service.key
    }
}

/// Namespace and one label of a selector.
pub(crate) type SelectorPlace<'a> = (&'a Namespace, &'a Arc<str>, &'a Arc<str>);

/// Where a Kubernetes service is found by the labels it selects: by the label with the longest value, because names of
/// applications tell more apart than names of tools.
pub(crate) fn selector_place(service: &Service) -> Option<SelectorPlace<'_>> {
    if service.registry != Registry::Kubernetes {
        return None;
    }
    place_of(&service.key.namespace, &service.selector)
}

/// The place of a selector; `None` if it has no label.
pub(crate) fn place_of<'a>(
    namespace: &'a Namespace,
    selector: &'a Labels,
) -> Option<SelectorPlace<'a>> {
    let (key, value) = selector.iter().max_by_key(|(_, value)| value.len())?;
    Some((namespace, key, value))
}

impl Service {
    /// What services are sorted by: oldest first as [`Age`] says, then by name, namespace and host name.
    #[must_use]
    pub fn order(&self) -> impl Ord + use<'_> {
        let Self { name, key, .. } = self;
        let age = (self.created.is_none(), self.created);
        (age, name, &key.namespace, &key.hostname)
    }

    /// The age of the declaring object.
    #[must_use]
    pub fn age(&self) -> Age {
        Age {
            created: self.created,
            name: Arc::clone(&self.name),
            namespace: self.key.namespace.clone(),
        }
    }

    /// Returns the port with this number.
    #[must_use]
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.number == number)
    }

    /// Its virtual addresses for a proxy: those declared, else those found for it if the proxy
    /// `resolves` names beside it.
    #[must_use]
    pub fn virtual_addresses(&self, resolves: bool) -> &[Address] {
        if resolves && self.addresses.is_empty() {
            &self.auto_addresses
        } else {
            &self.addresses
        }
    }

    /// True if endpoints are part of its cluster rather than sent over EDS.
    #[must_use]
    pub fn has_inline_endpoints(&self) -> bool {
        matches!(self.resolution, Resolution::Dns | Resolution::DnsRoundRobin)
    }
}
