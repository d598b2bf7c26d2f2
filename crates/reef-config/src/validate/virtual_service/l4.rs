//! The tls and tcp routes of a `VirtualService`.

use super::super::check::{Check, Shown};
use super::super::rule::Rule;
use super::super::text;
use super::{gateways, hosts, http, only_gateways, weighted};
use crate::istio::{L4Conditions, RouteDestination, VirtualService};
use crate::kind::Kind;
use crate::names::Hostname;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::VirtualService];
    Error TLS_MATCH "vs-tls-match" "A tls route has a match";
    Error TLS_ROUTE "vs-tls-route" "A tls route has a destination";
    Error TLS_SNI_MISSING "vs-tls-sni-missing" "A match of a tls route has sniHosts";
    Error TLS_SNI "vs-tls-sni" "An SNI host is a domain name that may begin with a wildcard";
    Warning TLS_SNI_ADDRESS "vs-tls-sni-address" "An SNI host is no address; clients send none as server name";
    Error TLS_SNI_HOST "vs-tls-sni-host" "An SNI host is covered by one of the VirtualService's hosts";
    Error TCP_ROUTE "vs-tcp-route" "A tcp route has a destination";
    Error L4_SUBNET "vs-l4-subnet" "destinationSubnets are addresses or prefixes";
    Error L4_PORT "vs-l4-port" "The port in a match of a tls or tcp route is 1 to 65535";
    Error (own) L4_SOURCE "vs-l4-source" "sourceSubnet is an address or a prefix";
}

/// Checks the routes.
pub(super) fn check(service: &VirtualService, check: &mut Check<'_>, spec: &Path<'_>) {
    let tls = spec.key("tls");
    for (index, route) in service.tls.iter().enumerate() {
        let at = tls.index(index);
        let field = at.key("match");
        check.tell_if(
            route.matches.is_empty(),
            &TLS_MATCH,
            &field,
            "a match is needed",
        );
        for (number, condition) in route.matches.iter().enumerate() {
            let at = field.index(number);
            let names = at.key("sniHosts");
            let missing = condition.sni_hosts.is_empty();
            check.tell_if(missing, &TLS_SNI_MISSING, &names, "a server name is needed");
            for (which, host) in condition.sni_hosts.iter().enumerate() {
                sni(check, &names.index(which), host, service);
            }
            shared(check, &at, &condition.conditions());
        }
        destinations(check, &TLS_ROUTE, &at.key("route"), &route.route);
    }
    let tcp = spec.key("tcp");
    for (index, route) in service.tcp.iter().enumerate() {
        let at = tcp.index(index);
        let field = at.key("match");
        for (number, condition) in route.matches.iter().enumerate() {
            let at = field.index(number);
            shared(check, &at, &condition.conditions());
            if let Some(subnet) = condition.source_subnet.as_deref()
                && !subnet.is_empty()
                && !text::is_address_or_prefix(subnet)
            {
                let reason = format_args!("{} is neither an address nor a prefix", Shown(subnet));
                check.tell(&L4_SOURCE, &at.key("sourceSubnet"), reason);
            }
        }
        destinations(check, &TCP_ROUTE, &at.key("route"), &route.route);
    }
}

fn destinations(
    check: &mut Check<'_>,
    rule: &'static Rule,
    at: &Path<'_>,
    to: &[RouteDestination],
) {
    check.tell_if(to.is_empty(), rule, at, "a destination is needed");
    weighted(check, at, to.iter().map(|to| (&to.destination, to.weight)));
}

fn shared(check: &mut Check<'_>, at: &Path<'_>, condition: &L4Conditions<'_>) {
    for (index, subnet) in condition.subnets.iter().enumerate() {
        if !text::is_address_or_prefix(subnet) {
            let field = at.key("destinationSubnets");
            let reason = format_args!("{} is neither an address nor a prefix", Shown(subnet));
            check.tell(&L4_SUBNET, &field.index(index), reason);
        }
    }
    if let Some(port) = condition.port.filter(|port| *port != 0) {
        check.port(&L4_PORT, &at.key("port"), port);
    }
    http::source_labels(check, at, condition.labels);
    gateways(check, &at.key("gateways"), condition.gateways);
}

fn sni(check: &mut Check<'_>, at: &Path<'_>, host: &Hostname, service: &VirtualService) {
    if text::is_address(host) {
        let reason = format_args!("{host} is an address, which clients do not send as server name");
        check.tell(&TLS_SNI_ADDRESS, at, reason);
        return;
    }
    if let Err(reason) = hosts::pattern(host, only_gateways(service)) {
        check.tell(&TLS_SNI, at, format_args!("{}: {reason}", Shown(host)));
        return;
    }
    let covered = service.hosts.iter().any(|pattern| host.subset_of(pattern));
    if !covered && !service.hosts.is_empty() {
        let reason = format_args!("{host} is not covered by any of the hosts");
        check.tell(&TLS_SNI_HOST, at, reason);
    }
}
