//! What repeats: allocations, bytes and pushes of small fixed cases, in this process and on one thread.
//!
//! These numbers are equal from run to run and nearly so from machine to machine, so a change of them is a change of the
//! program: `--gate FILE` compares them with a baseline and fails on a rise of more than `--tolerance` per cent. Time is told only as the ratio of two
//! things measured together.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure as count;
use anyhow::{Context as _, Result, bail};
use reef_config::{Change, ChangeBatch, Object, Origin, parse};
use reef_mesh::MeshIndex;
use reef_push::PushEngine;

use crate::clock;
use crate::engine::node;
use crate::record::Record;
use crate::scenario::SMALL;
use crate::sync::number;
use crate::tree;

/// How often timed things are repeated; the least counts.
const REPEATS: usize = 20;

/// Numbers by name.
#[derive(Debug, Default)]
pub(crate) struct Repeats(BTreeMap<String, f64>);

/// Measures all cases, and notes them.
pub(crate) fn measure(record: &mut Record) -> Result<Repeats> {
    let mut repeats = Repeats::default();
    let mut ratios = Vec::new();
    parsing(&mut repeats, &mut ratios)?;
    pushing(&mut repeats, &mut ratios)?;
    for (name, value) in &repeats.0 {
        record.note((SMALL.name, 0), name, "", *value);
    }
    for (name, value) in ratios {
        record.note((SMALL.name, 0), name, "×", value);
    }
    Ok(repeats)
}

impl Repeats {
    pub(crate) fn note(&mut self, name: &str, value: u64) {
        self.0.insert(name.to_owned(), number(value));
    }

    pub(crate) fn allocations(&mut self, name: &str, info: allocation_counter::AllocationInfo) {
        self.note(&format!("{name}: allocations"), info.count_total);
        self.note(&format!("{name}: allocated bytes"), info.bytes_total);
    }

    /// The numbers as a file for [`Repeats::gate`].
    pub(crate) fn csv(&self) -> String {
        let mut text = "metric,value\n".to_owned();
        for (name, value) in &self.0 {
            let _infallible = writeln!(text, "{name},{value}");
        }
        text
    }

    /// Fails if a number is more than so many per cent above that of a baseline, or is missing.
    pub(crate) fn gate(&self, baseline: &Path, percent: u32) -> Result<()> {
        let factor = 1.0 + f64::from(percent) / 100.0;
        let text = std::fs::read_to_string(baseline)
            .with_context(|| format!("reading {}", baseline.display()))?;
        let mut risen = String::new();
        for line in text.lines().skip(1) {
            let (name, allowed) = line.rsplit_once(',').context("no comma in the baseline")?;
            let allowed: f64 = allowed.parse().context("a number of the baseline")?;
            match self.0.get(name) {
                Some(now) if *now <= allowed * factor => {}
                Some(now) => {
                    let _infallible = write!(risen, "\n  {name}: {allowed} before, {now} now");
                }
                None => {
                    let _infallible = write!(risen, "\n  {name}: not measured any more");
                }
            }
        }
        if !risen.is_empty() {
            bail!(
                "numbers that repeat have risen by more than {percent}%; mend it, or record a new baseline and say why:{risen}"
            );
        }
        Ok(())
    }
}

