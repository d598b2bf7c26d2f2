//! What makes an object unusable, and what in it has no effect.
//!
//! An error here keeps the object's last good version in effect; so only what Istio's own validation would
//! refuse, or what could not be turned into configuration, is an error.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::code;
use crate::istio::{
    AuthorizationAction, DestinationRule, Gateway, PeerAuthentication, Resolution, ServiceEntry,
    Sidecar, TrafficPolicy, WorkloadEntry,
};
use crate::k8s::{EndpointSlice, Protocol, Service};
use crate::names::Hostname;
use crate::object::{Object, Spec};
use crate::problem::Problem;

/// Checks a name or namespace as Kubernetes does: a DNS subdomain.
pub(super) fn name(name: &str) -> Result<(), &'static str> {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inside = |c: char| edge(c) || c == '-' || c == '.';
    if name.is_empty() {
        Err("must not be empty")
    } else if name.len() > 253 {
        Err("must not be longer than 253 bytes")
    } else if !name.chars().all(inside) || !name.starts_with(edge) || !name.ends_with(edge) {
        Err(
            "must consist of lower-case letters, digits, '-' and '.', and begin and end with one of the first two",
        )
    } else {
        Ok(())
    }
}

/// Checks an object; adds what is wrong to `findings`.
pub(super) fn object(object: &Object, findings: &mut Vec<Problem>) {
    crate::validate::object(object, findings);
    let mut check = Check { findings };
    match &object.spec {
        Spec::Service(spec) => check.service(spec),
        Spec::EndpointSlice(spec) => check.endpoint_slice(spec),
        Spec::ServiceEntry(spec) => check.service_entry(spec),
        Spec::WorkloadEntry(spec) => check.workload_entry("spec", spec),
        Spec::Sidecar(spec) => check.sidecar(spec),
        Spec::DestinationRule(spec) => check.destination_rule(spec),
        Spec::Gateway(spec) => check.gateway(spec),
        Spec::PeerAuthentication(spec) => check.peer_authentication(spec),
        Spec::AuthorizationPolicy(spec)
            if spec.action == AuthorizationAction::Custom && spec.provider.is_none() =>
        {
            check.error("spec.provider", "the action CUSTOM needs a provider");
        }
        _ => {}
    }
}

struct Check<'f> {
    findings: &'f mut Vec<Problem>,
}

