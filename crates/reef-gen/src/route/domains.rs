//! Under which names a client may ask for a service, in Istio's order.

use std::net::IpAddr;
use std::ops::Range;

use reef_mesh::{Address, IpMode, Service};

use super::{Asked, Host, HostRoutes};

/// A domain a host would have, if it were alone.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub text: String,
    /// Where in it a short form of the host stands: if some service has that name, it is meant.
    pub short: Option<Range<usize>>,
}

impl Candidate {
    fn whole(text: String) -> Self {
        Self { text, short: None }
    }

    fn short(text: String) -> Self {
        let short = Some(0..text.len());
        Self { text, short }
    }

    /// Under it, any name.
    fn below(&self) -> Self {
        Self {
            text: format!("*.{}", self.text),
            short: self.short.as_ref().map(|at| at.start + 2..at.end + 2),
        }
    }
}

/// Domains a virtual host would have, if it were alone; always in the same order.
pub(crate) fn candidates(routes: &HostRoutes, asked: &Asked, auto: bool) -> Vec<Candidate> {
    let domains = match &routes.host {
        Host::Service(service) => of_service(service, &asked.dns_domain, (asked.ip_mode, auto)),
        Host::Named(name) => vec![Candidate::whole(bare(name))],
    };
    if asked.with_ports {
        ported(domains, routes.number)
    } else {
        domains
    }
}

/// Adds each domain with its port. Unless it is the default port only what holds a colon remains;
/// an IPv6 address does.
fn ported(domains: Vec<Candidate>, port: u16) -> Vec<Candidate> {
    domains
        .into_iter()
        .flat_map(|domain| {
            let with_port = Candidate {
                text: format!("{}:{port}", domain.text),
                short: domain.short.clone(),
            };
            [domain, with_port]
        })
        .filter(|domain| port == 80 || domain.text.contains(':'))
        .collect()
}

/// Domains of a service for clients in `dns_domain`. `auto_addresses` counts addresses found for
/// services that declare none.
fn of_service(
    service: &Service,
    dns_domain: &str,
    (ip_mode, auto_addresses): (IpMode, bool),
) -> Vec<Candidate> {
    let mut domains = Vec::with_capacity(8);
    for host in std::iter::once(&service.key.hostname).chain(&service.aliases) {
        of_host(host, dns_domain, &mut domains);
    }
    if service.headless {
        let pods: Vec<Candidate> = domains.iter().map(Candidate::below).collect();
        domains.extend(pods);
    }
    let addresses = service.virtual_addresses(auto_addresses).iter();
    let addresses = addresses.filter_map(|address| match address {
        Address::Ip(ip) if ip.is_unspecified() => None,
        Address::Ip(ip) => fits(*ip, ip_mode).then(|| bracketed(*ip)),
        Address::Cidr(cidr) => fits(cidr.ip, ip_mode).then(|| cidr.to_string()),
        Address::Host(_) | Address::Pipe(_) => None,
    });
    domains.extend(addresses.map(Candidate::whole));
    domains
}

/// A host as it is asked for.
fn bare(host: &str) -> String {
    host.parse().map_or_else(|_| host.to_owned(), bracketed)
}

/// The host, the host as an absolute name, and its short forms.
fn of_host(host: &str, dns_domain: &str, domains: &mut Vec<Candidate>) {
    if let Ok(ip) = host.parse::<IpAddr>() {
        domains.push(Candidate::whole(bracketed(ip)));
        return;
    }
    domains.push(Candidate::whole(host.to_owned()));
    if host == "*" {
        return;
    }
    domains.push(Candidate::whole(format!("{host}.")));
    if !host.starts_with('*') {
        let short = short_forms(host, dns_domain).into_iter();
        domains.extend(short.map(Candidate::short));
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
