//! Following any sequence of changes ends with the bytes of starting from the final objects.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use reef_config::Object;
use reef_mesh::MeshIndex;
use reef_push::{ClassView, PushEngine, PushOptions, TYPES};
use reef_testkit::{Followed, Step, Steps, told};
use reef_xds::Version;

use crate::universe::{CONFIGS, NETWORKS, config, neighbours, nodes, objects};

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let steps = Steps {
        first: Some(10..40),
        objects: 1..4,
        batches: 1..8,
        configs: CONFIGS.len() * NETWORKS.len(),
        reconfigured: 0.15,
    };
    steps.strategy()
}

/// Few at a time, so that they are followed and not looked at anew.
fn moves() -> impl Strategy<Value = Vec<Step>> {
    let steps = Steps {
        first: Some(4..12),
        objects: 1..3,
        batches: 4..10,
        configs: 1,
        reconfigured: 0.01,
    };
    steps.strategy()
}

/// Type, name and version of everything a view holds; the version is a hash of the bytes, made again or not.
fn held(view: &ClassView) -> Vec<String> {
    let mut all = Vec::new();
    for ty in TYPES {
        view.for_each(ty, &mut |resource| {
            let bytes = Version::of(ty.type_url(), &resource.value());
            assert_eq!(bytes, resource.version(), "{ty:?} {}", resource.name());
            all.push(format!("{ty:?} {} {}", resource.name(), resource.version()));
        });
    }
    all
}

/// Follows the steps, and compares after each with a mesh of the objects there are then.
fn follow(
    objects: Vec<Arc<Object>>,
    steps: &[Step],
    order: Index,
    options: PushOptions,
    cool: bool,
) -> Result<(), TestCaseError> {
    let mut followed = Followed::new(objects, config);
    let mut index = MeshIndex::new("cluster.local");
    let mut engine = PushEngine::new(options);
    let proxies: Vec<_> = nodes()
        .into_iter()
        .map(|node| engine.connect(node).proxy)
        .collect();
    for step in steps {
        let batch = followed.batch(step);
        let told = told(&batch);
        while cool && engine.cool() > 0 {}
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
            let missing = wanted.iter().filter(|one| !now.contains(one));
            let differ: Vec<_> = now
                .iter()
                .filter(|one| !wanted.contains(one))
                .chain(missing)
                .collect();
            prop_assert!(now == wanted, "{id} after {told:?}: {differ:#?}");
        }
        // Idle classes tell their problems, too.
        if options.idle_classes == 0 {
            prop_assert_eq!(engine.problems(), fresh.problems());
        }
    }
    Ok(())
}

fn options(keep_idle: bool) -> PushOptions {
    let mut options = PushOptions::default();
    if !keep_idle {
        options.idle_classes = 0;
    }
    options
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn following_changes_gives_the_bytes_of_the_final_mesh(
        steps in steps(), order in any::<Index>(), keep_idle: bool, cool: bool,
    ) {
        follow(objects(), &steps, order, options(keep_idle), cool)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn following_services_from_port_to_port_gives_the_bytes_of_the_final_mesh(
        steps in moves(), order in any::<Index>(), keep_idle: bool, cool: bool,
    ) {
        follow(neighbours(), &steps, order, options(keep_idle), cool)?;
    }
}
