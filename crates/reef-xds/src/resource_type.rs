//! The resource types of xDS and the messages that carry them.

use std::fmt;

use prost::{Message, Name};
use thiserror::Error;
use xds_api::envoy::{
    config::{
        cluster::v3::Cluster,
        core::v3::TypedExtensionConfig,
        endpoint::v3::ClusterLoadAssignment,
        listener::v3::Listener,
        route::v3::{RouteConfiguration, ScopedRouteConfiguration, VirtualHost},
    },
    extensions::transport_sockets::tls::v3::Secret,
    service::runtime::v3::Runtime,
};
use xds_api::istio::networking::nds::v1::NameTable;

/// A type of resource that a proxy subscribes to.
///
/// Types order as they are sent: what is referred to goes before what refers to it (a cluster before
/// the routes to it), so that no proxy holds a reference to something it was not told yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// `Cluster`: CDS.
    Cluster,
    /// `ClusterLoadAssignment`: EDS.
    Endpoint,
    /// `Listener`: LDS.
    Listener,
    /// `ScopedRouteConfiguration`: SRDS.
    ScopedRoute,
    /// `RouteConfiguration`: RDS.
    Route,
    /// `VirtualHost`: VHDS.
    VirtualHost,
    /// `Secret`: SDS.
    Secret,
    /// `TypedExtensionConfig`: ECDS.
    ExtensionConfig,
    /// `Runtime`: RTDS.
    Runtime,
    /// Istio's `NameTable`: NDS, asked for by the agent beside a proxy.
    NameTable,
}

/// A type URL that is none of [`ResourceType::ALL`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{type_url}` is not an xDS resource type")]
pub struct UnknownTypeUrl {
    /// What was given.
    pub type_url: String,
}

impl ResourceType {
    /// Every type, in sending order.
    pub const ALL: [Self; 10] = [
        Self::Cluster,
        Self::Endpoint,
        Self::Listener,
        Self::ScopedRoute,
        Self::Route,
        Self::VirtualHost,
        Self::Secret,
        Self::ExtensionConfig,
        Self::Runtime,
        Self::NameTable,
    ];

    /// The type URL used on the wire, for example
    /// `type.googleapis.com/envoy.config.cluster.v3.Cluster`.
    #[must_use]
    pub const fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::ScopedRoute => {
                "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration"
            }
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::VirtualHost => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::ExtensionConfig => {
                "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
            }
            Self::Runtime => "type.googleapis.com/envoy.service.runtime.v3.Runtime",
            Self::NameTable => "type.googleapis.com/istio.networking.nds.v1.NameTable",
        }
    }

    /// The name of the discovery service, for logs and metric labels: `CDS`, `EDS`, ….
    #[must_use]
    pub const fn short_name(self) -> &'static str {
        match self {
            Self::Cluster => "CDS",
            Self::Endpoint => "EDS",
            Self::Listener => "LDS",
            Self::ScopedRoute => "SRDS",
            Self::Route => "RDS",
            Self::VirtualHost => "VHDS",
            Self::Secret => "SDS",
            Self::ExtensionConfig => "ECDS",
            Self::Runtime => "RTDS",
            Self::NameTable => "NDS",
        }
    }

    /// Returns the type with this URL.
    #[must_use]
    pub fn from_url(type_url: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|candidate| candidate.type_url() == type_url)
    }

    /// Whether a state-of-the-world response must hold every resource: a listener or cluster that is
    /// absent from it is removed by the proxy, a resource of another type is not.
    #[must_use]
    pub const fn is_full_state(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.short_name())
    }
}

impl std::str::FromStr for ResourceType {
    type Err = UnknownTypeUrl;

    fn from_str(type_url: &str) -> Result<Self, Self::Err> {
        Self::from_url(type_url).ok_or_else(|| UnknownTypeUrl {
            type_url: type_url.to_owned(),
        })
    }
}

/// A message that is itself a resource of xDS.
pub trait XdsResource: Message + Name + Default {
    /// The type it is subscribed to as.
    const TYPE: ResourceType;
}

macro_rules! resources {
    ($($message:ident => $variant:ident),+ $(,)?) => {
        $(impl XdsResource for $message {
            const TYPE: ResourceType = ResourceType::$variant;
        })+
    };
}

resources! {
    Cluster => Cluster,
    ClusterLoadAssignment => Endpoint,
    Listener => Listener,
    ScopedRouteConfiguration => ScopedRoute,
    RouteConfiguration => Route,
    VirtualHost => VirtualHost,
    Secret => Secret,
    TypedExtensionConfig => ExtensionConfig,
    Runtime => Runtime,
    NameTable => NameTable,
}
