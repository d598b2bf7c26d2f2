//! What is tried: one file each. A target returns if all is well and panics if not.

mod changes;
mod discovery_request;
mod kind;
mod mesh_config;
mod node_metadata;
mod objects;
mod world;

use reef_config::Kind;

/// A fuzz target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Events on one stream against the protocol's state machine.
    DiscoveryRequest,
    /// YAML through parsing, the index, scopes and generation.
    Objects,
    /// Sequences of changes: incremental equals rebuilt.
    Changes,
    /// Node ids and metadata.
    NodeMetadata,
    /// The mesh's settings.
    MeshConfig,
    /// Objects of one kind, put into a mesh and taken out again.
    Kind(Kind),
}

impl Target {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let kinds = Kind::ALL.iter().filter(|kind| **kind != Kind::ConfigMap);
        [
            Self::DiscoveryRequest,
            Self::Objects,
            Self::Changes,
            Self::NodeMetadata,
            Self::MeshConfig,
        ]
        .into_iter()
        // The one ConfigMap that is read is the mesh's settings, which have a target.
        .chain(kinds.map(|kind| Self::Kind(*kind)))
        .collect()
    }

    /// Its name on the command line and in file names.
    pub fn name(self) -> String {
        let name = match self {
            Self::DiscoveryRequest => "discovery_request",
            Self::Objects => "objects",
            Self::Changes => "changes",
            Self::NodeMetadata => "node_metadata",
            Self::MeshConfig => "mesh_config",
            Self::Kind(kind) => return kind::name(kind),
        };
        name.to_owned()
    }

    /// The target of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|target| target.name() == name)
    }

    /// Whether inputs are lines of text.
    pub fn is_text(self) -> bool {
        matches!(
            self,
            Self::Objects | Self::NodeMetadata | Self::MeshConfig | Self::Kind(_)
        )
    }

    /// Tries one input.
    pub fn run(self, input: &[u8]) {
        match self {
            Self::DiscoveryRequest => discovery_request::run(input),
            Self::Objects => objects::run(input),
            Self::Changes => changes::run(input),
            Self::NodeMetadata => node_metadata::run(input),
            Self::MeshConfig => mesh_config::run(input),
            Self::Kind(kind) => kind::run(kind, input),
        }
    }
}
