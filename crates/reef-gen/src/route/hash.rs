//! By what of a request its endpoint is chosen, where a `DestinationRule` hashes.

use std::sync::Arc;
use std::time::Duration;

use reef_config::istio::{self, ConsistentHash, TrafficPolicy};
use reef_mesh::{Service, ServicePort};
use xds_api::envoy::config::route::v3 as rds;

use rds::route_action::hash_policy::{self, PolicySpecifier};

use crate::destination;
use crate::input::ClassInput;
use crate::xds;

/// A part of a request that is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HashPolicy {
    /// A header.
    Header(Arc<str>),
    /// A cookie; with a life time, even 0, Envoy makes it if it is missing.
    Cookie {
        name: Arc<str>,
        path: Arc<str>,
        ttl: Option<Duration>,
        attributes: Box<[(Arc<str>, Arc<str>)]>,
    },
    /// The client's address.
    SourceIp,
    /// A query parameter.
    Query(Arc<str>),
}

impl HashPolicy {
    /// What is hashed of requests for a service port that no `VirtualService` routes.
    pub(crate) fn of_service(
        input: &ClassInput,
        service: &Service,
        port: &ServicePort,
    ) -> Option<Self> {
        let policy = destination::policy(input, &service.key)?;
        let whole = policy.spec.traffic_policy.as_ref();
        let number = u32::from(port.number);
        of_port(whole, Some(number))
            .or_else(|| of_all(whole))
            .and_then(Self::of)
    }

    /// What is hashed of requests for a destination of a route.
    pub(crate) fn of_destination(input: &ClassInput, to: &istio::Destination) -> Option<Self> {
        let service = &input.scope.service(&to.host)?.service;
        let policy = destination::policy(input, &service.key)?;
        let whole = policy.spec.traffic_policy.as_ref();
        let subset = to.subset.as_deref().filter(|name| !name.is_empty());
        let own = policy
            .spec
            .subsets
            .iter()
            .find(|known| Some(known.name.as_str()) == subset)
            .and_then(|known| known.traffic_policy.as_ref());
        let number = to.port.as_ref().map(|port| port.number);
        of_port(own, number)
            .or_else(|| of_all(own))
            .or_else(|| of_port(whole, number))
            .or_else(|| of_all(whole))
            .and_then(Self::of)
    }

    fn of(hash: &ConsistentHash) -> Option<Self> {
        let named = |name: &Option<String>| {
            let name = name.as_deref().filter(|name| !name.is_empty());
            name.map(Arc::<str>::from)
        };
        if let Some(name) = named(&hash.http_header_name) {
            return Some(Self::Header(name));
        }
        if let Some(cookie) = hash.http_cookie.as_ref().filter(|it| !it.name.is_empty()) {
            return Some(Self::Cookie {
                name: Arc::from(cookie.name.as_str()),
                path: Arc::from(cookie.path.as_deref().unwrap_or_default()),
                ttl: cookie.ttl.map(|ttl| ttl.0),
                attributes: cookie
                    .attributes
                    .iter()
                    .filter(|attribute| !attribute.name.is_empty())
                    .map(|attribute| {
                        let value = Arc::from(attribute.value.as_str());
                        (Arc::from(attribute.name.as_str()), value)
                    })
                    .collect(),
            });
        }
        if hash.use_source_ip == Some(true) {
            return Some(Self::SourceIp);
        }
        named(&hash.http_query_parameter_name).map(Self::Query)
    }

    pub(crate) fn message(&self) -> rds::route_action::HashPolicy {
        let specifier = match self {
            Self::Header(name) => PolicySpecifier::Header(hash_policy::Header {
                header_name: name.to_string(),
                ..Default::default()
            }),
            Self::Cookie {
                name,
                path,
                ttl,
                attributes,
            } => PolicySpecifier::Cookie(hash_policy::Cookie {
                name: name.to_string(),
                path: path.to_string(),
                ttl: ttl.map(xds::duration),
                attributes: attributes
                    .iter()
                    .map(|(name, value)| hash_policy::CookieAttribute {
                        name: name.to_string(),
                        value: value.to_string(),
                    })
                    .collect(),
            }),
            Self::SourceIp => {
                PolicySpecifier::ConnectionProperties(hash_policy::ConnectionProperties {
                    source_ip: true,
                })
            }
            Self::Query(name) => PolicySpecifier::QueryParameter(hash_policy::QueryParameter {
                name: name.to_string(),
            }),
        };
        rds::route_action::HashPolicy {
            policy_specifier: Some(specifier),
            ..Default::default()
        }
    }
}

fn of_all(policy: Option<&TrafficPolicy>) -> Option<&ConsistentHash> {
    policy?.load_balancer.as_ref()?.consistent_hash.as_ref()
}

fn of_port(policy: Option<&TrafficPolicy>, number: Option<u32>) -> Option<&ConsistentHash> {
    let settings = policy?.port_level_settings.iter().find(|settings| {
        let port = settings.port.as_ref().map(|port| port.number);
        port.is_some() && port == number
    })?;
    settings.load_balancer.as_ref()?.consistent_hash.as_ref()
}
