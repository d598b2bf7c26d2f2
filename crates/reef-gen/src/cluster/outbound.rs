//! Clusters of service ports.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reef_mesh::{Protocol, Registry, Resolution, Service, TargetPort};
use xds_api::envoy::config::cluster::v3::{
    self as cds,
    cluster::{DiscoveryType, DnsLookupFamily, LbPolicy},
};
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::r#type::v3::Percent;

use super::balance::Balancer;
use super::dynamic::{cache_name, cluster_type, family, resolver};
use super::inbound::service_value;
use super::outlier::Outlier;
use super::protocol::{Extras, Options, Version, base, discovery, options};
use super::{Localities, OutboundCluster};
use crate::endpoint::{assignment, keep_one};
use crate::security::{Upstream, proxy_protocol, transport_sockets};
use crate::{names, xds};

/// Spreads the resolution of many names that were first asked for together.
const DNS_JITTER: Duration = Duration::from_millis(100);

pub(crate) fn build(key: &OutboundCluster) -> cds::Cluster {
    let service = &key.service;
    let policy = &*key.policy;
    let Some(port) = service.ports.get(key.port) else {
        debug_assert!(false, "the key names a port of its own service");
        return cds::Cluster::default();
    };
    let version = Version::of(port.protocol, &policy.pool, key.defaults.h2_upgrade);
    let mut cluster = cds::Cluster {
        typed_extension_protocol_options: http_options(key, port.protocol, version),
        metadata: Some(metadata(key)),
        common_lb_config: Some(common_lb(key)),
        outlier_detection: policy.outlier.as_ref().map(Outlier::message),
        ..base(
            &key.name,
            key.stat_name.as_ref(),
            &key.defaults,
            &policy.pool,
            policy.budget,
        )
    };
    if key.tls == Upstream::Blocked {
        cluster.cluster_discovery_type = discovery(DiscoveryType::Static);
        return cluster;
    }
    let resolution = if policy.balancer == Balancer::Passthrough {
        Resolution::Passthrough
    } else {
        service.resolution
    };
    match resolution {
        Resolution::Passthrough => {
            cluster.cluster_discovery_type = discovery(DiscoveryType::OriginalDst);
            cluster.lb_policy = LbPolicy::ClusterProvided.into();
            if service.resolution == Resolution::Passthrough {
                cluster.lb_config = port_override(service, &port.target);
            }
        }
        Resolution::Dns | Resolution::DnsRoundRobin => {
            policy.balancer.apply(&mut cluster);
            inline(&mut cluster, key, &port.name);
        }
        Resolution::DynamicDns => {
            cluster.lb_policy = LbPolicy::ClusterProvided.into();
            // Names come and go with requests: there is no panic without the named host.
            cluster.common_lb_config = Some(cds::cluster::CommonLbConfig::default());
            cluster.cluster_discovery_type = key
                .lookup
                .and_then(|lookup| cluster_type(cache_name(&service.key.hostname), &lookup));
        }
        Resolution::ClientSide | Resolution::Alias => {
            policy.balancer.apply(&mut cluster);
            cluster.cluster_discovery_type = discovery(DiscoveryType::Eds);
            cluster.eds_cluster_config = Some(cds::cluster::EdsClusterConfig {
                eds_config: Some(xds::ads()),
                service_name: key.name.to_string(),
            });
        }
    }
    let subset = policy.subset.as_deref().unwrap_or_default();
    let sni = names::sni(port.number, subset, &service.key.hostname);
    transport_sockets(&mut cluster, &key.tls, sni, version == Version::Http2);
    if let Some(version) = policy.proxy_protocol {
        proxy_protocol(&mut cluster, version);
    }
    cluster
}

