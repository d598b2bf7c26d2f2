//! Following any sequence of changes ends with the bytes of starting from the final objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use reef_config::{Change, ChangeBatch, Object, ObjectKey};
use reef_mesh::MeshIndex;
use reef_push::{ClassView, PushEngine, PushOptions, TYPES};

use crate::universe::{CONFIGS, config, nodes, objects};

/// One step: indices into the universe, and whether that object is deleted; and a configuration.
type Step = (Vec<(prop::sample::Index, bool)>, Option<usize>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = (any::<prop::sample::Index>(), prop::bool::weighted(0.3));
    let few = prop::collection::vec(change.clone(), 1..4);
    let many = prop::collection::vec(change, 10..40);
    let settings = prop::option::weighted(0.15, 0..CONFIGS.len());
    let rest = prop::collection::vec((few, settings), 1..8);
    (many, rest).prop_map(|(first, mut rest)| {
        rest.insert(0, (first, None));
        rest
    })
}

/// Type, name and version of everything a view holds; the version is a hash of the bytes.
fn held(view: &ClassView) -> Vec<String> {
    let mut all = Vec::new();
    for ty in TYPES {
        view.for_each(ty, &mut |resource| {
            all.push(format!("{ty:?} {} {}", resource.name(), resource.version()));
        });
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn following_changes_gives_the_bytes_of_the_final_mesh(
        steps in steps(), order in any::<prop::sample::Index>(), keep_idle: bool,
    ) {
        let universe = objects();
        let mut index = MeshIndex::new("cluster.local");
        let mut options = PushOptions::default();
        if !keep_idle {
            options.idle_classes = 0;
        }
        let mut engine = PushEngine::new(options);
        let proxies: Vec<_> = nodes().into_iter().map(|node| engine.connect(node).proxy).collect();
        let mut present: BTreeMap<ObjectKey, Arc<Object>> = BTreeMap::new();
        let mut configured = 0;
        for (changes, settings) in steps {
            let mut batch = ChangeBatch { changes: Vec::new(), synced: true };
            for (at, deleted) in changes {
                let object = at.get(&universe);
                if deleted {
                    present.remove(&object.key);
                    batch.changes.push(Change::Delete(object.key.clone()));
                } else {
                    present.insert(object.key.clone(), object.clone());
                    batch.changes.push(Change::Apply(object.clone()));
                }
            }
            if let Some(at) = settings {
                configured = at;
                batch.changes.push(config(at));
            }
            let told: Vec<String> = batch.changes.iter().map(|change| match change {
                Change::Apply(object) => format!("apply {}", object.key),
                Change::Delete(key) => format!("delete {key}"),
                _ => format!("configure {}", CONFIGS[configured]),
            }).collect();
            if let Some((snapshot, report)) = index.apply(batch) {
                engine.apply(snapshot, &report);
            }
            // The final objects at once, from any starting point of the list and backwards.
            let mut all: Vec<_> = present.values().cloned().collect();
            if !all.is_empty() {
                let middle = order.index(all.len());
                all.rotate_left(middle);
                all.reverse();
            }
            let mut fresh_index = MeshIndex::new("cluster.local");
            let mut fresh = PushEngine::default();
            let changes = all.into_iter().map(Change::Apply).chain([config(configured)]).collect();
            if let Some((snapshot, report)) = fresh_index.apply(ChangeBatch { changes, synced: true }) {
                fresh.apply(snapshot, &report);
            }
            for (proxy, node) in proxies.iter().zip(nodes()) {
                let id = node.id.clone();
                let now = held(engine.proxy(*proxy).expect("connected").view);
                let wanted = held(&fresh.connect(node).view);
                let differ: Vec<_> = now.iter().filter(|one| !wanted.contains(one))
                    .chain(wanted.iter().filter(|one| !now.contains(one))).collect();
                prop_assert!(now == wanted, "{} after {:?}: {:#?}", id, told, differ);
            }
            // Idle classes tell their problems, too.
            if !keep_idle {
                prop_assert_eq!(engine.problems(), fresh.problems());
            }
        }
    }
}
