//! TCP proxies, listener filters and filter-chain matches.

use std::sync::{Arc, LazyLock};

use xds_api::Any;
use xds_api::envoy::config::core::v3::CidrRange;
use xds_api::envoy::config::listener::v3 as listener;
use xds_api::envoy::extensions::filters::listener as inspectors;
use xds_api::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;
use xds_api::envoy::r#type::v3::{HashPolicy, Int32Range};

use listener::listener_filter_chain_match_predicate::{MatchSet, Rule};
use reef_mesh::Cidr;

use super::more::MongoProxy;
use super::{duration, log};
use crate::listener::{Before, Destinations, Forward, ListenerDefaults, Tunnel};
use crate::names;

/// Protocols by which `http_inspector` marks plaintext HTTP.
pub(crate) const PLAINTEXT_HTTP: [&str; 2] = ["http/1.1", "h2c"];

/// The TCP proxy to one cluster; statistics may know it by another name.
pub(crate) fn tcp_proxy(
    cluster: &str,
    stat_name: Option<&Arc<str>>,
    defaults: &ListenerDefaults,
) -> listener::Filter {
    let stat_name: &str = stat_name.map_or(cluster, |other| other);
    proxy(cluster, stat_name, defaults, defaults.logs.of_requests())
}

fn proxy(
    cluster: &str,
    stat_name: &str,
    defaults: &ListenerDefaults,
    access_log: Vec<log::Built>,
) -> listener::Filter {
    tcp_filter(&tcp::TcpProxy {
        stat_prefix: stat_name.to_owned(),
        idle_timeout: defaults.idle_timeout.map(duration),
        access_log,
        cluster_specifier: Some(tcp::tcp_proxy::ClusterSpecifier::Cluster(
            cluster.to_owned(),
        )),
        ..Default::default()
    })
}

fn tcp_filter(config: &tcp::TcpProxy) -> listener::Filter {
    listener::Filter {
        name: "envoy.filters.network.tcp_proxy".to_owned(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(Any::pack(config))),
    }
}

/// The filters that forward bytes on a listener of this port.
pub(crate) fn forward(
    to: &Forward,
    port: u16,
    defaults: &ListenerDefaults,
) -> Vec<listener::Filter> {
    let before = to.before.as_ref().map(|before| match before {
        Before::Mongo => mongo_proxy(&to.stat_name),
        Before::ServerName(cache) => cache.sni_filter(port),
    });
    let idle_timeout = to.connections.idle_timeout.or(defaults.idle_timeout);
    let proxy = tcp_filter(&tcp::TcpProxy {
        stat_prefix: to.stat_name.to_string(),
        idle_timeout: idle_timeout.map(duration),
        max_downstream_connection_duration: to.connections.longest.map(duration),
        hash_policy: to
            .connections
            .by_source
            .then(by_source)
            .into_iter()
            .collect(),
        tunneling_config: to.connections.tunnel.as_ref().map(tunnel),
        access_log: defaults.logs.of_requests(),
        cluster_specifier: Some(match &to.to {
            Destinations::One(cluster) => {
                tcp::tcp_proxy::ClusterSpecifier::Cluster(cluster.to_string())
            }
            Destinations::Weighted(clusters) => {
                tcp::tcp_proxy::ClusterSpecifier::WeightedClusters(weighted(clusters))
            }
        }),
        ..Default::default()
    });
    before.into_iter().chain([proxy]).collect()
}

fn weighted(clusters: &[(Arc<str>, u32)]) -> tcp::tcp_proxy::WeightedCluster {
    use tcp::tcp_proxy::weighted_cluster::ClusterWeight;
    let weight = |(name, weight): &(Arc<str>, u32)| ClusterWeight {
        name: name.to_string(),
        weight: *weight,
        ..Default::default()
    };
    tcp::tcp_proxy::WeightedCluster {
        clusters: clusters.iter().map(weight).collect(),
    }
}

fn by_source() -> HashPolicy {
    use xds_api::envoy::r#type::v3::hash_policy::{PolicySpecifier, SourceIp};
    HashPolicy {
        policy_specifier: Some(PolicySpecifier::SourceIp(SourceIp {})),
    }
}

fn tunnel(tunnel: &Tunnel) -> tcp::tcp_proxy::TunnelingConfig {
    tcp::tcp_proxy::TunnelingConfig {
        hostname: tunnel.target.to_string(),
        use_post: tunnel.post,
        ..Default::default()
    }
}

/// Statistics of the Mongo protocol.
fn mongo_proxy(stat_name: &str) -> listener::Filter {
    let config = MongoProxy {
        stat_prefix: stat_name.to_owned(),
    };
    listener::Filter {
        name: "envoy.filters.network.mongo_proxy".to_owned(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(Any::pack(
            &config,
        ))),
    }
}