impl Check<'_> {
    fn error(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.findings
            .push(Problem::error(code::INVALID, reason).field(field));
    }

    fn warning(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.findings
            .push(Problem::warning(code::INVALID, reason).field(field));
    }

    fn port(&mut self, field: impl FnOnce() -> String, number: u32) {
        if !(1..=65_535).contains(&number) {
            self.error(
                field(),
                format!("{number} is not a port, which is 1 to 65535"),
            );
        }
    }

    fn service(&mut self, service: &Service) {
        let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
        for (index, port) in service.spec.ports.iter().enumerate() {
            self.port(|| format!("spec.ports[{index}].port"), u32::from(port.port));
            // UDP and TCP may share a number, as those of DNS do.
            if !numbers.insert((port.port, port.protocol == Protocol::Udp)) {
                self.error(
                    format!("spec.ports[{index}].port"),
                    "two ports have the same number",
                );
            }
            if !names.insert(port.name.as_deref().unwrap_or_default()) {
                self.error(
                    format!("spec.ports[{index}].name"),
                    "two ports have the same name",
                );
            }
        }
    }

    fn endpoint_slice(&mut self, slice: &EndpointSlice) {
        if &*slice.address_type == "FQDN" {
            return;
        }
        for (index, endpoint) in slice.endpoints.iter().enumerate() {
            match endpoint.addresses.first() {
                None => self.error(
                    format!("endpoints[{index}].addresses"),
                    "an endpoint needs an address",
                ),
                Some(address) if address.parse::<IpAddr>().is_err() => self.error(
                    format!("endpoints[{index}].addresses[0]"),
                    format!("{address:?} is not an IP address"),
                ),
                Some(_) => {}
            }
        }
    }

    fn service_entry(&mut self, entry: &ServiceEntry) {
        if entry.hosts.is_empty() {
            self.error("spec.hosts", "a service entry needs at least one host");
        }
        for (index, host) in entry.hosts.iter().enumerate() {
            let field = || format!("spec.hosts[{index}]");
            if *host == "*" {
                self.error(field(), "the host * alone is not allowed");
            } else if let Err(reason) = host_pattern(host) {
                self.error(field(), reason);
            }
        }
        for (index, address) in entry.addresses.iter().enumerate() {
            if !is_address_or_prefix(address) {
                self.error(
                    format!("spec.addresses[{index}]"),
                    format!("{address:?} is neither an IP address nor a prefix"),
                );
            }
        }
        let (mut numbers, mut names) = (BTreeSet::new(), BTreeSet::new());
        for (index, port) in entry.ports.iter().enumerate() {
            self.port(|| format!("spec.ports[{index}].number"), port.number);
            if let Some(target) = port.target_port {
                self.port(|| format!("spec.ports[{index}].targetPort"), target);
            }
            if !numbers.insert(port.number) {
                self.error(
                    format!("spec.ports[{index}].number"),
                    "two ports have the same number",
                );
            }
            if !names.insert(port.name.as_deref().unwrap_or_default()) {
                self.error(
                    format!("spec.ports[{index}].name"),
                    "two ports have the same name",
                );
            }
        }
        if entry.workload_selector.is_some() && !entry.endpoints.is_empty() {
            self.error(
                "spec.endpoints",
                "only one of workloadSelector and endpoints may be set",
            );
        }
        match entry.resolution {
            Resolution::None if !entry.endpoints.is_empty() => {
                self.error("spec.endpoints", "the resolution NONE allows no endpoints");
            }
            Resolution::Dns | Resolution::DnsRoundRobin
                if entry.endpoints.is_empty()
                    && entry.workload_selector.is_none()
                    && entry.hosts.iter().any(Hostname::is_wildcard) =>
            {
                self.error(
                    "spec.endpoints",
                    "the resolution DNS with a wildcard host needs endpoints",
                );
            }
            _ => {}
        }
        for (index, endpoint) in entry.endpoints.iter().enumerate() {
            let is_static = entry.resolution == Resolution::Static;
            if is_static
                && !endpoint.address.is_empty()
                && !endpoint.address.starts_with("unix://")
                && endpoint.address.parse::<IpAddr>().is_err()
            {
                self.error(
                    format!("spec.endpoints[{index}].address"),
                    format!(
                        "{:?} is not an IP address, which STATIC needs",
                        endpoint.address
                    ),
                );
            }
            if endpoint.address.is_empty() || !endpoint.ports.is_empty() {
                self.workload_entry(&format!("spec.endpoints[{index}]"), endpoint);
            }
        }
    }

    fn workload_entry(&mut self, at: &str, entry: &WorkloadEntry) {
        if entry.address.is_empty() && entry.network.as_deref().unwrap_or_default().is_empty() {
            self.error(
                format!("{at}.address"),
                "an address is needed where there is no network",
            );
        }
        for (name, number) in entry.ports.iter() {
            if !entry.address.starts_with("unix://") {
                self.port(|| format!("{at}.ports.{name}"), number);
            }
        }
    }

    fn sidecar(&mut self, sidecar: &Sidecar) {
        let mut ports = BTreeSet::new();
        for (index, listener) in sidecar.ingress.iter().enumerate() {
            match &listener.port {
                None => self.error(
                    format!("spec.ingress[{index}].port"),
                    "an ingress listener needs a port",
                ),
                Some(port) => {
                    self.port(|| format!("spec.ingress[{index}].port.number"), port.number);
                    if !ports.insert(port.number) {
                        self.error(
                            format!("spec.ingress[{index}].port.number"),
                            "two listeners have the same port",
                        );
                    }
                }
            }
            if let Some(endpoint) = &listener.default_endpoint
                && !is_default_endpoint(endpoint)
            {
                self.error(
                    format!("spec.ingress[{index}].defaultEndpoint"),
                    "must be 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT or unix:///PATH",
                );
            }
        }
        for (index, listener) in sidecar.egress.iter().enumerate() {
            if listener.hosts.is_empty() {
                self.error(
                    format!("spec.egress[{index}].hosts"),
                    "an egress listener needs hosts",
                );
            }
            for (at, host) in listener.hosts.iter().enumerate() {
                if let Err(reason) = egress_host(host) {
                    self.error(
                        format!("spec.egress[{index}].hosts[{at}]"),
                        format!("{host:?}: {reason}"),
                    );
                }
            }
            if let Some(port) = &listener.port
                && !listener
                    .bind
                    .as_deref()
                    .unwrap_or_default()
                    .starts_with("unix://")
            {
                self.port(|| format!("spec.egress[{index}].port.number"), port.number);
            }
        }
    }

    fn destination_rule(&mut self, rule: &DestinationRule) {
        if rule.host.is_empty() {
            self.error("spec.host", "a destination rule needs a host");
        } else if let Err(reason) = host_pattern(&rule.host) {
            self.error("spec.host", reason);
        }
        if let Some(policy) = &rule.traffic_policy {
            self.traffic_policy("spec.trafficPolicy", policy);
        }
        let mut names = BTreeSet::new();
        for (index, subset) in rule.subsets.iter().enumerate() {
            if subset.name.is_empty() {
                self.error(
                    format!("spec.subsets[{index}].name"),
                    "a subset needs a name",
                );
            }
            if !names.insert(subset.name.as_str()) {
                self.warning(
                    format!("spec.subsets[{index}].name"),
                    "another subset has the same name, the first one counts",
                );
            }
            if let Some(policy) = &subset.traffic_policy {
                self.traffic_policy(&format!("spec.subsets[{index}].trafficPolicy"), policy);
            }
        }
    }

    fn traffic_policy(&mut self, at: &str, policy: &TrafficPolicy) {
        for (index, port) in policy.port_level_settings.iter().enumerate() {
            match &port.port {
                None => self.error(
                    format!("{at}.portLevelSettings[{index}].port"),
                    "a port is needed",
                ),
                Some(port) => {
                    self.port(
                        || format!("{at}.portLevelSettings[{index}].port.number"),
                        port.number,
                    );
                }
            }
        }
        if let Some(balancer) = &policy.load_balancer
            && balancer.simple.is_some()
            && balancer.consistent_hash.is_some()
        {
            self.error(
                format!("{at}.loadBalancer"),
                "only one of simple and consistentHash may be set",
            );
        }
    }

    fn gateway(&mut self, gateway: &Gateway) {
        for (index, server) in gateway.servers.iter().enumerate() {
            match &server.port {
                None => self.error(
                    format!("spec.servers[{index}].port"),
                    "a server needs a port",
                ),
                Some(port) => {
                    self.port(|| format!("spec.servers[{index}].port.number"), port.number)
                }
            }
            if server.hosts.is_empty() {
                self.error(
                    format!("spec.servers[{index}].hosts"),
                    "a server needs hosts",
                );
            }
        }
    }

    fn peer_authentication(&mut self, policy: &PeerAuthentication) {
        if policy.port_level_mtls.contains_key(&0) {
            self.error("spec.portLevelMtls", "0 is not a port, which is 1 to 65535");
        }
        let selects = policy
            .selector
            .as_ref()
            .is_some_and(|selector| !selector.labels.is_empty());
        if !policy.port_level_mtls.is_empty() && !selects {
            self.error("spec.portLevelMtls", "needs a selector with labels");
        }
    }
}

