//! Tests of generation from objects to messages.

#![expect(clippy::panic, reason = "helpers of tests fail by panicking")]

mod expect;
mod golden;
mod hostile;
mod hostile_cost;
mod hostile_http;
mod hostile_l4;
mod keys;
mod meshes;
mod pieces;
mod prop;
mod rules;
mod security;
mod semantic;
mod world;
