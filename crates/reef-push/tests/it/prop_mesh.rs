//! Following any sequence of changes ends with the bytes of starting from the final objects.

use proptest::prelude::*;
use reef_mesh::MeshIndex;
use reef_push::{ClassView, PushEngine, PushOptions, TYPES};
use reef_testkit::{Followed, Step, Steps, told};

use crate::universe::{CONFIGS, config, nodes, objects};

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let steps = Steps {
        first: Some(10..40),
        objects: 1..4,
        batches: 1..8,
        configs: CONFIGS.len(),
        reconfigured: 0.15,
    };
    steps.strategy()
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
        let mut followed = Followed::new(objects(), config);
        let mut index = MeshIndex::new("cluster.local");
        let mut options = PushOptions::default();
        if !keep_idle {
            options.idle_classes = 0;
        }
        let mut engine = PushEngine::new(options);
        let proxies: Vec<_> = nodes().into_iter().map(|node| engine.connect(node).proxy).collect();
        for step in &steps {
            let batch = followed.batch(step);
            let told = told(&batch);
            if let Some((snapshot, report)) = index.apply(batch) {
                engine.apply(snapshot, &report);
            }
            let mut fresh_index = MeshIndex::new("cluster.local");
            let mut fresh = PushEngine::default();
            if let Some((snapshot, report)) = fresh_index.apply(followed.at_once(order)) {
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
