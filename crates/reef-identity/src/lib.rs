//! Who is on a connection, and what it may do there.
//!
//! One [`Authorizer`] decides for every door: the aggregated stream (full state and delta), the single-type streams, the
//! unary fetch and the debug pages. A door that does not ask here is a bug; istiod had three code paths for debug data
//! and needed three fixes.
//!
//! ```text
//!   token ──► Tokens: known already? ─► local::verify ─► Reviewer (the API server) ──► Credential ──┐
//!                                                                                                  │
//!   stream opened ──┐                                                                              ▼
//!   unary fetch  ───┼──► Authorizer::decide(Request { peer, door, node, credential, pod, tls }) ──► Decision
//!   debug page   ───┘
//! ```
//!
//! This room has no sockets and no clock: times are parameters. Without an API server there is one credential, the
//! address of the peer: plaintext is for loopback, another address needs `--insecure-xds`. With one ([`ClusterRules`]) a
//! stream over TLS needs a token, and the workload it names must be the one the token was made for.
//!
//! [`certs`] makes the certificates Reef serves with, where nobody brings any.

mod authorizer;
pub mod certs;
mod credential;
pub mod local;
mod reviews;
#[cfg(test)]
mod tests;

pub use authorizer::{
    Authorizer, BindError, ClusterRules, Decision, Denial, Door, NodeClaim, Request,
};
pub use credential::{BoundPod, Credential, PodRecord, VerifiedToken, service_account};
pub use local::TokenError;
pub use reviews::{
    Answer, FAILURE_TTL, REVIEW_TIMEOUT, Review, ReviewFuture, Reviewer, Reviews, SUCCESS_TTL,
    Tokens, Unreachable, Verdict, Vouched,
};
