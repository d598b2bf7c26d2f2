//! The kinds of objects Reef knows, by their API names.

use std::fmt;

macro_rules! kinds {
    ($($(#[$meta:meta])* $kind:ident in $group:literal,)*) => {
        /// A kind of configuration object. The order is the order of dumps.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$meta])* $kind,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The name in the API, such as `ServiceEntry`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind),)*
                }
            }

            /// The API group, empty for the core group.
            #[must_use]
            pub fn group(self) -> &'static str {
                match self {
                    $(Self::$kind => $group,)*
                }
            }
        }
    };
}

kinds! {
    /// Core `Namespace`; its key has its own name as namespace.
    Namespace in "",
    /// Core `Node`; cluster scoped, its key has the namespace `default`.
    Node in "",
    /// Core `Pod`.
    Pod in "",
    /// Core `Service`.
    Service in "",
    /// `EndpointSlice` of `discovery.k8s.io`.
    EndpointSlice in "discovery.k8s.io",
    /// Core `Endpoints`, read only where a service has no slices.
    Endpoints in "",
    /// Core `ConfigMap`; only the mesh configuration is read.
    ConfigMap in "",
    /// Istio `ServiceEntry`.
    ServiceEntry in "networking.istio.io",
    /// Istio `WorkloadEntry`.
    WorkloadEntry in "networking.istio.io",
    /// Istio `WorkloadGroup`.
    WorkloadGroup in "networking.istio.io",
    /// Istio `Sidecar`.
    Sidecar in "networking.istio.io",
    /// Istio `VirtualService`.
    VirtualService in "networking.istio.io",
    /// Istio `DestinationRule`.
    DestinationRule in "networking.istio.io",
    /// Istio `Gateway` (not the Gateway API's).
    Gateway in "networking.istio.io",
    /// Istio `PeerAuthentication`.
    PeerAuthentication in "security.istio.io",
    /// Istio `RequestAuthentication`.
    RequestAuthentication in "security.istio.io",
    /// Istio `AuthorizationPolicy`.
    AuthorizationPolicy in "security.istio.io",
    /// Istio `EnvoyFilter`.
    EnvoyFilter in "networking.istio.io",
    /// Istio `Telemetry`.
    Telemetry in "telemetry.istio.io",
    /// Istio `ProxyConfig`.
    ProxyConfig in "networking.istio.io",
}

impl Kind {
    /// The kind that an object's `apiVersion` and `kind` name, whatever the version of the group.
    ///
    /// The group must fit: a `Gateway` of `gateway.networking.k8s.io` is not Istio's `Gateway`.
    #[must_use]
    pub fn from_api(api_version: &str, kind: &str) -> Option<Self> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        Self::ALL
            .iter()
            .copied()
            .find(|k| k.as_str() == kind && k.group() == group)
    }

    /// Whether the API puts the kind into a namespace.
    #[must_use]
    pub fn is_namespaced(self) -> bool {
        !matches!(self, Self::Namespace | Self::Node)
    }

    /// Whether the kind is one of Istio's.
    #[must_use]
    pub fn is_istio(self) -> bool {
        self.group().ends_with("istio.io")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
