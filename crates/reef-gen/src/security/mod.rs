//! What secures a workload's ports and its connections: mTLS contexts, and the denial of what can't
//! be enforced.
//!
//! Policies are selected once, when a proxy's facts are made; here and in keys there are only
//! results. [`InboundSecurity`] says for each port which chains it has and what of it is denied.
//! Nobody's policy is dropped in silence: where a rule can't be enforced, the port it protects is
//! closed, unless the program was told to let such traffic through.

mod chains;
mod deny;
mod select;
mod tls;
mod upstream;

use std::sync::Arc;

use reef_config::ObjectKey;
use reef_mesh::MtlsMode;

pub(crate) use chains::{ChainShape, Handler, PortKind, Transport, shapes};
pub(crate) use deny::{http_filter, network_filter};
pub use select::policy_problems;
pub(crate) use select::{inbound, problems};
pub(crate) use tls::{InboundTls, inbound_tls};
pub(crate) use upstream::{
    Plaintext, Secured, Upstream, plaintext_endpoints, proxy_protocol, transport_sockets,
};

/// What of a port's traffic is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Denied {
    /// Nothing.
    #[default]
    Nothing,
    /// Requests. Also connections in which requests may be unrecognised: a plain Envoy can't tell
    /// a port of detected protocol that mesh TLS holds HTTP.
    Requests,
    /// Everything.
    All,
}

/// How one port is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortSecurity {
    /// Which chains it has.
    pub mode: MtlsMode,
    /// What of it is refused.
    pub denied: Denied,
}

/// How the ports of a workload are secured, as the result of selecting policies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboundSecurity {
    /// Ports that have nothing of their own.
    pub rest: PortSecurity,
    /// Ports that have, ascending.
    pub ports: Arc<[(u16, PortSecurity)]>,
    /// Policies that demand mTLS of a workload without certificate.
    pub uncertified: Arc<[ObjectKey]>,
}

impl InboundSecurity {
    /// How a port of the workload is secured.
    #[must_use]
    pub fn of(&self, port: u16) -> PortSecurity {
        self.ports
            .binary_search_by_key(&port, |(known, _)| *known)
            .ok()
            .and_then(|at| self.ports.get(at))
            .map_or(self.rest, |(_, security)| *security)
    }
}
