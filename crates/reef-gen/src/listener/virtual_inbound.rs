//! Messages of inbound listeners: `virtualInbound`, one for all captured ports of the workload, and
//! those of declared ports that bind a socket.
//!
//! Which chains a port has follows from its mTLS mode ([`crate::security`]). Without a workload
//! certificate that is DISABLE for every port: no TLS is terminated or looked for, and no transport
//! socket is named that would wait for a secret.

use std::sync::Arc;

use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::config::listener::v3 as lds;

use super::outbound::{additional, exact_balance};
use super::{InboundListener, InboundPort, ListenerDefaults, VirtualInbound};
use crate::names;
use crate::route::inbound_routes;
use crate::security::{
    self, ChainShape, Denied, Handler, InboundTls, PortKind, PortSecurity, Transport, shapes,
};
use crate::xds::hcm::{self, Manager, Side};
use crate::xds::listener::{
    Off, RAW_BUFFER, TLS, black_hole, http_inspector, original_dst, original_src, tcp_proxy,
    tls_inspector,
};
use crate::xds::{self, duration, second_wildcard, socket, wildcard};
use reef_mesh::Protocol;

pub(crate) fn build(key: &VirtualInbound) -> lds::Listener {
    let tls = key.tls.as_deref();
    let mut sets = vec![Set::passthrough(None, key.rest)];
    sets.extend(
        key.undeclared
            .iter()
            .map(|(port, security)| Set::passthrough(Some(*port), *security)),
    );
    sets.extend(key.ports.iter().map(Set::of));
    let mut chains = vec![blackhole(key)];
    for set in &sets {
        chains.extend(set.chains(tls, &key.defaults));
    }
    let sources = key.defaults.transparent.then(original_src);
    let inspectors = inspectors(&sets, Some(key.port));
    let second = (key.defaults.dual).then(|| second_wildcard(key.defaults.ipv4));
    lds::Listener {
        name: names::VIRTUAL_INBOUND.to_owned(),
        address: Some(socket(wildcard(key.defaults.ipv4).to_string(), key.port)),
        additional_addresses: additional(second, key.port),
        filter_chains: chains,
        listener_filters: [original_dst()]
            .into_iter()
            .chain(sources)
            .chain(inspectors)
            .collect(),
        transparent: key.defaults.transparent.then_some(true),
        ..base(&key.defaults)
    }
}

pub(crate) fn build_real(key: &InboundListener) -> lds::Listener {
    let set = Set::of(&key.port);
    lds::Listener {
        name: key.name.to_string(),
        address: Some(match &key.bind {
            super::Bind::Ip(ip) => socket(ip.to_string(), key.port.number),
            super::Bind::Pipe(path) => xds::pipe(&**path),
        }),
        filter_chains: set.chains(key.tls.as_deref(), &key.defaults).collect(),
        listener_filters: inspectors(&[set], None),
        ..base(&key.defaults)
    }
}

