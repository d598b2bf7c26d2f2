//! Which kinds are followed, and where the API has them.

use std::fmt;

use reef_config::Kind;

/// Versions of Istio's groups, the preferred one first.
const ISTIO_VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3", "v1alpha1"];

/// Versions of Kubernetes' own kinds.
const CORE_VERSIONS: &[&str] = &["v1"];

/// The kinds that are followed everywhere, in the order of dumps; the ConfigMap is one object and not among them.
///
/// `Endpoints` is not: every service that has them has slices in a cluster, which mirrors them.
pub(crate) const FOLLOWED: &[Kind] = &[
    Kind::Namespace,
    Kind::Node,
    Kind::Pod,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::ServiceEntry,
    Kind::WorkloadEntry,
    Kind::WorkloadGroup,
    Kind::Sidecar,
    Kind::VirtualService,
    Kind::DestinationRule,
    Kind::Gateway,
    Kind::PeerAuthentication,
    Kind::RequestAuthentication,
    Kind::AuthorizationPolicy,
    Kind::EnvoyFilter,
    Kind::Telemetry,
    Kind::ProxyConfig,
];

/// The versions a kind may be served in, the preferred one first.
pub(crate) fn versions(kind: Kind) -> &'static [&'static str] {
    if kind.is_istio() {
        ISTIO_VERSIONS
    } else {
        CORE_VERSIONS
    }
}

/// The name of a kind in paths and in RBAC rules, such as `destinationrules`.
pub(crate) fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Namespace => "namespaces",
        Kind::Node => "nodes",
        Kind::Pod => "pods",
        Kind::Service => "services",
        Kind::EndpointSlice => "endpointslices",
        Kind::Endpoints => "endpoints",
        Kind::ConfigMap => "configmaps",
        Kind::ServiceEntry => "serviceentries",
        Kind::WorkloadEntry => "workloadentries",
        Kind::WorkloadGroup => "workloadgroups",
        Kind::Sidecar => "sidecars",
        Kind::VirtualService => "virtualservices",
        Kind::DestinationRule => "destinationrules",
        Kind::Gateway => "gateways",
        Kind::PeerAuthentication => "peerauthentications",
        Kind::RequestAuthentication => "requestauthentications",
        Kind::AuthorizationPolicy => "authorizationpolicies",
        Kind::EnvoyFilter => "envoyfilters",
        Kind::Telemetry => "telemetries",
        Kind::ProxyConfig => "proxyconfigs",
    }
}

/// The name of a kind as RBAC and `kubectl` say it: `pods`, `sidecars.networking.istio.io`.
pub(crate) fn qualified(kind: Kind) -> String {
    match kind.group() {
        "" => plural(kind).to_owned(),
        group => format!("{}.{group}", plural(kind)),
    }
}

/// What is followed: a kind, or one object of it.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    /// The kind.
    pub(crate) kind: Kind,
    /// Namespace and name, if it is one object.
    pub(crate) one: Option<(String, String)>,
}

impl Resource {
    /// Every object of a kind.
    pub(crate) fn all(kind: Kind) -> Self {
        Self { kind, one: None }
    }

    /// The same of one namespace.
    pub(crate) fn url_in(
        &self,
        namespace: &str,
        version: &str,
        query: &impl fmt::Display,
    ) -> String {
        let plural = plural(self.kind);
        let inside = format!("/namespaces/{namespace}/{plural}?");
        self.url(version, query)
            .replacen(&format!("/{plural}?"), &inside, 1)
    }

    /// The path and query of a request, with these further parameters.
    pub(crate) fn url(&self, version: &str, query: &impl fmt::Display) -> String {
        let group = self.kind.group();
        let root = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        let plural = plural(self.kind);
        match &self.one {
            // RBAC by resourceNames allows a list or watch of one name only with this selector.
            Some((namespace, name)) => format!(
                "{root}/namespaces/{namespace}/{plural}?fieldSelector=metadata.name%3D{name}&{query}"
            ),
            // Pods that ended serve nothing and their addresses may be another pod's by now.
            None if self.kind == Kind::Pod => format!(
                "{root}/{plural}?fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed&{query}"
            ),
            None => format!("{root}/{plural}?{query}"),
        }
    }
}
