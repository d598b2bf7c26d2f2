//! Carries out a command line and says the exit code.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use serde_json::json;

use crate::ask;
use crate::check;
use crate::cli::{Cli, Command, Output};
use crate::diff;
use crate::{inject, log, render, serve, sidecar, simulate};

/// Exit code for a command line that cannot be understood; 1 and 2 have meanings in `reef check`.
const USAGE: u8 = 64;

/// Runs `reef` with these arguments, the first of which is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let parsed = command(&args)
        .try_get_matches_from(&args)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to do if even the message cannot be printed.
            let _unprinted = error.print();
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match execute(cli) {
        Ok(code) => code,
        Err(error) => {
            let _unprinted = writeln!(std::io::stderr(), "reef: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The definition under the name it is called by: as `kubectl-reef` it is a plugin of kubectl, `kubectl reef`.
fn command(args: &[OsString]) -> clap::Command {
    let called = args.first().map(Path::new).and_then(Path::file_stem);
    if called.is_some_and(|name| name == "kubectl-reef") {
        Cli::command().bin_name("kubectl reef")
    } else {
        Cli::command()
    }
}

fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match cli.command {
        Command::Serve(args) => {
            log::init(&cli.log)?;
            drop(out);
            serve::run(*args)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check(args) => Ok(ExitCode::from(check::run(&args, &mut out)?)),
        Command::Render(args) => {
            render::run(&args, &mut out, &mut std::io::stderr()).map(|()| ExitCode::SUCCESS)
        }
        Command::Diff(args) => {
            let mut errors = std::io::stderr();
            let code = diff::run(&args, &mut out, &mut errors).unwrap_or_else(|error| {
                let _unprinted = writeln!(errors, "reef: {error:#}");
                diff::BAD_INPUT
            });
            Ok(ExitCode::from(code))
        }
        Command::Simulate(args) => {
            simulate::run(&args, &mut out, &mut std::io::stderr()).map(|()| ExitCode::SUCCESS)
        }
        Command::Status(args) => ask::status(&args, &mut out).map(|()| ExitCode::SUCCESS),
        Command::Why(args) => Ok(if ask::why(&args, &mut out)? {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }),
        Command::Bootstrap(args) => sidecar::bootstrap(&args, &mut out).map(|()| ExitCode::SUCCESS),
        Command::Inject(args) => {
            inject::run(&args, &mut out, &mut std::io::stderr()).map(|()| ExitCode::SUCCESS)
        }
        Command::Intercept(args) => sidecar::intercept(&args, &mut out).map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(shell, &mut command, "reef", &mut out);
            Ok(ExitCode::SUCCESS)
        }
        Command::Version(args) => {
            let version = env!("CARGO_PKG_VERSION");
            match args.output {
                Output::Text => writeln!(out, "reef {version}")?,
                Output::Json => ask::print_json(&json!({ "version": version }), &mut out)?,
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
