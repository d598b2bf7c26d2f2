//! Route configurations: virtual hosts of the services in scope, and what unknown hosts get.

mod build;
mod domains;
mod retry;
mod select;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use reef_mesh::{IpMode, Service};

pub use build::build_route;
pub(crate) use build::{inbound_routes, unknown_host_routes};
pub(crate) use domains::short_forms;
pub(crate) use retry::Retries;
pub(crate) use select::policy;
pub use select::route_keys;

/// Everything one route configuration reads.
///
/// Equality is by content, and cheap where the snapshot shares services by pointer. Hashing reads
/// the name, the proxy's domain and the services' names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteKey {
    pub(crate) name: Arc<str>,
    pub(crate) hosts: Hosts,
    pub(crate) policy: Arc<RoutePolicy>,
}

/// What routes of all services share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoutePolicy {
    /// When requests are sent again.
    pub retries: Option<Retries>,
    /// Requests tell how often they were tried.
    pub attempt_count: bool,
    /// Requests tell which host was asked for.
    pub forwarded_host: bool,
}

/// Which virtual hosts a route configuration has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hosts {
    /// One service, whatever host is asked for.
    Single(ServiceRoute),
    /// Several services by host.
    Shared {
        services: Box<[ServiceRoute]>,
        /// `<namespace>.svc.<cluster domain>` of the client.
        dns_domain: Arc<str>,
        /// Families of addresses among the domains.
        ip_mode: IpMode,
        /// Hosts are matched with their port, as clients of an HTTP proxy write it.
        with_ports: bool,
        /// What other hosts get.
        rest: Rest,
    },
}

/// One port of a service as a virtual host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceRoute {
    pub service: Arc<Service>,
    pub number: u16,
}

/// What hosts nobody declared get.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Rest {
    /// Requests go to this cluster.
    Allow(Arc<str>),
    /// Requests are answered 502.
    Block,
    /// Their names are resolved.
    Resolve,
}

impl RouteKey {
    /// The route configuration's name.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        self.name.clone()
    }
}

impl Hash for RouteKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        match &self.hosts {
            Hosts::Single(route) => route.service.key.namespace.hash(state),
            Hosts::Shared {
                services,
                dns_domain,
                rest,
                ..
            } => {
                for route in services {
                    route.service.key.hash(state);
                }
                dns_domain.hash(state);
                rest.hash(state);
            }
        }
    }
}

/// Name of the route configuration that all HTTP services on a port share.
pub(crate) fn port_route(number: u16) -> Arc<str> {
    Arc::from(number.to_string())
}
