//! Messages of outbound listeners.

use std::net::IpAddr;
use std::time::Duration;

use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::config::listener::v3 as lds;

use super::{Bind, Chain, ChainMatch, ListenerDefaults, OutboundListener, Target};
use crate::xds::hcm::{self, Manager, Side};
use crate::xds::listener::{
    Off, cidr_range, forward, http_inspector, plaintext_http, tcp_proxy, tls_inspector,
};
use crate::xds::{self, duration, socket};

/// Limits a TLS handshake of a client.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) fn build(key: &OutboundListener) -> lds::Listener {
    let mut chains = Vec::with_capacity(key.chains.len());
    let mut match_all = None;
    for planned in &key.chains {
        let built = chain(key, planned);
        if planned.matches == ChainMatch::default() {
            match_all = Some(built);
        } else {
            chains.push(built);
        }
    }
    let default_filter_chain = if chains.is_empty() {
        chains.extend(match_all);
        None
    } else {
        match_all.or_else(|| Some(passthrough_chain(key)))
    };
    let sniffs_http = key.chains.iter().any(|chain| chain.matches.plaintext_http);
    let sniffs_tls = key
        .chains
        .iter()
        .any(|chain| !chain.matches.server_names.is_empty());
    let tls = sniffs_tls.then(|| tls_inspector(Off::On(&[])));
    let http = sniffs_http.then(|| http_inspector(Off::On(&[])));
    let detection = if sniffs_http {
        key.defaults.detection_timeout
    } else {
        Duration::ZERO
    };
    lds::Listener {
        name: key.name.to_string(),
        address: Some(match &key.bind {
            Bind::Ip(ip) => socket(ip.to_string(), key.port),
            Bind::Pipe(path) => xds::pipe(&**path),
        }),
        additional_addresses: additional(key.extra.iter().copied(), key.port),
        filter_chains: chains,
        default_filter_chain,
        listener_filters: tls.into_iter().chain(http).collect(),
        listener_filters_timeout: Some(duration(detection)),
        bind_to_port: (!key.real).then_some(false),
        max_connections_to_accept_per_socket_event: key.real.then_some(1),
        ..base(&key.defaults)
    }
}

pub(crate) fn base(defaults: &ListenerDefaults) -> lds::Listener {
    lds::Listener {
        traffic_direction: core::TrafficDirection::Outbound.into(),
        continue_on_listener_filters_timeout: true,
        connection_balance_config: exact_balance(defaults.balance),
        ..Default::default()
    }
}

/// Further addresses of a listener.
pub(crate) fn additional(
    ips: impl IntoIterator<Item = IpAddr>,
    port: u16,
) -> Vec<lds::AdditionalAddress> {
    ips.into_iter()
        .map(|ip| lds::AdditionalAddress {
            address: Some(socket(ip.to_string(), port)),
            ..Default::default()
        })
        .collect()
}

/// Balance of accepted connections over workers, if asked for.
pub(crate) fn exact_balance(wanted: bool) -> Option<lds::listener::ConnectionBalanceConfig> {
    use lds::listener::connection_balance_config::{BalanceType, ExactBalance};
    wanted.then(|| lds::listener::ConnectionBalanceConfig {
        balance_type: Some(BalanceType::ExactBalance(ExactBalance {})),
    })
}

fn chain(key: &OutboundListener, chain: &Chain) -> lds::FilterChain {
    let ChainMatch {
        plaintext_http: http,
        server_names,
        ranges,
    } = &chain.matches;
    let filter_chain_match = (chain.matches != ChainMatch::default()).then(|| {
        let mut matches = if *http {
            plaintext_http()
        } else {
            lds::FilterChainMatch::default()
        };
        matches.server_names = server_names.iter().map(ToString::to_string).collect();
        matches.prefix_ranges = ranges.iter().copied().map(cidr_range).collect();
        matches
    });
    let filters = match &chain.target {
        Target::Tcp(to) => forward(to, key.port, &key.defaults),
        Target::Http {
            route,
            grpc_web,
            absolute_url,
            caches,
        } => vec![hcm::filter(Manager {
            stat_prefix: format!("outbound_{}", key.name),
            side: Side::Outbound {
                route: route.to_string(),
            },
            grpc_web: *grpc_web,
            absolute_url: *absolute_url,
            caches,
            defaults: &key.defaults,
        })],
    };
    let metadata = match &chain.target {
        Target::Tcp(to) => to.rule.as_ref().map(xds::config_metadata),
        Target::Http { .. } => None,
    };
    lds::FilterChain {
        filter_chain_match,
        filters,
        metadata,
        transport_socket_connect_timeout: Some(duration(HANDSHAKE_TIMEOUT)),
        ..Default::default()
    }
}

fn passthrough_chain(key: &OutboundListener) -> lds::FilterChain {
    lds::FilterChain {
        name: "PassthroughFilterChain".to_owned(),
        filter_chain_match: Some(lds::FilterChainMatch::default()),
        filters: vec![tcp_proxy(&key.fallback, None, &key.defaults)],
        ..Default::default()
    }
}