/// Drops connections that were sent to the capture port itself, without a word in the log.
pub(crate) fn black_hole(defaults: &ListenerDefaults) -> listener::Filter {
    proxy(names::BLACK_HOLE, names::BLACK_HOLE, defaults, Vec::new())
}

/// A match of plaintext HTTP, as `http_inspector` detects it.
pub(crate) fn plaintext_http() -> listener::FilterChainMatch {
    listener::FilterChainMatch {
        transport_protocol: RAW_BUFFER.to_owned(),
        application_protocols: PLAINTEXT_HTTP.map(str::to_owned).into(),
        ..Default::default()
    }
}

/// Transport protocol of connections without TLS.
pub(crate) const RAW_BUFFER: &str = "raw_buffer";

/// An IP range with its host bits cleared.
pub(crate) fn cidr_range(cidr: Cidr) -> CidrRange {
    CidrRange {
        address_prefix: cidr.ip.to_string(),
        prefix_len: Some(cidr.prefix.into()),
    }
}

/// Transport protocol of TLS connections, as `tls_inspector` detects it.
pub(crate) const TLS: &str = "tls";

/// Destination ports, ascending, by which a listener filter is switched off.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Off<'a> {
    /// On these.
    On(&'a [u16]),
    /// On all but these.
    ExceptOn(&'a [u16]),
}

/// `http_inspector`, switched off for some destination ports.
pub(crate) fn http_inspector(off: Off<'_>) -> listener::ListenerFilter {
    static CONFIG: LazyLock<Any> =
        LazyLock::new(|| Any::pack(&inspectors::http_inspector::v3::HttpInspector {}));
    listener_filter("envoy.filters.listener.http_inspector", &CONFIG, off)
}

/// `tls_inspector`, which reads server names and protocols, switched off for some destination ports.
pub(crate) fn tls_inspector(off: Off<'_>) -> listener::ListenerFilter {
    static CONFIG: LazyLock<Any> = LazyLock::new(|| {
        Any::pack(&inspectors::tls_inspector::v3::TlsInspector {
            // Most greetings fit; the default of 16 KiB would be held per connection.
            initial_read_buffer_size: Some(512),
            ..Default::default()
        })
    });
    listener_filter("envoy.filters.listener.tls_inspector", &CONFIG, off)
}

/// `original_dst`, which restores the address iptables replaced.
pub(crate) fn original_dst() -> listener::ListenerFilter {
    static CONFIG: LazyLock<Any> =
        LazyLock::new(|| Any::pack(&inspectors::original_dst::v3::OriginalDst {}));
    listener_filter("envoy.filters.listener.original_dst", &CONFIG, Off::On(&[]))
}

/// `original_src`, which keeps the client's address (TPROXY only).
pub(crate) fn original_src() -> listener::ListenerFilter {
    static CONFIG: LazyLock<Any> = LazyLock::new(|| {
        Any::pack(&inspectors::original_src::v3::OriginalSrc {
            bind_port: false,
            mark: 1337,
        })
    });
    listener_filter("envoy.filters.listener.original_src", &CONFIG, Off::On(&[]))
}

fn listener_filter(name: &str, config: &Any, off: Off<'_>) -> listener::ListenerFilter {
    let filter_disabled = match off {
        Off::On(ports) => any_of(ports),
        Off::ExceptOn(ports) => {
            any_of(ports).map(|rule| listener::ListenerFilterChainMatchPredicate {
                rule: Some(Rule::NotMatch(Box::new(rule))),
            })
        }
    };
    listener::ListenerFilter {
        name: name.to_owned(),
        filter_disabled,
        config_type: Some(listener::listener_filter::ConfigType::TypedConfig(
            config.clone(),
        )),
    }
}

/// Matches any of these ports; `None` for none.
fn any_of(ports: &[u16]) -> Option<listener::ListenerFilterChainMatchPredicate> {
    let mut rules: Vec<_> = ports.iter().map(|port| port_rule(*port)).collect();
    if rules.len() > 1 {
        Some(listener::ListenerFilterChainMatchPredicate {
            rule: Some(Rule::OrMatch(MatchSet { rules })),
        })
    } else {
        rules.pop()
    }
}

fn port_rule(port: u16) -> listener::ListenerFilterChainMatchPredicate {
    let start = i32::from(port);
    listener::ListenerFilterChainMatchPredicate {
        rule: Some(Rule::DestinationPortRange(Int32Range {
            start,
            end: start + 1,
        })),
    }
}
