//! Where the object a problem is about was written: generators know the object, and its place only the index knows.

use reef_config::Problem;
use reef_mesh::MeshIndex;

/// Fills in the place of every problem that names an object and no place.
pub(crate) fn fill_in(index: &MeshIndex, problems: &mut [Problem]) {
    let without = problems
        .iter_mut()
        .filter(|problem| problem.origin.is_none());
    for problem in without {
        let object = problem.object.as_ref().and_then(|key| index.object(key));
        problem.origin = object.and_then(|object| object.origin.clone());
    }
}
