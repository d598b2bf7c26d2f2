//! `ServiceEntry`.

use std::collections::BTreeSet;

use super::check::{Check, Shown};
use super::text::{self, Protocol};
use super::{export, selector, workload};
use crate::istio::{Resolution, ServiceEntry, ServiceEntryPort};
use crate::kind::Kind;
use crate::names::Hostname;
use crate::object::Object;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::ServiceEntry];
    Error BOTH "se-selector-and-endpoints" "A ServiceEntry has not both workloadSelector and endpoints";
    Error HOSTS "se-hosts" "A ServiceEntry has a host";
    Error HOST_ANY "se-host-any" "The host `*` is not allowed";
    Error HOST "se-host" "A host is a domain name that may begin with a wildcard";
    Warning (own) HOST_ADDRESS "se-host-address" "A host is a name and no address; istiod refuses one, Reef takes it for a name";
    Warning HOST_PARTIAL "se-host-partial" "A wildcard is a whole label, `*.`";
    Error ADDRESS "se-address" "Addresses are addresses or prefixes";
    Error PREFIX "se-prefix-resolution" "Prefixes go with the resolutions NONE and STATIC";
    Error PORT_NAME "se-port-name" "The name of a port is 1 to 63 letters, digits and inner dashes";
    Error PORT_NAME_TWICE "se-port-name-twice" "Two ports have different names";
    Error PORT_NUMBER "se-port-number" "The number of a port is 1 to 65535";
    Error PORT_NUMBER_TWICE "se-port-number-twice" "Two ports have different numbers";
    Error PORT_PROTOCOL "se-port-protocol" "The protocol of a port is one that Istio knows, or absent";
    Error PORT_TARGET "se-port-target" "targetPort is 1 to 65535";
    Warning ("IST0134") ADDRESSES_NEEDED "se-addresses-needed" "TCP ports need addresses where none are allocated: with the resolution NONE, and for wildcards";
    Error NONE_ENDPOINTS "se-none-endpoints" "The resolution NONE goes without endpoints";
    Warning NONE_SELECTOR "se-none-selector" "The resolution NONE goes without workloadSelector, which has no effect";
    Error DNS_HOST "se-dns-host" "With a DNS resolution and neither endpoints nor workloadSelector every host is a name that can be asked for";
    Error DNS_ENDPOINT "se-dns-endpoint" "With a DNS resolution the address of an endpoint is a domain name or an address";
    Error ROUND_ROBIN "se-round-robin" "The resolution DNS_ROUND_ROBIN has one endpoint at most";
    Warning DNS_SELECTOR "se-dns-selector" "A DNS resolution goes without workloadSelector, which has no effect";
    Warning (own) DYNAMIC_ENDPOINTS "se-dynamic-endpoints" "The resolution DYNAMIC_DNS goes without endpoints and workloadSelector, which have no effect";
    Warning DNS_TCP "se-dns-tcp-hosts" "With addresses, a TCP port and a DNS resolution there is one host: connections to an address do not tell hosts apart";
    Error TCP_HOSTS "se-tcp-hosts" "Several hosts need protocols that tell them apart, HTTP or TLS, unless the resolution is NONE";
    Error STATIC_ADDRESS "se-static-address" "With the resolution STATIC the address of an endpoint is an IP address or a socket";
    Error ENDPOINT_PORT "se-endpoint-port" "The ports of an endpoint are named as those of the ServiceEntry";
    Error SOCKET_PORTS "se-socket-ports" "Endpoints that are sockets go with one port";
    Error EXPORT_NOBODY "se-export-nobody-and-more" "An exportTo with `~` has no other entry";
    Warning (own) WEIGHTS "se-weight-large" "The weights of the endpoints add up to at most 4294967295; Envoy refuses more";
}

