//! What other tests of this crate begin with.

use std::sync::Arc;

use reef_config::{Change, ChangeBatch};
use reef_mesh::MeshSnapshot;
use reef_testkit::objects;

use super::*;

/// The mesh of objects in YAML.
pub(crate) fn snapshot(yaml: &str) -> Arc<MeshSnapshot> {
    let mut index = MeshOptions::default().index();
    index.apply(ChangeBatch {
        changes: objects(yaml).into_iter().map(Change::Apply).collect(),
        synced: true,
    });
    Arc::clone(index.snapshot())
}
