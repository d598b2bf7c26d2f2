//! `cargo xtask demo` becomes this program; see `reef_e2e::demo`. With `--probe` it tells what this machine makes
//! impossible (`reef_e2e::probe`).
#![allow(
    clippy::print_stderr,
    reason = "a command-line program reports on its terminal"
)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let probes = args
        .first()
        .is_some_and(|arg| arg == reef_e2e::probe::ARGUMENT);
    let outcome = if probes {
        reef_e2e::probe::main()
    } else {
        reef_e2e::demo::main(&args)
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
