//! The `reef` program as a library, so that tests run it in their own process.
//!
//! Everything that decides lives in the rooms; here they are wired, and people talk to them.
//!
//! ```text
//!   FileSource ──► writer thread: MeshIndex ─► PushEngine ──► one watch per stream ──► ADS (reef-server)
//!                       │ ArcSwap<MeshSnapshot>                      ▲
//!                       ▼                                            │ connect, disconnect
//!                  admin pages (reef-admin) ◄── Registry (dashmap) ──┘
//! ```
//!
//! - [`cli`]: what can be typed. [`run`] carries it out and says the exit code.
//! - [`serve`]: the running server. [`check`]: a directory validated offline.
//! - [`render`]: what a proxy would hold, offline. [`diff`]: what a change would do to all of them.
//! - [`simulate`]: where a request would go. [`inject`]: the sidecar added to manifests.
//! - [`ask`]: `reef status` and `reef why`, clients of the admin pages.

pub mod ask;
pub mod channel;
pub mod check;
pub mod cli;
mod clock;
pub mod diff;
mod imagined;
pub mod inject;
mod log;
pub mod mesh;
mod offline;
mod places;
pub mod render;
mod run;
pub mod serve;
pub mod sidecar;
pub mod simulate;

pub use run::run;
