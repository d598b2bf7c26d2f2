//! Which clusters a class has, in the order Istio sends them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use reef_mesh::{Interception, Resolution, ServiceTarget};
use reef_scope::{IngressEndpoint, IngressListener, OutboundPolicy};

use super::policy::{ClusterPolicy, path};
use super::{
    ClusterDefaults, ClusterKey, FixedCluster, FixedKind, InboundCluster, InboundTarget,
    OutboundCluster,
};
use crate::destination::{self, traffic_policy};
use crate::facts::identity;
use crate::input::{ClassInput, has_cluster, is_unresolvable};
use crate::security::{plaintext_endpoints, tls_of};
use crate::stat_name::Named;
use crate::{names, xds};

/// Selects the clusters of a class: outbound in scope order, fixed, inbound by port.
#[must_use]
pub fn cluster_keys(input: &ClassInput) -> Vec<ClusterKey> {
    if input.proxy.grpc {
        return crate::grpc::cluster_keys(input);
    }
    let defaults = Arc::new(input.cluster_defaults());
    let mut keys = outbound(input, &defaults);
    let fixed = |kind| {
        ClusterKey::Fixed(FixedCluster {
            kind,
            defaults: defaults.clone(),
        })
    };
    keys.push(fixed(FixedKind::BlackHole));
    keys.push(fixed(FixedKind::Passthrough));
    if input.scope.outbound_policy == OutboundPolicy::AllowAnyDynamicDns {
        keys.push(fixed(FixedKind::AllowAnyDynamicDns(input.any_lookup())));
    }
    keys.extend(
        inbound(input, &defaults)
            .into_iter()
            .map(ClusterKey::Inbound),
    );
    keys.push(fixed(FixedKind::InboundPassthrough(input.proxy.ip_mode)));
    keys
}

fn outbound(input: &ClassInput, defaults: &Arc<ClusterDefaults>) -> Vec<ClusterKey> {
    let mut keys = Vec::with_capacity(input.scope.services.len() + 8);
    let none = Arc::new(ClusterPolicy::default());
    for scoped in &input.scope.services {
        let service = &scoped.service;
        let inline = service
            .has_inline_endpoints()
            .then(|| input.snapshot.endpoints(&service.key).cloned())
            .flatten()
            .map(|endpoints| (endpoints, input.selection(service)));
        let weighted = service.resolution != Resolution::Passthrough
            && service.resolution != Resolution::DynamicDns
            && input.selection(service).prefer.is_some();
        let resolves = inline.is_some() || service.resolution == Resolution::DynamicDns;
        let lookup = resolves.then(|| input.lookup());
        let tls = tls_of(&input.snapshot, service, input.proxy.workload_cert);
        let rule = destination::policy(input, &service.key);
        let path = rule.as_deref().and_then(path);
        for (index, port) in service.ports.iter().enumerate() {
            if !has_cluster(service, port) || is_unresolvable(input, service, port) {
                continue;
            }
            keys.push(ClusterKey::Outbound(OutboundCluster {
                name: names::outbound_cluster(port.number, &service.key.hostname),
                service: service.clone(),
                port: index,
                lookup,
                weighted,
                stat_name: input.outbound_stat_name(service, port),
                plaintext: inline.as_ref().map_or_else(Arc::default, |(endpoints, _)| {
                    plaintext_endpoints(&input.snapshot, endpoints.of_port(&port.name))
                }),
                inline: inline.clone(),
                tls: tls.clone(),
                policy: rule.as_deref().map_or_else(
                    || none.clone(),
                    |rule| {
                        let effective = traffic_policy(rule, port.number, None);
                        Arc::new(ClusterPolicy::of(path.clone(), &effective))
                    },
                ),
                defaults: defaults.clone(),
            }));
        }
    }
    keys
}

