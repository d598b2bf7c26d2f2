//! What makes a mesh configuration unusable, and what in it is replaced by a default.
//!
//! An error keeps the earlier configuration in effect, so it is one only where Istio would refuse too.

use std::time::Duration;

use super::code;
use crate::access_log::{LogValue, check_text};
use crate::connection_settings::ConnectionSettings;
use crate::istio::{
    LabelSelector, LocalityLoadBalancerSetting, OutboundTrafficPolicyMode, TcpKeepalive,
};
use crate::log_provider::log_providers;
use crate::mesh_config::{AccessLogEncoding, MeshConfig};
use crate::names::Hostname;
use crate::problem::Problem;
use crate::proxy_config::MeshProxyConfig;

fn error(problems: &mut Vec<Problem>, field: impl Into<String>, reason: impl Into<String>) {
    problems.push(Problem::error(code::INVALID, reason).field(field));
}

/// Adds what is wrong with a mesh configuration to `problems`.
pub(super) fn check(config: &MeshConfig, problems: &mut Vec<Problem>) {
    if config.root_namespace.is_empty() {
        error(problems, "rootNamespace", "must not be empty");
    }
    let domains = std::iter::once(("trustDomain".to_owned(), &config.trust_domain)).chain(
        config
            .trust_domain_aliases
            .iter()
            .enumerate()
            .map(|(index, alias)| (format!("trustDomainAliases[{index}]"), alias)),
    );
    let foreign = config.ca_certificates.iter().enumerate();
    let foreign = foreign.flat_map(|(at, one)| {
        let domains = one.trust_domains.iter().enumerate();
        domains.map(move |(of, domain)| {
            let field = format!("caCertificates[{at}].trustDomains[{of}]");
            (field, domain)
        })
    });
    let domains = domains.chain(foreign);
    for (field, domain) in domains {
        if domain.is_empty() || domain.contains('/') {
            error(problems, field, "must be a host name");
        }
    }
    ports(config, problems);
    if config.connect_timeout.0 < Duration::from_millis(1) {
        error(problems, "connectTimeout", "must be at least 1ms");
    }
    if config.dns_refresh_rate.0 < Duration::from_millis(1) {
        error(problems, "dnsRefreshRate", "must be at least 1ms");
    }
    if let Some(keepalive) = &config.tcp_keepalive {
        keepalive_times(keepalive, problems);
    }
    for (field, list) in [
        ("defaultServiceExportTo", &config.default_service_export_to),
        (
            "defaultVirtualServiceExportTo",
            &config.default_virtual_service_export_to,
        ),
        (
            "defaultDestinationRuleExportTo",
            &config.default_destination_rule_export_to,
        ),
    ] {
        for (index, value) in list.iter().enumerate() {
            let known = matches!(value.as_str(), "*" | "." | "~");
            if !known && super::name::check(value).is_err() {
                let field = format!("{field}[{index}]");
                error(problems, field, "must be a namespace, '.', '*' or '~'");
            }
        }
    }
    for (index, selector) in config.discovery_selectors.iter().enumerate() {
        label_selector(&format!("discoverySelectors[{index}]"), selector, problems);
    }
    let visibility = config.service_entry_visibility.iter();
    for (index, policy) in visibility.flat_map(|it| &it.policies).enumerate() {
        for (at, rule) in policy.matching_rules.iter().enumerate() {
            if let Some(selector) = &rule.namespace_selector {
                let field = format!(
                    "serviceEntryVisibility.policies[{index}].matchingRules[{at}].namespaceSelector"
                );
                label_selector(&field, selector, problems);
            }
        }
    }
    for (index, settings) in config.service_settings.iter().enumerate() {
        for (at, host) in settings.hosts.iter().enumerate() {
            let host = Hostname::from(host.as_str());
            if host.is_empty() || host.trim_start_matches('*').contains('*') {
                let field = format!("serviceSettings[{index}].hosts[{at}]");
                error(problems, field, "must be a host name, '*' only in front");
            }
        }
    }
    locality(&config.locality_lb_setting, problems);
    access_log(config, problems);
    providers(config, problems);
    let policy = &config.outbound_traffic_policy;
    if policy.egress_proxy.is_some() && policy.mode != OutboundTrafficPolicyMode::AllowAny {
        let field = "outboundTrafficPolicy.egressProxy";
        error(problems, field, "is only for the mode ALLOW_ANY");
    }
    proxy(&config.default_config, "defaultConfig.", problems);
}

fn ports(config: &MeshConfig, problems: &mut Vec<Problem>) {
    if config.proxy_inbound_listen_port == 0 {
        error(problems, "proxyInboundListenPort", "must not be 0");
    }
    let used = [
        ("proxyListenPort", config.proxy_listen_port),
        ("proxyInboundListenPort", config.proxy_inbound_listen_port),
        ("proxyHttpPort", config.proxy_http_port),
    ];
    for (index, (field, port)) in used.iter().enumerate().skip(1) {
        let twin = used
            .iter()
            .take(index)
            .find(|(_, other)| other == port && *port != 0);
        if let Some((other, _)) = twin {
            error(problems, *field, format!("must differ from {other}"));
        }
    }
}

