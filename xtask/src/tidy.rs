//! House rules a compiler does not know.
//!
//! Length of files, `//!` at their start, banned test attributes, `.rs` files that no `mod`
//! declares, the form of `changelog.d`, and places that must not be named in the repository.
//! Rules that one file's text can show are in [`text`]; those over many files are here.

mod machine;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::repo::{self, Metadata};

/// The file `xtask/tidy.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exceptions {
    generated: Vec<String>,
    long: BTreeMap<String, String>,
}

impl Exceptions {
    fn is_generated(&self, path: &str) -> bool {
        self.generated.iter().any(|prefix| path.starts_with(prefix))
    }
}

/// Checks the whole repository; an empty list is a pass.
///
/// # Errors
/// When files of the repository cannot be read.
pub(crate) fn check() -> Result<Vec<String>> {
    let root = repo::root();
    let exceptions =
        std::fs::read_to_string(root.join("xtask/tidy.toml")).context("xtask/tidy.toml")?;
    let exceptions: Exceptions = toml::from_str(&exceptions).context("xtask/tidy.toml")?;
    let files = repo::files()?;
    let forbidden = machine::forbidden_words();
    let mut found = Vec::new();
    for path in &files {
        let bytes =
            std::fs::read(root.join(path)).with_context(|| format!("cannot read {path}"))?;
        let Ok(content) = std::str::from_utf8(&bytes) else {
            continue;
        };
        found.extend(text::forbidden(path, content, &forbidden));
        if path.ends_with(".rs") && !exceptions.is_generated(path) {
            let long = exceptions.long.contains_key(path);
            found.extend(text::rust_file(path, content, long));
        }
        if let Some(name) = path.strip_prefix("changelog.d/") {
            found.extend(text::changelog(name, content));
        }
    }
    for (path, reason) in &exceptions.long {
        if reason.trim().is_empty() {
            found.push(format!("xtask/tidy.toml: no reason for {path}"));
        }
        if !files.contains(path) {
            found.push(format!("xtask/tidy.toml: {path} is not here"));
        }
    }
    let declared = declared(&repo::metadata()?);
    for path in files.iter().filter(|path| path.ends_with(".rs")) {
        let outside = path.starts_with("fuzz/") || exceptions.is_generated(path);
        if !outside && !declared.contains(&root.join(path)) {
            found.push(format!(
                "{path}: no `mod` declares it, so nothing compiles it"
            ));
        }
    }
    Ok(found)
}

/// Follows `mod` lines from the root file of every target.
fn declared(metadata: &Metadata) -> BTreeSet<PathBuf> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<(PathBuf, bool)> = Vec::new();
    for package in &metadata.packages {
        for target in &package.targets {
            open.push((target.src_path.clone(), true));
        }
    }
    while let Some((file, is_root)) = open.pop() {
        let Ok(content) = std::fs::read_to_string(&file) else {
            continue;
        };
        if !seen.insert(file.clone()) {
            continue;
        }
        for declaration in text::modules(&content) {
            let candidates = candidates(&file, is_root, &declaration);
            open.extend(candidates.into_iter().map(|path| (path, false)));
        }
    }
    seen
}

/// Where the file of one `mod` line may be.
fn candidates(file: &Path, is_root: bool, declaration: &text::Module) -> Vec<PathBuf> {
    let folder = file.parent().unwrap_or(Path::new(""));
    if let Some(path) = &declaration.path {
        return vec![folder.join(path)];
    }
    let stem = file.file_stem().unwrap_or_default();
    let below = if is_root || stem == "mod" {
        folder.to_path_buf()
    } else {
        folder.join(stem)
    };
    let name = &declaration.name;
    vec![
        below.join(format!("{name}.rs")),
        below.join(name).join("mod.rs"),
    ]
}

#[cfg(test)]
mod tests;
