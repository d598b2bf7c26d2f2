//! Which clusters a class has, in the order Istio sends them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use reef_config::istio::Subset;
use reef_mesh::{
    DestinationPolicy, Interception, Resolution, Service, ServiceEndpoints, ServicePort,
    ServiceTarget,
};
use reef_scope::{IngressEndpoint, IngressListener, OutboundPolicy};

use super::dynamic::Lookup;
use super::policy::{ClusterPolicy, default_pool, path};
use super::pool::Pool;
use super::{
    ClusterDefaults, ClusterKey, FixedCluster, FixedKind, InboundCluster, InboundTarget,
    Localities, OutboundCluster,
};
use crate::destination::{self, Effective, traffic_policy};
use crate::facts::identity;
use crate::input::{ClassInput, has_cluster, is_unresolvable_by};
use crate::locality::Setting;
use crate::security::{Plaintext, Secured, plaintext_endpoints};
use crate::stat_name::Named;
use crate::{names, xds};

/// Selects the clusters of a class: outbound in scope order, fixed, inbound by port.
#[must_use]
pub fn cluster_keys(input: &ClassInput) -> Vec<ClusterKey> {
    let mut keys = outbound_cluster_keys(input);
    // The last is that of ports nobody declares.
    let rest = if input.proxy.grpc { None } else { keys.pop() };
    keys.extend(inbound_cluster_keys(input));
    keys.extend(rest);
    keys
}

/// Selects the clusters that do not depend on the ports of the workload: outbound in scope order,
/// then those every proxy has. No other has the name of one of these.
#[must_use]
pub fn outbound_cluster_keys(input: &ClassInput) -> Vec<ClusterKey> {
    if input.proxy.grpc {
        return crate::grpc::cluster_keys(input);
    }
    let defaults = Arc::new(input.cluster_defaults());
    let mut keys = outbound(input, &defaults);
    let pool = default_pool(&input.snapshot.settings().config);
    let fixed = |kind| {
        ClusterKey::Fixed(FixedCluster {
            kind,
            pool: pool.clone(),
            defaults: defaults.clone(),
        })
    };
    keys.push(fixed(FixedKind::BlackHole));
    keys.push(fixed(FixedKind::Passthrough));
    if input.scope.outbound_policy == OutboundPolicy::AllowAnyDynamicDns {
        keys.push(fixed(FixedKind::AllowAnyDynamicDns(input.any_lookup())));
    }
    keys.push(fixed(FixedKind::InboundPassthrough(input.proxy.ip_mode)));
    keys
}

/// Selects the clusters of the workload's own ports, by port.
#[must_use]
pub fn inbound_cluster_keys(input: &ClassInput) -> Vec<ClusterKey> {
    if input.proxy.grpc {
        return Vec::new();
    }
    let defaults = Arc::new(input.cluster_defaults());
    let keys = inbound(input, &defaults).into_iter();
    keys.map(ClusterKey::Inbound).collect()
}

fn outbound(input: &ClassInput, defaults: &Arc<ClusterDefaults>) -> Vec<ClusterKey> {
    let mut keys = Vec::with_capacity(input.scope.services.len() + 8);
    let silent = silent(input);
    for scoped in &input.scope.services {
        add_service(input, (defaults, &silent), &scoped.service, &mut keys);
    }
    keys
}

/// Selects the outbound clusters of some services in scope.
pub(crate) fn clusters_of<'a>(
    input: &ClassInput,
    services: impl Iterator<Item = &'a Arc<Service>>,
) -> Vec<ClusterKey> {
    let defaults = Arc::new(input.cluster_defaults());
    let silent = silent(input);
    let mut keys = Vec::new();
    for service in services {
        add_service(input, (&defaults, &silent), service, &mut keys);
    }
    keys
}

/// The policy where no rule says anything.
fn silent(input: &ClassInput) -> Arc<ClusterPolicy> {
    let config = &input.snapshot.settings().config;
    Arc::new(ClusterPolicy::of(None, None, &Effective::default(), config))
}

fn add_service(
    input: &ClassInput,
    (defaults, silent): (&Arc<ClusterDefaults>, &Arc<ClusterPolicy>),
    service: &Arc<Service>,
    keys: &mut Vec<ClusterKey>,
) {
    let inline = service
        .has_inline_endpoints()
        .then(|| input.snapshot.endpoints(&service.key).cloned())
        .flatten();
    let resolves = inline.is_some() || service.resolution == Resolution::DynamicDns;
    let rule = destination::policy(input, &service.key);
    let ports = Ports {
        input,
        defaults,
        service,
        lookup: resolves.then(|| input.lookup()),
        secured: secured(input, service, rule.as_deref()),
        inline,
        path: rule.as_deref().and_then(path),
        silent,
    };
    for (index, port) in service.ports.iter().enumerate() {
        if has_cluster(service, port) {
            ports.add(index, port, rule.as_deref(), keys);
        }
    }
}