fn keepalive_times(keepalive: &TcpKeepalive, problems: &mut Vec<Problem>) {
    for (name, value) in [("time", keepalive.time), ("interval", keepalive.interval)] {
        if value.is_some_and(|value| value.0 < Duration::from_secs(1)) {
            error(
                problems,
                format!("tcpKeepalive.{name}"),
                "must be at least 1s",
            );
        }
    }
}

fn label_selector(field: &str, selector: &LabelSelector, problems: &mut Vec<Problem>) {
    for (index, condition) in selector.match_expressions.iter().enumerate() {
        let field = format!("{field}.matchExpressions[{index}]");
        let listed = match condition.operator.as_str() {
            "In" | "NotIn" => true,
            "Exists" | "DoesNotExist" => false,
            _ => {
                let reason = "must be In, NotIn, Exists or DoesNotExist";
                error(problems, format!("{field}.operator"), reason);
                continue;
            }
        };
        if listed == condition.values.is_empty() {
            let reason = if listed {
                "must not be empty for this operator"
            } else {
                "must be empty for this operator"
            };
            error(problems, format!("{field}.values"), reason);
        }
        if condition.key.is_empty() {
            error(problems, format!("{field}.key"), "must not be empty");
        }
    }
}

fn locality(setting: &LocalityLoadBalancerSetting, problems: &mut Vec<Problem>) {
    let within = "localityLbSetting";
    if !setting.distribute.is_empty() && !setting.failover.is_empty() {
        error(
            problems,
            within,
            "distribute and failover exclude each other",
        );
    }
    for (index, rule) in setting.distribute.iter().enumerate() {
        let sum: u64 = rule.to.values().map(|weight| u64::from(*weight)).sum();
        if sum != 100 {
            let field = format!("{within}.distribute[{index}].to");
            error(problems, field, format!("weights sum to {sum}, not to 100"));
        }
    }
    for (index, rule) in setting.failover.iter().enumerate() {
        if rule.from == rule.to {
            let field = format!("{within}.failover[{index}].to");
            error(problems, field, "must differ from the region it replaces");
        }
    }
}

/// Providers and kinds of providers nothing is generated from.
fn providers(config: &MeshConfig, problems: &mut Vec<Problem>) {
    let (known, told) = log_providers(config);
    problems.extend(told);
    for (index, name) in config.default_providers.access_logging.iter().enumerate() {
        if !known.contains_key(name.as_str()) {
            let reason = format!("there is no log provider `{name}`");
            let field = format!("defaultProviders.accessLogging[{index}]");
            problems.push(Problem::warning(code::INVALID, reason).field(field));
        }
    }
    for (field, list) in [
        (
            "defaultProviders.tracing",
            &config.default_providers.tracing,
        ),
        (
            "defaultProviders.metrics",
            &config.default_providers.metrics,
        ),
    ] {
        if !list.is_empty() {
            let reason = "this mesh setting is not read, it has no effect";
            problems.push(Problem::warning(code::NOT_APPLIED, reason).field(field));
        }
    }
}

/// A format that is not JSON although it should be is replaced by the default one, as in Istio, and so is one that Envoy
/// would reject every listener for.
fn access_log(config: &MeshConfig, problems: &mut Vec<Problem>) {
    let format = config.access_log_format.as_str();
    let checked = match config.access_log_encoding {
        _ if format.is_empty() => return,
        AccessLogEncoding::Json => LogValue::parse(format).map(|_| ()),
        AccessLogEncoding::Text => check_text(format),
    };
    if let Err(reason) = checked {
        let reason = format!("{reason}; the default format is used");
        problems.push(Problem::warning(code::INVALID, reason).field("accessLogFormat"));
    }
}

/// Adds what is wrong with the settings of proxies; `within` is put before the field's name.
pub(super) fn proxy(config: &MeshProxyConfig, within: &str, problems: &mut Vec<Problem>) {
    if config.concurrency.is_some_and(|threads| threads < 0) {
        error(
            problems,
            format!("{within}concurrency"),
            "must not be negative",
        );
    }
    for (field, port) in [
        ("proxyAdminPort", config.proxy_admin_port),
        ("statusPort", config.status_port),
    ] {
        if port == Some(0) {
            error(problems, format!("{within}{field}"), "must not be 0");
        }
    }
    let connections = config.connection_settings.as_ref();
    if let Some((field, reason)) = connections.and_then(ConnectionSettings::refused) {
        let field = format!("{within}connectionSettings.{field}");
        error(problems, field, reason);
    }
}
