//! Health, readiness, metrics and debug pages over HTTP, in istiod's paths and shapes.
//!
//! This room owns the trait [`Inspect`]: the questions a person (or `reef status`, Kiali, a Kubernetes probe) may ask.
//! It knows nothing of how the answers are kept; the binary implements the trait over its registry, snapshot and
//! metrics. Two routers come from it, as istiod has two ports:
//!
//! ```text
//!   15014 monitoring_router ─┐  /metrics /version /ready /healthz /debug/…
//!                            ├──► Inspect (binary)
//!    8080 http_router       ─┘  /ready /healthz /version /debug/…
//! ```
//!
//! Every page below `/debug` passes [`Inspect::authorize_debug`] first, with the address of the peer; pages that probes
//! and scrapers read do not. Answers that may cost more than a millisecond are made on a blocking thread, never on the
//! thread that accepts connections.

mod inspect;
mod pages;
mod routes;
mod serve;
mod syncz;

pub use inspect::{
    BuildInfo, Inspect, InspectError, MeshPage, ProblemReport, ProxySummary, Readiness, TypeSync,
    match_proxy,
};
pub use routes::{http_router, monitoring_router};
pub use serve::serve;
