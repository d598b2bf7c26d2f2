//! Under which names a client may ask for a service, in Istio's order.

use std::collections::BTreeSet;
use std::net::IpAddr;

use reef_mesh::{Address, IpMode, Service};

/// Domains of a service for clients in `dns_domain`. `hosts` are the full names of all services of
/// the route configuration: a short form that equals one of them belongs to that one.
/// `auto_addresses` counts addresses found for services that declare none.
pub(crate) fn of_service(
    service: &Service,
    dns_domain: &str,
    (ip_mode, auto_addresses): (IpMode, bool),
    hosts: &BTreeSet<&str>,
) -> Vec<String> {
    let mut domains = Vec::with_capacity(8);
    for host in std::iter::once(&service.key.hostname).chain(&service.aliases) {
        of_host(host, dns_domain, hosts, &mut domains);
    }
    if service.headless {
        let pods: Vec<String> = domains.iter().map(|domain| format!("*.{domain}")).collect();
        domains.extend(pods);
    }
    domains.extend(
        service
            .virtual_addresses(auto_addresses)
            .iter()
            .filter_map(|address| match address {
                Address::Ip(ip) if ip.is_unspecified() => None,
                Address::Ip(ip) => fits(*ip, ip_mode).then(|| bracketed(*ip)),
                Address::Cidr(cidr) => fits(cidr.ip, ip_mode).then(|| cidr.to_string()),
                Address::Host(_) | Address::Pipe(_) => None,
            }),
    );
    domains
}

/// A host as it is asked for.
pub(crate) fn bare(host: &str) -> String {
    host.parse().map_or_else(|_| host.to_owned(), bracketed)
}

/// The host, the host as an absolute name, and its short forms.
fn of_host(host: &str, dns_domain: &str, hosts: &BTreeSet<&str>, domains: &mut Vec<String>) {
    if let Ok(ip) = host.parse::<IpAddr>() {
        domains.push(bracketed(ip));
        return;
    }
    domains.push(host.to_owned());
    if host == "*" {
        return;
    }
    domains.push(format!("{host}."));
    if !host.starts_with('*') {
        let short = short_forms(host, dns_domain);
        domains.extend(
            short
                .into_iter()
                .filter(|short| !hosts.contains(short.as_str())),
        );
    }
}

/// Shorter names of a host for clients in `dns_domain`.
pub(crate) fn short_forms(host: &str, dns_domain: &str) -> Vec<String> {
    let Some((namespace, cluster_domain)) = dns_domain.split_once(".svc.") else {
        return beside(host, dns_domain);
    };
    let short = host
        .strip_suffix(cluster_domain)
        .and_then(|rest| rest.strip_suffix(".svc."));
    let Some((service, of)) = short.and_then(|short| short.split_once('.')) else {
        return Vec::new();
    };
    if of == namespace {
        vec![
            service.to_owned(),
            format!("{service}.{of}.svc"),
            format!("{service}.{of}"),
        ]
    } else {
        vec![format!("{service}.{of}"), format!("{service}.{of}.svc")]
    }
}

/// For clients outside a cluster domain: the labels before those shared with the client's domain.
fn beside(host: &str, dns_domain: &str) -> Vec<String> {
    let labels: Vec<&str> = host.split('.').collect();
    let shared = labels
        .iter()
        .rev()
        .zip(dns_domain.rsplit('.'))
        .take_while(|(label, own)| **label == *own)
        .count();
    let own = labels.len() - shared;
    if shared == 0 || own == 0 {
        return Vec::new();
    }
    let (own_labels, shared_labels) = labels.split_at(own);
    let own = own_labels.join(".");
    let longer = match (own_labels.len(), shared_labels.first()) {
        (2, Some(first)) => Some(format!("{own}.{first}")),
        _ => None,
    };
    std::iter::once(own).chain(longer).collect()
}

fn fits(ip: IpAddr, ip_mode: IpMode) -> bool {
    match ip_mode {
        IpMode::V4 => ip.is_ipv4(),
        IpMode::V6 => ip.is_ipv6(),
        IpMode::Dual => true,
    }
}

/// An address as the host of a URL writes it.
fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}
