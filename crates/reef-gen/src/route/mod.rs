//! Route configurations: virtual hosts of the services in scope, and what unknown hosts get.

mod action;
mod build;
mod condition;
mod domains;
mod filters;
mod hash;
mod headers;
mod retry;
mod rule;
mod select;
mod table;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use reef_config::names::Hostname;
use reef_mesh::{IpMode, Service};

pub use build::build_route;
pub(crate) use build::{inbound_routes, unknown_host_routes};
pub(crate) use domains::short_forms;
use hash::HashPolicy;
pub(crate) use retry::Retries;
pub use select::route_keys;
pub(crate) use select::{policy, problems, single};
use table::Table;

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
    /// Hosts without addresses have those found for them.
    pub auto_addresses: bool,
    /// For clients that reject settings of filters they do not know.
    pub proxyless: bool,
}

/// Which virtual hosts a route configuration has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hosts {
    /// One service, whatever host is asked for.
    Single(HostRoutes),
    /// Several hosts: those with a `VirtualService` first. The first to have a domain keeps it.
    Shared {
        hosts: Box<[HostRoutes]>,
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

/// A virtual host: one port of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostRoutes {
    pub host: Host,
    pub number: u16,
    /// Routes of a `VirtualService`; `None` leads everything to the service.
    pub table: Option<Arc<Table>>,
    /// What is hashed of requests, where there is no table.
    pub hash: Option<HashPolicy>,
}

/// Whose virtual host it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// A service's.
    Service(Arc<Service>),
    /// A host of a `VirtualService` nobody declared.
    Named(Hostname),
}

impl Host {
    pub(crate) fn name(&self) -> &Hostname {
        match self {
            Self::Service(service) => &service.key.hostname,
            Self::Named(name) => name,
        }
    }
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
            Hosts::Single(routes) => routes.hash(state),
            Hosts::Shared {
                hosts,
                dns_domain,
                rest,
                ..
            } => {
                for routes in hosts {
                    routes.hash(state);
                }
                dns_domain.hash(state);
                rest.hash(state);
            }
        }
    }
}

impl Hash for HostRoutes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.host {
            Host::Service(service) => service.key.hash(state),
            Host::Named(name) => name.hash(state),
        }
        if let Some(table) = &self.table {
            table.object.name.hash(state);
            table.routes.len().hash(state);
        }
    }
}

/// Name of the route configuration that all HTTP services on a port share.
pub(crate) fn port_route(number: u16) -> Arc<str> {
    Arc::from(number.to_string())
}
