//! The message of `virtualInbound`: one listener for all ports of the workload.
//!
//! Without a workload certificate every port has the chains of mTLS mode DISABLE: no TLS is
//! terminated or looked for, and no transport socket is named that would wait for a secret.

use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::config::listener::v3 as lds;
use xds_api::envoy::config::route::v3 as rds;

use super::outbound::exact_balance;
use super::{InboundPort, VirtualInbound};
use crate::names;
use crate::route::inbound_routes;
use crate::xds::hcm::{self, Manager, Side};
use crate::xds::listener::{
    RAW_BUFFER, black_hole, http_inspector, original_dst, original_src, plaintext_http, tcp_proxy,
};
use crate::xds::{duration, log, socket, wildcard};
use reef_mesh::Protocol;

pub(crate) fn build(key: &VirtualInbound) -> lds::Listener {
    let mut chains = vec![blackhole(key)];
    chains.push(http_chain(key, &PASSTHROUGH, None));
    chains.push(tcp_chain(key, &PASSTHROUGH, None));
    for port in &key.ports {
        let target = Handling::of(port);
        if port.protocol.is_auto() {
            chains.push(http_chain(key, &target, Some(port.number)));
            chains.push(tcp_chain(key, &target, Some(port.number)));
        } else if port.protocol.is_http() {
            let mut chain = http_chain(key, &target, Some(port.number));
            // Declared HTTP needs no detection, so none may be required.
            if let Some(matches) = &mut chain.filter_chain_match {
                matches.application_protocols.clear();
            }
            chains.push(chain);
        } else {
            chains.push(tcp_chain(key, &target, Some(port.number)));
        }
    }
    let sources = key.defaults.transparent.then(original_src);
    let inspector = http_inspector(&undetected_ports(key));
    lds::Listener {
        name: names::VIRTUAL_INBOUND.to_owned(),
        address: Some(socket(wildcard(key.defaults.ipv4).to_string(), key.port)),
        filter_chains: chains,
        listener_filters: [original_dst()]
            .into_iter()
            .chain(sources)
            .chain([inspector])
            .collect(),
        listener_filters_timeout: Some(duration(key.defaults.detection_timeout)),
        continue_on_listener_filters_timeout: true,
        transparent: key.defaults.transparent.then_some(true),
        traffic_direction: core::TrafficDirection::Inbound.into(),
        max_connections_to_accept_per_socket_event: Some(1),
        access_log: key
            .defaults
            .access_log
            .as_deref()
            .and_then(log::of_listener)
            .into_iter()
            .collect(),
        connection_balance_config: exact_balance(key.defaults.balance_inbound),
        ..Default::default()
    }
}

/// Ports where nothing is detected, ascending: waiting there for the client to speak would stall
/// protocols in which the server speaks first.
fn undetected_ports(key: &VirtualInbound) -> Vec<u16> {
    let declared = key.ports.iter().filter(|port| !port.protocol.is_auto());
    let mut ports: Vec<u16> = declared.map(|port| port.number).chain([key.port]).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// What the chains of a port, or of all other ports, do.
struct Handling<'a> {
    http_name: &'a str,
    tcp_name: &'a str,
    cluster: &'a str,
    stat_prefix: String,
    protocol: Protocol,
    host: &'a str,
    service_port: u16,
}

const PASSTHROUGH: Handling<'static> = Handling {
    http_name: "virtualInbound-catchall-http",
    tcp_name: names::VIRTUAL_INBOUND,
    cluster: names::INBOUND_PASSTHROUGH,
    stat_prefix: String::new(),
    protocol: Protocol::Auto,
    host: "",
    service_port: 0,
};

impl<'a> Handling<'a> {
    fn of(port: &'a InboundPort) -> Self {
        Self {
            http_name: &port.chain,
            tcp_name: &port.chain,
            cluster: &port.cluster,
            stat_prefix: format!("inbound_{}", port.chain),
            protocol: port.protocol,
            host: &port.host,
            service_port: port.service_port,
        }
    }

    fn routes(&self) -> rds::RouteConfiguration {
        inbound_routes(self.cluster, self.protocol, self.host, self.service_port)
    }
}

fn blackhole(key: &VirtualInbound) -> lds::FilterChain {
    lds::FilterChain {
        name: "virtualInbound-blackhole".to_owned(),
        filter_chain_match: Some(lds::FilterChainMatch {
            destination_port: Some(key.port.into()),
            ..Default::default()
        }),
        filters: vec![black_hole(&key.defaults)],
        ..Default::default()
    }
}

fn http_chain(
    key: &VirtualInbound,
    handling: &Handling<'_>,
    port: Option<u16>,
) -> lds::FilterChain {
    let stat_prefix = if handling.stat_prefix.is_empty() {
        handling.cluster.to_owned()
    } else {
        handling.stat_prefix.clone()
    };
    let manager = hcm::filter(Manager {
        stat_prefix,
        side: Side::Inbound {
            routes: Box::new(handling.routes()),
            http2: handling.protocol.is_http2(),
        },
        grpc_web: handling.protocol == Protocol::GrpcWeb,
        absolute_url: false,
        caches: &[],
        defaults: &key.defaults,
    });
    lds::FilterChain {
        name: handling.http_name.to_owned(),
        filter_chain_match: Some(lds::FilterChainMatch {
            destination_port: port.map(u32::from),
            ..plaintext_http()
        }),
        filters: vec![manager],
        ..Default::default()
    }
}

fn tcp_chain(key: &VirtualInbound, handling: &Handling<'_>, port: Option<u16>) -> lds::FilterChain {
    lds::FilterChain {
        name: handling.tcp_name.to_owned(),
        filter_chain_match: Some(lds::FilterChainMatch {
            destination_port: port.map(u32::from),
            transport_protocol: RAW_BUFFER.to_owned(),
            ..Default::default()
        }),
        filters: vec![tcp_proxy(handling.cluster, &key.defaults)],
        ..Default::default()
    }
}
