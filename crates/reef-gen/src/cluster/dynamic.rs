//! Dynamic forward proxies: clusters that resolve the name a request asks for.
//!
//! The cluster and the filter that feeds it must be given one and the same cache: see [`cache`].

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use reef_mesh::IpMode;
use xds_api::Any;
use xds_api::envoy::config::cluster::v3::{self as cds, cluster::DnsLookupFamily};
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::extensions::clusters::dynamic_forward_proxy::v3 as dfp;
use xds_api::envoy::extensions::common::dynamic_forward_proxy::v3::DnsCacheConfig;
use xds_api::envoy::extensions::network::dns_resolver::cares::v3::CaresDnsResolverConfig;

use crate::xds;

/// Envoy's own lower limit of refreshing a cached name; a shorter refresh rate needs another.
const MIN_REFRESH: Duration = Duration::from_secs(5);
/// Envoy accepts no lower limit below.
const LEAST_MIN_REFRESH: Duration = Duration::from_secs(1);

/// What a DNS cache reads besides its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Lookup {
    /// Address families of the proxy.
    pub ip_mode: IpMode,
    /// How often names are resolved again.
    pub refresh: Duration,
    /// Who is asked; `None` is the system's resolver.
    pub resolver: Option<SocketAddr>,
}

/// Name of the cache of a wildcard host.
pub(crate) fn cache_name(host: &str) -> String {
    format!("{host}_dfp_dns_cache")
}

/// Name of the cache of hosts nobody declared.
pub(crate) const ANY_CACHE: &str = "allow_any_dfp_dns_cache";

/// The DNS cache of this name: the same for the cluster and for its filters.
pub(crate) fn cache(name: String, lookup: &Lookup) -> DnsCacheConfig {
    let refresh = lookup.refresh.max(LEAST_MIN_REFRESH);
    DnsCacheConfig {
        name,
        dns_lookup_family: family(lookup.ip_mode).into(),
        dns_refresh_rate: Some(xds::duration(refresh)),
        dns_min_refresh_rate: (refresh < MIN_REFRESH).then(|| xds::duration(refresh)),
        typed_dns_resolver_config: Some(resolver(lookup.resolver)),
        ..Default::default()
    }
}

/// The cluster type of a dynamic forward proxy.
///
/// Plain text needs `allow_insecure_cluster_options`: there is no name to check.
pub(crate) fn cluster_type(
    name: String,
    lookup: &Lookup,
) -> Option<cds::cluster::ClusterDiscoveryType> {
    let config = dfp::ClusterConfig {
        allow_insecure_cluster_options: true,
        cluster_implementation_specifier: Some(
            dfp::cluster_config::ClusterImplementationSpecifier::DnsCacheConfig(cache(
                name, lookup,
            )),
        ),
        ..Default::default()
    };
    Some(cds::cluster::ClusterDiscoveryType::ClusterType(
        cds::cluster::CustomClusterType {
            name: "envoy.clusters.dynamic_forward_proxy".to_owned(),
            typed_config: Some(Any::pack(&config)),
        },
    ))
}

/// The address family names are resolved to.
pub(crate) fn family(ip_mode: IpMode) -> DnsLookupFamily {
    match ip_mode {
        IpMode::V4 => DnsLookupFamily::V4Only,
        IpMode::V6 => DnsLookupFamily::V6Only,
        IpMode::Dual => DnsLookupFamily::All,
    }
}

/// c-ares with a limit of queries per connection: some resolvers stop answering long ones.
pub(crate) fn resolver(address: Option<SocketAddr>) -> core::TypedExtensionConfig {
    static SYSTEM: LazyLock<Any> = LazyLock::new(|| cares(None));
    core::TypedExtensionConfig {
        name: "envoy.network.dns_resolver.cares".to_owned(),
        typed_config: Some(address.map_or_else(|| SYSTEM.clone(), |address| cares(Some(address)))),
    }
}

fn cares(address: Option<SocketAddr>) -> Any {
    Any::pack(&CaresDnsResolverConfig {
        resolvers: address
            .map(|address| xds::socket(address.ip().to_string(), address.port()))
            .into_iter()
            .collect(),
        udp_max_queries: Some(100),
        ..Default::default()
    })
}
