//! Messages of proxyless clients. A client that reads a field it does not know the value of rejects
//! the resource, so there is little in them.

use std::sync::LazyLock;

use xds_api::Any;
use xds_api::envoy::config::cluster::v3::{
    self as cds,
    cluster::{DiscoveryType, EdsClusterConfig, LbPolicy},
};
use xds_api::envoy::config::listener::v3 as lds;
use xds_api::envoy::extensions::filters::http::router::v3::Router;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;

use super::{GrpcCluster, GrpcListener};
use crate::cluster::{discovery, unlimited};
use crate::endpoint::{assignment, keep_one};
use crate::security::Plaintext;
use crate::xds;

/// The last filter; without it the client rejects the listener.
static ROUTER: LazyLock<hcm::HttpFilter> = LazyLock::new(|| hcm::HttpFilter {
    name: "envoy.filters.http.router".to_owned(),
    config_type: Some(hcm::http_filter::ConfigType::TypedConfig(Any::pack(
        &Router::default(),
    ))),
    ..Default::default()
});

/// Builds the cluster: round robin over told endpoints, or one name to be resolved.
pub(crate) fn cluster(key: &GrpcCluster) -> cds::Cluster {
    let mut cluster = cds::Cluster {
        name: key.name.to_string(),
        // Least request, which sidecars use, is not known to every client.
        lb_policy: LbPolicy::RoundRobin.into(),
        // The client's own default is 1,024 requests.
        circuit_breakers: Some(unlimited()),
        ..Default::default()
    };
    if let Some(resolved) = &key.resolves {
        let all = resolved.endpoints.of_port(&resolved.port);
        let one = (0..).zip(all.iter().take(1));
        cluster.cluster_discovery_type = discovery(DiscoveryType::LogicalDns);
        let mut sent = assignment(&key.name, one, &resolved.only, &Plaintext::default());
        if !keep_one(&mut sent) {
            cluster.cluster_discovery_type = discovery(DiscoveryType::StrictDns);
        }
        cluster.load_assignment = Some(sent);
    } else {
        cluster.cluster_discovery_type = discovery(DiscoveryType::Eds);
        cluster.eds_cluster_config = Some(EdsClusterConfig {
            eds_config: Some(xds::ads()),
            service_name: key.name.to_string(),
        });
    }
    cluster
}

/// Builds the listener a target names.
pub(crate) fn listener(key: &GrpcListener) -> lds::Listener {
    let manager = hcm::HttpConnectionManager {
        stat_prefix: key.route.to_string(),
        http_filters: vec![ROUTER.clone()],
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::Rds(
            hcm::Rds {
                config_source: Some(xds::ads()),
                route_config_name: key.route.to_string(),
            },
        )),
        ..Default::default()
    };
    lds::Listener {
        name: key.name.to_string(),
        api_listener: Some(lds::ApiListener {
            api_listener: Some(Any::pack(&manager)),
        }),
        ..Default::default()
    }
}
