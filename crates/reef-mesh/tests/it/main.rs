//! Integration tests of the mesh index: YAML in, snapshots out.
#![allow(missing_docs, reason = "test code")]

mod endpoints;
mod entries;
mod identity;
mod index;
mod networks;
mod prop_order;
mod protocols;
mod proxy;
mod security;
mod settings;
mod support;
mod targets;
mod telemetry;
