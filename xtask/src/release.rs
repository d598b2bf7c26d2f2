//! The release build: one static binary, without a C library or anything else to find at run time.
//!
//! With the musl target where rustup has it, else with this machine's C library linked in, which
//! needs nothing but `libc6-dev`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::repo::{cargo, stdout_of, target_folder};
use crate::stage::Stage;

/// Builds it, makes sure that it is static and starts, and returns its path.
///
/// # Errors
/// When it does not build, or is not static, or does not start.
pub(crate) fn build(stage: &mut Stage) -> Result<PathBuf> {
    let target = target()?;
    // Flags for a named target do not reach build scripts and macros, which cannot be static.
    stage.run(
        cargo(&[
            "build",
            "--release",
            "--locked",
            "--package",
            "reef",
            "--target",
            &target,
        ])
        .env("RUSTFLAGS", "-C target-feature=+crt-static"),
    )?;
    let binary = target_folder()?.join(&target).join("release/reef");
    if asks_for_a_loader(&std::fs::read(&binary)?) {
        bail!("{} is not static", binary.display());
    }
    let version = stdout_of(Command::new(&binary).arg("--version"))?;
    let size = std::fs::metadata(&binary)?.len();
    println!("{} ({size} bytes): {}", binary.display(), version.trim());
    stage.passed();
    Ok(binary)
}

/// The target of the release.
fn target() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let about = stdout_of(Command::new(&rustc).arg("-vV"))?;
    let host = about
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc names no host")?;
    let root = stdout_of(Command::new(&rustc).args(["--print", "sysroot"]))?;
    let musl = host.replace("-gnu", "-musl");
    let has_musl = Path::new(root.trim())
        .join("lib/rustlib")
        .join(&musl)
        .is_dir();
    Ok(if has_musl { musl } else { host.to_owned() })
}

/// Whether a 64-bit little-endian ELF file has a program header of type `PT_INTERP`.
fn asks_for_a_loader(file: &[u8]) -> bool {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, length: usize| -> Option<u64> {
        let bytes = file.get(at..at.checked_add(length)?)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
        )
    };
    let headers = || -> Option<bool> {
        let first = usize::try_from(number(0x20, 8)?).ok()?;
        let size = usize::try_from(number(0x36, 2)?).ok()?;
        let count = usize::try_from(number(0x38, 2)?).ok()?;
        let mut kinds = (0..count).map(|index| number(first + index * size, 4));
        Some(kinds.any(|kind| kind == Some(PT_INTERP)))
    };
    headers().unwrap_or(true)
}

#[cfg(test)]
mod tests;
