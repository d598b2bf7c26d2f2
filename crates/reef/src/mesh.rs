//! What the mesh is beyond its objects: choices of the program, the same for serving, checking and rendering.

use reef_config::ClusterId;
use reef_mesh::{MeshIndex, Unenforced};

/// What no object can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshOptions {
    /// Suffix of Service names, `cluster.local`.
    pub domain: String,
    /// The cluster the objects belong to, and proxies that name none.
    pub cluster: ClusterId,
    /// What becomes of traffic whose security rules cannot be enforced.
    pub unenforced: Unenforced,
}

impl Default for MeshOptions {
    fn default() -> Self {
        Self {
            domain: "cluster.local".to_owned(),
            cluster: ClusterId::default(),
            unenforced: Unenforced::default(),
        }
    }
}

impl MeshOptions {
    /// An index of such a mesh, without objects.
    #[must_use]
    pub fn index(&self) -> MeshIndex {
        MeshIndex::new(&self.domain)
            .with_cluster(self.cluster.clone())
            .with_unenforced(self.unenforced)
    }
}

#[cfg(test)]
pub(crate) mod tests;
