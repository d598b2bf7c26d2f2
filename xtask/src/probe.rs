//! Asks the end-to-end tests what this machine makes impossible (`reef-demo --probe`).

use std::process::Command;

use anyhow::{Context, Result};

use crate::repo::{stdout_of, target_folder};

/// Tests that cannot run here and why; `*` stands for all of them. The program has to be built.
///
/// # Errors
/// When the program cannot tell.
pub(crate) fn impossible() -> Result<Vec<(String, String)>> {
    let program = target_folder()?.join("debug/reef-demo");
    let text = stdout_of(Command::new(program).arg("--probe"))?;
    text.lines().map(read).collect()
}

fn read(line: &str) -> Result<(String, String)> {
    let (test, reason) = line
        .split_once('\t')
        .with_context(|| format!("not a line of the probe: {line}"))?;
    Ok((test.to_owned(), reason.to_owned()))
}

#[cfg(test)]
mod tests;
