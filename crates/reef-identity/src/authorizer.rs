//! The one function that decides, and the check of the addresses Reef binds to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::{Credential, PodRecord, VerifiedToken};

/// Decides what a peer may do.
///
/// Cheap to clone; holds settings only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorizer {
    insecure_xds: bool,
    cluster: Option<Arc<ClusterRules>>,
}

/// What holds where a Kubernetes API server says who is who.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRules {
    /// Namespaces whose workloads may see the debug data of all others: Reef's own, and those an operator names.
    pub debug_namespaces: Vec<String>,
    /// Whether a stream must come from an address of its pod. Off where something between them changes addresses.
    pub check_peer_address: bool,
}

/// The door a request came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// A stream on which the server sends the whole state of a type each time.
    StateOfTheWorld,
    /// A stream of the incremental protocol.
    Delta,
    /// One request, one response.
    Unary,
    /// A page below `/debug`, which shows the configuration of every proxy; also debug data asked for over xDS.
    Debug,
    /// The list of connected proxies and what they took, which names no configuration.
    Syncz,
}

/// What is known about who asks.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The other end of the connection; `None` if the transport did not say.
    pub peer: Option<SocketAddr>,
    /// Where the request came in.
    pub door: Door,
    /// The node id the peer claims, empty if it claims none.
    pub node: &'a str,
    /// What the peer proved.
    pub credential: &'a Credential,
    /// The workload the node id names, as the API server describes it; `None` if there is none (yet).
    pub pod: Option<&'a PodRecord>,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

impl<'a> Request<'a> {
    /// A request by somebody who proved nothing and names nothing.
    #[must_use]
    pub fn anonymous(peer: Option<SocketAddr>, door: Door) -> Self {
        Self {
            peer,
            door,
            node: "",
            credential: &Credential::None,
            pod: None,
            tls: false,
        }
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allow,
    /// Go on, but show what belongs to this namespace only. Answered to the debug doors.
    AllowNamespace(Arc<str>),
    /// Refuse.
    Deny(Denial),
}

/// Why a request is refused, for the log. What the peer may read of it is [`Denial::told`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Denial {
    /// Plaintext from another machine.
    #[error(
        "plaintext is accepted from loopback only; start reef with --insecure-xds to serve other addresses"
    )]
    PlaintextFromAfar,
    /// Debug data asked for by another machine.
    #[error("debug pages are answered to loopback only")]
    DebugFromAfar,
    /// Debug data asked for without a token.
    #[error("debug data needs a token")]
    DebugWithoutToken,
    /// The transport did not say who asks.
    #[error("the address of the peer is unknown")]
    UnknownPeer,
    /// Neither token nor certificate.
    #[error("the peer has no credential")]
    NoCredential,
    /// The token is not what it should be.
    #[error("the token is not accepted")]
    BadToken,
    /// The node id names no workload that the API server knows.
    #[error("the node names no workload of the mesh")]
    UnknownWorkload,
    /// The workload is another incarnation than the token was made for.
    #[error("the token is for another pod of this name")]
    OtherIncarnation,
    /// The workload has no address yet.
    #[error("the workload has no address yet")]
    NoAddress,
    /// The token is for another namespace, service account or pod than the node id claims.
    #[error("the token is not for the workload the node names")]
    WrongIdentity,
    /// The node id does not fit the workload it names.
    #[error("the node id contradicts the workload it names")]
    WrongNode,
    /// The connection comes from an address that the workload does not have.
    #[error("the peer's address is not one of the workload")]
    WrongAddress,
}

impl Denial {
    /// What the peer is told. All failures of identity read the same, so that nobody learns which part was right.
    #[must_use]
    pub fn told(self) -> &'static str {
        match self {
            Self::PlaintextFromAfar => {
                "plaintext is accepted from loopback only; start reef with --insecure-xds to serve other addresses"
            }
            Self::DebugFromAfar => "debug pages are answered to loopback only",
            Self::DebugWithoutToken => "debug data needs a token",
            Self::UnknownPeer => "the address of the peer is unknown",
            Self::NoCredential | Self::BadToken => "authentication failed",
            Self::UnknownWorkload
            | Self::OtherIncarnation
            | Self::NoAddress
            | Self::WrongIdentity
            | Self::WrongNode
            | Self::WrongAddress => "this peer may not be served as this node",
        }
    }

    /// Whether a credential is missing or not valid, as opposed to one that does not suffice.
    #[must_use]
    pub fn is_unauthenticated(self) -> bool {
        matches!(
            self,
            Self::NoCredential | Self::BadToken | Self::DebugWithoutToken
        )
    }

    /// Whether waiting for news from the API server may help.
    #[must_use]
    pub fn may_pass(self) -> bool {
        matches!(
            self,
            Self::UnknownWorkload | Self::OtherIncarnation | Self::NoAddress
        )
    }
}

/// Why Reef does not bind to an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// The xDS port would be reachable in plaintext by other machines.
    #[error(
        "--grpc-addr {addr} is not loopback: xDS there would be plaintext; add --insecure-xds to allow it"
    )]
    PlaintextXds {
        /// The address asked for.
        addr: SocketAddr,
    },
}

impl Authorizer {
    /// An authorizer; `insecure_xds` lets peers on other machines speak plaintext xDS.
    #[must_use]
    pub fn new(insecure_xds: bool) -> Self {
        Self {
            insecure_xds,
            cluster: None,
        }
    }

