//! The Helm chart: its table of values, its schema, and the plain manifest rendered from it.
//!
//! What is made is committed, so that nobody needs this program to install Reef; `--check` says what is stale. Helm itself
//! is found, not installed: it comes with the tools of the stage `packages`.

mod values;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::repo::{root, stdout_of};

/// Where the chart is.
const CHART: &str = "deploy/helm/reef";
/// What `kubectl apply` takes.
const MANIFEST: &str = "deploy/kubernetes/reef.yaml";
/// The namespace of the plain manifest.
const NAMESPACE: &str = "reef-system";
const BEGIN: &str = "<!-- values: made by `cargo xtask chart` from values.yaml -->\n";
const END: &str = "<!-- end of values -->\n";

/// `cargo xtask chart [--check]`.
///
/// # Errors
/// When the chart is wrong, or with `--check` something made from it is stale.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let check = match args {
        [] => false,
        [only] if only == "--check" => true,
        _ => bail!("usage: cargo xtask chart [--check]"),
    };
    let helm = helm().context("there is no helm: set HELM, or put it into PATH")?;
    let mut found = complaints()?;
    if !check {
        std::fs::write(root().join(CHART).join("README.md"), readme()?)?;
        found = complaints()?;
    }
    if !found.is_empty() {
        bail!("{}", found.join("\n"));
    }
    lint(&helm)?;
    keep(MANIFEST, &manifest(&helm)?, check)
}

/// What is wrong with the chart that can be told without Helm.
///
/// # Errors
/// When a file of it is missing or no text.
fn complaints() -> Result<Vec<String>> {
    let chart = root().join(CHART);
    let read = |name: &str| {
        let path = chart.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let text = read("values.yaml")?;
    let values = values::read(&text);
    let mut found: Vec<String> = values
        .iter()
        .filter(|value| value.about.is_empty())
        .map(|value| format!("values.yaml: {} has no comment above it", value.path))
        .collect();
    let schema = serde_json::from_str(&read("values.schema.json")?)
        .context("values.schema.json is no JSON")?;
    found.extend(values::compare(&values, &schema));
    let version = read("Chart.yaml")?;
    let wanted = env!("CARGO_PKG_VERSION");
    for key in ["version", "appVersion"] {
        if !version
            .lines()
            .any(|line| line == format!("{key}: {wanted}"))
        {
            found.push(format!(
                "Chart.yaml: {key} is not the workspace's, {wanted}"
            ));
        }
    }
    if read("README.md")? != readme()? {
        found.push(format!("{CHART}/README.md is stale: run cargo xtask chart"));
    }
    Ok(found)
}

/// The chart's README with its table of values made anew.
fn readme() -> Result<String> {
    let chart = root().join(CHART);
    let text = std::fs::read_to_string(chart.join("README.md"))?;
    let values = values::read(&std::fs::read_to_string(chart.join("values.yaml"))?);
    let (before, rest) = text
        .split_once(BEGIN)
        .context("README.md lacks the mark of its table")?;
    let (_, after) = rest
        .split_once(END)
        .context("README.md lacks the end of its table")?;
    Ok(format!(
        "{before}{BEGIN}\n{}\n{END}{after}",
        values::table(&values)
    ))
}

/// Finds Helm: `HELM`, where the API server's tools are, or `PATH`.
pub(crate) fn helm() -> Option<PathBuf> {
    let named = std::env::var_os("HELM").map(PathBuf::from);
    let beside =
        std::env::var_os("KUBEBUILDER_ASSETS").map(|folder| Path::new(&folder).join("helm"));
    let cache = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/reef"));
    let kept = cache
        .and_then(|cache| std::fs::read_dir(cache).ok())
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("kube-"))
        .map(|entry| entry.path().join("helm"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join("helm"));
    let mut all = named
        .into_iter()
        .chain(beside)
        .chain(kept)
        .chain(in_path.collect::<Vec<_>>());
    all.find(|path| path.is_file())
}

/// Lints the chart with its own values, and renders it with each file of `ci/`.
fn lint(helm: &Path) -> Result<()> {
    let chart = root().join(CHART);
    stdout_of(
        Command::new(helm)
            .args(["lint", "--strict", "--quiet"])
            .arg(&chart),
    )?;
    let mut sets: Vec<PathBuf> = std::fs::read_dir(chart.join("ci"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    sets.sort();
    for set in sets {
        stdout_of(
            Command::new(helm)
                .args(["lint", "--strict", "--quiet"])
                .arg(&chart)
                .arg("--values")
                .arg(&set),
        )?;
        render(helm, &["--values", &set.to_string_lossy()])?;
    }
    Ok(())
}

/// What the chart renders to, tests left out.
fn render(helm: &Path, args: &[&str]) -> Result<String> {
    let mut command = Command::new(helm);
    command.args(["template", "reef"]).arg(root().join(CHART));
    command
        .args(["--namespace", NAMESPACE, "--skip-tests"])
        .args(args);
    stdout_of(&mut command)
}

/// The plain manifest: the namespace and what the chart renders to, without the CRDs, which have a folder of their own.
fn manifest(helm: &Path) -> Result<String> {
    let rendered = render(helm, &["--set", "base.enableCRDTemplates=false"])?;
    let mut text = format!(
        "# Made by `cargo xtask chart` from {CHART} with its own values. A cluster without Istio needs deploy/crds first.\n\
         ---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n"
    );
    let helms = [
        "helm.sh/chart:",
        "app.kubernetes.io/managed-by:",
        "app.kubernetes.io/instance:",
    ];
    for line in rendered.lines() {
        // Nobody but Helm itself manages what Helm installed.
        if helms
            .iter()
            .any(|label| line.trim_start().starts_with(label))
        {
            continue;
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    Ok(text)
}

/// Writes a file that is made, or says that it is stale.
fn keep(file: &str, text: &str, check: bool) -> Result<()> {
    let path = root().join(file);
    if std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    if check {
        bail!("{file} is stale: run cargo xtask chart");
    }
    std::fs::write(&path, text).with_context(|| format!("cannot write {file}"))
}

#[cfg(test)]
mod tests;
