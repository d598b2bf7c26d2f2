//! Which crate may use which: `cargo metadata` against `xtask/layers.toml`.
//!
//! The table is the one of `ARCHITECTURE.md`; the two change together.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::repo::{self, Dependency, Metadata};

/// The file `xtask/layers.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layers {
    /// Crates usable by tests of every crate.
    #[serde(default)]
    test_only: BTreeSet<String>,
    /// Crate → the crates of this workspace it may use.
    uses: BTreeMap<String, BTreeSet<String>>,
    /// External crate → the crates that may depend on it.
    only_in: BTreeMap<String, BTreeSet<String>>,
    /// External crate → the crates where it must stay behind a feature.
    #[serde(default)]
    optional_in: BTreeMap<String, BTreeSet<String>>,
}

impl Layers {
    /// Lists every dependency line that the table does not allow, sorted.
    pub(crate) fn violations(&self, metadata: &Metadata) -> Vec<String> {
        let mut found = BTreeSet::new();
        for package in &metadata.packages {
            let Some(allowed) = self.uses.get(&package.name) else {
                found.insert(format!("{}: not in xtask/layers.toml", package.name));
                continue;
            };
            for dependency in &package.dependencies {
                let complaint = if dependency.path.is_some() {
                    self.internal(&package.name, allowed, dependency)
                } else {
                    self.external(&package.name, dependency)
                };
                found.extend(complaint);
            }
        }
        let present: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
        for name in self.uses.keys() {
            if !present.contains(name.as_str()) {
                found.insert(format!("{name}: in xtask/layers.toml but not here"));
            }
        }
        found.into_iter().collect()
    }

    fn internal(
        &self,
        package: &str,
        allowed: &BTreeSet<String>,
        dependency: &Dependency,
    ) -> Option<String> {
        let name = &dependency.name;
        let dev = dependency.kind.as_deref() == Some("dev");
        if dev && (self.test_only.contains(name) || name == package) {
            return None;
        }
        if !dev && self.test_only.contains(name) && !allowed.contains(name) {
            return Some(format!("{package} → {name}: only for tests"));
        }
        (!allowed.contains(name)).then(|| format!("{package} → {name}: not in the table"))
    }

    fn external(&self, package: &str, dependency: &Dependency) -> Option<String> {
        let name = &dependency.name;
        let only = self.only_in.get(name)?;
        if only.contains(package) || dependency.kind.as_deref() == Some("dev") {
            return None;
        }
        let optional = self
            .optional_in
            .get(name)
            .is_some_and(|packages| packages.contains(package));
        if optional && dependency.optional {
            return None;
        }
        Some(format!("{package} → {name}: banned here"))
    }
}

/// Checks the whole workspace; an empty list is a pass.
///
/// # Errors
/// When cargo or one of the manifests cannot be read.
pub(crate) fn check() -> Result<Vec<String>> {
    let path = repo::root().join("xtask/layers.toml");
    let text = std::fs::read_to_string(&path).context("cannot read xtask/layers.toml")?;
    let layers: Layers = toml::from_str(&text).context("xtask/layers.toml")?;
    let metadata = repo::metadata()?;
    let mut found = layers.violations(&metadata);
    for package in &metadata.packages {
        let manifest = std::fs::read_to_string(&package.manifest_path)
            .with_context(|| format!("cannot read {}", package.manifest_path.display()))?;
        if !inherits_lints(&manifest)? {
            found.push(format!(
                "{}: lacks `[lints] workspace = true`",
                package.name
            ));
        }
    }
    Ok(found)
}

fn inherits_lints(manifest: &str) -> Result<bool> {
    let table: toml::Table = manifest.parse().context("a manifest is not TOML")?;
    let inherits = table
        .get("lints")
        .and_then(|lints| lints.get("workspace"))
        .and_then(toml::Value::as_bool);
    Ok(inherits == Some(true))
}

#[cfg(test)]
mod tests;
