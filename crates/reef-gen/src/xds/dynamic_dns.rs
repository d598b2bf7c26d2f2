//! The filters before clusters that resolve the name a client asks for.
//!
//! Envoy refuses two users of one cache that describe it differently, so they take the description
//! from the clusters' module.

use std::sync::Arc;

use xds_api::Any;
use xds_api::envoy::config::listener::v3::{Filter, filter};
use xds_api::envoy::extensions::common::dynamic_forward_proxy::v3::DnsCacheConfig;
use xds_api::envoy::extensions::filters::http::dynamic_forward_proxy::v3 as http;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpFilter, http_filter,
};

use super::more::SniDynamicForwardProxy;
use crate::cluster::dynamic::{ANY_CACHE, Lookup, cache, cache_name};

/// A cache of resolved names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct DnsCache {
    name: Arc<str>,
    lookup: Lookup,
}

impl DnsCache {
    /// The cache of all names nobody declared.
    pub(crate) fn of_unknown_hosts(lookup: Lookup) -> Self {
        Self {
            name: Arc::from(ANY_CACHE),
            lookup,
        }
    }

    /// The cache of the names below a wildcard host.
    pub(crate) fn of_host(host: &str, lookup: Lookup) -> Self {
        Self {
            name: Arc::from(cache_name(host)),
            lookup,
        }
    }

    fn config(&self) -> DnsCacheConfig {
        cache(self.name.to_string(), &self.lookup)
    }

    /// Resolves the host of a request before it is routed to such a cluster.
    pub(crate) fn http_filter(&self) -> HttpFilter {
        let config = http::FilterConfig {
            implementation_specifier: Some(
                http::filter_config::ImplementationSpecifier::DnsCacheConfig(self.config()),
            ),
            ..Default::default()
        };
        HttpFilter {
            name: "envoy.filters.http.dynamic_forward_proxy".to_owned(),
            config_type: Some(http_filter::ConfigType::TypedConfig(Any::pack(&config))),
            ..Default::default()
        }
    }

    /// Resolves the server name of a TLS connection before it is proxied to such a cluster.
    pub(crate) fn sni_filter(&self, port: u16) -> Filter {
        let config = SniDynamicForwardProxy {
            dns_cache_config: Some(self.config()),
            port_value: port.into(),
        };
        Filter {
            name: "envoy.filters.network.sni_dynamic_forward_proxy".to_owned(),
            config_type: Some(filter::ConfigType::TypedConfig(Any::pack(&config))),
        }
    }
}
