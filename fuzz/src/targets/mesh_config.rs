//! MeshConfig → settings → resources, against a mesh of the seeds; it does not matter when it comes.

use std::sync::Arc;

use reef_config::{Change, Origin, parse};
use reef_mesh::MeshIndex;

use super::world;

/// Tries one text.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let origin = Origin {
        path: Arc::from("mesh.yaml"),
        line: 1,
    };
    let config = match parse::mesh_config(text, &origin) {
        Ok((config, problems)) => {
            for problem in problems {
                assert!(!problem.to_string().is_empty());
            }
            Arc::new(config)
        }
        Err(problem) => {
            assert!(!problem.to_string().is_empty());
            return;
        }
    };
    let mut late = MeshIndex::new("cluster.local");
    late.apply(world::batch(world::seeds()));
    late.apply(world::batch(vec![Change::MeshConfig(Arc::clone(&config))]));
    let mut first = MeshIndex::new("cluster.local");
    first.apply(world::batch(vec![Change::MeshConfig(config)]));
    first.apply(world::batch(world::seeds()));
    world::assert_same(
        first.snapshot(),
        late.snapshot(),
        "a MeshConfig before and after the objects differ",
    );
}