    /// The same where an API server says who is who: streams need an identity, debug data a token.
    #[must_use]
    pub fn with_cluster(self, rules: ClusterRules) -> Self {
        Self {
            cluster: Some(Arc::new(rules)),
            ..self
        }
    }

    /// Whether workloads are known from an API server, so that [`Request::pod`] has to be looked up.
    #[must_use]
    pub fn identifies(&self) -> bool {
        self.cluster.is_some()
    }

    /// Decides one request. Without an API server debug data stays on loopback even with `--insecure-xds`.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let Some(peer) = request.peer else {
            return Decision::Deny(Denial::UnknownPeer);
        };
        let near = is_loopback(peer.ip());
        match (request.door, &self.cluster) {
            (Door::Debug | Door::Syncz, None) if near => Decision::Allow,
            (Door::Debug | Door::Syncz, None) => Decision::Deny(Denial::DebugFromAfar),
            (Door::Syncz, Some(_)) if near && *request.credential == Credential::None => {
                Decision::Allow
            }
            (Door::Debug | Door::Syncz, Some(rules)) => rules.debug(request.credential),
            (Door::StateOfTheWorld | Door::Delta | Door::Unary, cluster) => {
                if !near && !request.tls && !self.insecure_xds {
                    return Decision::Deny(Denial::PlaintextFromAfar);
                }
                let verdict = match cluster {
                    // Encryption says nothing about who is there.
                    None if near || self.insecure_xds => Ok(()),
                    None => Err(Denial::NoCredential),
                    Some(rules) => rules.stream(request, peer, near),
                };
                verdict.map_or_else(Decision::Deny, |()| Decision::Allow)
            }
        }
    }

    /// Checks an address before the xDS port is bound to it.
    ///
    /// # Errors
    /// [`BindError::PlaintextXds`] if it is not loopback and `--insecure-xds` is not given.
    pub fn check_bind(&self, addr: SocketAddr) -> Result<(), BindError> {
        if self.insecure_xds || is_loopback(addr.ip()) {
            Ok(())
        } else {
            Err(BindError::PlaintextXds { addr })
        }
    }
}

impl ClusterRules {
    fn debug(&self, credential: &Credential) -> Decision {
        match credential {
            Credential::None => Decision::Deny(Denial::DebugWithoutToken),
            Credential::Token(token) => {
                let everything = self.debug_namespaces.iter();
                if everything.into_iter().any(|ns| **ns == *token.namespace) {
                    Decision::Allow
                } else {
                    Decision::AllowNamespace(Arc::clone(&token.namespace))
                }
            }
        }
    }

    fn stream(&self, request: &Request<'_>, peer: SocketAddr, near: bool) -> Result<(), Denial> {
        let token = match (request.tls, request.credential) {
            // A token that came in plaintext proves nothing: anybody on the way may have it.
            (false, _) => None,
            (true, Credential::None) => return Err(Denial::NoCredential),
            (true, Credential::Token(token)) => Some(token),
        };
        let pod = request.pod.ok_or(Denial::UnknownWorkload)?;
        if let Some(token) = token {
            speaks_for(token, pod)?;
        }
        if pod.ips.is_empty() {
            return Err(Denial::NoAddress);
        }
        let claim = NodeClaim::parse(request.node).ok_or(Denial::WrongNode)?;
        if !claim.fits(pod) {
            return Err(Denial::WrongNode);
        }
        // On the host's network a connection may leave by any address of the host.
        if self.check_peer_address && !near && !pod.host_network && !pod.has_address(peer.ip()) {
            return Err(Denial::WrongAddress);
        }
        Ok(())
    }
}

/// Whether the bearer of `token` is `pod`.
fn speaks_for(token: &VerifiedToken, pod: &PodRecord) -> Result<(), Denial> {
    if token.namespace != pod.namespace || token.service_account != pod.service_account {
        return Err(Denial::WrongIdentity);
    }
    let Some(bound) = &token.pod else {
        // A token of the service account alone, as a virtual machine has: the peer's address tells the rest.
        return Ok(());
    };
    if !pod.in_cluster || bound.name != pod.name {
        return Err(Denial::WrongIdentity);
    }
    match (bound.uid, pod.uid) {
        (Some(bound), Some(known)) if bound != known => Err(Denial::OtherIncarnation),
        _ => Ok(()),
    }
}

/// What a node id claims: `type~ip~name.namespace~namespace.svc.domain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeClaim<'a> {
    /// Its address.
    pub ip: IpAddr,
    /// Name of the workload.
    pub name: &'a str,
    /// Namespace of the workload.
    pub namespace: &'a str,
    domain: &'a str,
}

impl<'a> NodeClaim<'a> {
    /// Reads a node id; `None` if it has not this form.
    #[must_use]
    pub fn parse(node: &'a str) -> Option<Self> {
        let mut parts = node.split('~');
        let (_kind, ip, workload, domain) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let (name, namespace) = workload.rsplit_once('.')?;
        let ip = ip.parse::<IpAddr>().ok()?.to_canonical();
        (!name.is_empty() && !namespace.is_empty()).then_some(Self {
            ip,
            name,
            namespace,
            domain,
        })
    }

    fn fits(&self, pod: &PodRecord) -> bool {
        let domain = self.domain.split('.').next();
        // An entry of a virtual machine is found by its address; the machine need not know the entry's name.
        (!pod.in_cluster || self.name == &*pod.name)
            && self.namespace == &*pod.namespace
            && domain == Some(&*pod.namespace)
            && pod.has_address(self.ip)
    }
}

/// Loopback in either family; an IPv4 address inside an IPv6 one counts as what it is.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}
