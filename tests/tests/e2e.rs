//! Tests against real kernels, Envoys and Reef; each in a namespace of its own.

#[path = "e2e/interception.rs"]
mod interception;
