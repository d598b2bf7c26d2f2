//! `DestinationRule`: its host and subsets; policies are in the files beside this one.

mod balancer;
mod locality;
mod outlier;
pub(super) mod pool;
mod tls;

use std::collections::BTreeSet;

use super::check::{Check, Shown};
use super::rule::Rule;
use super::{export, selector, text};
use crate::istio::{DestinationRule, TrafficPolicy};
use crate::kind::Kind;
use crate::object::Object;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::DestinationRule];
    Error HOST "dr-host" "The host is a domain name that may begin with a wildcard";
    Error EXPORT_SELECTOR "dr-export-with-selector" "A DestinationRule with a workloadSelector is exported to its own namespace or says nothing";
    Error SUBSET_NAME "dr-subset-name" "The name of a subset is 1 to 63 letters, digits and inner dashes";
    Error SUBSET_TWICE "dr-subset-twice" "Two subsets of a DestinationRule have different names";
    Error SUBSET_LABELS "dr-subset-labels" "The labels of a subset have the form of Kubernetes labels";
    Error POLICY_EMPTY "dr-policy-empty" "A traffic policy sets something";
    Error PORT_MISSING "dr-port-missing" "An entry of portLevelSettings has a port";
    Warning (own) PORT_NUMBER "dr-port-number" "The port of an entry of portLevelSettings is 1 to 65535; else it is of no use";
    Warning (own) PORT_TWICE "dr-port-twice" "Two entries of portLevelSettings have different ports; the first one counts";
    Error PORT_EMPTY "dr-port-empty" "An entry of portLevelSettings sets something";
    Error TUNNEL_AND_PROXY "dr-tunnel-and-proxy-protocol" "A traffic policy has not both tunnel and proxyProtocol";
    Error TUNNEL_PROTOCOL "dr-tunnel-protocol" "The protocol of a tunnel is CONNECT or POST";
    Error TUNNEL_HOST "dr-tunnel-host" "The targetHost of a tunnel is a domain name or an address";
    Error TUNNEL_PORT "dr-tunnel-port" "The targetPort of a tunnel is 1 to 65535";
    Error (own) BUDGET_PERCENT "dr-budget-percent" "The percent of a retry budget is 0 to 100; Envoy refuses others";
}

/// The rules of this folder.
pub(super) fn rules() -> [&'static [&'static Rule]; 6] {
    [
        RULES,
        pool::RULES,
        outlier::RULES,
        balancer::RULES,
        locality::RULES,
        tls::RULES,
    ]
}

/// Checks a `DestinationRule`.
pub(super) fn check(object: &Object, rule: &DestinationRule, check: &mut Check<'_>) {
    let root = Path::Root;
    let spec = root.key("spec");
    let host = text::domain_pattern(&rule.host);
    check.tell_err(&HOST, &spec.key("host"), &rule.host, host);
    if let Some(policy) = &rule.traffic_policy {
        traffic(check, &spec.key("trafficPolicy"), policy);
    }
    let field = spec.key("subsets");
    let mut names = BTreeSet::new();
    for (index, subset) in rule.subsets.iter().enumerate() {
        let at = field.index(index);
        if !text::is_label(&subset.name) {
            let reason = format_args!("{} is not the name of a subset", Shown(&subset.name));
            check.tell(&SUBSET_NAME, &at.key("name"), reason);
        } else if !names.insert(subset.name.as_str()) {
            let reason = format_args!("another subset is called {}", subset.name);
            check.tell(&SUBSET_TWICE, &at.key("name"), reason);
        }
        if let Err((key, reason)) = text::workload_labels(&subset.labels) {
            let labels = at.key("labels");
            check.tell(&SUBSET_LABELS, &labels.key(key), reason);
        }
        if let Some(policy) = &subset.traffic_policy {
            traffic(check, &at.key("trafficPolicy"), policy);
        }
    }
    let own = &object.key.namespace;
    export::entries(check, &spec, own, &rule.export_to, false);
    if rule.workload_selector.is_some() {
        let far = |entry: &String| entry != "." && entry != own.as_str();
        if rule.export_to.iter().any(far) {
            let reason = "a rule with a workloadSelector is for clients of its own namespace only";
            check.tell(&EXPORT_SELECTOR, &spec.key("exportTo"), reason);
        }
    }
    let selector = rule.workload_selector.as_ref();
    selector::workload(check, &spec.key("workloadSelector"), selector);
}

