//! Kubernetes' own kinds, as far as a file may hold what an API server would refuse.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::check::{Check, Shown};
use crate::k8s::{EndpointSlice, Protocol, Service};
use crate::kind::Kind;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::Service];
    Error (own) PORT_NUMBER "svc-port-number" "The port of a Service is 1 to 65535";
    Error (own) PORT_TWICE "svc-port-twice" "Two ports of a Service have different numbers, or one of them is UDP";
    Error (own) PORT_NAME_TWICE "svc-port-name-twice" "Two ports of a Service have different names";
}

/// Rules of `EndpointSlice`.
pub(super) mod slice {
    use super::Kind;

    crate::validation_rules! {
        [Kind::EndpointSlice];
        Error (own) ADDRESS_MISSING "eps-address-missing" "An endpoint of an EndpointSlice has an address";
        Error (own) ADDRESS "eps-address" "The address of an endpoint is an IP address, unless the slice is of names";
    }
}

/// Checks a `Service`.
pub(super) fn check_service(service: &Service, check: &mut Check<'_>) {
    let root = Path::Root;
    let spec = root.key("spec");
    let field = spec.key("ports");
    let several = service.spec.ports.len() > 1;
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in service.spec.ports.iter().enumerate() {
        let at = field.index(index);
        check.port(&PORT_NUMBER, &at.key("port"), u32::from(port.port));
        // UDP and TCP may share a number, as those of DNS do.
        let place = (port.port, port.protocol == Protocol::Udp);
        let same = several && !numbers.insert(place);
        let reason = "two ports have the same number";
        check.tell_if(same, &PORT_TWICE, &at.key("port"), reason);
        let named = several && !names.insert(port.name.as_deref().unwrap_or_default());
        let reason = "two ports have the same name";
        check.tell_if(named, &PORT_NAME_TWICE, &at.key("name"), reason);
    }
}

/// Checks an `EndpointSlice`.
pub(super) fn check_slice(slice: &EndpointSlice, check: &mut Check<'_>) {
    if &*slice.address_type == "FQDN" {
        return;
    }
    let root = Path::Root;
    let field = root.key("endpoints");
    for (index, endpoint) in slice.endpoints.iter().enumerate() {
        let at = field.index(index);
        let at = at.key("addresses");
        match endpoint.addresses.first() {
            None => check.tell(&slice::ADDRESS_MISSING, &at, "an endpoint needs an address"),
            Some(address) if address.parse::<IpAddr>().is_err() => {
                let reason = format_args!("{} is not an IP address", Shown(address));
                check.tell(&slice::ADDRESS, &at.index(0), reason);
            }
            Some(_) => {}
        }
    }
}
