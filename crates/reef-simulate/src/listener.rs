//! Which listener gets a connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use xds_api::envoy::config::core::v3::TrafficDirection;
use xds_api::envoy::config::listener::v3::{
    Filter, Listener, ListenerFilter, filter, listener_filter,
};
use xds_api::envoy::config::route::v3::RouteConfiguration;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use xds_api::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use xds_api::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::ClusterSpecifier;

use crate::address;
use crate::config::{Config, unpack};
use crate::host;
use crate::request::{Direction, Request};

/// An address that no service of a sane mesh has, for requests that name no address.
const ANY_V4: Ipv4Addr = Ipv4Addr::new(241, 0, 0, 1);
const ANY_V6: Ipv6Addr = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1);

/// The listener of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a> {
    /// The one that got it from the network and handed it on.
    pub(crate) through: Option<&'a Listener>,
    /// The one that serves it.
    pub(crate) listener: &'a Listener,
}

/// Finds the listener.
pub(crate) fn find<'a>(config: &'a Config, request: &Request, to: SocketAddr) -> Option<Found<'a>> {
    let straight = |listener| Found {
        through: None,
        listener,
    };
    match request.direction {
        Direction::Inbound => {
            let captures = |listener: &&Listener| {
                listener.traffic_direction() == TrafficDirection::Inbound
                    && listener.name == "virtualInbound"
            };
            let captured = config.listeners.values().find(captures);
            captured.or_else(|| bound(config, to)).map(straight)
        }
        // Interception leaves loopback alone.
        Direction::Outbound if to.ip().is_loopback() => bound(config, to).map(straight),
        Direction::Outbound => {
            let hands_on = |listener: &&Listener| listener.use_original_dst.unwrap_or(false);
            let Some(first) = config.listeners.values().find(hands_on) else {
                return bound(config, to).map(straight);
            };
            let second = at(config, to, |_| true).filter(|one| one.name != first.name);
            Some(match second {
                Some(listener) => Found {
                    through: Some(first),
                    listener,
                },
                None => straight(first),
            })
        }
    }
}

/// Whether connections bring the address they were made to: redirected ones do, others come to a socket
/// of the listener itself.
pub(crate) fn restores(found: &Found<'_>) -> bool {
    let listener = found.listener;
    let asks = |filter: &ListenerFilter| match &filter.config_type {
        Some(listener_filter::ConfigType::TypedConfig(any)) => {
            any.type_url.ends_with(".OriginalDst")
        }
        _ => false,
    };
    found.through.is_some()
        || listener.use_original_dst.unwrap_or(false)
        || !listener.bind_to_port.unwrap_or(true)
        || listener.listener_filters.iter().any(asks)
}

/// A listener with a socket of its own.
fn bound(config: &Config, to: SocketAddr) -> Option<&Listener> {
    at(config, to, |one| one.bind_to_port.unwrap_or(true))
}

/// The listener of exactly this address, else of its port.
fn at(config: &Config, to: SocketAddr, suits: impl Fn(&Listener) -> bool) -> Option<&Listener> {
    let of = |ip: IpAddr| {
        config.listeners.values().find(|one| {
            suits(one)
                && one.api_listener.is_none()
                && address::of_listener(one).contains(&(ip, to.port()))
        })
    };
    let any: IpAddr = match to.ip() {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    of(to.ip()).or_else(|| of(any))
}

/// Where a request goes that names no address: the one that its host has in routes or listeners, else
/// some address that is nobody's, which is good for listeners of a port.
pub(crate) fn destination(config: &Config, request: &Request) -> SocketAddr {
    let name = match request.host.is_empty() {
        false => request.host.as_str(),
        true => request.sni.as_deref().unwrap_or_default(),
    };
    let name = host::without_port(name).to_ascii_lowercase();
    let literal = name.trim_start_matches('[').trim_end_matches(']').parse();
    let ip = request
        .to
        .or(literal.ok())
        .or_else(|| address_in_routes(config, &name, request.port))
        .or_else(|| address_of_listener(config, &name, request.port))
        .unwrap_or_else(|| somewhere(config, request.port));
    SocketAddr::new(ip, request.port)
}

fn somewhere(config: &Config, port: u16) -> IpAddr {
    let listens = |ip: IpAddr| {
        let mut all = config.listeners.values();
        all.any(|one| address::of_listener(one).contains(&(ip, port)))
    };
    let v4 = listens(Ipv4Addr::UNSPECIFIED.into());
    if !v4 && listens(Ipv6Addr::UNSPECIFIED.into()) {
        ANY_V6.into()
    } else {
        ANY_V4.into()
    }
}

/// The address among the domains of the virtual host that has this name, too.
fn address_in_routes(config: &Config, name: &str, port: u16) -> Option<IpAddr> {
    let suffix = format!(":{port}");
    let ours = |routes: &&RouteConfiguration| {
        routes.name == port.to_string() || routes.name.ends_with(&suffix)
    };
    for routes in config.routes.values().filter(ours) {
        for one in &routes.virtual_hosts {
            let named = |domain: &String| domain.eq_ignore_ascii_case(name);
            let here = one.name.ends_with(&suffix) && one.domains.iter().any(named);
            if !here {
                continue;
            }
            let literal = |domain: &String| {
                let inner = domain.trim_start_matches('[').trim_end_matches(']');
                inner.parse::<IpAddr>().ok()
            };
            if let Some(ip) = one.domains.iter().find_map(literal) {
                return Some(ip);
            }
        }
    }
    None
}

/// The address of a listener that leads to this name.
fn address_of_listener(config: &Config, name: &str, port: u16) -> Option<IpAddr> {
    for listener in config.listeners.values() {
        let Some((ip, _)) = address::of_listener(listener)
            .into_iter()
            .find(|(ip, at)| *at == port && !ip.is_unspecified())
        else {
            continue;
        };
        let chains = listener.filter_chains.iter();
        let filters = chains
            .chain(&listener.default_filter_chain)
            .flat_map(|chain| &chain.filters);
        if filters
            .flat_map(leads_to)
            .any(|host| is_called(&host, name))
        {
            return Some(ip);
        }
    }
    None
}

fn is_called(host: &str, name: &str) -> bool {
    host.eq_ignore_ascii_case(name)
        || host
            .to_ascii_lowercase()
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('.') && !name.is_empty())
}

/// Hosts in the names a filter refers to: `outbound|80||HOST`, `HOST:80`.
fn leads_to(filter: &Filter) -> Vec<String> {
    let Some(filter::ConfigType::TypedConfig(any)) = &filter.config_type else {
        return Vec::new();
    };
    let of_cluster = |name: &str| name.rsplit('|').next().unwrap_or_default().to_owned();
    let tcp: Option<TcpProxy> = unpack(any);
    if let Some(tcp) = tcp {
        return match &tcp.cluster_specifier {
            Some(ClusterSpecifier::Cluster(name)) => vec![of_cluster(name)],
            Some(ClusterSpecifier::WeightedClusters(all)) => all
                .clusters
                .iter()
                .map(|one| of_cluster(&one.name))
                .collect(),
            None => Vec::new(),
        };
    }
    let http: Option<HttpConnectionManager> = unpack(any);
    let name = http.as_ref().and_then(crate::http::route_config_name);
    let host = name.and_then(|name| Some(name.rsplit_once(':')?.0.to_owned()));
    host.into_iter().collect()
}
