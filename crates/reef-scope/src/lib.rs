//! What one proxy can see, and why.
//!
//! [`select`] finds which `Sidecar` (or default) applies to a proxy, [`resolve`] turns that into a
//! [`Scope`]: the services, rules and listeners it leads to. Both are pure; every service in a
//! scope carries the reasons it is there, and [`why`] also explains why one is not.
//!
//! ```text
//! ProxyIdentity ─select─► ScopeId ─resolve─► Arc<Scope> ─► generators
//!                           MeshSnapshot ──┘      └─ why(host), depends_on(report)
//! ```
//!
//! After a change, [`Changes::patch`] brings most scopes up to date for what the change costs;
//! others are resolved again.
//!
//! Many proxies share a [`ScopeId`], so a scope is resolved once for all of them.

mod depends;
mod egress;
mod ingress;
mod patch;
mod pattern;
mod resolve;
mod scope;
mod select;
mod why;

pub use patch::{Changes, Patch, PolicyChange, RuleChange, ServiceChange};
pub use pattern::{HostEntry, HostError};
pub use resolve::resolve;
pub use scope::{
    CaptureMode, EgressListener, EgressProxy, IngressEndpoint, IngressListener, ListenerPort,
    OutboundPolicy, Reason, Scope, ScopeId, ScopeSource, ScopedService,
};
pub use select::select;
pub use why::{Why, WhyNot, why};