fn inbound(input: &ClassInput, defaults: &Arc<ClusterDefaults>) -> Vec<InboundCluster> {
    if !input.scope.ingress.is_empty() {
        let mut seen = BTreeSet::new();
        return input
            .scope
            .ingress
            .iter()
            .filter(|listener| seen.insert(listener.port.number))
            .map(|listener| declared(input, listener, defaults))
            .collect();
    }
    if input.proxy.interception == Interception::None {
        return Vec::new();
    }
    let localhost = input.snapshot.settings().proxies.inbound_to_localhost;
    let ports: BTreeSet<u16> = input
        .targets
        .iter()
        .map(|target| target.target_port)
        .collect();
    let mut keys = Vec::with_capacity(ports.len());
    for number in ports {
        let mut on_port = input
            .targets
            .iter()
            .filter(|target| target.target_port == number);
        let Some(primary) = on_port.next() else {
            continue;
        };
        let service_port = primary.service_port().number;
        let others = on_port.filter(|other| other.service_port().number == service_port);
        keys.push(InboundCluster {
            name: names::inbound_cluster(number),
            protocol: primary.service_port().protocol,
            services: std::iter::once(primary)
                .chain(others)
                .map(|target| identity(&target.service))
                .collect(),
            target: if localhost {
                InboundTarget::Socket {
                    ip: xds::loopback(input.proxy.ip_mode != reef_mesh::IpMode::V6),
                    port: number,
                    from_inbound: false,
                }
            } else {
                InboundTarget::OriginalDestination
            },
            ip_mode: input.proxy.ip_mode,
            stat_name: served_stat_name(input, primary),
            defaults: defaults.clone(),
        });
    }
    keys
}

fn declared(
    input: &ClassInput,
    listener: &IngressListener,
    defaults: &Arc<ClusterDefaults>,
) -> InboundCluster {
    let target = match &listener.endpoint {
        IngressEndpoint::Same => InboundTarget::OriginalDestination,
        IngressEndpoint::Pipe(path) => InboundTarget::Pipe(path.clone()),
        IngressEndpoint::Loopback(address) => {
            let v4 = match input.proxy.ip_mode {
                reef_mesh::IpMode::V4 => true,
                reef_mesh::IpMode::V6 => false,
                reef_mesh::IpMode::Dual => address.is_ipv4(),
            };
            InboundTarget::Socket {
                ip: xds::loopback(v4),
                port: address.port(),
                from_inbound: false,
            }
        }
        IngressEndpoint::Instance(address) => {
            let own = |v4: bool| input.proxy.ingress_ips.iter().find(|ip| ip.is_ipv4() == v4);
            let ip: Option<&IpAddr> = own(address.is_ipv4()).or_else(|| own(!address.is_ipv4()));
            InboundTarget::Socket {
                ip: ip
                    .copied()
                    .unwrap_or_else(|| xds::loopback(address.is_ipv4())),
                port: address.port(),
                from_inbound: true,
            }
        }
    };
    InboundCluster {
        name: names::inbound_cluster(listener.port.number),
        protocol: listener.port.protocol,
        services: declared_identity(input).into_iter().collect(),
        target,
        ip_mode: input.proxy.ip_mode,
        stat_name: declared_stat_name(input, listener),
        defaults: defaults.clone(),
    }
}

/// Name in statistics of a port a service names.
pub(crate) fn served_stat_name(input: &ClassInput, target: &ServiceTarget) -> Option<Arc<str>> {
    let port = target.service_port();
    input.inbound_stat_name(&Named::of(&target.service, port, Some(target.target_port)))
}

/// Name in statistics of a declared ingress listener's port.
pub(crate) fn declared_stat_name(
    input: &ClassInput,
    listener: &IngressListener,
) -> Option<Arc<str>> {
    let (host, ..) = declared_identity(input)?;
    input.inbound_stat_name(&Named {
        host: &host,
        short: None,
        port: listener.port.number,
        port_name: &listener.port.name,
        target: listener.port.number.to_string(),
    })
}

/// The service a declared ingress listener stands for: `<sidecar>.<namespace>`.
pub(crate) fn declared_identity(input: &ClassInput) -> Option<(Arc<str>, Arc<str>, Arc<str>)> {
    let object = &input.scope.sidecar.as_ref()?.object;
    let host = format!("{}.{}", object.name, object.namespace);
    Some((
        Arc::from(host),
        Arc::from(&*object.name),
        object.namespace.shared().clone(),
    ))
}
