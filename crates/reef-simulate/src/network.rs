//! The network filters of a chain: TCP proxies, connection managers, and what can stand before them.

use xds_api::envoy::config::listener::v3::{FilterChain, filter};
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use xds_api::envoy::extensions::filters::network::rbac::v3::Rbac;
use xds_api::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use xds_api::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::ClusterSpecifier;

use crate::answer::{Fate, Outcome};
use crate::config::unpack;
use crate::request::Protocol;
use crate::simulate::Connection;
use crate::{cluster, http, objects, rbac};

/// Filters that look on and change nothing.
const ONLOOKERS: [&str; 2] = [
    "envoy.filters.network.mongo_proxy",
    "envoy.filters.network.set_filter_state",
];

/// What can happen in a chain.
pub(crate) fn evaluate(connection: &Connection<'_>, chain: &FilterChain) -> Vec<Outcome> {
    let mut base = Outcome {
        probability: 1.0,
        objects: objects::of(chain.metadata.as_ref()).into_iter().collect(),
        ..Outcome::default()
    };
    if connection.tls && connection.request.protocol != Protocol::Tls {
        base.fate = Fate::Closed;
        base.details = Some("tls_handshake_failed".to_owned());
        return vec![base];
    }
    for filter in &chain.filters {
        let Some(filter::ConfigType::TypedConfig(any)) = &filter.config_type else {
            base.notes
                .push(format!("filter {} is not evaluated", filter.name));
            continue;
        };
        let http: Option<HttpConnectionManager> = unpack(any);
        if let Some(hcm) = http {
            return http::evaluate(connection, &hcm, &base);
        }
        let tcp: Option<TcpProxy> = unpack(any);
        if let Some(tcp) = tcp {
            return tcp_proxy(connection, &tcp, &base);
        }
        let rules: Option<Rbac> = unpack(any);
        if let Some(rules) = rules {
            match rbac::denies(rules.rules.as_ref()) {
                rbac::Verdict::Denied(_) => {
                    base.fate = Fate::Closed;
                    base.details = Some("rbac_deny_close".to_owned());
                    return vec![base];
                }
                rbac::Verdict::Passed => {}
                rbac::Verdict::Unknown => base
                    .notes
                    .push(format!("filter {} is not evaluated", filter.name)),
            }
        } else if !ONLOOKERS.contains(&filter.name.as_str()) {
            base.notes
                .push(format!("filter {} is not evaluated", filter.name));
        }
    }
    base.fate = Fate::Closed;
    vec![base]
}

fn tcp_proxy(connection: &Connection<'_>, tcp: &TcpProxy, base: &Outcome) -> Vec<Outcome> {
    let to = |name: &str, share: f64| {
        let mut outcome = base.clone();
        outcome.probability = base.probability * share;
        outcome.cluster = Some(name.to_owned());
        outcome.hash_policies = tcp
            .hash_policy
            .iter()
            .map(|_| "source_ip".to_owned())
            .collect();
        cluster::reach(connection, &mut outcome);
        if outcome.endpoints.is_empty() {
            outcome.fate = Fate::Closed;
        }
        outcome
    };
    match &tcp.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => vec![to(name, 1.0)],
        Some(ClusterSpecifier::WeightedClusters(all)) => {
            let total: f64 = all.clusters.iter().map(|one| f64::from(one.weight)).sum();
            all.clusters
                .iter()
                .map(|one| to(&one.name, f64::from(one.weight) / total))
                .collect()
        }
        None => vec![Outcome {
            fate: Fate::Closed,
            ..base.clone()
        }],
    }
}
