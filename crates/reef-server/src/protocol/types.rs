//! What the state machine hands to the transport.

use std::sync::Arc;

use reef_xds::{EncodedResource, ResourceType};

/// One response, not encoded yet: its resources are shared with every other stream.
#[derive(Debug, Clone)]
pub struct Response {
    /// The type of everything in it.
    pub ty: ResourceType,
    /// The nonce, unique on its stream.
    pub nonce: u64,
    /// `version_info` on `SotW`, `system_version_info` (debugging only) on delta.
    pub version: Arc<str>,
    /// Generation of the view it was made from.
    pub generation: u64,
    /// The content.
    pub body: Body,
}

/// The content of a response, by variant.
#[derive(Debug, Clone)]
pub enum Body {
    /// A `DeltaDiscoveryResponse`.
    Delta {
        /// Resources that changed.
        resources: Vec<EncodedResource>,
        /// Names that are gone.
        removed: Vec<Arc<str>>,
        /// Virtual hosts that were asked for and do not exist: resources without body that echo the name as alias.
        absent: Vec<Arc<str>>,
    },
    /// A `DiscoveryResponse`.
    Sotw {
        /// The resources; all of them for full-state types.
        resources: Vec<EncodedResource>,
    },
}

impl Response {
    /// The resources of either variant.
    #[must_use]
    pub fn resources(&self) -> &[EncodedResource] {
        match &self.body {
            Body::Delta { resources, .. } | Body::Sotw { resources } => resources,
        }
    }

    /// The removals; always empty on `SotW`, which says them by omission.
    #[must_use]
    pub fn removed(&self) -> &[Arc<str>] {
        match &self.body {
            Body::Delta { removed, .. } => removed,
            Body::Sotw { .. } => &[],
        }
    }

    /// Names answered by a resource without body; only virtual hosts on delta (H-5).
    #[must_use]
    pub fn absent(&self) -> &[Arc<str>] {
        match &self.body {
            Body::Delta { absent, .. } => absent,
            Body::Sotw { .. } => &[],
        }
    }
}
