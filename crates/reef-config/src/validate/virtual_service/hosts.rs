//! The hosts of a `VirtualService`.

use super::super::check::{Check, Shown};
use super::super::text;
use super::only_gateways;
use crate::istio::VirtualService;
use crate::kind::Kind;
use crate::names::Hostname;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::VirtualService];
    Error HOST "vs-host" "A host is a domain name, an address, or a domain name that begins with a wildcard";
    Error HOST_ANY "vs-host-any" "The host `*` is for gateways only; sidecars would lose every other host";
    Error HOST_TWICE "vs-host-twice" "No host covers another one of the same VirtualService";
}

/// Up to so many hosts every pair is compared; beyond, they are sorted.
const PAIRS_UP_TO: usize = 16;

/// Checks the hosts.
pub(super) fn check(service: &VirtualService, check: &mut Check<'_>, spec: &Path<'_>) {
    let at = spec.key("hosts");
    let gateway = only_gateways(service);
    let sni = gateway
        && service
            .tls
            .iter()
            .flat_map(|route| &route.matches)
            .any(|condition| !condition.sni_hosts.is_empty());
    let mut valid = true;
    for (index, host) in service.hosts.iter().enumerate() {
        let at = at.index(index);
        if !gateway && *host == "*" {
            valid = false;
            check.tell(
                &HOST_ANY,
                &at,
                "the host * is not allowed for the gateway mesh",
            );
        } else if let Err(reason) = pattern(host, sni) {
            valid = false;
            check.tell(&HOST, &at, format_args!("{}: {reason}", Shown(host)));
        }
    }
    if !valid {
        return;
    }
    if let Some((one, other)) = overlapping(&service.hosts) {
        let reason = format_args!("{one} and {other} cover the same host");
        check.tell(&HOST_TWICE, &at, reason);
    }
}

/// Checks a host; with `sni`, names such as `outbound_.80_._.a.b` are allowed, which gateways between networks use.
pub(super) fn pattern(host: &str, sni: bool) -> Result<(), &'static str> {
    if sni && host.starts_with("outbound_.") {
        return Ok(());
    }
    match text::domain_pattern(host) {
        Err(_) if text::is_address(host) => Ok(()),
        result => result,
    }
}

/// Two hosts that overlap, if there are any.
fn overlapping(hosts: &[Hostname]) -> Option<(&Hostname, &Hostname)> {
    if hosts.len() <= PAIRS_UP_TO {
        return hosts.iter().enumerate().find_map(|(index, one)| {
            let rest = hosts.get(index + 1..).unwrap_or_default();
            rest.iter()
                .find(|other| one.matches(other))
                .map(|other| (one, other))
        });
    }
    // Read backwards, a wildcard is a prefix of all it covers, so what overlaps lies side by side.
    let mut sorted: Vec<(Vec<u8>, &Hostname)> = hosts
        .iter()
        .map(|host| {
            let text = host.strip_prefix('*').unwrap_or(host);
            (text.bytes().rev().collect(), host)
        })
        .collect();
    sorted.sort();
    // The widest wildcard that may still cover what follows.
    let mut open: Option<(&[u8], &Hostname)> = None;
    let mut last: Option<(&[u8], &Hostname)> = None;
    for (key, host) in &sorted {
        let covered = open.filter(|(wide, _)| key.starts_with(wide));
        let equal = last.filter(|(before, _)| *before == key.as_slice());
        if let Some((_, other)) = covered.or(equal.filter(|(_, other)| other.matches(host))) {
            return Some((other, host));
        }
        if host.is_wildcard() {
            open = Some((key, host));
        }
        last = Some((key, host));
    }
    None
}
