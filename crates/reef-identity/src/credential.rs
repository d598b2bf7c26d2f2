//! What a peer proved, and what the API server says of the workload it claims to be.

use std::net::IpAddr;
use std::sync::Arc;

use reef_config::Uid;

/// What a peer proved about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    #[default]
    None,
    /// It has a token of the cluster's.
    Token(Arc<VerifiedToken>),
}

/// What a token says, after it was verified. Holds nothing of the token itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    /// Namespace of the service account.
    pub namespace: Arc<str>,
    /// Name of the service account.
    pub service_account: Arc<str>,
    /// The pod it is bound to; `None` for a token of the account alone.
    pub pod: Option<BoundPod>,
    /// When it expires, in seconds since the epoch; `None` if the token does not say.
    pub expires: Option<u64>,
}

/// The pod a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundPod {
    /// Name.
    pub name: Arc<str>,
    /// Which pod of this name; `None` if the token does not say.
    pub uid: Option<Uid>,
}

/// A workload as the API server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRecord {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name of the Pod, or of the WorkloadEntry.
    pub name: Arc<str>,
    /// Which object of this name.
    pub uid: Option<Uid>,
    /// Name of its service account.
    pub service_account: Arc<str>,
    /// Its addresses.
    pub ips: Box<[IpAddr]>,
    /// Whether it has the addresses of its node.
    pub host_network: bool,
    /// Whether it is a Pod; else it is a WorkloadEntry.
    pub in_cluster: bool,
}

impl PodRecord {
    /// Whether one of its addresses is `ip`, in whichever form.
    #[must_use]
    pub fn has_address(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.ips.iter().any(|own| own.to_canonical() == ip)
    }
}

/// Reads `system:serviceaccount:NAMESPACE:NAME`.
#[must_use]
pub fn service_account(user: &str) -> Option<(&str, &str)> {
    let rest = user.strip_prefix("system:serviceaccount:")?;
    let (namespace, name) = rest.split_once(':')?;
    let good = |part: &str| !part.is_empty() && !part.contains(':');
    (good(namespace) && good(name)).then_some((namespace, name))
}
