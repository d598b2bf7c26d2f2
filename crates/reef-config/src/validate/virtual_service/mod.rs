//! `VirtualService`: its hosts, gateways and form; routes are in the files beside this one.

mod action;
mod headers;
mod hosts;
mod http;
mod l4;
mod reach;

use super::check::{Check, Shown};
use super::export;
use super::rule::Rule;
use super::text;
use crate::istio::{Destination, VirtualService};
use crate::kind::Kind;
use crate::object::Object;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::VirtualService];
    Error EMPTY "vs-empty" "A VirtualService has one of http, tls and tcp";
    Error DELEGATE_GATEWAYS "vs-delegate-gateways" "A delegate, which has no hosts, has no gateways: those of its root count";
    Error DELEGATE_TLS "vs-delegate-tls" "A delegate has no tls routes; only http routes are delegated";
    Error DELEGATE_TCP "vs-delegate-tcp" "A delegate has no tcp routes; only http routes are delegated";
    Error GATEWAY_NAME "vs-gateway-name" "A gateway is `mesh`, a name, or namespace/name";
    Warning GATEWAY_LEGACY "vs-gateway-legacy" "A gateway is written as namespace/name, not as a domain name";
    Error DESTINATION_HOST "vs-destination-host" "A destination names a host that is a domain name, and not `*`";
    Error DESTINATION_SUBSET "vs-destination-subset" "A subset is 1 to 63 letters, digits and inner dashes";
    Error DESTINATION_PORT "vs-destination-port" "The port of a destination is 1 to 65535";
    Error WEIGHT_NEGATIVE "vs-weight-negative" "A weight is not negative";
    Error WEIGHTS_ZERO "vs-weights-zero" "Of several destinations one has a weight above 0";
    Error (own) WEIGHTS_SUM "vs-weights-sum" "The weights of a route add up to at most 4294967295; Envoy refuses more";
}

/// The rules of this folder.
pub(super) fn rules() -> [&'static [&'static Rule]; 7] {
    [
        RULES,
        hosts::RULES,
        http::RULES,
        action::RULES,
        headers::RULES,
        l4::RULES,
        reach::RULES,
    ]
}

/// Checks a `VirtualService`.
pub(super) fn check(object: &Object, service: &VirtualService, check: &mut Check<'_>) {
    let root = Path::Root;
    let spec = root.key("spec");
    let delegate = service.hosts.is_empty();
    if delegate {
        let told = [
            (!service.gateways.is_empty(), &DELEGATE_GATEWAYS, "gateways"),
            (!service.tls.is_empty(), &DELEGATE_TLS, "tls"),
            (!service.tcp.is_empty(), &DELEGATE_TCP, "tcp"),
        ];
        for (broken, rule, field) in told {
            let reason = "a virtual service without hosts is a delegate, which must not have this";
            check.tell_if(broken, rule, &spec.key(field), reason);
        }
    }
    if service.http.is_empty() && service.tcp.is_empty() && service.tls.is_empty() {
        check.tell(&EMPTY, &spec, "one of http, tls and tcp is needed");
    }
    gateways(check, &spec.key("gateways"), &service.gateways);
    hosts::check(service, check, &spec);
    http::check(service, check, &spec);
    l4::check(service, check, &spec);
    let own = &object.key.namespace;
    export::entries(check, &spec, own, &service.export_to, false);
    reach::check(service, check, &spec);
}

/// Whether the service is bound to gateways and not to sidecars.
fn only_gateways(service: &VirtualService) -> bool {
    !service.gateways.is_empty() && !service.gateways.iter().any(|name| name == "mesh")
}

/// Checks a list of gateways.
fn gateways(check: &mut Check<'_>, at: &Path<'_>, names: &[String]) {
    for (index, name) in names.iter().enumerate() {
        let at = at.index(index);
        match name.split_once('/') {
            None => {
                if let Err(reason) = text::domain(name) {
                    check.tell(
                        &GATEWAY_NAME,
                        &at,
                        format_args!("{}: {reason}", Shown(name)),
                    );
                } else if let Some((gateway, rest)) = name.split_once('.') {
                    let namespace = rest.split('.').next().unwrap_or_default();
                    let reason = format_args!(
                        "the form of {name:?} is an old one, write {namespace}/{gateway}"
                    );
                    check.tell(&GATEWAY_LEGACY, &at, reason);
                }
            }
            Some((namespace, gateway)) => {
                if !text::is_label(namespace) || !text::is_label(gateway) {
                    let reason = format_args!("{} is not a namespace and a name", Shown(name));
                    check.tell(&GATEWAY_NAME, &at, reason);
                }
            }
        }
    }
}

/// Checks where a route leads.
pub(super) fn destination(check: &mut Check<'_>, at: &Path<'_>, to: &Destination) {
    let host = at.key("host");
    if to.host == "*" {
        check.tell(
            &DESTINATION_HOST,
            &host,
            "a destination must not be every host",
        );
    } else {
        let result = text::domain_pattern(&to.host);
        check.tell_err(&DESTINATION_HOST, &host, &to.host, result);
    }
    if let Some(subset) = to.subset.as_deref().filter(|subset| !subset.is_empty())
        && !text::is_label(subset)
    {
        let reason = format_args!("{} is not the name of a subset", Shown(subset));
        check.tell(&DESTINATION_SUBSET, &at.key("subset"), reason);
    }
    if let Some(port) = &to.port {
        check.port(
            &DESTINATION_PORT,
            &at.key("port").key("number"),
            port.number,
        );
    }
}

/// Checks weighted destinations.
fn weighted<'d>(
    check: &mut Check<'_>,
    at: &Path<'_>,
    all: impl ExactSizeIterator<Item = (&'d Destination, Option<i32>)>,
) {
    let several = all.len() > 1;
    let mut total = 0u64;
    let mut negative = false;
    for (index, (to, weight)) in all.enumerate() {
        let at = at.index(index);
        destination(check, &at.key("destination"), to);
        match u64::try_from(weight.unwrap_or_default()) {
            Ok(weight) => total += weight,
            Err(_negative) => {
                negative = true;
                check.tell(
                    &WEIGHT_NEGATIVE,
                    &at.key("weight"),
                    "a weight must not be negative",
                );
            }
        }
    }
    if several && total == 0 && !negative {
        check.tell(
            &WEIGHTS_ZERO,
            at,
            "the weights of several destinations must not all be 0",
        );
    }
    if several && total > u64::from(u32::MAX) {
        let reason = format_args!("the weights add up to {total}, more than 4294967295");
        check.tell(&WEIGHTS_SUM, at, reason);
    }
}
