//! `cargo xtask demo` becomes this program; see `reef_e2e::demo`.
#![allow(
    clippy::print_stderr,
    reason = "a command-line program reports on its terminal"
)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match reef_e2e::demo::main(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
