//! Where the repository is and which files belong to it.
//!
//! Knows git and `cargo metadata`; judges nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Returns the root folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Prepares a call of the cargo that runs us, in the root folder.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    command
}

/// Returns the folder cargo builds in.
///
/// # Errors
/// When the environment names one relative to a folder that is gone.
pub(crate) fn target_folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("CARGO_TARGET_DIR") {
        return Ok(std::path::absolute(folder)?);
    }
    Ok(root().join("target"))
}

/// Lists the files git knows or would add, relative to the root, sorted.
///
/// # Errors
/// When git cannot be run or refuses.
pub(crate) fn files() -> Result<Vec<String>> {
    let text = stdout_of(Command::new("git").current_dir(root()).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut files: Vec<String> = text
        .lines()
        .filter(|path| root().join(path).is_file())
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// When it cannot be started or exits with another code than 0.
pub(crate) fn stdout_of(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} failed: {}", stderr.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} printed no UTF-8"))
}

/// The part of `cargo metadata` that the checks read.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
}

/// One package of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

/// One dependency line of a package.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` is an ordinary dependency; else `dev` or `build`.
    pub(crate) kind: Option<String>,
    pub(crate) optional: bool,
    /// Set for a crate of this workspace.
    pub(crate) path: Option<PathBuf>,
}

/// One thing cargo compiles.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) src_path: PathBuf,
}

/// Asks cargo for the packages of the workspace, without their dependencies' own.
///
/// # Errors
/// When cargo fails or prints something else.
pub(crate) fn metadata() -> Result<Metadata> {
    let text = stdout_of(&mut cargo(&["metadata", "--no-deps", "--format-version=1"]))?;
    serde_json::from_str(&text).context("cargo metadata printed unknown JSON")
}
