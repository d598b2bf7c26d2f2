//! `reef-bench`: scenarios as data, measured against the library and against a real `reef serve`.
//!
//! ```text
//! scenario (numbers) ─► tree (YAML files) ─┬─► engine: index, classes, plans in this process
//!                                          └─► server: a real process, delta clients on real sockets
//!                                                       └─► record: raw.csv, summary.md, machine.md
//! ```
//!
//! Not a test: nothing here passes or fails. `cargo run --release -p reef-bench -- all --reef PATH --out DIR`.
#![allow(clippy::print_stdout, reason = "a command line program")]

mod client;
mod clock;
mod directory;
mod engine;
mod process;
mod record;
mod scenario;
mod sync;
mod tree;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};

use crate::record::Record;
use crate::scenario::{LARGE_DIRECTORY, Scenario, THOUSAND};

/// Measures Reef.
#[derive(Debug, Parser)]
struct Options {
    /// What to measure.
    #[arg(value_enum)]
    what: What,
    /// The `reef` binary, built for release.
    #[arg(long, env = "REEF_BIN", default_value = "target/release/reef")]
    reef: PathBuf,
    /// Where to write `raw.csv`, `summary.md` and `machine.md`; nothing is written without it.
    #[arg(long)]
    out: Option<PathBuf>,
    /// How often each scenario is run.
    #[arg(long, default_value_t = 3)]
    runs: u32,
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
    /// All of them.
    All,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let wants = |what| options.what == what || options.what == What::All;
    let shrunk = |scenario: &Scenario| scenario.shrunk(options.shrink);
    let mut record = Record::default();
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
    println!("{}", record.summary());
    if let Some(dir) = &options.out {
        record.write(dir)?;
    }
    Ok(())
}
