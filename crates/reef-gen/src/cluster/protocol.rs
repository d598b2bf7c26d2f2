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

use xds_api::envoy::config::common::matcher::v3::{
    HttpHeadersMatch, MatchPredicate, match_predicate,
};
use xds_api::envoy::config::route::v3::{HeaderMatcher, header_matcher::HeaderMatchSpecifier};
use xds_api::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};

use super::ClusterDefaults;
use super::pool::{Budget, HttpLimits, Pool};
use crate::xds;

/// `typed_extension_protocol_options` of a cluster.
pub(crate) type Options = BTreeMap<String, Any>;

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// What the HTTP options of a cluster say besides the protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Extras<'a> {
    /// Limits of its connection pool.
    pub limits: Option<&'a HttpLimits>,
    /// Server names are taken from requests, and certificates checked against them or not.
    pub auto_sni: Option<AutoSni>,
    /// Status codes that count as errors of a host; none means those Envoy takes for errors.
    pub error_codes: &'a [u32],
    /// HTTP/1 headers keep the case they were received in.
    pub preserve_case: bool,
}

/// TLS names follow the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AutoSni {
    /// Certificates must have the name.
    pub validate: bool,
}

/// How a cluster speaks HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Version {
    /// As the port is declared: HTTP/1 unless something says otherwise.
    Unsaid,
    /// HTTP/2.
    Http2,
    /// As the client does.
    Downstream,
}

impl Version {
    /// The version for a port of this protocol: HTTP/2 where declared, the client's choice where
    /// detected. `upgrade` speaks HTTP/2 also where it is not declared.
    pub(crate) fn of(protocol: Protocol, pool: &Pool, mesh_upgrade: bool) -> Self {
        if pool.client_protocol {
            Self::Downstream
        } else if protocol.is_http2() || pool.upgrades(mesh_upgrade, protocol == Protocol::Http) {
            Self::Http2
        } else if protocol.is_auto() {
            Self::Downstream
        } else {
            Self::Unsaid
        }
    }
}

/// HTTP options of a cluster: none where HTTP/1 is spoken and there is nothing else to say.
pub(crate) fn options(version: Version, extras: Extras<'_>) -> Options {
    static HTTP2: LazyLock<Any> = LazyLock::new(|| pack(Version::Http2, Extras::default()));
    static DOWNSTREAM: LazyLock<Any> =
        LazyLock::new(|| pack(Version::Downstream, Extras::default()));
    let plain = extras.limits.is_none_or(HttpLimits::says_nothing)
        && extras.auto_sni.is_none()
        && extras.error_codes.is_empty()
        // HTTP/2 has lower case only.
        && (!extras.preserve_case || version == Version::Http2);
    match version {
        _ if !plain => named(&pack(version, extras)),
        Version::Http2 => named(&HTTP2),
        Version::Downstream => named(&DOWNSTREAM),
        Version::Unsaid => Options::new(),
    }
}

/// Options of the passthrough clusters: the client's choice, idle for at most five minutes unless
/// the pool of the mesh says otherwise.
pub(crate) fn passthrough_options(pool: &HttpLimits) -> Options {
    const IDLE: Duration = Duration::from_secs(300);
    static PASSTHROUGH: LazyLock<Any> = LazyLock::new(|| {
        let limits = HttpLimits {
            idle: Some(IDLE),
            ..HttpLimits::default()
        };
        pack(Version::Downstream, Extras::of(&limits))
    });
    if pool.says_nothing() {
        return named(&PASSTHROUGH);
    }
    let limits = HttpLimits {
        idle: pool.idle.or(Some(IDLE)),
        ..pool.clone()
    };
    options(Version::Downstream, Extras::of(&limits))
}

impl<'a> Extras<'a> {
    /// The limits of a pool and nothing else.
    pub(crate) fn of(limits: &'a HttpLimits) -> Self {
        Self {
            limits: Some(limits),
            ..Self::default()
        }
    }
}

