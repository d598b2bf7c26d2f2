//! Which virtual host a request belongs to.

use xds_api::envoy::config::route::v3::{RouteConfiguration, VirtualHost};

/// A host without its port.
pub(crate) fn without_port(host: &str) -> &str {
    match port_start(host) {
        Some(at) => host.split_at(at).0,
        None => host,
    }
}

/// Where the port begins, its colon included. An IPv6 address without brackets has none.
pub(crate) fn port_start(host: &str) -> Option<usize> {
    let colon = host.rfind(':')?;
    match host.rfind(']') {
        Some(end) if end > colon => None,
        _ => Some(colon),
    }
}

/// Finds the virtual host: the exact name, else the longest wildcard before, else the longest wildcard
/// after, else `*`.
pub(crate) fn find<'a>(routes: &'a RouteConfiguration, host: &str) -> Option<&'a VirtualHost> {
    let host = if routes.ignore_port_in_host_matching {
        without_port(host)
    } else {
        host
    };
    let host = host.to_ascii_lowercase();
    let all = || {
        routes.virtual_hosts.iter().flat_map(|one| {
            let domains = one.domains.iter();
            domains.map(move |domain| (domain.to_ascii_lowercase(), one))
        })
    };
    let exact = all().find(|(domain, _)| *domain == host && !host.is_empty());
    let longest = |fixed: &dyn Fn(&str) -> Option<usize>| {
        let fitting = all().filter_map(|(domain, one)| Some((fixed(&domain)?, one)));
        // Of equally long ones there is one: domains are unique.
        fitting.max_by_key(|(length, _)| *length)
    };
    let before = |domain: &str| {
        let suffix = domain.strip_prefix('*').filter(|rest| !rest.is_empty())?;
        (suffix.len() < host.len() && host.ends_with(suffix)).then_some(suffix.len())
    };
    let after = |domain: &str| {
        let prefix = domain.strip_suffix('*').filter(|rest| !rest.is_empty())?;
        (prefix.len() < host.len() && host.starts_with(prefix)).then_some(prefix.len())
    };
    exact
        .map(|(_, one)| one)
        .or_else(|| longest(&before).map(|(_, one)| one))
        .or_else(|| longest(&after).map(|(_, one)| one))
        .or_else(|| all().find(|(domain, _)| domain == "*").map(|(_, one)| one))
}