fn traffic(check: &mut Check<'_>, at: &Path<'_>, policy: &TrafficPolicy) {
    let nothing = policy.load_balancer.is_none()
        && policy.connection_pool.is_none()
        && policy.outlier_detection.is_none()
        && policy.tls.is_none()
        && policy.port_level_settings.is_empty()
        && policy.tunnel.is_none()
        && policy.proxy_protocol.is_none()
        && policy.retry_budget.is_none();
    check.tell_if(
        nothing,
        &POLICY_EMPTY,
        at,
        "a traffic policy must set something",
    );
    let both = policy.tunnel.is_some() && policy.proxy_protocol.is_some();
    check.tell_if(
        both,
        &TUNNEL_AND_PROXY,
        at,
        "tunnel and proxyProtocol must not be together",
    );
    let outliers = policy.outlier_detection.as_ref();
    outlier::check(check, &at.key("outlierDetection"), outliers);
    pool::check(
        check,
        &at.key("connectionPool"),
        policy.connection_pool.as_ref(),
    );
    let balancer = policy.load_balancer.as_ref();
    balancer::check(check, &at.key("loadBalancer"), balancer, outliers.is_some());
    tls::check(check, &at.key("tls"), policy.tls.as_ref(), false);
    ports(check, at, policy);
    if let Some(tunnel) = &policy.tunnel {
        let at = at.key("tunnel");
        if let Some(protocol) = tunnel.protocol.as_deref()
            && !["", "CONNECT", "POST"].contains(&protocol)
        {
            let reason = format_args!("{} is neither CONNECT nor POST", Shown(protocol));
            check.tell(&TUNNEL_PROTOCOL, &at.key("protocol"), reason);
        }
        let host = tunnel.target_host.as_str();
        if !text::is_address(host) {
            check.tell_err(
                &TUNNEL_HOST,
                &at.key("targetHost"),
                host,
                text::domain(host),
            );
        }
        check.port(&TUNNEL_PORT, &at.key("targetPort"), tunnel.target_port);
    }
    if let Some(percent) = policy
        .retry_budget
        .as_ref()
        .and_then(|budget| budget.percent)
        && !(0.0..=100.0).contains(&percent)
    {
        let at = at.key("retryBudget");
        let reason = format_args!("{percent} is not a percentage, which is 0 to 100");
        check.tell(&BUDGET_PERCENT, &at.key("percent"), reason);
    }
}

fn ports(check: &mut Check<'_>, at: &Path<'_>, policy: &TrafficPolicy) {
    let field = at.key("portLevelSettings");
    let mut numbers = BTreeSet::new();
    for (index, settings) in policy.port_level_settings.iter().enumerate() {
        let at = field.index(index);
        let port = at.key("port");
        match &settings.port {
            None => check.tell(&PORT_MISSING, &port, "a port is needed"),
            Some(selected) => {
                check.port(&PORT_NUMBER, &port.key("number"), selected.number);
                if !numbers.insert(selected.number) {
                    let reason = format_args!("an earlier entry is for port {}", selected.number);
                    check.tell(&PORT_TWICE, &port, reason);
                }
            }
        }
        let outliers = settings.outlier_detection.as_ref();
        let nothing = settings.load_balancer.is_none()
            && settings.connection_pool.is_none()
            && outliers.is_none()
            && settings.tls.is_none();
        check.tell_if(
            nothing,
            &PORT_EMPTY,
            &at,
            "the settings of a port must set something",
        );
        outlier::check(check, &at.key("outlierDetection"), outliers);
        pool::check(
            check,
            &at.key("connectionPool"),
            settings.connection_pool.as_ref(),
        );
        let balancer = settings.load_balancer.as_ref();
        balancer::check(check, &at.key("loadBalancer"), balancer, outliers.is_some());
        tls::check(check, &at.key("tls"), settings.tls.as_ref(), true);
    }
}
