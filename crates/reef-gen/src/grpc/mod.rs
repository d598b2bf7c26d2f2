//! Proxyless gRPC: clients that speak xDS themselves and ask for each resource by its name.
//!
//! ```text
//! xds:///<host>:<port>
//!   Listener <host>:<port> (api_listener) ─► RouteConfiguration ─► Cluster ─► ClusterLoadAssignment
//!                                             all three named outbound|<port>||<host>
//! ```
//!
//! Such a client has no port of its own, no redirection and no Envoy, so nearly nothing of its facts
//! matters: all of one scope share a class, and their routes and load assignments are those of
//! sidecars. What it does not understand it rejects, so its clusters and listeners hold only what it
//! does.

mod build;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use reef_mesh::{
    Interception, MtlsMode, ProxyIdentity, Resolution, Service, ServiceEndpoints, ServicePort,
    WorkloadCert,
};

use crate::cluster::ClusterKey;
use crate::endpoint::{EndpointKey, Selection, of_ports};
use crate::facts::ProxyFacts;
use crate::input::{ClassInput, is_routable, is_unresolvable};
use crate::listener::ListenerKey;
use crate::names;
use crate::route::{Frame, RouteKey, policy, single};
use crate::security::{Denied, InboundSecurity, PortSecurity};

pub(crate) use build::{cluster, listener};

/// Metadata value of `GENERATOR` by which a client says that it is one of these.
const GENERATOR: &str = "grpc";

/// Key of a cluster of a proxyless client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcCluster {
    pub(crate) name: Arc<str>,
    /// The name it resolves, where there are no endpoints to be told.
    pub(crate) resolves: Option<Resolved>,
}

/// The endpoints of a service whose names are resolved: the client takes one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub endpoints: Arc<ServiceEndpoints>,
    pub port: Arc<str>,
    pub only: Selection,
}

/// Key of a listener of a proxyless client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GrpcListener {
    pub(crate) name: Arc<str>,
    /// Name of its route configuration.
    pub(crate) route: Arc<str>,
}

impl Hash for GrpcCluster {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// True if the proxy is a client without one.
pub(crate) fn is_proxyless(proxy: &ProxyIdentity) -> bool {
    proxy.text("GENERATOR") == Some(GENERATOR)
}

/// Takes out of a proxyless client's facts what only a proxy has, so that it tells no classes apart.
pub(crate) fn narrow(facts: &mut ProxyFacts) {
    let none = || Arc::from([]);
    facts.interception = Interception::None;
    facts.workload_cert = WorkloadCert::None;
    facts.dns_domain = Arc::from("");
    facts.own_headless = none();
    facts.ingress_ips = none();
    facts.reserved_ports = Arc::from([]);
    facts.idle_timeout = None;
    facts.dns_proxy = None;
    facts.http10 = false;
    facts.http_proxy_port = None;
    facts.balance_inbound = false;
    facts.balance_outbound = false;
    facts.unprivileged = false;
    facts.alias_domain = None;
    facts.auto_addresses = false;
    facts.name_table = None;
    facts.security = InboundSecurity {
        rest: PortSecurity {
            mode: MtlsMode::Disable,
            denied: Denied::Nothing,
        },
        ports: Arc::from([]),
        uncertified: Arc::from([]),
    };
    facts.sampling = 0;
    facts.trace_tags = None;
    facts.logs = Arc::default();
    facts.selecting_rules = Arc::from([]);
    facts.certified = None;
    facts.client_labels = Arc::from([]);
}

/// Selects the clusters of a class, in scope order.
pub(crate) fn cluster_keys(input: &ClassInput) -> Vec<ClusterKey> {
    ports(input)
        .map(|(service, port)| {
            let resolves = service
                .has_inline_endpoints()
                .then(|| input.snapshot.endpoints(&service.key).cloned())
                .flatten()
                .map(|endpoints| Resolved {
                    endpoints,
                    port: port.name.clone(),
                    only: input.selection(service),
                });
            ClusterKey::Grpc(GrpcCluster {
                name: names::outbound_cluster(port.number, &service.key.hostname),
                resolves,
            })
        })
        .collect()
}

/// Selects the load assignments of one service.
pub(crate) fn endpoint_keys(input: &ClassInput, service: &Arc<Service>) -> Vec<EndpointKey> {
    if service.has_inline_endpoints() {
        return Vec::new();
    }
    of_ports(input, service, |port| is_served(input, service, port))
}

/// Selects the listeners of a class, in scope order.
pub(crate) fn listener_keys(input: &ClassInput) -> Vec<ListenerKey> {
    ports(input)
        .map(|(service, port)| {
            ListenerKey::Grpc(GrpcListener {
                name: Arc::from(format!("{}:{}", service.key.hostname, port.number)),
                route: names::outbound_cluster(port.number, &service.key.hostname),
            })
        })
        .collect()
}

/// Selects the route configurations of a class, in scope order.
pub(crate) fn route_keys(input: &ClassInput) -> Vec<RouteKey> {
    let frame = Frame::single(policy(input));
    ports(input)
        .map(|(service, port)| {
            let name = names::outbound_cluster(port.number, &service.key.hostname);
            RouteKey::single(name, single(input, service, port.number), &frame)
        })
        .collect()
}

fn ports(input: &ClassInput) -> impl Iterator<Item = (&Arc<Service>, &ServicePort)> {
    input
        .scope
        .services
        .iter()
        .map(|scoped| &scoped.service)
        .flat_map(|service| service.ports.iter().map(move |port| (service, port)))
        .filter(|(service, port)| is_served(input, service, port))
}

/// True if a client can be told where the port is. It has no original destination to fall back to.
fn is_served(input: &ClassInput, service: &Service, port: &ServicePort) -> bool {
    let has_address = match service.resolution {
        Resolution::ClientSide | Resolution::Dns | Resolution::DnsRoundRobin => true,
        Resolution::Passthrough => service.headless,
        Resolution::DynamicDns | Resolution::Alias => false,
    };
    has_address
        && !service.key.hostname.is_wildcard()
        && is_routable(service, port)
        && !is_unresolvable(input, service, port)
}
