//! A real API server for the tests: kube-apiserver, etcd, kubectl and helm.
//!
//! `KUBEBUILDER_ASSETS` may name a folder that has them, `TEST_ASSET_KUBE_APISERVER` and its siblings
//! single ones. What is named by neither is built once from Go modules (`tests/kube-tools`) and kept
//! in `~/.cache/reef`.

mod go;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{cache_folder, find, thrice};
use crate::repo::{root, stdout_of};
use crate::stage::Stage;

/// Version of kube-apiserver and kubectl; `tests/kube-tools/go.mod` says the same.
const KUBE: &str = "1.36.3";
/// Version of etcd, which that Kubernetes asks for; `tests/kube-tools/go.mod` says the same.
const ETCD: &str = "3.6.8";
/// Version of helm, built from its own module.
const HELM: &str = "4.3.1";
/// What names our choice of versions and build flags beside the binaries.
const KEY: &str = "key";

/// One of the four programs.
#[derive(Debug, Clone, Copy)]
struct Tool {
    name: &'static str,
    variable: &'static str,
    /// Arguments that print its version, and what is then printed.
    version: (&'static [&'static str], &'static str),
}

const TOOLS: [Tool; 4] = [
    Tool {
        name: "etcd",
        variable: "TEST_ASSET_ETCD",
        version: (&["--version"], ETCD),
    },
    Tool {
        name: "kube-apiserver",
        variable: "TEST_ASSET_KUBE_APISERVER",
        version: (&["--version"], KUBE),
    },
    Tool {
        name: "kubectl",
        variable: "TEST_ASSET_KUBECTL",
        version: (&["version", "--client"], KUBE),
    },
    Tool {
        name: "helm",
        variable: "TEST_ASSET_HELM",
        // Built from the module, helm knows only the first two numbers of its version.
        version: (&["version", "--short"], "v4.3"),
    },
];

/// Where the four programs are.
#[derive(Debug)]
pub(crate) struct Kube {
    paths: Vec<(&'static str, PathBuf)>,
}

impl Kube {
    /// Tells a command where they are.
    pub(crate) fn tell<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for (variable, path) in &self.paths {
            command.env(variable, path);
        }
        command
    }

    /// Lists them, as `VARIABLE=path`.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |(variable, path): &(&str, PathBuf)| format!("{variable}={}", path.display());
        self.paths.iter().map(line).collect()
    }
}

/// Returns the programs, building what the environment does not name.
///
/// # Errors
/// When the environment names what is not there, or Go is missing or fails; the text says what would
/// help.
pub(crate) fn prepare(stage: &mut Stage) -> Result<Kube> {
    let given = std::env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty());
    let given = given.map(PathBuf::from);
    let mut paths = Vec::new();
    let mut missing = Vec::new();
    for tool in TOOLS {
        match named(tool, given.as_deref())? {
            Some(path) => paths.push((tool.variable, path)),
            None => missing.push(tool),
        }
    }
    if missing.is_empty() {
        return Ok(Kube { paths });
    }
    let folder = cache_folder(&format!("kube-{KUBE}"));
    let key = key()?;
    let kept = std::fs::read_to_string(folder.join(KEY)).ok();
    for tool in missing {
        let path = folder.join(tool.name);
        // Binaries without a key were put here by hand: their versions speak for them.
        let current = kept.as_ref().is_none_or(|kept| *kept == key) && is_current(tool, &path);
        if !current {
            build(stage, tool, &path)?;
            if !is_current(tool, &path) {
                bail!("{} does not start on this machine", path.display());
            }
        }
        paths.push((tool.variable, path));
    }
    // Last, so that an interrupted build leaves nothing that looks complete.
    if kept.as_ref() != Some(&key) {
        std::fs::write(folder.join(KEY), key)?;
    }
    Ok(Kube { paths })
}

/// Finds a program that the environment names.
fn named(tool: Tool, assets: Option<&Path>) -> Result<Option<PathBuf>> {
    if let Some(path) = std::env::var_os(tool.variable).filter(|value| !value.is_empty()) {
        let path = PathBuf::from(path);
        if !path.is_file() {
            bail!(
                "{}={}: there is no such file",
                tool.variable,
                path.display()
            );
        }
        return Ok(Some(path));
    }
    let Some(folder) = assets else {
        return Ok(None);
    };
    let path = folder.join(tool.name);
    if path.is_file() {
        return Ok(Some(path));
    }
    if tool.name != "helm" {
        bail!(
            "KUBEBUILDER_ASSETS={}: it has no {}",
            folder.display(),
            tool.name
        );
    }
    // The archives that are published for such tests lack helm.
    Ok(find(tool.name).filter(|path| is_current(tool, path)))
}

/// What the binaries were made from, as text.
fn key() -> Result<String> {
    let module = root().join("tests/kube-tools");
    let mut key = format!("kube {KUBE}, etcd {ETCD}, helm {HELM}\n");
    for file in ["go.mod", "go.sum"] {
        let path = module.join(file);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        key.push_str(&text);
    }
    Ok(key)
}

/// Whether a binary is there, starts, and is of the version we want.
fn is_current(tool: Tool, path: &Path) -> bool {
    let (arguments, wanted) = tool.version;
    let mut command = Command::new(path);
    // It looks for its settings below the home folder, and does not need them.
    stdout_of(command.args(arguments)).is_ok_and(|printed| printed.contains(wanted))
}

fn build(stage: &mut Stage, tool: Tool, path: &Path) -> Result<()> {
    let go = go::prepare()?;
    let folder = path.parent().context("a path without a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    println!("building {} with {}", tool.name, go.display());
    let scratch = folder.join(format!("part-{}-{}", tool.name, std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let output = scratch.join(tool.name);
    thrice(|| stage.run(&mut command(&go, tool, &scratch))).with_context(|| {
        format!(
            "cannot build {}; KUBEBUILDER_ASSETS may name a folder that has it",
            tool.name
        )
    })?;
    std::fs::rename(&output, path)
        .with_context(|| format!("cannot move {} to {}", tool.name, path.display()))?;
    std::fs::remove_dir_all(&scratch)?;
    Ok(())
}

/// The command that puts one program into a folder.
fn command(go: &Path, tool: Tool, folder: &Path) -> Command {
    let mut command = Command::new(go);
    // Nobody's workspace, flags or C compiler may change what comes out.
    command
        .env("GOWORK", "off")
        .env("GOFLAGS", "")
        .env("CGO_ENABLED", "0")
        .env_remove("GOBIN");
    if tool.name == "helm" {
        command
            .current_dir(folder)
            .env("GOBIN", folder)
            .args(["install", "-trimpath", "-ldflags", "-s -w"])
            .arg(format!("helm.sh/helm/v4/cmd/helm@v{HELM}"));
        return command;
    }
    let mut numbers = KUBE.split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next());
    let minor = minor.unwrap_or_default();
    let set = "-X k8s.io/component-base/version.git";
    // Without these its clients see a version of zero.
    let flags = format!("-s -w {set}Version=v{KUBE} {set}Major={major} {set}Minor={minor}");
    command
        .current_dir(root().join("tests/kube-tools"))
        .args(["build", "-trimpath", "-ldflags", &flags, "-o"])
        .arg(folder.join(tool.name))
        .arg(format!("./{}", tool.name));
    command
}

#[cfg(test)]
mod tests;
