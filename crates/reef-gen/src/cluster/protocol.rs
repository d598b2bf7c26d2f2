//! What clusters say about protocols and limits, by the protocol of the port.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use reef_mesh::{IpMode, Keepalive, Protocol};
use xds_api::Any;
use xds_api::envoy::config::cluster::v3 as cds;
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::extensions::upstreams::http::v3 as upstream;

use upstream::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig, explicit_http_config,
};

use super::ClusterDefaults;
use crate::xds;

/// `typed_extension_protocol_options` of a cluster.
pub(crate) type Options = BTreeMap<String, Any>;

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Options for a port of this protocol: HTTP/2 where declared, the client's choice where detected.
/// `upgrade` speaks HTTP/2 also where only HTTP is declared.
pub(crate) fn options(protocol: Protocol, upgrade: bool) -> Options {
    static HTTP2: LazyLock<Any> = LazyLock::new(|| {
        pack(
            None,
            UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
                protocol_config: Some(explicit_http_config::ProtocolConfig::Http2ProtocolOptions(
                    core::Http2ProtocolOptions::default(),
                )),
            }),
        )
    });
    static DOWNSTREAM: LazyLock<Any> = LazyLock::new(|| pack(None, use_downstream()));
    if protocol.is_http2() || (upgrade && protocol == Protocol::Http) {
        named(&HTTP2)
    } else if protocol.is_auto() {
        named(&DOWNSTREAM)
    } else {
        Options::new()
    }
}

/// Options of the passthrough clusters: the client's choice, idle for at most five minutes.
pub(crate) fn passthrough_options() -> Options {
    static PASSTHROUGH: LazyLock<Any> =
        LazyLock::new(|| pack(Some(Duration::from_secs(300)), use_downstream()));
    named(&PASSTHROUGH)
}

fn use_downstream() -> UpstreamProtocolOptions {
    UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
        http_protocol_options: Some(core::Http1ProtocolOptions::default()),
        http2_protocol_options: Some(core::Http2ProtocolOptions::default()),
        ..Default::default()
    })
}

fn pack(idle: Option<Duration>, protocol: UpstreamProtocolOptions) -> Any {
    Any::pack(&upstream::HttpProtocolOptions {
        common_http_protocol_options: idle.map(|idle| core::HttpProtocolOptions {
            idle_timeout: Some(xds::duration(idle)),
            ..Default::default()
        }),
        upstream_protocol_options: Some(protocol),
        ..Default::default()
    })
}

fn named(options: &Any) -> Options {
    Options::from([(HTTP_OPTIONS.to_owned(), options.clone())])
}

/// No limit on anything. Envoy's own defaults (1,024 connections, 3 retries) would bite silently.
pub(crate) fn unlimited() -> cds::CircuitBreakers {
    cds::CircuitBreakers {
        thresholds: vec![cds::circuit_breakers::Thresholds {
            max_connections: Some(u32::MAX),
            max_pending_requests: Some(u32::MAX),
            max_requests: Some(u32::MAX),
            max_retries: Some(u32::MAX),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The source address of connections to the workload: iptables does not redirect them again.
pub(crate) fn inbound_source(ip_mode: IpMode) -> core::BindConfig {
    let v4 = || xds::socket_address(Ipv4Addr::new(127, 0, 0, 6).to_string(), 0);
    let v6 = || {
        xds::socket_address(
            IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6)).to_string(),
            0,
        )
    };
    let (first, second) = match ip_mode {
        IpMode::V4 => (v4(), None),
        IpMode::V6 => (v6(), None),
        IpMode::Dual => (v4(), Some(v6())),
    };
    core::BindConfig {
        source_address: Some(first),
        extra_source_addresses: second
            .into_iter()
            .map(|address| core::ExtraSourceAddress {
                address: Some(address),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

/// A discovery type, wrapped.
pub(crate) fn discovery(
    kind: cds::cluster::DiscoveryType,
) -> Option<cds::cluster::ClusterDiscoveryType> {
    Some(cds::cluster::ClusterDiscoveryType::Type(kind.into()))
}

/// Parts all clusters share: name, stat name, connect timeout, breakers and keepalive.
pub(crate) fn base(
    name: &str,
    stat_name: Option<&Arc<str>>,
    defaults: &ClusterDefaults,
) -> cds::Cluster {
    let stat_name: &str = stat_name.map_or(name, |other| other);
    cds::Cluster {
        name: name.to_owned(),
        // The final `;` marks the end of the name for the tag extractors of Istio's bootstrap.
        alt_stat_name: format!("{stat_name};"),
        connect_timeout: Some(xds::duration(defaults.connect_timeout)),
        circuit_breakers: Some(unlimited()),
        upstream_connection_options: defaults.keepalive.as_ref().map(keepalive),
        ..Default::default()
    }
}

fn keepalive(keepalive: &Keepalive) -> cds::UpstreamConnectionOptions {
    let seconds = |value: Duration| u32::try_from(value.as_secs()).unwrap_or(u32::MAX);
    cds::UpstreamConnectionOptions {
        tcp_keepalive: Some(core::TcpKeepalive {
            keepalive_probes: keepalive.probes,
            keepalive_time: keepalive.time.map(seconds),
            keepalive_interval: keepalive.interval.map(seconds),
        }),
        ..Default::default()
    }
}
