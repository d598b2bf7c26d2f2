//! The table of names: addresses by host, for agents that answer the DNS queries of the workload
//! beside them.
//!
//! Only proxies whose metadata says so (`DNS_CAPTURE`) have one. It is one resource without a name.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use reef_mesh::{Address, Endpoint, Health, IpMode, Registry, Resolution, Service};
use xds_api::istio::networking::nds::v1 as nds;

use crate::input::ClassInput;

/// Everything a table of names reads: the table itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct NameTableKey {
    hosts: BTreeMap<Arc<str>, Named>,
}

/// A host of the table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Named {
    /// Addresses in the order of the services that bring them, each once.
    ips: Vec<String>,
    registry: Registry,
    /// Name and namespace, from which the agent makes shorter names.
    short: Option<(Arc<str>, Arc<str>)>,
}

/// Selects the table of names of a class; none if its proxies resolve no names.
#[must_use]
pub fn name_table_keys(input: &ClassInput) -> Vec<NameTableKey> {
    if input.proxy.name_table.is_none() {
        return Vec::new();
    }
    let mut key = NameTableKey::default();
    let listeners = input.scope.egress.iter();
    for service in listeners.flat_map(|egress| &egress.services) {
        key.add(input, service);
    }
    vec![key]
}

/// True if the table of names reads the endpoints of a service, not only its addresses.
#[must_use]
pub fn names_endpoints(service: &Service) -> bool {
    service.resolution == Resolution::Passthrough && service.addresses.is_empty()
}

/// Builds the table.
#[must_use]
pub fn build_name_table(key: &NameTableKey) -> nds::NameTable {
    let hosts = key.hosts.iter().map(|(host, named)| {
        let text = |it: Option<&Arc<str>>| it.map(ToString::to_string).unwrap_or_default();
        let registry = match named.registry {
            Registry::Kubernetes => "Kubernetes",
            Registry::ServiceEntry => "External",
        };
        let info = nds::name_table::NameInfo {
            ips: named.ips.clone(),
            registry: registry.to_owned(),
            shortname: text(named.short.as_ref().map(|(name, _)| name)),
            namespace: text(named.short.as_ref().map(|(_, namespace)| namespace)),
            alt_hosts: Vec::new(),
        };
        (host.to_string(), info)
    });
    nds::NameTable {
        table: hosts.collect(),
    }
}

impl NameTableKey {
    fn add(&mut self, input: &ClassInput, service: &Service) {
        let ips = if names_endpoints(service) {
            self.add_headless(input, service)
        } else {
            own_addresses(service, input.proxy.ip_mode)
        };
        if ips.is_empty() {
            return;
        }
        let named = Named {
            ips,
            registry: service.registry,
            short: (service.registry == Registry::Kubernetes).then(|| {
                let namespace = service.key.namespace.shared();
                (service.name.clone(), namespace.clone())
            }),
        };
        match self.hosts.entry(service.key.hostname.shared().clone()) {
            Entry::Vacant(free) => {
                free.insert(named);
            }
            Entry::Occupied(mut known) => known.get_mut().join(named),
        }
    }

    /// Addresses of the endpoints that can be asked for; hosts of pods that have names of their own
    /// are added.
    fn add_headless(&mut self, input: &ClassInput, service: &Service) -> Vec<String> {
        let Some(port) = service.ports.first() else {
            return Vec::new();
        };
        let Some(endpoints) = input.snapshot.endpoints(&service.key) else {
            return Vec::new();
        };
        let network = input.proxy.name_table.as_deref().unwrap_or_default();
        let near = |endpoint: &&Endpoint| {
            let ready = service.publish_not_ready || endpoint.health == Health::Healthy;
            let of = &*endpoint.network;
            ready && (of == network || of.is_empty() || network.is_empty())
        };
        let mut ips = Vec::new();
        for endpoint in endpoints.of_port(&port.name).iter().filter(near) {
            let Some(ip) = endpoint.address.ip().map(|ip| ip.to_string()) else {
                continue;
            };
            let domain = service.key.hostname.split_once('.');
            if let (Some(own), Some((_, domain))) = (&endpoint.workload.host, domain) {
                let named = Named {
                    ips: vec![ip.clone()],
                    registry: service.registry,
                    short: Some((own.clone(), service.key.namespace.shared().clone())),
                };
                let host = Arc::from(format!("{own}.{domain}"));
                self.hosts.entry(host).or_insert(named);
            }
            if !ips.contains(&ip) {
                ips.push(ip);
            }
        }
        ips
    }
}

impl Named {
    /// One host of two services: the one of Kubernetes counts, others add to each other.
    fn join(&mut self, other: Self) {
        match (self.registry, other.registry) {
            (Registry::Kubernetes, _) => {}
            (Registry::ServiceEntry, Registry::Kubernetes) => *self = other,
            (Registry::ServiceEntry, Registry::ServiceEntry) => {
                for ip in other.ips {
                    if !self.ips.contains(&ip) {
                        self.ips.push(ip);
                    }
                }
            }
        }
    }
}

/// Addresses of the proxy's families; ranges are no addresses.
fn own_addresses(service: &Service, families: IpMode) -> Vec<String> {
    let addresses = service.virtual_addresses(true).iter();
    addresses
        .filter_map(Address::ip)
        .filter(|ip| !ip.is_unspecified())
        .filter(|ip| match families {
            IpMode::V4 => ip.is_ipv4(),
            IpMode::V6 => ip.is_ipv6(),
            IpMode::Dual => true,
        })
        .map(|ip| ip.to_string())
        .collect()
}
