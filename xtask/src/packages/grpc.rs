//! Python's gRPC library, for the test of clients without a proxy.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{cache_folder, python_with_pip, thrice};
use crate::repo::stdout_of;
use crate::stage::run;

/// Version of the Python package `grpcio`.
const VERSION: &str = "1.85.1";

/// Where the library is, and the Python it is for.
#[derive(Debug)]
pub(crate) struct Grpc {
    /// The interpreter.
    pub(crate) python: PathBuf,
    /// Folder for its `PYTHONPATH`.
    pub(crate) site: PathBuf,
}

impl Grpc {
    /// Tells a command where they are.
    pub(crate) fn tell<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("REEF_GRPC_PYTHON", &self.python)
            .env("REEF_GRPC_SITE", &self.site)
    }
}

/// Returns the library, fetching it once.
///
/// # Errors
/// When there is no Python with pip, or the package cannot be downloaded or used.
pub(crate) fn prepare() -> Result<Grpc> {
    let python = python_with_pip()?;
    let site = cache_folder(&format!("grpcio-{VERSION}"));
    if !works(&python, &site) {
        println!("fetching grpcio {VERSION}");
        fetch(&python, &site)?;
        if !works(&python, &site) {
            bail!("grpcio {VERSION} does not work with {}", python.display());
        }
    }
    Ok(Grpc { python, site })
}

/// Whether the library is there, and is for this interpreter.
fn works(python: &Path, site: &Path) -> bool {
    let version = stdout_of(
        Command::new(python)
            .args(["-c", "import grpc; print(grpc.__version__)"])
            .env("PYTHONPATH", site),
    );
    version.is_ok_and(|version| version.trim() == VERSION)
}

/// Installs beside the final place, then renames: a fetch that was interrupted leaves nothing that looks complete.
fn fetch(python: &Path, site: &Path) -> Result<()> {
    let scratch = site.with_extension(format!("part-{}", std::process::id()));
    thrice(|| {
        run(Command::new(python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(["--only-binary=:all:", "--target"])
            .arg(&scratch)
            .arg(format!("grpcio=={VERSION}")))
    })
    .context("cannot download grpcio")?;
    if site.exists() {
        std::fs::remove_dir_all(site)?;
    }
    std::fs::rename(&scratch, site).with_context(|| format!("cannot move it to {}", site.display()))
}
