//! Text → documents → objects, one document at a time, under a budget.
//!
//! ```text
//! bytes ──documents──► [Document]   textual and cheap, so a source can hash before it parses
//! Document ──object──► Parsed       tree of scalars → typed spec → validation
//! ```
//!
//! An unquoted number or `true` is refused where a string is wanted, as an API server would. `yes`, `no`, `on`,
//! `off`, `y` and `n` are booleans only where a boolean is wanted, so that a namespace may be called `n`; the
//! untyped values of an EnvoyFilter keep them as strings.

mod mesh;
mod mesh_checks;
mod name;
mod networks;
mod node;
mod object;
mod plain;
mod split;
mod time;
mod typed;
mod yaml;

pub use mesh::{mesh_config, proxy_config};
pub use networks::mesh_networks;
pub use object::{Parsed, object, object_of};
pub use split::{Document, documents};
pub use time::seconds as timestamp;
pub(crate) use typed::Path;

/// Largest input of one file; a `kubectl get` of 10,000 objects is below 20 MiB.
pub const MAX_INPUT_BYTES: usize = 64 << 20;

/// Most documents in one file.
pub const MAX_DOCUMENTS: usize = 100_000;

/// Most scalars, lists and maps in one document.
pub const MAX_NODES: usize = 5_000_000;

/// Most aliases in one document.
pub const MAX_ALIASES: usize = 1_000;

/// Deepest nesting; no Kubernetes object comes near it, and every parser here recurses.
pub const MAX_DEPTH: usize = 64;

/// Stable codes of the problems found here.
pub mod code {
    /// The file is too large, has too many documents or can't be read as text.
    pub const INPUT: &str = "input";
    /// The text is neither YAML nor JSON.
    pub const SYNTAX: &str = "syntax";
    /// `apiVersion`, `kind` or `metadata` is missing or wrong.
    pub const IDENTITY: &str = "identity";
    /// A field has the wrong type or an unknown spelling.
    pub const FIELD: &str = "field";
    /// A field the API does not have.
    pub const UNKNOWN_FIELD: &str = "unknown-field";
    /// A field or kind Reef knows and does not act upon.
    pub const NOT_APPLIED: &str = "not-applied";
    /// The content contradicts itself or the API's rules.
    pub const INVALID: &str = "invalid";
}

#[cfg(test)]
mod tests;
