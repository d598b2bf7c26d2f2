//! Tests of generation from objects to messages.

mod golden;
mod keys;
mod prop;
mod semantic;
mod world;