/// One service entry of 20 endpoints: split and parsed by the quick reader, and by the library.
fn parsing(repeats: &mut Repeats, ratios: &mut Vec<(&'static str, f64)>) -> Result<()> {
    let text = tree::entry_text();
    // Anything beyond ASCII is left to the library.
    let unusual = format!("{text}# é\n");
    let mut objects = Vec::new();
    let info = count(|| objects = read(&text));
    anyhow::ensure!(objects.len() == 1, "the entry is not parsed");
    repeats.allocations("parse an entry of 20 endpoints", info);
    let quick = least(|| drop(read(&text)));
    let library = least(|| drop(read(&unusual)));
    ratios.push(("parse: library to quick reader", ratio(library, quick)));
    Ok(())
}

pub(crate) fn read(text: &str) -> Vec<Object> {
    let path: Arc<str> = Arc::from("bench.yaml");
    let documents = parse::documents(text.as_bytes()).unwrap_or_default();
    documents
        .into_iter()
        .flat_map(|document| {
            let origin = Origin {
                path: Arc::clone(&path),
                line: document.line,
            };
            parse::object(document.text, &origin).objects
        })
        .collect()
}

/// A small mesh: the first proxy of a class, the second one of the class, an edit of one service's endpoints.
fn pushing(repeats: &mut Repeats, ratios: &mut Vec<(&'static str, f64)>) -> Result<()> {
    let dir = tempfile::tempdir().context("making a folder for the mesh")?;
    tree::write(dir.path(), &SMALL)?;
    let objects = reef_source::load(&[dir.path().to_path_buf()], None).objects;
    let mut index = MeshIndex::new("cluster.local");
    let mut engine = PushEngine::default();
    let batch = of(objects.iter().cloned().map(Change::Apply).collect());
    let (snapshot, report) = index.apply(batch).context("the mesh is empty")?;
    engine.apply(snapshot, &report);

    // Proxies of one namespace have the same scope and serve different services: all but the first share most of it.
    let in_one = |at: usize| node(&SMALL, at * SMALL.namespaces);
    let mut cold = Vec::new();
    for (at, name) in ["first class of a scope", "second class of a scope"]
        .iter()
        .enumerate()
    {
        let (node, started) = (in_one(at)?, clock::now());
        let info = count(|| drop(engine.connect(node)));
        cold.push(started.elapsed());
        repeats.allocations(name, info);
        let sizes = engine.sizes();
        repeats.note(
            &format!("{name}: resources held after it"),
            u64::try_from(sizes.resources)?,
        );
        repeats.note(
            &format!("{name}: bytes held after it"),
            u64::try_from(sizes.resource_bytes)?,
        );
    }
    let node_again = in_one(0)?;
    let info = count(|| drop(engine.connect(node_again)));
    repeats.allocations("second proxy of a class", info);
    for proxy in 2..SMALL.proxies {
        engine.connect(node(&SMALL, proxy)?);
    }

    let mut changes = Vec::new();
    for version in 1..=2 {
        let text = tree::slice_text(&SMALL, 0, version);
        let parsed = read(&text)
            .into_iter()
            .map(|object| Change::Apply(Arc::new(object)));
        changes.push(parsed.collect::<Vec<_>>());
    }
    let mut plan = None;
    let mut edit = |changes: &[Change]| {
        let changed = index.apply(of(changes.to_vec()));
        plan = changed.map(|(snapshot, report)| engine.apply(snapshot, &report));
    };
    // The first edit makes room in tables; the second one shows what an edit costs.
    edit(changes.first().context("no change")?);
    let info = count(|| edit(changes.last().unwrap_or(&Vec::new())));
    let mut at = 0;
    let warm = least(|| {
        at += 1;
        edit(changes.get(at % 2).map_or(&[], Vec::as_slice));
    });
    let plan = plan.context("an edit changed nothing")?;
    let name = "endpoint change to encoded push";
    repeats.allocations(name, info);
    repeats.note(
        &format!("{name}: classes told"),
        u64::try_from(plan.classes.len())?,
    );
    repeats.note(
        &format!("{name}: resources made"),
        u64::try_from(plan.stats.build.built)?,
    );
    repeats.note(
        &format!("{name}: bytes made"),
        u64::try_from(plan.stats.build.bytes)?,
    );
    repeats.note(
        &format!("{name}: classes remade"),
        u64::try_from(plan.stats.classes_remade)?,
    );
    repeats.note(
        &format!("{name}: scopes resolved"),
        u64::try_from(plan.stats.scopes_resolved)?,
    );
    if let (Some(first), Some(second)) = (cold.first(), cold.last()) {
        ratios.push(("first class to endpoint change", ratio(*first, warm)));
        ratios.push(("second class to endpoint change", ratio(*second, warm)));
    }
    Ok(())
}

pub(crate) fn of(changes: Vec<Change>) -> ChangeBatch {
    ChangeBatch {
        changes,
        synced: true,
    }
}

pub(crate) fn least(mut what: impl FnMut()) -> Duration {
    let runs = (0..REPEATS).map(|_| {
        let started = clock::now();
        what();
        started.elapsed()
    });
    runs.min().unwrap_or_default()
}

pub(crate) fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64().max(1e-9)
}
