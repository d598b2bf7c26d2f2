//! `istio.mesh.v1alpha1.MeshNetworks`: which endpoints are in which network, and the gateways into each.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The networks of a mesh, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MeshNetworks {
    /// Each network.
    pub networks: BTreeMap<Arc<str>, Network>,
}

api_structs! {
    /// `Network`.
    pub struct Network {
        /// What is in it.
        pub endpoints: Vec<NetworkEndpoints>,
        /// How it is entered from other networks.
        pub gateways: Vec<IstioNetworkGateway>,
    }

    /// `Network.NetworkEndpoints`: one of both.
    pub struct NetworkEndpoints {
        /// Endpoints with an address in this range.
        pub from_cidr: Option<Box<str>>,
        /// Endpoints of the cluster of this name.
        pub from_registry: Option<Box<str>>,
    }

    /// `Network.IstioNetworkGateway`: one of the first two.
    pub struct IstioNetworkGateway {
        /// Host name of a Service whose external addresses are the gateway's.
        pub registry_service_name: Option<Box<str>>,
        /// Its address, or a name.
        pub address: Option<Box<str>>,
        /// Its port.
        pub port: u32,
        /// Where it is; nothing reads it.
        pub locality: Option<Box<str>>,
    }
}

impl Eq for Network {}
impl Eq for NetworkEndpoints {}
impl Eq for IstioNetworkGateway {}

impl NetworkEndpoints {
    /// Its range, if it has one: an address and the length of the prefix.
    #[must_use]
    pub fn range(&self) -> Option<(IpAddr, u8)> {
        let (ip, prefix) = self.from_cidr.as_deref()?.split_once('/')?;
        let ip: IpAddr = ip.parse().ok()?;
        let prefix: u8 = prefix.parse().ok()?;
        let widest = if ip.is_ipv4() { 32 } else { 128 };
        (prefix <= widest).then_some((ip, prefix))
    }
}
