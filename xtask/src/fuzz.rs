//! The fuzz workspace: builds it and runs every target for a short while.
//!
//! `cargo xtask fuzz` runs ten seconds a target; arguments are handed on (`cargo xtask fuzz
//! objects --seconds 3600 --seed 7`).

use std::process::Command;

use anyhow::Result;

use crate::repo;
use crate::stage::run;

/// Runs the fuzz program with `args`; without any, all targets.
///
/// # Errors
/// When it does not build or an input breaks a target.
pub(crate) fn fuzz(args: &[String]) -> Result<()> {
    run(&mut command(args))
}

/// Prepares the call of the fuzz program.
pub(crate) fn command(args: &[String]) -> Command {
    let mut command = repo::cargo(&["run", "--quiet", "--"]);
    command
        .current_dir(repo::root().join("fuzz"))
        .env_remove("CARGO_TARGET_DIR");
    if args.is_empty() {
        command.arg("all");
    }
    command.args(args);
    command
}
