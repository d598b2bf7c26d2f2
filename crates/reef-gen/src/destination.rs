//! Which `DestinationRule` a class of proxies uses for a service, and what it says of one port and
//! subset of it.
//!
//! Which rules with a `workloadSelector` fit a proxy is a result among its facts; labels are read
//! there and nowhere else. Whoever builds something from a policy puts the parts it reads into its
//! key, not the policy: a rule may have thousands of subsets.

use std::collections::BTreeSet;
use std::sync::Arc;

use reef_config::istio::{
    ClientTlsMode, ClientTlsSettings, ConnectionPoolSettings, LoadBalancerSettings,
    OutlierDetection, ProxyProtocol, RetryBudget, SimpleLb, Subset, TrafficPolicy, TunnelSettings,
};
use reef_config::names::Namespace;
use reef_config::{Labels, ObjectKey};
use reef_mesh::{DestinationPolicy, ServiceKey};
use reef_scope::ScopedService;

use crate::input::ClassInput;

/// What a rule says of one port of a service, or of one subset there.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Effective<'a> {
    pub connection_pool: Option<&'a ConnectionPoolSettings>,
    pub outlier_detection: Option<&'a OutlierDetection>,
    pub load_balancer: Option<&'a LoadBalancerSettings>,
    pub tls: Option<&'a ClientTlsSettings>,
    /// For TCP through a proxy; ports have none of their own.
    pub tunnel: Option<&'a TunnelSettings>,
    pub proxy_protocol: Option<&'a ProxyProtocol>,
    pub retry_budget: Option<&'a RetryBudget>,
}

/// The policy a class uses for a service: the first rule whose selector fits, else the last
/// without. `None` if there is none, or the class does not import the service.
pub(crate) fn policy(input: &ClassInput, service: &ServiceKey) -> Option<Arc<DestinationPolicy>> {
    let scoped = input.scope.service(&service.hostname)?;
    if scoped.service.key != *service {
        return None;
    }
    pick(&scoped.destination_rules, &input.proxy.selecting_rules).cloned()
}

/// Of the policies for a service, the one in use where the rules of these objects fit.
pub(crate) fn pick<'a>(
    policies: &'a [Arc<DestinationPolicy>],
    selecting: &[ObjectKey],
) -> Option<&'a Arc<DestinationPolicy>> {
    let selected = policies.iter().find(|policy| {
        policy.selector.is_some()
            && policy
                .objects
                .first()
                .is_some_and(|object| selecting.binary_search(object).is_ok())
    });
    selected.or_else(|| general(policies))
}

/// Of the policies for a service, the one for proxies no selector fits.
pub(crate) fn general(policies: &[Arc<DestinationPolicy>]) -> Option<&Arc<DestinationPolicy>> {
    policies
        .iter()
        .rev()
        .find(|policy| policy.selector.is_none())
}

/// The rules with a selector that decide for a proxy with these labels about some services, each by
/// its first object, sorted. Only the namespace's own rules may have one.
pub(crate) fn selecting_rules<'a>(
    services: impl Iterator<Item = &'a ScopedService>,
    namespace: &Namespace,
    labels: &Labels,
) -> Arc<[ObjectKey]> {
    let mut found = BTreeSet::new();
    for scoped in services {
        let first = scoped.destination_rules.iter().find(|policy| {
            policy.namespace == *namespace
                && policy
                    .selector
                    .as_ref()
                    .is_some_and(|selector| selector.selects(labels))
        });
        found.extend(first.and_then(|policy| policy.objects.first()).cloned());
    }
    found.into_iter().collect()
}

/// True if a part of the policy asks for mesh TLS.
pub(crate) fn demands_certificate(policy: &DestinationPolicy) -> bool {
    let mutual = |tls: &Option<ClientTlsSettings>| {
        tls.as_ref()
            .is_some_and(|tls| tls.mode == ClientTlsMode::IstioMutual)
    };
    let own = policy.spec.subsets.iter();
    let own = own.filter_map(|subset| subset.traffic_policy.as_ref());
    own.chain(&policy.spec.traffic_policy)
        .any(|all| mutual(&all.tls) || all.port_level_settings.iter().any(|port| mutual(&port.tls)))
}

/// What a policy says of a port, for the whole service or for a subset of it.
///
/// Settings of a port replace those above whole. A subset starts from what holds for the port; each
/// block it sets replaces that block, and its own settings of the port replace what they may say
/// even where they are silent. A subset the policy has not, is as the whole service.
pub(crate) fn traffic_policy<'a>(
    policy: &'a DestinationPolicy,
    port: u16,
    subset: Option<&str>,
) -> Effective<'a> {
    let whole = policy
        .spec
        .traffic_policy
        .as_ref()
        .map_or_else(Effective::default, |all| {
            of_port(all, port).unwrap_or_else(|| Effective::of(all))
        });
    subset
        .and_then(|name| policy.spec.subsets.iter().find(|known| known.name == name))
        .map_or(whole, |subset| whole.of_subset(subset, port))
}

/// The settings of a port, if the policy has some.
fn of_port(policy: &TrafficPolicy, port: u16) -> Option<Effective<'_>> {
    let own = policy.port_level_settings.iter().find(|settings| {
        settings
            .port
            .as_ref()
            .is_some_and(|number| number.number == u32::from(port))
    })?;
    Some(Effective {
        connection_pool: own.connection_pool.as_ref(),
        outlier_detection: own.outlier_detection.as_ref(),
        load_balancer: own.load_balancer.as_ref(),
        tls: own.tls.as_ref(),
        ..Effective::default()
    })
}

impl<'a> Effective<'a> {
    fn of(policy: &'a TrafficPolicy) -> Self {
        Self {
            connection_pool: policy.connection_pool.as_ref(),
            outlier_detection: policy.outlier_detection.as_ref(),
            load_balancer: policy.load_balancer.as_ref(),
            tls: policy.tls.as_ref(),
            tunnel: policy.tunnel.as_ref(),
            proxy_protocol: policy.proxy_protocol.as_ref(),
            retry_budget: policy.retry_budget.as_ref(),
        }
    }

    /// What holds for a subset; `self` is what holds for its port.
    pub(crate) fn of_subset(self, subset: &'a Subset, port: u16) -> Self {
        subset
            .traffic_policy
            .as_ref()
            .map_or(self, |own| self.with_subset(own, port))
    }

    /// True if connections go where the client meant them to, whatever the service has.
    pub(crate) fn keeps_destination(&self) -> bool {
        self.load_balancer.is_some_and(|balancer| {
            balancer.consistent_hash.is_none() && balancer.simple == Some(SimpleLb::Passthrough)
        })
    }

    /// What holds for a subset with a policy of its own; `self` is what holds for its port.
    pub(crate) fn with_subset(self, own: &'a TrafficPolicy, port: u16) -> Self {
        let set = Self::of(own);
        let merged = Self {
            connection_pool: set.connection_pool.or(self.connection_pool),
            outlier_detection: set.outlier_detection.or(self.outlier_detection),
            load_balancer: set.load_balancer.or(self.load_balancer),
            tls: set.tls.or(self.tls),
            tunnel: set.tunnel.or(self.tunnel),
            proxy_protocol: set.proxy_protocol.or(self.proxy_protocol),
            retry_budget: set.retry_budget.or(self.retry_budget),
        };
        of_port(own, port).map_or(merged, |exact| Self {
            tunnel: merged.tunnel,
            proxy_protocol: merged.proxy_protocol,
            retry_budget: merged.retry_budget,
            ..exact
        })
    }
}

mod problems;

pub(crate) use problems::problems;

#[cfg(test)]
mod tests;
