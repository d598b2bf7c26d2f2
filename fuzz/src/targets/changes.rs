//! Any sequence of changes gives what its final objects give (property 1), and reports what differs.
//!
//! The input is a program of two bytes per step: what to do, and with which object. Objects are the committed seeds of
//! `objects` in two wordings each, so that there is something to change.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use reef_config::{Change, Object};
use reef_mesh::{ChangeReport, MeshIndex, MeshSnapshot};

use super::world;

/// Most steps of one input; keeps one below some ten milliseconds.
const MAX_STEPS: usize = 48;

static POOL: LazyLock<Vec<Arc<Object>>> = LazyLock::new(pool);

/// Tries one program.
pub fn run(input: &[u8]) {
    if POOL.is_empty() {
        return;
    }
    let mut index = MeshIndex::new("cluster.local");
    let mut now: BTreeMap<_, Arc<Object>> = BTreeMap::new();
    let mut waiting = Vec::new();
    for step in input.chunks_exact(2).take(MAX_STEPS) {
        let object = &POOL[usize::from(step[1]) % POOL.len()];
        match step[0] % 8 {
            0..=4 => {
                now.insert(object.key.clone(), Arc::clone(object));
                waiting.push(Change::Apply(Arc::clone(object)));
            }
            5 | 6 => {
                now.remove(&object.key);
                waiting.push(Change::Delete(object.key.clone()));
            }
            _ => apply(&mut index, &mut waiting),
        }
    }
    apply(&mut index, &mut waiting);
    let objects: Vec<_> = now.into_values().collect();
    let rebuilt = world::snapshot(&objects);
    world::assert_same(
        index.snapshot(),
        &rebuilt,
        "changes one by one and all at once differ",
    );
}

fn apply(index: &mut MeshIndex, waiting: &mut Vec<Change>) {
    let before = Arc::clone(index.snapshot());
    let changes = std::mem::take(waiting);
    let repeated = changes.clone();
    match index.apply(world::batch(changes)) {
        Some((after, report)) => reported(&before, &after, &report),
        None => reported(&before, index.snapshot(), &ChangeReport::default()),
    }
    // Deletions and applications told again change nothing, if they ended in the same state.
    let settled = Arc::clone(index.snapshot());
    index.apply(world::batch(repeated));
    world::assert_same(
        &settled,
        index.snapshot(),
        "the same batch again changed something",
    );
}

/// Asserts that every service that differs is in the report.
fn reported(before: &MeshSnapshot, after: &MeshSnapshot, report: &ChangeReport) {
    if report.settings {
        return;
    }
    for service in after.services() {
        let known = report.services.contains(&service.key);
        let old = before.service(&service.key);
        assert!(
            known || old.is_some_and(|old| old == service),
            "{} differs and is not reported",
            service.key
        );
        let endpoints = report.endpoints.contains(&service.key);
        assert!(
            known || endpoints || before.endpoints(&service.key) == after.endpoints(&service.key),
            "endpoints of {} differ and are not reported",
            service.key
        );
    }
    for service in before.services() {
        assert!(
            after.service(&service.key).is_some() || report.services.contains(&service.key),
            "{} is gone and not reported",
            service.key
        );
    }
}

fn pool() -> Vec<Arc<Object>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/objects");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .map(|entries| {
            entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .collect()
        })
        .unwrap_or_default();
    files.sort();
    let mut objects = Vec::new();
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        objects.extend(world::objects(text.as_bytes()));
        // The second wording: other ports, addresses and namespaces under the same names.
        let other = text
            .replace("8080", "9090")
            .replace("10.1.0.20", "10.1.0.21")
            .replace("./*", "stock/*")
            .replace("name: http", "name: tcp")
            .replace("app: cart", "app: ledger");
        if other != text {
            objects.extend(world::objects(other.as_bytes()));
        }
    }
    // More than 256 cannot be named by one byte.
    objects.truncate(256);
    objects
}
