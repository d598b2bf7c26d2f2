//! The protocol of one stream as a value: `(event, now)` in, responses out. No IO, no clock, no task.
//!
//! ```text
//!   request ─► Subscription ─┐                       ┌─► Response ─► frames
//!   view    ─► dirty names  ─┼─► lanes (order.rs) ───┤
//!   ACK/NACK ► Outstanding  ─┘   delta.rs / sotw.rs  └─► StreamReport
//! ```
//!
//! The caller feeds [`StreamState::request`] and [`StreamState::view`], and *pulls* with
//! [`StreamState::next_response`] whenever its transport has room. What is not pulled yet costs a set of names, so a
//! slow reader holds nothing but that, and the latest view wins. Rule numbers in comments are those of
//! `xds-protocol.md`.

mod answer;
mod delta;
mod draft;
mod full;
mod memory;
mod nonce;
mod order;
mod request;
mod sotw;
mod state;
mod subscription;
mod table;
mod types;

pub use memory::{Doubt, NackMemory, Recalled, UNRESOLVED_FOR};
pub use nonce::{Outstanding, SentResponse, Told};
pub use request::{Rejection, Request};
pub use state::{Options, Outcome, StreamState, Variant};
pub use subscription::{Change, Subscription};
pub use types::{Body, Response};