fn base(defaults: &ListenerDefaults) -> lds::Listener {
    lds::Listener {
        listener_filters_timeout: Some(duration(defaults.detection_timeout)),
        continue_on_listener_filters_timeout: true,
        traffic_direction: core::TrafficDirection::Inbound.into(),
        max_connections_to_accept_per_socket_event: Some(1),
        access_log: defaults.logs.of_listener(),
        connection_balance_config: exact_balance(defaults.balance),
        ..Default::default()
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

/// Where TLS and plaintext HTTP are looked for: only on ports with a chain that depends on it.
/// Waiting elsewhere for the client to speak would stall protocols in which the server speaks first.
fn inspectors(sets: &[Set<'_>], capture: Option<u16>) -> Vec<lds::ListenerFilter> {
    let ports = |wanted: bool, needs: fn(&ChainShape) -> bool| -> Vec<u16> {
        let some = sets.iter().filter_map(|set| {
            let port = set.port?;
            (set.shapes().iter().any(needs) == wanted).then_some(port)
        });
        let mut ports: Vec<u16> = some.collect();
        if !wanted {
            ports.extend(capture);
        }
        ports.sort_unstable();
        ports
    };
    let rest = |needs: fn(&ChainShape) -> bool| {
        let mut all = sets
            .iter()
            .filter(|set| set.port.is_none() || capture.is_none());
        all.any(|set| set.shapes().iter().any(needs))
    };
    let is_tls: fn(&ChainShape) -> bool = |shape| shape.transport == Transport::Tls;
    let mut found = Vec::new();
    if rest(is_tls) {
        found.push(tls_inspector(Off::On(&ports(false, is_tls))));
    } else {
        let only = ports(true, is_tls);
        if !only.is_empty() {
            found.push(tls_inspector(Off::ExceptOn(&only)));
        }
    }
    if sets
        .iter()
        .any(|set| set.shapes().iter().any(ChainShape::detects_http))
    {
        found.push(http_inspector(Off::On(&ports(
            false,
            ChainShape::detects_http,
        ))));
    }
    found
}

/// The chains of one port, or of all other ports.
struct Set<'a> {
    /// `None` stands for all other ports.
    port: Option<u16>,
    security: PortSecurity,
    protocol: Protocol,
    http_name: &'a str,
    tcp_name: &'a str,
    cluster: &'a str,
    stat_name: Option<&'a Arc<str>>,
    stat_prefix: String,
    host: &'a str,
    service_port: u16,
}

impl<'a> Set<'a> {
    fn passthrough(port: Option<u16>, security: PortSecurity) -> Self {
        Self {
            port,
            security,
            protocol: Protocol::Auto,
            http_name: "virtualInbound-catchall-http",
            tcp_name: names::VIRTUAL_INBOUND,
            cluster: names::INBOUND_PASSTHROUGH,
            stat_name: None,
            stat_prefix: names::INBOUND_PASSTHROUGH.to_owned(),
            host: "",
            service_port: 0,
        }
    }

    fn of(port: &'a InboundPort) -> Self {
        Self {
            port: Some(port.number),
            security: port.security,
            protocol: port.protocol,
            http_name: &port.chain,
            tcp_name: &port.chain,
            cluster: &port.cluster,
            stat_name: port.stat_name.as_ref(),
            stat_prefix: format!("inbound_{}", port.chain),
            host: &port.host,
            service_port: port.service_port,
        }
    }

    fn shapes(&self) -> &'static [ChainShape] {
        shapes(self.security.mode, PortKind::of(self.protocol))
    }

    fn chains(
        &self,
        tls: Option<&InboundTls>,
        defaults: &ListenerDefaults,
    ) -> impl Iterator<Item = lds::FilterChain> {
        self.shapes()
            .iter()
            .map(move |shape| self.chain(shape, tls, defaults))
    }

    fn chain(
        &self,
        shape: &ChainShape,
        tls: Option<&InboundTls>,
        defaults: &ListenerDefaults,
    ) -> lds::FilterChain {
        let transport_protocol = match shape.transport {
            Transport::RawBuffer => RAW_BUFFER,
            Transport::Tls => TLS,
        };
        let (name, filters) = match shape.handler {
            Handler::Http => (self.http_name, vec![self.manager(defaults)]),
            Handler::Tcp => (self.tcp_name, self.proxy(shape, defaults)),
        };
        debug_assert!(
            !shape.mtls || tls.is_some(),
            "only proxies with a certificate terminate TLS"
        );
        lds::FilterChain {
            name: name.to_owned(),
            filter_chain_match: Some(lds::FilterChainMatch {
                destination_port: self.port.map(u32::from),
                transport_protocol: transport_protocol.to_owned(),
                application_protocols: shape.alpn.iter().map(|name| (*name).to_owned()).collect(),
                ..Default::default()
            }),
            filters,
            transport_socket: tls.filter(|_| shape.mtls).map(security::inbound_tls),
            ..Default::default()
        }
    }

    fn manager(&self, defaults: &ListenerDefaults) -> lds::Filter {
        hcm::filter(Manager {
            stat_prefix: self.stat_prefix.clone(),
            side: Side::Inbound {
                routes: Box::new(inbound_routes(
                    self.cluster,
                    self.protocol,
                    self.host,
                    self.service_port,
                    defaults.inbound_retries.as_ref(),
                )),
                http2: self.protocol.is_http2(),
                deny: self.security.denied != Denied::Nothing,
            },
            grpc_web: self.protocol == Protocol::GrpcWeb,
            absolute_url: false,
            caches: &[],
            defaults,
        })
    }

    /// The filters of a TCP chain. A denied one leads nowhere: a server that speaks first would be
    /// heard before the client's first byte is judged.
    fn proxy(&self, shape: &ChainShape, defaults: &ListenerDefaults) -> Vec<lds::Filter> {
        let denied = match self.security.denied {
            Denied::Nothing => false,
            Denied::Requests => shape.mtls && self.protocol.is_auto(),
            Denied::All => true,
        };
        if denied {
            vec![security::network_filter(), black_hole(defaults)]
        } else {
            vec![tcp_proxy(self.cluster, self.stat_name, defaults)]
        }
    }
}
