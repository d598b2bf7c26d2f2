//! The clusters every sidecar has, whatever its scope. A policy of "registry only" changes who
//! refers to them, never their presence.

use xds_api::envoy::config::cluster::v3::{self as cds, cluster::DiscoveryType, cluster::LbPolicy};

use super::dynamic::{ANY_CACHE, cluster_type};
use super::pool::Pool;
use super::protocol::{base, discovery, inbound_source, passthrough_options};
use super::{FixedCluster, FixedKind};
use crate::names;

pub(crate) fn build(key: &FixedCluster) -> cds::Cluster {
    match key.kind {
        FixedKind::BlackHole => cds::Cluster {
            cluster_discovery_type: discovery(DiscoveryType::Static),
            circuit_breakers: None,
            upstream_connection_options: None,
            ..base(
                names::BLACK_HOLE,
                None,
                &key.defaults,
                &Pool::default(),
                None,
            )
        },
        FixedKind::Passthrough => passthrough(key),
        FixedKind::AllowAnyDynamicDns(lookup) => cds::Cluster {
            name: names::ALLOW_ANY_DYNAMIC_DNS.to_owned(),
            alt_stat_name: format!("{};", names::ALLOW_ANY_DYNAMIC_DNS),
            cluster_discovery_type: cluster_type(ANY_CACHE.to_owned(), &lookup),
            ..passthrough(key)
        },
        // The stat name stays that of the other passthrough cluster, as in Istio.
        FixedKind::InboundPassthrough(ip_mode) => cds::Cluster {
            name: names::INBOUND_PASSTHROUGH.to_owned(),
            upstream_bind_config: Some(inbound_source(ip_mode)),
            ..passthrough(key)
        },
    }
}

fn passthrough(key: &FixedCluster) -> cds::Cluster {
    cds::Cluster {
        cluster_discovery_type: discovery(DiscoveryType::OriginalDst),
        lb_policy: LbPolicy::ClusterProvided.into(),
        typed_extension_protocol_options: passthrough_options(&key.pool.http),
        ..base(names::PASSTHROUGH, None, &key.defaults, &key.pool, None)
    }
}
