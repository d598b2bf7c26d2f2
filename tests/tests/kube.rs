//! Reef over a real API server, with real Envoys; each test in a namespace of its own.
//!
//! With `REEF_SOAK` set (`cargo xtask soak`) faults last as long as in life.

#[path = "kube/inject.rs"]
mod inject;