/// Checks a DNS name, a pattern with a leading `*`, or an IP address.
fn host_pattern(host: &Hostname) -> Result<(), &'static str> {
    if host.parse::<IpAddr>().is_ok() || *host == "*" {
        return Ok(());
    }
    let rest = match host.strip_prefix('*') {
        Some(rest) => rest
            .strip_prefix('.')
            .ok_or("after a leading * a dot must follow")?,
        None => host.as_str(),
    };
    dns_name(rest)
}

fn dns_name(name: &str) -> Result<(), &'static str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 {
        Err("a host must not be longer than 253 bytes")
    } else if !name.split('.').all(label) {
        Err("not a DNS name")
    } else {
        Ok(())
    }
}

/// Checks a `namespace/dnsName` entry of an egress listener.
fn egress_host(entry: &str) -> Result<(), &'static str> {
    let Some((namespace, host)) = entry.split_once('/') else {
        return Err("must have the form namespace/dnsName");
    };
    if host.contains('/') {
        return Err("must have exactly one slash");
    }
    let namespace = namespace.strip_prefix('~').unwrap_or(namespace);
    if !matches!(namespace, "" | "." | "*") {
        name(namespace)
            .map_err(|_reason| "the part before the slash must be a namespace, '.', '*' or '~'")?;
    }
    if namespace.is_empty() && !entry.starts_with('~') {
        return Err("the part before the slash must not be empty");
    }
    if host == "*" {
        return Ok(());
    }
    if !host.contains('.') {
        return Err("short names are not allowed after the slash");
    }
    match host.strip_prefix("*.") {
        Some(rest) => dns_name(rest),
        None => dns_name(host),
    }
}

fn is_default_endpoint(endpoint: &str) -> bool {
    if endpoint.starts_with("unix://") {
        return true;
    }
    ["127.0.0.1:", "0.0.0.0:", "[::1]:", "[::]:"]
        .iter()
        .any(|prefix| {
            endpoint
                .strip_prefix(prefix)
                .is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
        })
}

fn is_address_or_prefix(text: &str) -> bool {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return false;
    };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    length.is_none_or(|length| length.parse::<u8>().is_ok_and(|length| length <= longest))
}
