//! Endpoints, stored compactly: two hundred thousand of them must fit beside everything else.

use std::fmt;
use std::sync::Arc;

use reef_config::names::{ClusterId, Namespace};

use reef_config::Labels;

use crate::Address;

/// Whether an endpoint may receive requests.
///
/// Terminating endpoints are not stored, and draining ones only for services with persistent
/// sessions; so whatever is stored is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// Ready.
    Healthy,
    /// Not ready, not going away.
    Unhealthy,
    /// Going away, kept for sessions that stick to it.
    Draining,
}

/// Whether the workload's proxy accepts mesh mTLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsMode {
    /// No proxy, or one that does not do mTLS.
    Disabled,
    /// Istio mutual TLS.
    Istio,
}

/// Region, zone and subzone; empty parts are unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locality {
    /// Region.
    pub region: Arc<str>,
    /// Zone.
    pub zone: Arc<str>,
    /// Subzone.
    pub subzone: Arc<str>,
}

impl Locality {
    /// Parses `region/zone/subzone`, trailing parts optional.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parts = text.splitn(3, '/').map(Arc::<str>::from);
        let mut next = || parts.next().unwrap_or_default();
        Self {
            region: next(),
            zone: next(),
            subzone: next(),
        }
    }

    /// True if nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.region.is_empty() && self.zone.is_empty() && self.subzone.is_empty()
    }
}

impl fmt::Display for Locality {
    /// Writes `region/zone/subzone` without empty trailing parts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.region)?;
        if !self.zone.is_empty() || !self.subzone.is_empty() {
            write!(f, "/{}", self.zone)?;
        }
        if !self.subzone.is_empty() {
            write!(f, "/{}", self.subzone)?;
        }
        Ok(())
    }
}

/// What runs behind an endpoint; endpoints of one workload share it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// Name of the workload (deployment), or empty.
    pub name: Arc<str>,
    /// Namespace it runs in.
    pub namespace: Namespace,
    /// Canonical service name, or empty.
    pub canonical_service: Arc<str>,
    /// Canonical revision; empty for `latest`.
    pub revision: Arc<str>,
    /// Cluster it runs in.
    pub cluster: ClusterId,
    /// SPIFFE identity of its service account, or empty.
    pub service_account: Arc<str>,
    /// Its labels.
    pub labels: Labels,
    /// `<host name>.<subdomain>` of a pod that has a subdomain: its own name within a headless
    /// service.
    pub host: Option<Arc<str>>,
}

/// One address that serves one port of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Where to connect.
    pub address: Address,
    /// Port to connect to; 0 for Unix sockets.
    pub port: u16,
    /// Load-balancing weight, at least 1.
    pub weight: u32,
    /// Health as the source tells it.
    pub health: Health,
    /// mTLS readiness.
    pub tls_mode: TlsMode,
    /// Locality, shared.
    pub locality: Arc<Locality>,
    /// Name of the node it runs on.
    pub node: Option<Arc<str>>,
    /// Network it is in; empty is the default network.
    pub network: Arc<str>,
    /// Workload facts, shared.
    pub workload: Arc<Workload>,
}

/// Endpoints of the port of this name.
pub type PortEndpoints = (Arc<str>, Box<[Endpoint]>);

/// All endpoints of one service, by port name in service-port order.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceEndpoints {
    /// Port name and its endpoints; a port without endpoints is there with none.
    pub ports: Box<[PortEndpoints]>,
}

impl ServiceEndpoints {
    /// Endpoints of the port called `name`.
    #[must_use]
    pub fn of_port(&self, name: &str) -> &[Endpoint] {
        self.ports
            .iter()
            .find(|(port, _)| **port == *name)
            .map_or(&[], |(_, list)| list)
    }

    /// All endpoints of all ports.
    pub fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        self.ports.iter().flat_map(|(_, list)| list.iter())
    }

    /// Number of endpoints, summed over ports.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ports.iter().map(|(_, list)| list.len()).sum()
    }

    /// True if no port has an endpoint.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
