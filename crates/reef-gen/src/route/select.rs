//! Which route configurations a class has: those its listeners name, and no others.

use std::sync::Arc;

use reef_scope::OutboundPolicy;

use super::retry::Retries;
use super::{Hosts, Rest, RouteKey, RoutePolicy, ServiceRoute};
use crate::input::{ClassInput, fallback, has_cluster};
use crate::listener::RouteSource;
use crate::names;

/// Selects the route configurations of a class, sorted by name.
#[must_use]
pub fn route_keys(input: &ClassInput) -> Vec<RouteKey> {
    if input.proxy.grpc {
        return crate::grpc::route_keys(input);
    }
    let (cluster, _) = fallback(input);
    let rest = if input.scope.outbound_policy == OutboundPolicy::AllowAnyDynamicDns {
        Rest::Resolve
    } else if &*cluster == names::BLACK_HOLE {
        Rest::Block
    } else {
        Rest::Allow(cluster)
    };
    let policy = policy(input);
    input
        .plan()
        .routes
        .iter()
        .map(|(name, source)| {
            let hosts = match source {
                RouteSource::Single { service, number } => Hosts::Single(ServiceRoute {
                    service: service.clone(),
                    number: *number,
                }),
                RouteSource::Port { egress, number } => {
                    shared(input, *egress, Some(*number), rest.clone())
                }
                RouteSource::AllPorts { egress } => shared(input, *egress, None, rest.clone()),
            };
            RouteKey {
                name: name.clone(),
                hosts,
                policy: policy.clone(),
            }
        })
        .collect()
}

/// What all routes of a class say.
pub(crate) fn policy(input: &ClassInput) -> Arc<RoutePolicy> {
    let mesh = &input.snapshot.settings().config;
    Arc::new(RoutePolicy {
        retries: match &mesh.default_http_retry_policy {
            Some(retries) => Retries::of(retries),
            None => Some(Retries::by_default()),
        },
        attempt_count: input.proxy.headers.attempt_count,
        forwarded_host: input.proxy.headers.forwarded_host,
    })
}

fn shared(input: &ClassInput, egress: usize, number: Option<u16>, rest: Rest) -> Hosts {
    let services = input
        .scope
        .egress
        .get(egress)
        .map_or(&[][..], |egress| &egress.services);
    let services = services
        .iter()
        .flat_map(|service| service.ports.iter().map(move |port| (service, port)))
        .filter(|(service, port)| {
            has_cluster(service, port)
                && (port.protocol.is_http() || port.protocol.is_auto())
                && number.is_none_or(|number| port.number == number)
        })
        .map(|(service, port)| ServiceRoute {
            service: service.clone(),
            number: port.number,
        })
        .collect();
    Hosts::Shared {
        services,
        dns_domain: input.proxy.dns_domain.clone(),
        ip_mode: input.proxy.ip_mode,
        with_ports: number.is_none(),
        rest,
    }
}
