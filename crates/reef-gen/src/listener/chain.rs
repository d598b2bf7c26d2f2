//! Which chains one service port adds to a listener.

use std::net::IpAddr;
use std::sync::Arc;

use reef_mesh::{Address, Cidr, Protocol, Resolution, Service, ServicePort};

use super::{Before, Bind, Chain, ChainMatch, Target};
use crate::input::ClassInput;
use crate::names;
use crate::route::{port_route, short_forms};
use crate::xds::dynamic_dns::DnsCache;

/// What decides how a listener shares its address with another service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Declared HTTP on an explicit address: nothing is detected.
    Http,
    /// Plaintext HTTP is detected, the rest is TCP. HTTP on the wildcard address counts as this.
    Auto,
    /// TCP or TLS.
    Tcp,
}

/// A service port about to be placed on a listener.
#[derive(Debug)]
pub(crate) struct Incoming<'a> {
    pub service: &'a Arc<Service>,
    pub port: &'a ServicePort,
    /// The port's protocol, or that of the `Sidecar` listener that replaces it.
    pub protocol: Protocol,
    pub bind: Bind,
    /// Port of the listener.
    pub number: u16,
    /// Further addresses of the listener, of the second family.
    pub extra: Vec<IpAddr>,
    /// The service's virtual address, if it has one that led here.
    pub address: Option<Address>,
    /// The listener binds a real socket.
    pub real: bool,
    /// Its routes hold the services of all ports.
    pub all_ports: bool,
    /// Index of the egress listener.
    pub egress: usize,
    pub input: &'a ClassInput,
}

/// Where the names below a wildcard host are kept that proxies resolve; `None` for other services.
pub(crate) fn cache(input: &ClassInput, service: &Service) -> Option<Arc<DnsCache>> {
    (service.resolution == Resolution::DynamicDns)
        .then(|| Arc::new(DnsCache::of_host(&service.key.hostname, input.lookup())))
}

impl Incoming<'_> {
    pub(crate) fn family(&self) -> Family {
        if self.protocol.is_http() {
            if self.bind.is_wildcard() && self.protocol != Protocol::HttpProxy {
                Family::Auto
            } else {
                Family::Http
            }
        } else if self.protocol.is_auto() {
            Family::Auto
        } else {
            Family::Tcp
        }
    }

    /// The protocol, if it shares its address with no other.
    pub(crate) fn exclusive(&self) -> Option<Protocol> {
        matches!(self.protocol, Protocol::Mongo | Protocol::MySql).then_some(self.protocol)
    }

    /// Caches its HTTP requests need.
    pub(crate) fn caches(&self) -> Vec<Arc<DnsCache>> {
        cache(self.input, self.service).into_iter().collect()
    }

    /// Name of the route configuration of its HTTP chain, and whether the service has it alone.
    pub(crate) fn route(&self) -> (Arc<str>, bool) {
        match &self.bind {
            Bind::Pipe(path) => (Arc::from(format!("unix://{path}")), false),
            Bind::Ip(_) if self.protocol.is_auto() && !self.bind.is_wildcard() => {
                let host = &self.service.key.hostname;
                (Arc::from(format!("{host}:{}", self.number)), true)
            }
            Bind::Ip(_) => (port_route(self.number), false),
        }
    }

    /// Chains in the order they are matched.
    pub(crate) fn chains(&self) -> Vec<Chain> {
        let http = |plaintext_http| Chain {
            matches: ChainMatch {
                plaintext_http,
                // HTTP of a port is for all addresses.
                range: self.protocol.is_auto().then(|| self.range()).flatten(),
                ..Default::default()
            },
            target: Target::Http {
                route: self.route().0,
                grpc_web: self.protocol == Protocol::GrpcWeb,
                absolute_url: false,
                caches: self.caches(),
            },
        };
        if self.protocol.is_http() {
            return vec![http(self.family() == Family::Auto)];
        }
        let detected = self.protocol.is_auto().then(|| http(true));
        detected.into_iter().chain(self.tcp_chain()).collect()
    }

    /// The destinations its chains are for, if its address is a range.
    fn range(&self) -> Option<Cidr> {
        match self.address {
            Some(Address::Cidr(cidr)) => Some(masked(cidr)),
            _ => None,
        }
    }

    /// `None` for server names Envoy can't match.
    fn tcp_chain(&self) -> Option<Chain> {
        let range = self.range();
        let dynamic = cache(self.input, self.service);
        let by_name = self.protocol.is_tls()
            && (range.is_some()
                || dynamic.is_some()
                || (self.address.is_none() && self.bind.is_wildcard()));
        let server_names = if by_name {
            self.server_names()?
        } else {
            Box::default()
        };
        let before = match dynamic {
            Some(cache) => Some(Before::ServerName(cache)),
            None => (self.protocol == Protocol::Mongo).then_some(Before::Mongo),
        };
        let cluster = names::outbound_cluster(self.port.number, &self.service.key.hostname);
        Some(Chain {
            matches: ChainMatch {
                plaintext_http: false,
                server_names,
                range,
            },
            target: Target::Tcp {
                cluster,
                stat_name: self.input.outbound_stat_name(self.service, self.port),
                before,
            },
        })
    }

    /// The host, and its aliases with their short names. A bare `*` means any name; other wildcards
    /// must be whole labels.
    fn server_names(&self) -> Option<Box<[Arc<str>]>> {
        let host = &self.service.key.hostname;
        if **host == *"*" {
            return Some(Box::default());
        }
        let domain = self.input.proxy.alias_domain.as_deref();
        let aliases = self.service.aliases.iter().flat_map(|alias| {
            let short = domain.map_or_else(Vec::new, |domain| short_forms(alias, domain));
            let short = short.into_iter().map(Arc::from);
            std::iter::once(alias.shared().clone()).chain(short)
        });
        let mut names: Vec<Arc<str>> = Vec::with_capacity(1);
        for name in std::iter::once(host.shared().clone()).chain(aliases) {
            let whole = !name.starts_with('*') || name.starts_with("*.");
            if whole && !names.contains(&name) {
                names.push(name);
            }
        }
        (!names.is_empty()).then(|| names.into())
    }
}

/// Clears the host bits, so that equal ranges are equal values; Envoy refuses two chains for one.
fn masked(cidr: Cidr) -> Cidr {
    let ip = match cidr.ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(cidr.prefix.min(32)))
                .unwrap_or(0);
            IpAddr::V4((ip.to_bits() & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(cidr.prefix.min(128)))
                .unwrap_or(0);
            IpAddr::V6((ip.to_bits() & mask).into())
        }
    };
    Cidr {
        ip,
        prefix: cidr.prefix,
    }
}
