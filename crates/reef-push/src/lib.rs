//! Who needs what: proxies grouped into classes, resources made once per key, and the plan of each push.
//!
//! No sockets, no runtime and no clock: time is a parameter, and every result follows from the calls made.
//!
//! ```text
//! MeshSnapshot + ChangeReport ─► scopes that depend on it ─► parts (per key) ─► classes ─► PushPlan
//!                     └─ endpoints only ─► services ─► scopes ─► load assignments (fast path)
//! ```
//!
//! - [`PushEngine`] is the one entry: proxies come and go, snapshots arrive, views leave.
//! - [`ClassView`] is everything the proxies of one class hold at one moment.
//! - [`Debouncer`] merges bursts of changes.

mod classes;
mod debounce;
mod engine;
mod importers;
mod keys;
mod metrics;
mod part;
mod parts;
mod plan;
mod proxies;
mod scopes;
mod slab;
mod sorted;
mod store;
mod view;

pub use debounce::{DEFAULT_DEBOUNCE_AFTER, DEFAULT_DEBOUNCE_MAX, Debouncer};
pub use engine::{ProxyState, PushEngine, PushOptions};
pub use metrics::PushMetrics;
pub use plan::{ClassId, Connected, ProxyId, PushPlan, PushStats, Sizes};
pub use store::BuildStats;
pub use view::{ClassView, TYPES};
