//! Route configurations: virtual hosts of the services in scope, and what unknown hosts get.

mod action;
mod build;
mod condition;
mod domains;
mod encode;
mod filters;
mod hash;
mod headers;
mod moved;
mod rerouted;
mod retry;
mod rule;
mod select;
mod table;

use std::hash::{BuildHasher as _, Hash, Hasher};
use std::net::Ipv6Addr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use reef_config::names::Hostname;
use reef_mesh::{IpMode, Service};

pub use build::build_route;
pub(crate) use build::{inbound_routes, unknown_host_routes};
pub(crate) use domains::short_forms;
pub use encode::encode_route;
use hash::HashPolicy;
pub(crate) use moved::moved;
pub(crate) use rerouted::rerouted;
pub(crate) use retry::Retries;
pub use select::route_keys;
pub(crate) use select::{policy, problems, selected, single};
use table::Table;

/// Everything one route configuration reads.
///
/// Equality is by content, and cheap where virtual hosts are shared by pointer, as they are between
/// versions. Hashing reads what each virtual host was hashed to when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteKey {
    pub(crate) name: Arc<str>,
    /// In the order of the message.
    pub(crate) hosts: Arc<[Arc<HostRoutes>]>,
    pub(crate) frame: Arc<Frame>,
}

/// What the virtual hosts of a route configuration share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub policy: Arc<RoutePolicy>,
    /// Under which names hosts are asked for; `None` if there is one, whatever is asked for.
    pub asked: Option<Asked>,
    /// What other hosts get: the last virtual host. `None` if one stands for all.
    pub rest: Option<Rest>,
}

/// How hosts are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// `<namespace>.svc.<cluster domain>` of the client.
    pub dns_domain: Arc<str>,
    /// Families of addresses among the domains.
    pub ip_mode: IpMode,
    /// Hosts are matched with their port, as clients of an HTTP proxy write it.
    pub with_ports: bool,
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

/// A virtual host: one port of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostRoutes {
    /// Hash of what tells it from others; versions of one may have the same.
    hashed: u64,
    pub host: Host,
    pub number: u16,
    /// Routes of a `VirtualService`; `None` leads everything to the service.
    pub table: Option<Arc<Table>>,
    /// What is hashed of requests, where there is no table.
    pub hash: Option<Arc<HashPolicy>>,
    /// Places of the domains that are not its own, as another host has them: ascending.
    pub lost: Box<[u32]>,
}

impl HostRoutes {
    /// A virtual host that has all its domains.
    pub(crate) fn new(
        host: Host,
        number: u16,
        table: Option<Arc<Table>>,
        hash: Option<HashPolicy>,
    ) -> Self {
        let mut hasher = FixedState::default().build_hasher();
        host.name().hash(&mut hasher);
        number.hash(&mut hasher);
        if let Some(table) = &table {
            table.object.name.hash(&mut hasher);
            table.routes.len().hash(&mut hasher);
        }
        Self {
            hashed: hasher.finish(),
            host,
            number,
            table,
            hash: hash.map(Arc::new),
            lost: Box::default(),
        }
    }

    /// The same with other routes of its `VirtualService`.
    pub(crate) fn with_table(&self, table: Arc<Table>) -> Self {
        let mut new = Self::new(self.host.clone(), self.number, Some(table), None);
        new.lost.clone_from(&self.lost);
        new
    }

    /// Name of the virtual host.
    pub(crate) fn name(&self) -> String {
        let host = self.host.name();
        if host.parse::<Ipv6Addr>().is_ok() {
            format!("[{host}]:{}", self.number)
        } else {
            format!("{host}:{}", self.number)
        }
    }
}

/// Whose virtual host it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// A service's.
    Service(Arc<Service>),
    /// A host of a `VirtualService` nobody declared.
    Named(Hostname),
}

impl Frame {
    /// That of one service alone.
    pub(crate) fn single(policy: Arc<RoutePolicy>) -> Arc<Self> {
        Arc::new(Self {
            policy,
            asked: None,
            rest: None,
        })
    }
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
    /// The route configuration of one service, whatever host is asked for.
    pub(crate) fn single(name: Arc<str>, routes: HostRoutes, frame: &Arc<Frame>) -> Self {
        Self {
            name,
            hosts: Arc::from([Arc::new(routes)]),
            frame: frame.clone(),
        }
    }

    /// The route configuration's name.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        self.name.clone()
    }
}

impl Hash for RouteKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        for routes in &*self.hosts {
            state.write_u64(routes.hashed);
        }
        if let Some(asked) = &self.frame.asked {
            asked.dns_domain.hash(state);
        }
        self.frame.rest.hash(state);
    }
}

/// Name of the route configuration that all HTTP services on a port share.
pub(crate) fn port_route(number: u16) -> Arc<str> {
    Arc::from(number.to_string())
}
