//! Names of clusters in statistics, where the mesh has a pattern for them.

use std::sync::Arc;

use reef_mesh::{Registry, Service, ServicePort, TargetPort};

/// What a pattern may name.
#[derive(Debug)]
pub(crate) struct Named<'a> {
    /// Fully qualified host name.
    pub host: &'a str,
    /// Name of the service and its namespace, if it is one of Kubernetes.
    pub short: Option<(&'a str, &'a str)>,
    /// Name of the subset; empty for the whole service.
    pub subset: &'a str,
    /// Number of the service port.
    pub port: u16,
    /// Name of the service port.
    pub port_name: &'a str,
    /// Port of the workload, as text.
    pub target: String,
}

impl<'a> Named<'a> {
    /// What there is to name of a service port. `target` is the workload's port, if it is known.
    pub(crate) fn of(service: &'a Service, port: &'a ServicePort, target: Option<u16>) -> Self {
        let target = target.map(|number| number.to_string());
        Self {
            host: &service.key.hostname,
            short: (service.registry == Registry::Kubernetes)
                .then_some((&*service.name, &*service.key.namespace)),
            subset: "",
            port: port.number,
            port_name: &port.name,
            target: target.unwrap_or_else(|| match &port.target {
                TargetPort::Same => port.number.to_string(),
                TargetPort::Number(number) => number.to_string(),
                TargetPort::Named(name) => name.to_string(),
            }),
        }
    }

    /// The pattern with its parts filled in. Unknown parts stay as they are.
    pub(crate) fn fill(&self, pattern: &str) -> Arc<str> {
        let (service, name) = match self.short {
            Some((name, namespace)) => (format!("{name}.{namespace}"), name),
            None => (self.host.to_owned(), self.host),
        };
        let text = pattern
            .replace("%SERVICE%", &service)
            .replace("%SERVICE_NAME%", name)
            .replace("%SERVICE_FQDN%", self.host)
            .replace("%SERVICE_PORT%", &self.port.to_string())
            .replace("%SERVICE_PORT_NAME%", self.port_name)
            .replace("%TARGET_PORT%", &self.target)
            .replace("%SUBSET_NAME%", self.subset);
        Arc::from(text)
    }
}