/// What decides how clusters of a service are secured.
pub(crate) fn secured<'a>(
    input: &'a ClassInput,
    service: &'a Service,
    rule: Option<&DestinationPolicy>,
) -> Secured<'a> {
    Secured {
        snapshot: &input.snapshot,
        service,
        cert: input.proxy.workload_cert,
        original_destination: service.resolution == Resolution::Passthrough,
        selected: rule.is_some_and(|rule| rule.selector.is_some()),
    }
}

/// The clusters of one service, port by port.
struct Ports<'a> {
    input: &'a ClassInput,
    defaults: &'a Arc<ClusterDefaults>,
    service: &'a Arc<Service>,
    inline: Option<Arc<ServiceEndpoints>>,
    lookup: Option<Lookup>,
    secured: Secured<'a>,
    /// Path of its rule.
    path: Option<Arc<str>>,
    /// The policy where no rule says anything.
    silent: &'a Arc<ClusterPolicy>,
}

impl Ports<'_> {
    fn add(
        &self,
        index: usize,
        port: &ServicePort,
        rule: Option<&DestinationPolicy>,
        keys: &mut Vec<ClusterKey>,
    ) {
        let plaintext = self.inline.as_ref().map_or_else(Arc::default, |endpoints| {
            plaintext_endpoints(&self.input.snapshot, endpoints.of_port(&port.name))
        });
        let whole = rule.map_or_else(Effective::default, |rule| {
            traffic_policy(rule, port.number, None)
        });
        keys.extend(self.cluster(index, port, None, &whole, &plaintext));
        // Names that are resolved on demand have no endpoints to choose from.
        if self.service.resolution == Resolution::DynamicDns {
            return;
        }
        for subset in rule.iter().flat_map(|rule| &rule.spec.subsets) {
            let own = whole.of_subset(subset, port.number);
            keys.extend(self.cluster(index, port, Some(subset), &own, &plaintext));
        }
    }

    fn cluster(
        &self,
        index: usize,
        port: &ServicePort,
        subset: Option<&Subset>,
        effective: &Effective<'_>,
        plaintext: &Arc<[u32]>,
    ) -> Option<ClusterKey> {
        let (input, service) = (self.input, self.service);
        let labels = subset.map(|subset| &subset.labels);
        let only = || input.selection_by(service, effective, labels);
        if is_unresolvable_by(input, service, port, only) {
            return None;
        }
        let keeps_destination = effective.keeps_destination();
        let secured = Secured {
            original_destination: keeps_destination || self.secured.original_destination,
            ..self.secured
        };
        let setting = Setting::of(input.snapshot.settings(), service, effective);
        let name = subset.map(|subset| subset.name.as_str());
        let host = &service.key.hostname;
        Some(ClusterKey::Outbound(OutboundCluster {
            name: match name {
                Some(subset) => names::outbound_subset_cluster(port.number, subset, host),
                None => names::outbound_cluster(port.number, host),
            },
            service: service.clone(),
            port: index,
            lookup: self.lookup,
            localities: setting.map_or(Localities::Alike, |setting| match setting.zones() {
                Some(least) => Localities::Zones(least),
                None if setting.weighs() => Localities::Weighted,
                None => Localities::Alike,
            }),
            stat_name: input.subset_stat_name(service, port, name.unwrap_or_default()),
            plaintext: match &self.inline {
                Some(_) => Plaintext::of(effective.tls, plaintext),
                None => Plaintext::default(),
            },
            inline: self
                .inline
                .as_ref()
                .filter(|_| !keeps_destination)
                .map(|endpoints| (endpoints.clone(), only())),
            tls: secured.decide(effective.tls),
            policy: if self.path.is_none() {
                self.silent.clone()
            } else {
                Arc::new(ClusterPolicy::of(
                    self.path.clone(),
                    name.map(Arc::from),
                    effective,
                    &input.snapshot.settings().config,
                ))
            },
            defaults: self.defaults.clone(),
        }))
    }
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
            pool: inbound_pool(input, primary),
            defaults: defaults.clone(),
        });
    }
    keys
}

/// Limits of a port that a service names: those of the `Sidecar`, else of the rule for all clients
/// of the service, else of the mesh.
fn inbound_pool(input: &ClassInput, target: &ServiceTarget) -> Pool {
    if let Some(pool) = &input.scope.inbound_connection_pool {
        return Pool::of(pool);
    }
    let rules = input
        .snapshot
        .destination_rules(&input.scope.id.namespace, &target.service.key);
    let own = destination::general(&rules).and_then(|rule| {
        let effective = traffic_policy(rule, target.service_port().number, None);
        effective.connection_pool.map(Pool::of)
    });
    own.unwrap_or_else(|| default_pool(&input.snapshot.settings().config))
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
        pool: listener
            .connection_pool
            .as_deref()
            .map_or_else(|| default_pool(&input.snapshot.settings().config), Pool::of),
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
        subset: "",
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
