//! Typed inputs of Reef: the Kubernetes subset and the Istio API, parsed and validated.
//!
//! Short tour:
//! - [`names`]: newtypes for everything that could be swapped by mistake, and the hostname relations.
//! - [`Kind`], [`ObjectKey`], [`Age`], [`Object`], [`Spec`]: one configuration object and its identity.
//! - [`k8s`] and [`istio`]: the typed specs, field names as in the API, in snake case.
//! - [`mesh_config`]: `istio.mesh.v1alpha1.MeshConfig`, the fields that Reef reads.
//! - [`parse`]: text → split documents → [`Object`]s, one document at a time, under a budget.
//! - [`Change`] and [`ChangeBatch`]: the vocabulary every source speaks.
//! - [`validate`]: the rules an object must keep, as istiod's webhook has them.
//! - [`schema`]: the CustomResourceDefinitions of the Istio kinds, made of these types and their documentation.
//! - [`Problem`]: what is wrong with an object, where (file:line, field) and why.
//!
//! ```text
//! text ──parse::documents──► Document ──parse::object──► Object ──(a source)──► Change ──► mesh
//! ```
//!
//! This crate does not know where objects come from, and it does not know Envoy.

#[macro_use]
mod macros;

pub mod access_log;
pub mod cel;
pub mod change;
pub mod connection_settings;
pub mod istio;
pub mod json;
pub mod k8s;
mod kind;
pub mod labels;
pub mod log_provider;
pub mod mesh_config;
pub mod mesh_networks;
pub mod names;
pub mod object;
pub mod parse;
pub mod problem;
pub mod proxy_config;
pub mod scalar;
pub mod schema;
pub mod selecting;
pub mod validate;

pub use change::{Change, ChangeBatch};
pub use kind::Kind;
pub use labels::Labels;
pub use mesh_config::MeshConfig;
pub use mesh_networks::MeshNetworks;
pub use names::{ClusterId, Hostname, Namespace};
pub use object::{Age, Object, ObjectKey, ObjectMeta, Origin, Spec, Uid};
pub use problem::{Problem, Severity};
pub use scalar::{ApiDuration, IntOrString};
