//! The one function that decides, and the check of the addresses Reef binds to.

use std::net::{IpAddr, SocketAddr};

/// Decides what a peer may do.
///
/// Cheap to copy; holds settings only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Authorizer {
    insecure_xds: bool,
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
    /// A page below `/debug`, which shows the configuration of every proxy.
    Debug,
}

/// What is known about who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// The other end of the connection; `None` if the transport did not say.
    pub peer: Option<SocketAddr>,
    /// Where the request came in.
    pub door: Door,
    /// The node id the peer claims, empty if it claims none.
    pub node: &'a str,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allow,
    /// Refuse, and say why.
    Deny(Denial),
}

/// Why a request is refused. The texts are shown to the peer, so they name no setting's value and no other proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// Plaintext from another machine.
    #[error(
        "plaintext is accepted from loopback only; start reef with --insecure-xds to serve other addresses"
    )]
    PlaintextFromAfar,
    /// Debug data asked for by another machine.
    #[error("debug pages are answered to loopback only")]
    DebugFromAfar,
    /// The transport did not say who asks.
    #[error("the address of the peer is unknown")]
    UnknownPeer,
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
        Self { insecure_xds }
    }

    /// Decides one request. Debug data stays on loopback even with `--insecure-xds`.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let Some(peer) = request.peer else {
            return Decision::Deny(Denial::UnknownPeer);
        };
        if is_loopback(peer.ip()) {
            return Decision::Allow;
        }
        match request.door {
            Door::Debug => Decision::Deny(Denial::DebugFromAfar),
            Door::StateOfTheWorld | Door::Delta | Door::Unary if self.insecure_xds => {
                Decision::Allow
            }
            Door::StateOfTheWorld | Door::Delta | Door::Unary => {
                Decision::Deny(Denial::PlaintextFromAfar)
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

/// Loopback in either family; an IPv4 address inside an IPv6 one counts as what it is.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}
