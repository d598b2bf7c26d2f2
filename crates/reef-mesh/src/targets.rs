//! Which services a proxy serves.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use reef_config::Labels;

use crate::{
    MeshSnapshot, Pod, Protocol, ProxyIdentity, Registry, Resolution, Service, ServicePort,
    TargetPort, WorkloadInstance,
};

/// One port of a service that a proxy's workload serves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceTarget {
    /// The service.
    pub service: Arc<Service>,
    /// Index into its ports.
    pub port: usize,
    /// Port the workload listens on.
    pub target_port: u16,
}

impl ServiceTarget {
    /// The service port.
    #[must_use]
    pub fn service_port(&self) -> &ServicePort {
        &self.service.ports[self.port]
    }
}

impl MeshSnapshot {
    /// Returns the service ports the proxy's workload serves, oldest service first, so that the
    /// oldest wins where two claim one port.
    ///
    /// Readiness does not matter. Costs a lookup per label and one of its address.
    #[must_use]
    pub fn service_targets(&self, proxy: &ProxyIdentity) -> Vec<ServiceTarget> {
        let entry = proxy
            .ips
            .first()
            .and_then(|ip| self.workload_entry_at(*ip, &proxy.namespace));
        let mut found = match entry {
            Some(entry) => self.targets_of_entry(entry),
            None => self.targets_by_selector(proxy),
        };
        if entry.is_none() && found.is_empty() {
            found = self.targets_by_address(proxy, Registry::Kubernetes);
        }
        found.extend(self.targets_by_address(proxy, Registry::ServiceEntry));
        found.sort_by(|a, b| {
            (
                a.service.created.is_none(),
                a.service.created,
                &a.service.key.hostname,
            )
                .cmp(&(
                    b.service.created.is_none(),
                    b.service.created,
                    &b.service.key.hostname,
                ))
        });
        found
    }

    /// Kubernetes services that select a workload entry.
    fn targets_of_entry(&self, entry: &WorkloadInstance) -> Vec<ServiceTarget> {
        let services = self
            .services_selecting(&entry.namespace, &entry.labels)
            .filter(|service| service.resolution == Resolution::ClientSide);
        let mut found = Vec::new();
        for service in services {
            push_ports(&mut found, service, false, |port| {
                entry.port_of(&port.name).or(match &port.target {
                    TargetPort::Number(number) => Some(*number),
                    TargetPort::Same => Some(port.number),
                    TargetPort::Named(name) => entry.port_of(name),
                })
            });
        }
        found
    }

    /// Kubernetes services whose selector matches the pod; the proxy's own word if there is none.
    fn targets_by_selector(&self, proxy: &ProxyIdentity) -> Vec<ServiceTarget> {
        let pod = proxy.pod.as_deref();
        let labels: &Labels = pod.map_or(&proxy.labels, |pod| &pod.labels);
        let namespace = pod.map_or(&proxy.namespace, |pod| &pod.namespace);
        let services = self
            .services_selecting(namespace, labels)
            .filter(|service| service.resolution != Resolution::Alias);
        let mut found = Vec::new();
        for service in services {
            push_ports(&mut found, service, true, |port| match &port.target {
                TargetPort::Number(number) => Some(*number),
                TargetPort::Same => Some(port.number),
                TargetPort::Named(name) => named_port(pod, proxy, name),
            });
        }
        found
    }

    /// Services with an endpoint at one of the proxy's addresses: service entries of its namespace,
    /// or Kubernetes services without selector.
    fn targets_by_address(&self, proxy: &ProxyIdentity, registry: Registry) -> Vec<ServiceTarget> {
        let Some(first) = proxy.ips.first().copied() else {
            return Vec::new();
        };
        let mut services: Vec<&Arc<Service>> = self
            .addressed
            .at(first)
            .filter(|key| key.namespace == proxy.namespace)
            .filter_map(|key| self.service(key))
            .filter(|service| service.registry == registry)
            .collect();
        services.sort_by(|one, other| one.order().cmp(&other.order()));
        let mut found = Vec::new();
        for service in services {
            let Some(endpoints) = self.endpoints(&service.key) else {
                continue;
            };
            push_ports(
                &mut found,
                service,
                registry == Registry::ServiceEntry,
                |port| {
                    let here = |ip: IpAddr| ip == first;
                    endpoints
                        .of_port(&port.name)
                        .iter()
                        .find(|endpoint| endpoint.address.ip().is_some_and(here))
                        .map(|endpoint| endpoint.port)
                },
            );
        }
        found
    }
}

/// Adds the ports of `service` that `resolve` knows a workload port for; of those with the same
/// workload port and protocol only the first.
fn push_ports(
    found: &mut Vec<ServiceTarget>,
    service: &Arc<Service>,
    with_udp: bool,
    resolve: impl Fn(&ServicePort) -> Option<u16>,
) {
    let mut seen = BTreeSet::new();
    for (index, port) in service.ports.iter().enumerate() {
        if port.protocol == Protocol::Udp && !with_udp {
            continue;
        }
        let Some(target_port) = resolve(port) else {
            continue;
        };
        if seen.insert((target_port, port.protocol)) {
            found.push(ServiceTarget {
                service: service.clone(),
                port: index,
                target_port,
            });
        }
    }
}

fn named_port(pod: Option<&Pod>, proxy: &ProxyIdentity, name: &str) -> Option<u16> {
    let ports = pod.map_or(&*proxy.pod_ports, |pod| &pod.ports);
    ports
        .iter()
        .find(|(known, _)| **known == *name)
        .map(|(_, number)| *number)
}
