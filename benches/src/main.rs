//! `reef-bench`: scenarios as data, measured against the library and against a real `reef serve`.
//!
//! ```text
//! scenario (numbers) ─► tree (YAML files) ─┬─► engine: index, classes, plans in this process
//!                                          └─► server: a real process, delta clients on real sockets
//!                                                       └─► record: raw.csv, summary.md, machine.md
//! ```
//!
//! Nothing here is timed against a limit. Only `repeats --gate FILE` can fail: it compares numbers that do not depend on
//! the machine. See `README.md` beside this folder.
#![allow(clippy::print_stdout, reason = "a command line program")]

mod channel;
mod client;
mod clock;
mod directory;
mod engine;
mod http;
mod kube;
mod process;
mod record;
mod repeats;
mod rules;
mod scenario;
mod sync;
mod tree;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};

use crate::record::Record;
use crate::scenario::{LARGE_DIRECTORY, ONE_EDIT, Scenario, TEN_THOUSAND, THOUSAND};

/// Measures Reef.
#[derive(Debug, Parser)]
struct Options {
    /// What to measure.
    #[arg(value_enum)]
    what: What,
    /// The `reef` binary, built for release.
    #[arg(long, env = "REEF_BIN", default_value = "target/release/reef")]
    reef: PathBuf,
    /// The `reef-cluster` binary of `tests/`, which starts a real API server.
    #[arg(
        long,
        env = "REEF_CLUSTER_BIN",
        default_value = "target/debug/reef-cluster"
    )]
    cluster: PathBuf,
    /// Where to write `raw.csv`, `summary.md` and `machine.md`; nothing is written without it.
    #[arg(long)]
    out: Option<PathBuf>,
    /// How often each scenario is run.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// A `repeats.csv` of a baseline, which the numbers that repeat must not exceed by more than `--tolerance`.
    #[arg(long)]
    gate: Option<PathBuf>,
    /// Per cent.
    #[arg(long, default_value_t = 5)]
    tolerance: u32,
    /// How the proxies of `kube` come: `plaintext,tls` measures one after the other in the same cluster.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "plaintext")]
    channel: Vec<kube::Port>,
    /// Divides the numbers of all scenarios, to try the program out.
    #[arg(long, default_value_t = 1)]
    shrink: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Index, generation and pushes in this process.
    Engine,
    /// Cold sync of simulated proxies over sockets.
    Sync,
    /// A large directory: ready time, memory, edits of one file.
    Directory,
    /// One edit among 2,000 services: who is told, and how many bytes.
    Edit,
    /// Ten thousand proxies on one server; not part of `all`.
    Many,
    /// Allocations, bytes and pushes, which are the same on each run.
    Repeats,
    /// A large mesh in a real API server; not part of `all`.
    Kube,
    /// Cold generation and one changed object of each kind of rule.
    Rules,
    /// All of them.
    All,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let apart = [What::Many, What::Kube];
    let wants =
        |what| options.what == what || (options.what == What::All && !apart.contains(&what));
    let shrunk = |scenario: &Scenario| scenario.shrunk(options.shrink);
    let mut record = Record::default();
    let mut repeats = None;
    if wants(What::Repeats) || options.gate.is_some() {
        repeats = Some(repeats::measure(&mut record)?);
    }
    if wants(What::Rules) {
        let mut counted = repeats.take().unwrap_or_default();
        rules::measure(&mut record, &mut counted)?;
        repeats = Some(counted);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    for run in 0..options.runs {
        if wants(What::Engine) {
            engine::measure(&shrunk(&THOUSAND), run, &mut record)?;
        }
        if wants(What::Sync) {
            runtime.block_on(sync::measure(
                &shrunk(&THOUSAND),
                run,
                &options.reef,
                &mut record,
            ))?;
        }
        for (what, scenario) in [(What::Edit, &ONE_EDIT), (What::Many, &TEN_THOUSAND)] {
            if wants(what) {
                let scenario = shrunk(scenario);
                runtime.block_on(sync::measure(&scenario, run, &options.reef, &mut record))?;
            }
        }
        if wants(What::Directory) {
            let scenario = shrunk(&LARGE_DIRECTORY);
            runtime.block_on(directory::measure(
                &scenario,
                run,
                &options.reef,
                &mut record,
            ))?;
        }
    }
    if wants(What::Kube) {
        let programs = (options.reef.as_path(), options.cluster.as_path());
        runtime.block_on(kube::measure(
            &options.channel,
            options.runs,
            programs,
            options.shrink,
            &mut record,
        ))?;
    }
    println!("{}", record.summary());
    if let Some(dir) = &options.out {
        record.write(dir)?;
        if let Some(repeats) = &repeats {
            std::fs::write(dir.join("repeats.csv"), repeats.csv())?;
        }
    }
    if let (Some(repeats), Some(baseline)) = (&repeats, &options.gate) {
        repeats.gate(baseline, options.tolerance)?;
    }
    Ok(())
}
