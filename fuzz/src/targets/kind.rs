//! Objects of one kind among the seeds → index → scopes → resources.
//!
//! They are put into a mesh that is there, and taken out of it again: what proxies get must be what a mesh built with
//! them from nothing gives, and in the end what it was before.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use reef_config::{Change, Kind, Object, ObjectKey};
use reef_mesh::{MeshIndex, MeshSnapshot};

use super::world;

/// Most objects of one input; the rest is ignored, so that inputs stay cheap.
const MAX_OBJECTS: usize = 8;

static BASE: LazyLock<Arc<MeshSnapshot>> = LazyLock::new(|| world::snapshot(&world::SEEDS));

/// Tries one text.
pub fn run(kind: Kind, input: &[u8]) {
    let mut objects: BTreeMap<ObjectKey, Arc<Object>> = BTreeMap::new();
    for object in world::objects(input) {
        if object.key.kind == kind && objects.len() < MAX_OBJECTS {
            objects.insert(object.key.clone(), object);
        }
    }
    if objects.is_empty() {
        return;
    }
    let mut all: BTreeMap<&ObjectKey, &Arc<Object>> = world::SEEDS
        .iter()
        .map(|object| (&object.key, object))
        .collect();
    all.extend(objects.iter());
    let all: Vec<Arc<Object>> = all.into_values().cloned().collect();
    let rebuilt = world::snapshot(&all);

    let mut index = MeshIndex::new("cluster.local");
    index.apply(world::batch(world::seeds()));
    let put = objects.values().cloned().map(Change::Apply).collect();
    index.apply(world::batch(put));
    world::assert_same(
        &rebuilt,
        index.snapshot(),
        "put into a mesh and built with it differ",
    );

    let seeds: BTreeMap<&ObjectKey, &Arc<Object>> = world::SEEDS
        .iter()
        .map(|object| (&object.key, object))
        .collect();
    let back = objects
        .keys()
        .map(|key| match seeds.get(key) {
            Some(seed) => Change::Apply(Arc::clone(seed)),
            None => Change::Delete(key.clone()),
        })
        .collect();
    index.apply(world::batch(back));
    world::assert_same(
        &BASE,
        index.snapshot(),
        "something of an object that is gone is left",
    );
}

/// Name of the target of a kind: `kind_virtual_service`.
pub fn name(kind: Kind) -> String {
    let mut name = "kind".to_owned();
    for letter in kind.as_str().chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}
