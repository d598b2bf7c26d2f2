//! YAML → objects → index → scopes → resources; and the order of objects does not matter.

use std::collections::BTreeMap;

use super::world;

/// Tries one text.
pub fn run(input: &[u8]) {
    // Of two objects with one key a source lets only one through; here it is the last.
    let objects: BTreeMap<_, _> = world::objects(input)
        .into_iter()
        .map(|object| (object.key.clone(), object))
        .collect();
    let mut objects: Vec<_> = objects.into_values().collect();
    let forward = world::snapshot(&objects);
    objects.reverse();
    let backward = world::snapshot(&objects);
    world::assert_same(
        &forward,
        &backward,
        "the order of objects changed what proxies get",
    );
}
