//! What is measured, as numbers.

/// A mesh, its proxies and what happens to it.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// Name in the results.
    pub(crate) name: &'static str,
    /// Namespaces the services are spread over.
    pub(crate) namespaces: usize,
    /// Kubernetes services.
    pub(crate) services: usize,
    /// Service entries (STATIC), all in one namespace.
    pub(crate) service_entries: usize,
    /// Endpoints of each service or entry.
    pub(crate) endpoints: usize,
    /// Simulated proxies, spread over the namespaces.
    pub(crate) proxies: usize,
    /// Hosts in the egress of each namespace's `Sidecar`; 0 means no `Sidecar`.
    pub(crate) scope: usize,
    /// Edits of one file.
    pub(crate) edits: usize,
}

/// The cold sync: 1,000 services × 5 endpoints, 1,000 proxies in 50 namespaces of 20 services.
pub(crate) const THOUSAND: Scenario = Scenario {
    name: "thousand",
    namespaces: 50,
    services: 1000,
    service_entries: 0,
    endpoints: 5,
    proxies: 1000,
    scope: 20,
    edits: 30,
};

/// The large directory: 10,000 entries, one a file, 200,000 endpoints, about 17 MB; 50 proxies import 20 each.
pub(crate) const LARGE_DIRECTORY: Scenario = Scenario {
    name: "large-directory",
    namespaces: 10,
    services: 0,
    service_entries: 10_000,
    endpoints: 20,
    proxies: 50,
    scope: 20,
    edits: 30,
};

/// One edit of one file among 2,000 services: 400 proxies in 100 namespaces, of which four import the service.
pub(crate) const ONE_EDIT: Scenario = Scenario {
    name: "one-edit",
    namespaces: 100,
    services: 2000,
    service_entries: 0,
    endpoints: 5,
    proxies: 400,
    scope: 20,
    edits: 30,
};

/// Ten times the cold sync.
pub(crate) const TEN_THOUSAND: Scenario = Scenario {
    name: "ten-thousand",
    namespaces: 100,
    services: 2000,
    service_entries: 0,
    endpoints: 5,
    proxies: 10_000,
    scope: 20,
    edits: 30,
};

/// The cluster: 10,000 Services, 20,000 Pods and 10,000 EndpointSlices in a real API server; 1,000 proxies, each
/// of which sees the 20 services of its namespace.
pub(crate) const KUBE: Scenario = Scenario {
    name: "kube",
    namespaces: 500,
    services: 10_000,
    service_entries: 0,
    endpoints: 2,
    proxies: 1000,
    scope: 20,
    edits: 100,
};

/// The same with proxies that come over TLS.
pub(crate) const KUBE_TLS: Scenario = Scenario {
    name: "kube-tls",
    ..KUBE
};

/// What is counted instead of timed.
pub(crate) const SMALL: Scenario = Scenario {
    name: "small",
    namespaces: 10,
    services: 200,
    service_entries: 0,
    endpoints: 5,
    proxies: 100,
    scope: 20,
    edits: 1,
};

impl Scenario {
    /// The same shape with fewer of everything but the scope.
    pub(crate) fn shrunk(&self, by: usize) -> Self {
        let less = |count: usize| {
            if count == 0 {
                0
            } else {
                (count / by.max(1)).max(1)
            }
        };
        Self {
            namespaces: less(self.namespaces),
            services: less(self.services),
            service_entries: less(self.service_entries),
            proxies: less(self.proxies),
            edits: less(self.edits),
            ..self.clone()
        }
    }

    /// Namespace of the service or proxy of this number.
    pub(crate) fn namespace(&self, of: usize) -> String {
        format!("ns{}", of % self.namespaces)
    }
}
