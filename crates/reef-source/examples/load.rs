//! Loads directories once and prints how long it took and how much memory the process holds.
//!
//! `cargo run --release --example load -p reef-source -- DIR...`
#![expect(clippy::print_stdout, reason = "it is a command line program")]
#![expect(clippy::disallowed_methods, reason = "measuring needs the clock")]

use std::path::PathBuf;
use std::time::Instant;

fn main() {
    let dirs: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let start = Instant::now();
    let reef_source::Contents {
        objects, problems, ..
    } = reef_source::load(&dirs, None);
    let elapsed = start.elapsed();
    println!(
        "{} objects, {} problems in {elapsed:?}",
        objects.len(),
        problems.len()
    );
    for problem in problems.iter().take(5) {
        println!("  {}: {problem}", problem.severity);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in status
        .lines()
        .filter(|line| line.starts_with("VmHWM") || line.starts_with("VmRSS"))
    {
        println!("{line}");
    }
}