/// Unhealthy endpoints are sent, and used only when nothing else is left, unless a rule gives a
/// share of healthy ones below which all are used.
fn common_lb(key: &OutboundCluster) -> cds::cluster::CommonLbConfig {
    use cds::cluster::common_lb_config::{
        LocalityConfigSpecifier, LocalityWeightedLbConfig, ZoneAwareLbConfig,
    };
    let outlier = key.policy.outlier.as_ref();
    let panic = outlier
        .filter(|_| key.service.traffic_distribution.is_none())
        .map_or(0, |outlier| outlier.panic);
    cds::cluster::CommonLbConfig {
        healthy_panic_threshold: Some(Percent {
            value: f64::from(panic),
        }),
        locality_config_specifier: match key.localities {
            Localities::Alike => None,
            Localities::Weighted => Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(
                LocalityWeightedLbConfig::default(),
            )),
            Localities::Zones(least) => Some(LocalityConfigSpecifier::ZoneAwareLbConfig(
                ZoneAwareLbConfig {
                    min_cluster_size: least.map(u64::from),
                    ..Default::default()
                },
            )),
        },
        ..Default::default()
    }
}

/// True if the cluster follows one name instead of keeping a host per answer.
pub(crate) fn is_logical(service: &Service) -> bool {
    service.resolution == Resolution::DnsRoundRobin
        || (service.resolution == Resolution::Dns && service.race_first_connect)
}

fn inline(cluster: &mut cds::Cluster, key: &OutboundCluster, port: &Arc<str>) {
    let service = &key.service;
    // LOGICAL_DNS takes exactly one endpoint.
    let (kind, most) = if is_logical(service) {
        (DiscoveryType::LogicalDns, 1)
    } else {
        (DiscoveryType::StrictDns, usize::MAX)
    };
    cluster.cluster_discovery_type = discovery(kind);
    cluster.dns_lookup_family = match key.lookup {
        _ if service.race_first_connect => DnsLookupFamily::All,
        Some(lookup) => family(lookup.ip_mode),
        None => DnsLookupFamily::V4Only,
    }
    .into();
    cluster.dns_refresh_rate = Some(xds::duration(key.defaults.dns_refresh));
    cluster.respect_dns_ttl = true;
    cluster.dns_jitter = Some(xds::duration(DNS_JITTER));
    cluster.typed_dns_resolver_config = Some(resolver(None));
    if let Some((endpoints, only)) = &key.inline {
        let some = (0u32..)
            .zip(endpoints.of_port(port))
            .filter(|(_, endpoint)| only.admits(endpoint))
            .take(most);
        let mut sent = assignment(&key.name, some, only, &key.plaintext);
        // A network may have several gateways, and they let no plaintext through.
        if most == 1 && !keep_one(&mut sent) {
            cluster.cluster_discovery_type = discovery(DiscoveryType::StrictDns);
        }
        cluster.load_assignment = Some(sent);
    }
}

/// A `NONE` service entry may map its port: the destination keeps its address, not its port.
fn port_override(service: &Service, target: &TargetPort) -> Option<cds::cluster::LbConfig> {
    let TargetPort::Number(number) = target else {
        return None;
    };
    (service.registry == Registry::ServiceEntry).then(|| {
        cds::cluster::LbConfig::OriginalDstLbConfig(cds::cluster::OriginalDstLbConfig {
            upstream_port_override: Some((*number).into()),
            ..Default::default()
        })
    })
}

fn http_options(key: &OutboundCluster, protocol: Protocol, version: Version) -> Options {
    let policy = &key.policy;
    let limits = policy.pool.http.for_protocol(protocol);
    let codes = policy.outlier.as_ref().map_or(&[][..], |it| &it.codes);
    let extras = Extras {
        auto_sni: key.tls.auto_sni(),
        error_codes: codes,
        preserve_case: key.defaults.preserve_case && protocol == Protocol::Http,
        ..Extras::of(&limits)
    };
    options(version, extras)
}

fn metadata(key: &OutboundCluster) -> core::Metadata {
    let service = &key.service;
    let (host, name, namespace) = crate::facts::identity(service);
    let value = service_value(&host, &name, &namespace);
    let mut fields = BTreeMap::from([("services".to_owned(), xds::list(vec![value]))]);
    if service.mesh_external {
        fields.insert("external".to_owned(), xds::flag(true));
    }
    if let Some(rule) = &key.policy.rule {
        fields.insert("config".to_owned(), xds::text(&**rule));
    }
    if let Some(subset) = &key.policy.subset {
        fields.insert("subset".to_owned(), xds::text(&**subset));
    }
    if key.policy.foreign_tls {
        fields.insert("alpn_override".to_owned(), xds::text("false"));
    }
    xds::istio_metadata(fields)
}
