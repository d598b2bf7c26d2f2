//! The verbs themselves: which commands make up a check, a test run, a demo.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::stage::{Count, Run, run, run_tests};
use crate::{layers as layer_check, packages, protos, repo, tidy as tidy_check};

/// The package of tests that start real servers.
const E2E: &str = "reef-e2e";

/// `cargo xtask tidy`.
pub(crate) fn tidy() -> Result<()> {
    none_found("tidy", &tidy_check::check()?)
}

/// `cargo xtask layers`.
pub(crate) fn layers() -> Result<()> {
    none_found("layers", &layer_check::check()?)
}

/// `cargo xtask envoy`.
pub(crate) fn envoy() -> Result<()> {
    println!("{}", packages::prepare()?.display());
    Ok(())
}

/// `cargo xtask check`.
pub(crate) fn check() -> Result<()> {
    let mut run = Run::start();
    fast_stages(&mut run);
    run.finish()
}

/// `cargo xtask test`: what `.ci/run` runs.
pub(crate) fn test() -> Result<()> {
    let mut all = Run::start();
    let mut envoy = PathBuf::new();
    all.stage("packages", minutes(3), |_| {
        envoy = packages::prepare()?;
        Ok(())
    });
    fast_stages(&mut all);
    all.stage("docs", minutes(5), |_| {
        run(cargo(&["doc", "--workspace", "--no-deps", "--quiet"])
            .env("RUSTDOCFLAGS", "-D warnings"))
    });
    all.stage("build", minutes(5), |_| {
        run(&mut cargo(&["build", "--workspace", "--bins"]))
    });
    all.stage("e2e", minutes(10), |count| {
        let mut command = cargo(&["test", "--package", E2E, "--no-fail-fast"]);
        run_tests(with_envoy(&mut command, &envoy), count)
    });
    all.stage("fuzz", minutes(6), |_| crate::fuzz::fuzz(&[]));
    all.finish()
}

/// `cargo xtask demo`: becomes the demo program, so that Ctrl-C reaches nobody but it.
pub(crate) fn demo(args: &[String]) -> Result<()> {
    let envoy = packages::prepare()?;
    run(&mut cargo(&[
        "build",
        "--quiet",
        "--package",
        "reef",
        "--package",
        E2E,
        "--bins",
    ]))?;
    let program = target_folder()?.join("debug/reef-demo");
    let mut command = Command::new(&program);
    let error = with_envoy(command.args(args), &envoy).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}

/// What every commit must pass.
fn fast_stages(all: &mut Run) {
    all.stage("fmt", minutes(1), |_| run(&mut cargo(&["fmt", "--check"])));
    all.stage("tidy", minutes(1), |_| tidy());
    all.stage("layers", minutes(1), |_| layers());
    all.stage("generated", minutes(1), |_| {
        protos::run(&["--check".to_owned()])
    });
    all.stage("clippy", minutes(10), |_| {
        run(&mut cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ]))
    });
    all.stage("tests", minutes(10), unit_tests);
}

/// Every test that starts no real server, doctests included.
fn unit_tests(count: &mut Count) -> Result<()> {
    run_tests(
        &mut cargo(&["test", "--workspace", "--exclude", E2E, "--no-fail-fast"]),
        count,
    )
}

fn none_found(check: &str, found: &[String]) -> Result<()> {
    for complaint in found {
        println!("{complaint}");
    }
    if found.is_empty() {
        return Ok(());
    }
    bail!("{check}: {} complaint(s)", found.len())
}

fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(repo::root()).args(args);
    command
}

fn with_envoy<'a>(command: &'a mut Command, envoy: &Path) -> &'a mut Command {
    command.env("ENVOY_BIN", envoy)
}

fn target_folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("CARGO_TARGET_DIR") {
        return Ok(std::path::absolute(folder)?);
    }
    Ok(repo::root().join("target"))
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}
