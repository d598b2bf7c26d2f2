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

mod debounce;
mod part;
mod slab;
mod sorted;
mod store;

pub use debounce::{DEFAULT_DEBOUNCE_AFTER, DEFAULT_DEBOUNCE_MAX, Debouncer};
pub use store::BuildStats;
