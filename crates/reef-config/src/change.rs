//! The vocabulary in which a source tells the mesh what differs.

use std::sync::Arc;

use crate::mesh_config::MeshConfig;
use crate::mesh_networks::MeshNetworks;
use crate::object::{Object, ObjectKey};
use crate::problem::Problem;

/// One difference.
#[derive(Debug, Clone)]
pub enum Change {
    /// The object is there, new or changed.
    Apply(Arc<Object>),
    /// The object is gone.
    Delete(ObjectKey),
    /// The mesh configuration is now this one.
    MeshConfig(Arc<MeshConfig>),
    /// The networks of the mesh are now these.
    MeshNetworks(Arc<MeshNetworks>),
    /// These are now all the problems of `source`; they replace those told before.
    Problems {
        /// What they belong to, such as a file's path.
        source: Arc<str>,
        /// The problems; empty means there is none any more.
        problems: Vec<Problem>,
    },
}

/// Changes that belong together: the mesh applies them all before anyone sees one.
#[derive(Debug, Clone, Default)]
pub struct ChangeBatch {
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// With this batch the source has told everything it knows: the initial list is complete.
    ///
    /// Until a source is synced nothing may be served from it; after that it stays true in every batch.
    pub synced: bool,
}
