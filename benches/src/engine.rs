//! Index, generation and pushes in this process: no sockets, no files while measuring.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use reef_config::{Change, ChangeBatch};
use reef_mesh::{Locality, MeshIndex, MetaValue, ProxyNode};
use reef_push::PushEngine;

use crate::clock;
use crate::record::Record;
use crate::scenario::Scenario;
use crate::sync::number;
use crate::tree;

/// Measures the pipeline from objects to plans.
pub(crate) fn measure(scenario: &Scenario, run: u32, record: &mut Record) -> Result<()> {
    let at = (scenario.name, run);
    let dir = tempfile::tempdir().context("making a folder for the mesh")?;
    tree::write(dir.path(), scenario)?;
    let dirs = [dir.path().to_path_buf()];
    let started = clock::now();
    let objects = reef_source::load(&dirs, None).objects;
    record.note(
        at,
        "engine: load",
        "ms",
        started.elapsed().as_secs_f64() * 1e3,
    );

    let mut index = MeshIndex::new("cluster.local");
    let mut engine = PushEngine::default();
    let started = clock::now();
    let changes = objects.into_iter().map(Change::Apply).collect();
    let (snapshot, report) = index
        .apply(ChangeBatch {
            changes,
            synced: true,
        })
        .context("the mesh is empty")?;
    record.note(
        at,
        "engine: index",
        "ms",
        started.elapsed().as_secs_f64() * 1e3,
    );
    engine.apply(snapshot, &report);

    let started = clock::now();
    for proxy in 0..scenario.proxies {
        engine.connect(node(scenario, proxy)?);
    }
    let cold = started.elapsed().as_secs_f64();
    let sizes = engine.sizes();
    let classes = number(u64::try_from(sizes.classes)?);
    record.note(at, "engine: classes", "", classes);
    record.note(
        at,
        "engine: cold generation per class",
        "µs",
        cold * 1e6 / classes,
    );
    record.note(
        at,
        "engine: resources",
        "",
        number(u64::try_from(sizes.resources)?),
    );
    record.note(
        at,
        "engine: resource bytes",
        "MB",
        number(u64::try_from(sizes.resource_bytes)?) / 1e6,
    );

    // Objects are parsed before the clock starts.
    let mut spent = Vec::new();
    for edit in 1..=scenario.edits {
        tree::edit(dir.path(), scenario, tree::edited(scenario), edit)?;
        let objects = reef_source::load(&[dir.path().join("endpoints/0")], None).objects;
        let changes = objects.into_iter().map(Change::Apply).collect();
        let started = clock::now();
        let Some((snapshot, report)) = index.apply(ChangeBatch {
            changes,
            synced: true,
        }) else {
            continue;
        };
        let plan = engine.apply(snapshot, &report);
        spent.push(started.elapsed().as_secs_f64() * 1e6);
        anyhow::ensure!(!plan.classes.is_empty(), "an edit reached no class");
    }
    spent.sort_by(f64::total_cmp);
    let middle = spent.get(spent.len() / 2).copied().unwrap_or_default();
    record.note(at, "engine: endpoint change to encoded push", "µs", middle);
    Ok(())
}

/// The node of a proxy, as [`PushEngine`] takes it.
pub(crate) fn node(scenario: &Scenario, proxy: usize) -> Result<ProxyNode> {
    let ns = scenario.namespace(proxy);
    let labels = BTreeMap::from([("app".to_owned(), MetaValue::from(&*format!("s{proxy}")))]);
    let metadata = BTreeMap::from([
        ("NAMESPACE".to_owned(), MetaValue::from(&*ns)),
        ("WORKLOAD_CERT".to_owned(), MetaValue::from("none")),
        ("LABELS".to_owned(), MetaValue::Map(labels.into())),
    ]);
    let id = format!(
        "sidecar~10.200.{}.{}~p{proxy}.{ns}~{ns}.svc.cluster.local",
        proxy / 250,
        proxy % 250 + 1
    );
    Ok(ProxyNode::parse(&id, metadata, Locality::default())?)
}
