//! Names that several resources, and the rest of an Istio mesh, must agree on.
//!
//! A cluster's name is told in CDS and repeated in EDS, routes, statistics and telemetry. Names are
//! built and parsed here only, so both sides cannot drift apart.

use std::fmt;

/// Cluster without endpoints: where traffic goes that is not allowed to leave.
pub const BLACK_HOLE_CLUSTER: &str = "BlackHoleCluster";
/// Cluster that forwards outbound traffic to its original destination.
pub const PASSTHROUGH_CLUSTER: &str = "PassthroughCluster";
/// Cluster that forwards inbound traffic, for a port no service declares, to its original destination.
pub const INBOUND_PASSTHROUGH_CLUSTER: &str = "InboundPassthroughCluster";

/// The name of a cluster, taken apart.
///
/// `parse(name).to_string() == name` for every name that parses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterName<'a> {
    /// `outbound|<port>|<subset>|<host>`.
    Outbound {
        /// Port of the service (not of its workloads).
        port: u16,
        /// Subset of a destination rule; empty for all endpoints.
        subset: &'a str,
        /// Host name of the service.
        host: &'a str,
    },
    /// `inbound|<port>||`: the workload itself.
    Inbound {
        /// Port the application listens on.
        port: u16,
    },
    /// [`BLACK_HOLE_CLUSTER`].
    BlackHole,
    /// [`PASSTHROUGH_CLUSTER`].
    Passthrough,
    /// [`INBOUND_PASSTHROUGH_CLUSTER`].
    InboundPassthrough,
}

impl<'a> ClusterName<'a> {
    /// Takes a name apart; `None` if it has none of the known forms.
    #[must_use]
    pub fn parse(name: &'a str) -> Option<Self> {
        match name {
            BLACK_HOLE_CLUSTER => return Some(Self::BlackHole),
            PASSTHROUGH_CLUSTER => return Some(Self::Passthrough),
            INBOUND_PASSTHROUGH_CLUSTER => return Some(Self::InboundPassthrough),
            _ => {}
        }
        let mut parts = name.split('|');
        let (direction, port, subset, host) = (
            parts.next()?,
            parse_port(parts.next()?)?,
            parts.next()?,
            parts.next()?,
        );
        if parts.next().is_some() {
            return None;
        }
        match direction {
            "outbound" if !host.is_empty() => Some(Self::Outbound { port, subset, host }),
            "inbound" if subset.is_empty() && host.is_empty() => Some(Self::Inbound { port }),
            _ => None,
        }
    }
}

impl fmt::Display for ClusterName<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outbound { port, subset, host } => {
                write!(formatter, "outbound|{port}|{subset}|{host}")
            }
            Self::Inbound { port } => write!(formatter, "inbound|{port}||"),
            Self::BlackHole => formatter.write_str(BLACK_HOLE_CLUSTER),
            Self::Passthrough => formatter.write_str(PASSTHROUGH_CLUSTER),
            Self::InboundPassthrough => formatter.write_str(INBOUND_PASSTHROUGH_CLUSTER),
        }
    }
}

/// Name of the cluster of a service port: `outbound|<port>|<subset>|<host>`.
///
/// `subset` is empty for all endpoints. Neither `subset` nor `host` may hold a `|` (Kubernetes names
/// cannot).
#[must_use]
pub fn outbound_cluster(port: u16, subset: &str, host: &str) -> String {
    ClusterName::Outbound { port, subset, host }.to_string()
}

/// Name of the cluster of the application behind the proxy: `inbound|<port>||`.
#[must_use]
pub fn inbound_cluster(port: u16) -> String {
    ClusterName::Inbound { port }.to_string()
}

/// The server name a client sends in TLS: `outbound_.<port>_.<subset>_.<host>`.
///
/// It says what [`outbound_cluster`] says in characters that a server name allows.
#[must_use]
pub fn outbound_sni(port: u16, subset: &str, host: &str) -> String {
    format!("outbound_.{port}_.{subset}_.{host}")
}

/// Takes a server name apart that [`outbound_sni`] built; returns port, subset and host.
#[must_use]
pub fn parse_outbound_sni(sni: &str) -> Option<(u16, &str, &str)> {
    let (port, rest) = sni.strip_prefix("outbound_.")?.split_once("_.")?;
    let (subset, host) = rest.split_once("_.")?;
    if host.is_empty() || host.contains("_.") {
        return None;
    }
    Some((parse_port(port)?, subset, host))
}

/// Parses a port in the one form that is printed: no sign, no leading zero.
fn parse_port(text: &str) -> Option<u16> {
    let canonical = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    if canonical { text.parse().ok() } else { None }
}
