//! `VirtualService` with its TLS and TCP routes; HTTP routes are next door.

use crate::labels::Labels;
use crate::names::Hostname;

use super::{Destination, HttpRoute};

api_structs! {
    /// A `VirtualService`.
    pub struct VirtualService {
        /// Hosts it routes.
        pub hosts: Vec<Hostname>,
        /// Gateways it is bound to; empty means `mesh`, all sidecars.
        pub gateways: Vec<String>,
        /// HTTP routes, in order.
        pub http: Vec<HttpRoute>,
        /// TLS routes, in order.
        pub tls: Vec<TlsRoute>,
        /// TCP routes, in order.
        pub tcp: Vec<TcpRoute>,
        /// Namespaces that see it; empty means the mesh default.
        pub export_to: Vec<String>,
    }

    /// `TLSRoute`.
    pub struct TlsRoute {
        /// Conditions, one of which must hold.
        #[serde(rename = "match")]
        pub matches: Vec<TlsMatchAttributes>,
        /// Weighted destinations.
        pub route: Vec<RouteDestination>,
    }

    /// `TLSMatchAttributes`.
    pub struct TlsMatchAttributes {
        /// Server names, wildcards allowed.
        pub sni_hosts: Vec<Hostname>,
        /// Destination addresses or prefixes.
        pub destination_subnets: Vec<String>,
        /// Destination port.
        pub port: Option<u32>,
        /// Labels of the client.
        pub source_labels: Labels,
        /// Gateways; overrides those of the VirtualService.
        pub gateways: Vec<String>,
        /// Namespace of the client.
        pub source_namespace: Option<String>,
    }

    /// `TCPRoute`.
    pub struct TcpRoute {
        /// Conditions, one of which must hold; none means always.
        #[serde(rename = "match")]
        pub matches: Vec<L4MatchAttributes>,
        /// Weighted destinations.
        pub route: Vec<RouteDestination>,
    }

    /// `L4MatchAttributes`.
    pub struct L4MatchAttributes {
        /// Destination addresses or prefixes.
        pub destination_subnets: Vec<String>,
        /// Destination port.
        pub port: Option<u32>,
        /// Prefix of the client's address.
        pub source_subnet: Option<String>,
        /// Labels of the client.
        pub source_labels: Labels,
        /// Gateways; overrides those of the VirtualService.
        pub gateways: Vec<String>,
        /// Namespace of the client.
        pub source_namespace: Option<String>,
    }

    /// `RouteDestination`.
    pub struct RouteDestination {
        /// Where to.
        pub destination: Destination,
        /// Share of the traffic relative to the other destinations.
        pub weight: Option<i32>,
    }
}

/// What conditions of TLS and TCP routes have in common.
#[derive(Debug, Clone, Copy)]
pub struct L4Conditions<'m> {
    /// Destination addresses or prefixes.
    pub subnets: &'m [String],
    /// Destination port.
    pub port: Option<u32>,
    /// Labels of the client.
    pub labels: &'m Labels,
    /// Gateways; override those of the `VirtualService`.
    pub gateways: &'m [String],
    /// Namespace of the client.
    pub namespace: Option<&'m str>,
}

/// Reads the fields both kinds of conditions have.
macro_rules! conditions {
    ($($kind:ident)*) => {$(
        impl $kind {
            /// The conditions that have nothing to do with server names or the client's address.
            #[must_use]
            pub fn conditions(&self) -> L4Conditions<'_> {
                L4Conditions {
                    subnets: &self.destination_subnets,
                    port: self.port,
                    labels: &self.source_labels,
                    gateways: &self.gateways,
                    namespace: self.source_namespace.as_deref(),
                }
            }
        }
    )*};
}

conditions!(TlsMatchAttributes L4MatchAttributes);
