//! Clusters of the workload's own ports.

use std::collections::BTreeMap;

use reef_mesh::Protocol;
use xds_api::envoy::config::cluster::v3::{self as cds, cluster::DiscoveryType, cluster::LbPolicy};
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::config::endpoint::v3 as eds;
use xds_api::well_known::{self, value};

use super::pool::Pool;
use super::protocol::{Extras, Version, base, discovery, inbound_source, options};
use super::{InboundCluster, InboundTarget};
use crate::xds;

/// Connections to the original destination are never cleaned up: each is its own upstream host.
const NO_CLEANUP: well_known::Duration = well_known::Duration {
    seconds: 9_223_372_035,
    nanos: 0,
};

pub(crate) fn build(key: &InboundCluster) -> cds::Cluster {
    let pool = &key.pool;
    let limits = pool.http.for_protocol(key.protocol);
    // Whoever calls the workload has chosen the version: nothing is upgraded here.
    let version = if pool.client_protocol {
        Version::Downstream
    } else {
        Version::of(key.protocol, &Pool::default(), false)
    };
    let extras = Extras {
        preserve_case: key.defaults.preserve_case && key.protocol == Protocol::Http,
        ..Extras::of(&limits)
    };
    let mut cluster = cds::Cluster {
        typed_extension_protocol_options: options(version, extras),
        metadata: Some(metadata(key)),
        ..base(&key.name, key.stat_name.as_ref(), &key.defaults, pool, None)
    };
    match &key.target {
        InboundTarget::OriginalDestination => {
            cluster.cluster_discovery_type = discovery(DiscoveryType::OriginalDst);
            cluster.lb_policy = LbPolicy::ClusterProvided.into();
            cluster.cleanup_interval = Some(NO_CLEANUP);
            cluster.upstream_bind_config = Some(inbound_source(key.ip_mode));
        }
        InboundTarget::Socket {
            ip,
            port,
            from_inbound,
        } => {
            cluster.cluster_discovery_type = discovery(DiscoveryType::Static);
            cluster.load_assignment = Some(single(&key.name, xds::socket(ip.to_string(), *port)));
            cluster.upstream_bind_config = from_inbound.then(|| inbound_source(key.ip_mode));
        }
        InboundTarget::Pipe(path) => {
            cluster.cluster_discovery_type = discovery(DiscoveryType::Static);
            cluster.load_assignment = Some(single(&key.name, xds::pipe(&**path)));
            cluster.upstream_bind_config = Some(inbound_source(key.ip_mode));
        }
    }
    cluster
}

fn single(name: &str, address: core::Address) -> eds::ClusterLoadAssignment {
    eds::ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![eds::LocalityLbEndpoints {
            lb_endpoints: vec![eds::LbEndpoint {
                host_identifier: Some(eds::lb_endpoint::HostIdentifier::Endpoint(eds::Endpoint {
                    address: Some(address),
                    ..Default::default()
                })),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn metadata(key: &InboundCluster) -> core::Metadata {
    let services = key
        .services
        .iter()
        .map(|(host, name, namespace)| service_value(host, name, namespace))
        .collect();
    xds::istio_metadata(BTreeMap::from([(
        "services".to_owned(),
        xds::list(services),
    )]))
}

/// `{host, name, namespace}`, as telemetry reads it.
pub(crate) fn service_value(host: &str, name: &str, namespace: &str) -> well_known::Value {
    well_known::Value {
        kind: Some(value::Kind::StructValue(xds::map([
            ("host", xds::text(host)),
            ("name", xds::text(name)),
            ("namespace", xds::text(namespace)),
        ]))),
    }
}
