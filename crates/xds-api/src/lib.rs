//! Envoy's v3 xDS messages and, with the feature `grpc`, the stubs of its services.
//!
//! Everything below `gen/` is printed by `cargo xtask protos` from the package named in
//! `proto/upstream.toml`; nothing is written by hand except [`Any`], which replaces
//! `google.protobuf.Any` so that one encoded resource can be shared by every stream that sends it.
//! Modules follow proto packages: `envoy.config.cluster.v3.Cluster` is
//! [`envoy::config::cluster::v3::Cluster`]. Maps are ordered, so equal messages give equal bytes.

#![allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::restriction,
    clippy::allow_attributes_without_reason,
    rustdoc::all,
    unreachable_pub,
    unused_qualifications,
    elided_lifetimes_in_paths,
    reason = "generated code"
)]

mod any;
#[rustfmt::skip]
#[path = "gen/mod.rs"]
mod generated;

pub use any::Any;
pub use generated::*;
/// The well-known types (`Duration`, `Struct`, …) that generated messages refer to.
pub use prost_types as well_known;

/// A `google.protobuf.FileDescriptorSet` of all Envoy files, without comments and options.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/descriptors.bin");
