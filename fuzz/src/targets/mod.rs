//! What is tried: one file each. A target returns if all is well and panics if not.

mod changes;
mod discovery_request;
mod mesh_config;
mod node_metadata;
mod objects;
mod world;

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
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::DiscoveryRequest,
        Self::Objects,
        Self::Changes,
        Self::NodeMetadata,
        Self::MeshConfig,
    ];

    /// Its name on the command line and in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::DiscoveryRequest => "discovery_request",
            Self::Objects => "objects",
            Self::Changes => "changes",
            Self::NodeMetadata => "node_metadata",
            Self::MeshConfig => "mesh_config",
        }
    }

    /// The target of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.name() == name)
    }

    /// The folder of its seeds.
    pub fn corpus(self) -> &'static str {
        self.name()
    }

    /// Whether inputs are lines of text.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Objects | Self::NodeMetadata | Self::MeshConfig)
    }

    /// Tries one input.
    pub fn run(self, input: &[u8]) {
        match self {
            Self::DiscoveryRequest => discovery_request::run(input),
            Self::Objects => objects::run(input),
            Self::Changes => changes::run(input),
            Self::NodeMetadata => node_metadata::run(input),
            Self::MeshConfig => mesh_config::run(input),
        }
    }
}
