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
//! Every page below `/debug` passes a guard that asks [`Inspect::rights`] who may read it; pages that probes and scrapers
//! read do not. Answers that may cost more than a millisecond are made on a blocking thread, never on the thread that
//! accepts connections, and a few at a time.

mod access;
mod ask;
mod inspect;
mod pages;
mod routes;
mod serve;
mod syncz;

pub use access::{Audience, Caller, Deciding, Refused, Rights};
pub use ask::ask;
pub use inspect::{
    Among, BuildInfo, Inspect, InspectError, MeshPage, ProblemReport, ProxySummary, Readiness,
    TypeSync, match_proxy,
};
pub use pages::paths;
pub use routes::{NOT_CONNECTED, http_router, monitoring_router};
pub use serve::serve;
