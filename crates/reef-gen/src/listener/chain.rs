//! Which chains one service port adds to a listener.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use reef_mesh::{Address, Cidr, Protocol, Resolution, Service, ServicePort};

use super::forward::to_service;
use super::rules::{Route, Routes, is_server_name};
use super::{Bind, Chain, ChainMatch, Target};
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
    /// `tls` routes of the rules for the host, by the rule's place among those of the egress
    /// listener.
    pub tls: Vec<(usize, Arc<Routes>)>,
    /// Their `tcp` routes.
    pub tcp: Vec<(usize, Arc<Routes>)>,
    pub input: &'a ClassInput,
}

/// Rules whose TLS routes a listener has: egress listener, rule, and destinations they are for.
pub(crate) type Placed = BTreeSet<(usize, usize, Option<Cidr>)>;

/// What a service port brings to a listener.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    pub chains: Vec<Chain>,
    /// Some are there already, as another service brought them.
    pub again: bool,
}

impl Brought {
    fn of(chains: Vec<Chain>) -> Self {
        Self {
            chains,
            again: false,
        }
    }
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
                (names::own_route(host, self.number), true)
            }
            Bind::Ip(_) => (port_route(self.number), false),
        }
    }

    /// Chains in the order they are matched. `placed` holds the rules whose TLS routes the listener
    /// has already, for the same destinations; those are not made again.
    pub(crate) fn chains(&self, placed: &mut Placed) -> Brought {
        let http = |plaintext_http| Chain {
            matches: ChainMatch {
                plaintext_http,
                // HTTP of a port is for all addresses.
                ranges: self
                    .protocol
                    .is_auto()
                    .then(|| self.range())
                    .flatten()
                    .into_iter()
                    .collect(),
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
            return Brought::of(vec![http(self.family() == Family::Auto)]);
        }
        let mut brought = if self.protocol.is_tls() {
            self.tls_chains(placed)
        } else {
            Brought::of(self.tcp_chains())
        };
        if self.protocol.is_auto() {
            brought.chains.insert(0, http(true));
        }
        brought
    }

    /// By the `tls` routes of rules, else to the service.
    fn tls_chains(&self, placed: &mut Placed) -> Brought {
        let mut brought = Brought::default();
        let mut routed = false;
        for (rule, routes) in &self.tls {
            if routes.list.is_empty() {
                continue;
            }
            routed = true;
            if !placed.insert((self.egress, *rule, self.range())) {
                brought.again = true;
                continue;
            }
            let chains = routes.list.iter().map(|route| self.routed(route));
            brought.chains.extend(chains);
        }
        if !routed {
            brought.chains.extend(self.own_chain());
        }
        brought
    }

    /// By the `tcp` routes of rules, and to the service if they leave something.
    fn tcp_chains(&self) -> Vec<Chain> {
        let mut chains = Vec::new();
        for (_, rule) in &self.tcp {
            chains.extend(rule.list.iter().map(|route| self.routed(route)));
            if rule.complete {
                return chains;
            }
        }
        chains.extend(self.own_chain());
        chains
    }

    fn routed(&self, route: &Route) -> Chain {
        Chain {
            matches: ChainMatch {
                plaintext_http: false,
                server_names: route.names.clone(),
                ranges: if route.ranges.is_empty() {
                    self.range().into_iter().collect()
                } else {
                    route.ranges.clone()
                },
            },
            target: Target::Tcp(route.forward.clone()),
        }
    }

    /// The destinations its chains are for, if its address is a range.
    pub(crate) fn range(&self) -> Option<Cidr> {
        match self.address {
            Some(Address::Cidr(cidr)) => Some(masked(cidr)),
            _ => None,
        }
    }

    /// To the service itself. `None` for server names Envoy can't match.
    fn own_chain(&self) -> Option<Chain> {
        let range = self.range();
        let by_name = self.protocol.is_tls()
            && (range.is_some()
                || self.service.resolution == Resolution::DynamicDns
                || (self.address.is_none() && self.bind.is_wildcard()));
        let server_names = if by_name {
            self.server_names()?
        } else {
            Box::default()
        };
        let forward = to_service(self.input, self.service, self.port, self.protocol);
        Some(Chain {
            matches: ChainMatch {
                plaintext_http: false,
                server_names,
                ranges: range.into_iter().collect(),
            },
            target: Target::Tcp(Arc::new(forward)),
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
            if is_server_name(&name) && !names.contains(&name) {
                names.push(name);
            }
        }
        (!names.is_empty()).then(|| names.into())
    }
}

/// Clears the host bits, so that equal ranges are equal values; Envoy refuses two chains for one.
pub(crate) fn masked(cidr: Cidr) -> Cidr {
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
