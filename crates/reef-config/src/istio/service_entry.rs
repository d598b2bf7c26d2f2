//! `ServiceEntry`, `WorkloadEntry` and `WorkloadGroup`; compact, for there may be hundreds of thousands.

use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::labels::{Labels, intern, interned_option};
use crate::names::Hostname;

use super::WorkloadSelector;

api_structs! {
    /// A `ServiceEntry`.
    pub struct ServiceEntry {
        /// Hosts, wildcards allowed.
        pub hosts: Vec<Hostname>,
        /// Virtual addresses or prefixes.
        pub addresses: Vec<Box<str>>,
        /// Ports.
        pub ports: Vec<ServiceEntryPort>,
        /// Inside or outside the mesh.
        pub location: Location,
        /// How endpoints are found.
        pub resolution: Resolution,
        /// Endpoints written here.
        pub endpoints: Vec<WorkloadEntry>,
        /// Endpoints found by label.
        pub workload_selector: Option<WorkloadSelector>,
        /// Namespaces that see it; empty means the mesh default.
        pub export_to: Vec<Box<str>>,
        /// Names the endpoints' certificates must have.
        pub subject_alt_names: Vec<Box<str>>,
        /// `status`, which holds addresses allocated by a controller.
        pub status: Option<ServiceEntryStatus>,
    }

    /// `ServicePort` of a ServiceEntry.
    pub struct ServiceEntryPort {
        /// Number.
        pub number: u32,
        /// Protocol.
        #[serde(deserialize_with = "interned_option")]
        pub protocol: Option<Arc<str>>,
        /// Name.
        #[serde(deserialize_with = "interned_option")]
        pub name: Option<Arc<str>>,
        /// Port of the endpoints; the same as `number` if absent.
        pub target_port: Option<u32>,
    }

    /// `ServiceEntryStatus`.
    pub struct ServiceEntryStatus {
        /// Allocated addresses.
        pub addresses: Vec<ServiceEntryAddress>,
    }

    /// `ServiceEntryAddress`.
    pub struct ServiceEntryAddress {
        /// Address.
        pub value: Box<str>,
        /// Host it stands for.
        pub host: Option<Hostname>,
    }

    /// A `WorkloadEntry`, alone or inside a ServiceEntry.
    pub struct WorkloadEntry {
        /// Address, DNS name or `unix:///path`; empty only with a network.
        pub address: Box<str>,
        /// Ports by the name of the service port.
        pub ports: PortMap,
        /// Labels.
        pub labels: Labels,
        /// Network.
        #[serde(deserialize_with = "interned_option")]
        pub network: Option<Arc<str>>,
        /// `region/zone/sub-zone`.
        #[serde(deserialize_with = "interned_option")]
        pub locality: Option<Arc<str>>,
        /// Share of the traffic relative to the other endpoints.
        pub weight: Option<u32>,
        /// Service account.
        #[serde(deserialize_with = "interned_option")]
        pub service_account: Option<Arc<str>>,
        /// Condition `Healthy` of its own `status`, if there.
        #[serde(skip)]
        pub healthy: Option<bool>,
    }

    /// A `WorkloadGroup`.
    pub struct WorkloadGroup {
        /// Metadata of the WorkloadEntries made from it.
        pub metadata: Option<WorkloadGroupMeta>,
        /// The WorkloadEntries made from it.
        pub template: WorkloadEntry,
        /// How the workload's health is found, run by the agent beside it.
        pub probe: Option<serde_json::Value>,
    }

    /// `WorkloadGroup.metadata`.
    pub struct WorkloadGroupMeta {
        /// Labels.
        pub labels: Labels,
        /// Annotations.
        pub annotations: Labels,
    }
}

api_enum! {
    /// `ServiceEntry.Location`.
    pub enum Location {
        /// Outside the mesh.
        MeshExternal = "MESH_EXTERNAL",
        /// Part of the mesh.
        MeshInternal = "MESH_INTERNAL",
    } default MeshExternal
}

api_enum! {
    /// `ServiceEntry.Resolution`.
    pub enum Resolution {
        /// The address the client asked for.
        None = "NONE",
        /// The endpoints' addresses.
        Static = "STATIC",
        /// DNS, all answers.
        Dns = "DNS",
        /// DNS, one answer at a time.
        DnsRoundRobin = "DNS_ROUND_ROBIN",
        /// DNS of the name the client asked for.
        DynamicDns = "DYNAMIC_DNS",
    } default None
}

/// A port's name and number.
type Port = (Arc<str>, u32);

/// Ports by name, sorted; nothing is allocated while it is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortMap(Option<Arc<[Port]>>);

impl PortMap {
    /// The number of a port.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u32> {
        self.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, number)| number)
    }

    /// The ports in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, u32)> {
        self.0
            .as_deref()
            .unwrap_or_default()
            .iter()
            .map(|(name, number)| (&**name, *number))
    }

    /// Whether there is no port.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl<N: AsRef<str>> FromIterator<(N, u32)> for PortMap {
    fn from_iter<I: IntoIterator<Item = (N, u32)>>(ports: I) -> Self {
        let mut ports: Vec<(Arc<str>, u32)> = ports
            .into_iter()
            .map(|(name, number)| (intern(name.as_ref()), number))
            .collect();
        ports.sort_by(|a, b| a.0.cmp(&b.0));
        if ports.is_empty() {
            Self(None)
        } else {
            Self(Some(ports.into()))
        }
    }
}

impl Serialize for PortMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for PortMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ports;
        impl<'de> Visitor<'de> for Ports {
            type Value = PortMap;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of port names to numbers")
            }
            fn visit_unit<E>(self) -> Result<PortMap, E> {
                Ok(PortMap::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PortMap, A::Error> {
                let mut ports: Vec<(String, u32)> = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    ports.push(entry);
                }
                Ok(ports.into_iter().collect())
            }
        }
        deserializer.deserialize_map(Ports)
    }
}
