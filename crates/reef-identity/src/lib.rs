//! Who is on a connection, and what it may do there.
//!
//! One [`Authorizer`] decides for every door: the aggregated stream (full state and delta), the single-type streams, the
//! unary fetch and the debug pages. A door that does not ask here is a bug; istiod had three code paths for debug data
//! and needed three fixes.
//!
//! ```text
//!   stream opened ──┐
//!   unary fetch  ───┼──► Authorizer::decide(Request { peer, door, node }) ──► Decision::Allow | Deny(reason)
//!   debug page   ───┘
//! ```
//!
//! This room has no sockets and no clock. Today there is one credential, the address of the peer: plaintext is for
//! loopback, another address needs `--insecure-xds`. Certificates and tokens will be further inputs of the same
//! function.

mod authorizer;
#[cfg(test)]
mod tests;

pub use authorizer::{Authorizer, BindError, Decision, Denial, Door, Request};
