//! Why a host is in a scope, or why not.

use std::fmt;

use reef_config::names::Hostname;
use reef_mesh::{MeshSnapshot, ServiceKey};

use crate::{Reason, Scope};

/// The answer for one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It is in the scope.
    Included {
        /// The service.
        service: ServiceKey,
        /// Why; never empty.
        reasons: Box<[Reason]>,
        /// Services of the same host name that are not, and why.
        others: Vec<(ServiceKey, WhyNot)>,
    },
    /// The mesh has services of this host name, but none is in the scope.
    Excluded(Vec<(ServiceKey, WhyNot)>),
    /// The mesh has no service of this host name.
    Unknown,
}

/// Why one service is not in a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyNot {
    /// Its `exportTo` leaves the proxy's namespace out.
    NotExported,
    /// An exclusion takes it away.
    ExcludedBy {
        /// Index of the listener.
        listener: usize,
        /// The entry as written.
        pattern: String,
    },
    /// A host entry matches, but it has no such port.
    NoPort {
        /// Index of the listener.
        listener: usize,
        /// Port of the listener.
        port: u16,
    },
    /// No host entry of any egress listener matches.
    NoEgressHost,
    /// Another service of the same host name is taken instead.
    LostTo(ServiceKey),
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotExported => f.write_str("its exportTo leaves the proxy's namespace out"),
            Self::ExcludedBy { listener, pattern } => {
                write!(f, "egress[{listener}] excludes it by {pattern}")
            }
            Self::NoPort { listener, port } => {
                write!(f, "egress[{listener}] is for port {port}, which it has not")
            }
            Self::NoEgressHost => f.write_str("no egress host matches it"),
            Self::LostTo(winner) => write!(f, "{winner} has the same host name and wins"),
        }
    }
}

/// Explains `host` in a scope that was resolved from `snapshot`.
#[must_use]
pub fn why(snapshot: &MeshSnapshot, scope: &Scope, host: &Hostname) -> Why {
    let included = scope.service(host);
    let others: Vec<(ServiceKey, WhyNot)> = snapshot
        .services_of_host(host)
        .filter(|service| included.is_none_or(|i| i.service.key != service.key))
        .map(|service| {
            (
                service.key.clone(),
                why_not(scope, service, included.map(|i| &i.service.key)),
            )
        })
        .collect();
    match included {
        Some(scoped) => Why::Included {
            service: scoped.service.key.clone(),
            reasons: scoped.reasons.clone(),
            others,
        },
        None if others.is_empty() => Why::Unknown,
        None => Why::Excluded(others),
    }
}

fn why_not(scope: &Scope, service: &reef_mesh::Service, winner: Option<&ServiceKey>) -> WhyNot {
    let (host, namespace) = (&service.key.hostname, &service.key.namespace);
    if !service.export_to.includes(&scope.id.namespace) {
        return WhyNot::NotExported;
    }
    let mut answer = WhyNot::NoEgressHost;
    for (listener, spec) in scope.interest.specs.iter().enumerate() {
        if spec.inclusion(host, namespace).is_none() {
            continue;
        }
        if let Some(entry) = spec.exclusion(host, namespace) {
            answer = WhyNot::ExcludedBy {
                listener,
                pattern: entry.text.clone(),
            };
        } else if let Some(port) = spec.only_port().filter(|p| service.port(*p).is_none()) {
            answer = WhyNot::NoPort { listener, port };
        } else if let Some(winner) = winner {
            return WhyNot::LostTo(winner.clone());
        }
    }
    answer
}