/// Checks a `ServiceEntry`.
pub(super) fn check(object: &Object, entry: &ServiceEntry, check: &mut Check<'_>) {
    let root = Path::Root;
    let spec = root.key("spec");
    let chosen = entry.workload_selector.as_ref();
    selector::workload(check, &spec.key("workloadSelector"), chosen);
    let both = chosen.is_some() && !entry.endpoints.is_empty();
    let reason = "only one of workloadSelector and endpoints may be set";
    check.tell_if(both, &BOTH, &spec.key("endpoints"), reason);
    hosts(check, &spec.key("hosts"), entry);
    let field = spec.key("addresses");
    for (index, address) in entry.addresses.iter().enumerate() {
        if !text::is_address_or_prefix(address) {
            let reason = format_args!("{} is neither an IP address nor a prefix", Shown(address));
            check.tell(&ADDRESS, &field.index(index), reason);
        }
    }
    let prefix = entry.addresses.iter().any(|address| address.contains('/'));
    let fixed = matches!(entry.resolution, Resolution::None | Resolution::Static);
    let reason = "prefixes go with the resolutions NONE and STATIC only";
    check.tell_if(prefix && !fixed, &PREFIX, &field, reason);
    ports(check, &spec.key("ports"), entry);
    by_resolution(check, &spec, entry);
    let own = &object.key.namespace;
    export::entries(check, &spec, own, &entry.export_to, true);
    let nobody = entry.export_to.len() > 1 && entry.export_to.iter().any(|to| &**to == "~");
    let reason = "'~' is nobody, so nothing may stand beside it";
    check.tell_if(nobody, &EXPORT_NOBODY, &spec.key("exportTo"), reason);
}

fn hosts(check: &mut Check<'_>, at: &Path<'_>, entry: &ServiceEntry) {
    let none = entry.hosts.is_empty();
    check.tell_if(none, &HOSTS, at, "a service entry needs at least one host");
    for (index, host) in entry.hosts.iter().enumerate() {
        let at = at.index(index);
        if *host == "*" {
            check.tell(&HOST_ANY, &at, "the host * alone is not allowed");
        } else if text::is_address(host) {
            let reason =
                format_args!("{host} is an address; clients that ask for it by number are meant");
            check.tell(&HOST_ADDRESS, &at, reason);
        } else if let Err(reason) = text::domain_pattern(host) {
            check.tell(&HOST, &at, format_args!("{}: {reason}", Shown(host)));
        } else if host.is_wildcard() && !host.starts_with("*.") {
            let reason = format_args!("{host}: a wildcard must be a whole label");
            check.tell(&HOST_PARTIAL, &at, reason);
        }
    }
}

fn is_tcp(port: &ServiceEntryPort) -> bool {
    let protocol = port.protocol.as_deref().unwrap_or_default();
    protocol.is_empty() || protocol.eq_ignore_ascii_case("tcp")
}

fn ports(check: &mut Check<'_>, at: &Path<'_>, entry: &ServiceEntry) {
    let allocated =
        entry.resolution != Resolution::None && !entry.hosts.iter().all(Hostname::is_wildcard);
    let several = entry.ports.len() > 1;
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in entry.ports.iter().enumerate() {
        let at = at.index(index);
        let name = port.name.as_deref().unwrap_or_default();
        if !text::is_label(name) {
            let reason = format_args!("{} is not the name of a port", Shown(name));
            check.tell(&PORT_NAME, &at.key("name"), reason);
        } else if several && !names.insert(name) {
            check.tell(
                &PORT_NAME_TWICE,
                &at.key("name"),
                "two ports have the same name",
            );
        }
        check.port(&PORT_NUMBER, &at.key("number"), port.number);
        if several && !numbers.insert(port.number) {
            check.tell(
                &PORT_NUMBER_TWICE,
                &at.key("number"),
                "two ports have the same number",
            );
        }
        if let Some(target) = port.target_port.filter(|target| *target != 0) {
            check.port(&PORT_TARGET, &at.key("targetPort"), target);
        }
        let protocol = port.protocol.as_deref().unwrap_or_default();
        if !protocol.is_empty() && text::protocol(protocol).is_none() {
            let reason = format_args!("{} is not a protocol", Shown(protocol));
            check.tell(&PORT_PROTOCOL, &at.key("protocol"), reason);
        }
        if !allocated && entry.addresses.is_empty() && is_tcp(port) {
            let reason =
                "without addresses every connection to this port is taken, whatever its address";
            check.tell(&ADDRESSES_NEEDED, &at, reason);
        }
    }
}