fn pack(version: Version, extras: Extras<'_>) -> Any {
    let explicit = |config| {
        UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(config),
        })
    };
    let limits = extras.limits.cloned().unwrap_or_default();
    let http1 = || core::Http1ProtocolOptions {
        header_key_format: extras.preserve_case.then(xds::case_as_received),
        ..Default::default()
    };
    let protocol = match version {
        Version::Unsaid => explicit(explicit_http_config::ProtocolConfig::HttpProtocolOptions(
            http1(),
        )),
        Version::Http2 => explicit(explicit_http_config::ProtocolConfig::Http2ProtocolOptions(
            core::Http2ProtocolOptions {
                max_concurrent_streams: limits.max_streams,
                connection_keepalive: limits.ping.map(|(interval, timeout)| {
                    core::KeepaliveSettings {
                        interval: interval.map(xds::duration),
                        timeout: Some(xds::duration(timeout)),
                        ..Default::default()
                    }
                }),
                ..Default::default()
            },
        )),
        Version::Downstream => {
            UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
                http_protocol_options: Some(http1()),
                http2_protocol_options: Some(core::Http2ProtocolOptions::default()),
                ..Default::default()
            })
        }
    };
    let limited = limits.idle.is_some()
        || limits.max_duration.is_some()
        || limits.requests_per_connection.is_some();
    Any::pack(&upstream::HttpProtocolOptions {
        common_http_protocol_options: limited.then(|| core::HttpProtocolOptions {
            idle_timeout: limits.idle.map(xds::duration),
            max_connection_duration: limits.max_duration.map(xds::duration),
            max_requests_per_connection: limits.requests_per_connection,
            ..Default::default()
        }),
        upstream_http_protocol_options: extras.auto_sni.map(|auto| {
            core::UpstreamHttpProtocolOptions {
                auto_sni: true,
                auto_san_validation: auto.validate,
                ..Default::default()
            }
        }),
        outlier_detection: error_matcher(extras.error_codes),
        upstream_protocol_options: Some(protocol),
        ..Default::default()
    })
}

/// Responses with one of these status codes.
fn error_matcher(codes: &[u32]) -> Option<upstream::http_protocol_options::OutlierDetection> {
    let matcher = |code: &u32| MatchPredicate {
        rule: Some(match_predicate::Rule::HttpResponseHeadersMatch(
            HttpHeadersMatch {
                headers: vec![HeaderMatcher {
                    name: ":status".to_owned(),
                    header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(
                        StringMatcher {
                            match_pattern: Some(MatchPattern::Exact(code.to_string())),
                            ..Default::default()
                        },
                    )),
                    ..Default::default()
                }],
            },
        )),
    };
    let error_matcher = match codes {
        [] => return None,
        [only] => matcher(only),
        several => MatchPredicate {
            rule: Some(match_predicate::Rule::OrMatch(match_predicate::MatchSet {
                rules: several.iter().map(matcher).collect(),
            })),
        },
    };
    Some(upstream::http_protocol_options::OutlierDetection {
        error_matcher: Some(error_matcher),
    })
}

fn named(options: &Any) -> Options {
    Options::from([(HTTP_OPTIONS.to_owned(), options.clone())])
}

/// No limit on anything.
pub(crate) fn unlimited() -> cds::CircuitBreakers {
    Pool::default().breakers(None)
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
    pool: &Pool,
    budget: Option<Budget>,
) -> cds::Cluster {
    let stat_name: &str = stat_name.map_or(name, |other| other);
    let connect = pool.connect_timeout.unwrap_or(defaults.connect_timeout);
    let keepalive = pool.keepalive(defaults.keepalive.as_ref());
    cds::Cluster {
        name: name.to_owned(),
        // The final `;` marks the end of the name for the tag extractors of Istio's bootstrap.
        alt_stat_name: format!("{stat_name};"),
        connect_timeout: Some(xds::duration(connect)),
        circuit_breakers: Some(pool.breakers(budget)),
        upstream_connection_options: keepalive.as_ref().map(connection_options),
        ..Default::default()
    }
}

fn connection_options(keepalive: &Keepalive) -> cds::UpstreamConnectionOptions {
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
