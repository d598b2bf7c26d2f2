//! The CustomResourceDefinitions: made by a test of `reef-config`, which also holds them equal to its types.

use anyhow::Result;

use crate::repo::cargo;
use crate::stage::run;

/// `cargo xtask crds`: writes `deploy/crds` anew.
///
/// # Errors
/// When the test does not build, or the definitions do not fit the objects Reef is tested with.
pub(crate) fn write() -> Result<()> {
    let mut command = cargo(&[
        "test",
        "--quiet",
        "--package",
        "reef-config",
        "--test",
        "it",
        "crds::",
    ]);
    run(command.env("REEF_WRITE_DOCS", "1"))
}