fn by_resolution(check: &mut Check<'_>, spec: &Path<'_>, entry: &ServiceEntry) {
    let endpoints = spec.key("endpoints");
    let selector = spec.key("workloadSelector");
    let selects = entry.workload_selector.is_some();
    match entry.resolution {
        Resolution::None => {
            let some = !entry.endpoints.is_empty();
            let reason = "the resolution NONE allows no endpoints";
            check.tell_if(some, &NONE_ENDPOINTS, &endpoints, reason);
            let reason = "the resolution NONE selects nothing";
            check.tell_if(selects, &NONE_SELECTOR, &selector, reason);
        }
        Resolution::Static => {
            for (index, endpoint) in entry.endpoints.iter().enumerate() {
                let at = endpoints.index(index);
                workload::entry(check, &at, endpoint, Some(&STATIC_ADDRESS));
                named_ports(check, &at, entry, index);
            }
        }
        Resolution::Dns | Resolution::DnsRoundRobin => dns(check, spec, entry),
        Resolution::DynamicDns => {
            let some = !entry.endpoints.is_empty() || selects;
            let reason = "the resolution DYNAMIC_DNS asks for the name of each request";
            check.tell_if(some, &DYNAMIC_ENDPOINTS, &endpoints, reason);
        }
    }
    if entry.resolution != Resolution::None && entry.hosts.len() > 1 {
        let field = spec.key("ports");
        for (index, port) in entry.ports.iter().enumerate() {
            let protocol = text::protocol(port.protocol.as_deref().unwrap_or_default());
            if !matches!(protocol, Some(Protocol::Http | Protocol::Tls)) {
                let reason = "the protocol does not tell the hosts apart";
                check.tell(&TCP_HOSTS, &field.index(index), reason);
                break;
            }
        }
    }
    let weights = entry
        .endpoints
        .iter()
        .map(|e| u64::from(e.weight.unwrap_or(1)));
    let sum = weights.sum::<u64>() > u64::from(u32::MAX);
    let reason = "the weights add up to more than 4294967295";
    check.tell_if(sum, &WEIGHTS, &endpoints, reason);
}

fn dns(check: &mut Check<'_>, spec: &Path<'_>, entry: &ServiceEntry) {
    let endpoints = spec.key("endpoints");
    if entry.endpoints.is_empty() && entry.workload_selector.is_none() {
        let field = spec.key("hosts");
        for (index, host) in entry.hosts.iter().enumerate() {
            let wildcard = host.is_wildcard() && text::domain_pattern(host).is_ok();
            let reason = "with a DNS resolution and no endpoints a host must be a name that can be asked for";
            check.tell_if(wildcard, &DNS_HOST, &field.index(index), reason);
        }
    }
    if entry.resolution == Resolution::DnsRoundRobin && entry.endpoints.len() > 1 {
        let reason = "the resolution DNS_ROUND_ROBIN allows one endpoint";
        check.tell(&ROUND_ROBIN, &endpoints, reason);
    }
    for (index, endpoint) in entry.endpoints.iter().enumerate() {
        let at = endpoints.index(index);
        let address = &*endpoint.address;
        if !text::is_address(address) && text::domain(address).is_err() {
            let reason = format_args!("{} is neither a domain name nor an address", Shown(address));
            check.tell(&DNS_ENDPOINT, &at.key("address"), reason);
        }
        workload::labels(check, &at, endpoint);
        workload::ports(check, &at, endpoint);
        named_ports(check, &at, entry, index);
    }
    let selects = entry.workload_selector.is_some();
    let reason = "a DNS resolution selects nothing";
    check.tell_if(
        selects,
        &DNS_SELECTOR,
        &spec.key("workloadSelector"),
        reason,
    );
    let tcp = entry.ports.iter().any(|port| {
        let protocol = text::protocol(port.protocol.as_deref().unwrap_or_default());
        matches!(protocol, Some(Protocol::Tcp | Protocol::Tls))
    });
    if !entry.addresses.is_empty() && entry.hosts.len() > 1 && tcp {
        let reason = "connections to an address of a TCP port do not tell hosts apart";
        check.tell(&DNS_TCP, &spec.key("hosts"), reason);
    }
}

/// The ports of an endpoint are those of the entry.
fn named_ports(check: &mut Check<'_>, at: &Path<'_>, entry: &ServiceEntry, index: usize) {
    let Some(endpoint) = entry.endpoints.get(index) else {
        return;
    };
    let field = at.key("ports");
    for (name, _) in endpoint.ports.iter() {
        if text::is_label(name)
            && !entry
                .ports
                .iter()
                .any(|port| port.name.as_deref() == Some(name))
        {
            let reason = format_args!("the service entry has no port {}", Shown(name));
            check.tell(&ENDPOINT_PORT, &field.key(name), reason);
        }
    }
    if endpoint.address.starts_with("unix://") && entry.ports.len() != 1 {
        let reason = "a socket can serve one port only";
        check.tell(&SOCKET_PORTS, &at.key("address"), reason);
    }
}
