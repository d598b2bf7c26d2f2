//! The message of `virtualOutbound`: it takes every redirected outbound connection and hands it to
//! the listener of its destination, or else treats it as the outbound policy says.

use xds_api::envoy::config::listener::v3 as lds;

use super::VirtualOutbound;
use super::outbound::{additional, base};
use crate::names;
use crate::route::unknown_host_routes;
use crate::xds::hcm::{self, Manager, Side};
use crate::xds::listener::{Off, black_hole, http_inspector, plaintext_http, tcp_proxy};
use crate::xds::{self, duration, second_wildcard, socket, wildcard};

pub(crate) fn build(key: &VirtualOutbound) -> lds::Listener {
    let defaults = &key.defaults;
    let blackhole = lds::FilterChain {
        name: "virtualOutbound-blackhole".to_owned(),
        filter_chain_match: Some(lds::FilterChainMatch {
            destination_port: Some(key.port.into()),
            ..Default::default()
        }),
        filters: vec![black_hole(defaults)],
        ..Default::default()
    };
    let resolves = defaults.unknown_hosts.is_some();
    let named = resolves.then(|| lds::FilterChain {
        name: "virtualOutbound-catchall-tcp-http".to_owned(),
        filter_chain_match: Some(plaintext_http()),
        filters: vec![hcm::filter(Manager {
            stat_prefix: format!("outbound_{}", names::VIRTUAL_OUTBOUND),
            side: Side::OutboundInline {
                routes: Box::new(unknown_host_routes(&defaults.headers)),
            },
            grpc_web: false,
            absolute_url: false,
            caches: &[],
            defaults,
        })],
        ..Default::default()
    });
    let rest = lds::FilterChain {
        name: "virtualOutbound-catchall-tcp".to_owned(),
        filters: vec![tcp_proxy(&key.fallback, None, defaults)],
        ..Default::default()
    };
    let second = defaults.dual.then(|| second_wildcard(defaults.ipv4));
    lds::Listener {
        name: names::VIRTUAL_OUTBOUND.to_owned(),
        address: Some(socket(wildcard(defaults.ipv4).to_string(), key.port)),
        additional_addresses: additional(second, key.port),
        use_original_dst: Some(true),
        transparent: defaults.transparent.then_some(true),
        filter_chains: [blackhole].into_iter().chain(named).chain([rest]).collect(),
        listener_filters: resolves
            .then(|| http_inspector(Off::On(&[])))
            .into_iter()
            .collect(),
        listener_filters_timeout: Some(if resolves {
            duration(defaults.detection_timeout)
        } else {
            xds::ZERO
        }),
        access_log: defaults.logs.of_listener(),
        max_connections_to_accept_per_socket_event: Some(1),
        ..base(defaults)
    }
}
