//! Stages of a check run: each is timed against a budget, all run, failures are counted at the end.
//!
//! A stage over its budget is reported, not failed: a slow machine is not a wrong program.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Numbers of tests, as libtest prints them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Count {
    /// Reads `test result: ok. 3 passed; 0 failed; …`; `None` for any other line.
    pub(crate) fn of_line(line: &str) -> Option<Self> {
        let rest = line.trim().strip_prefix("test result:")?;
        let mut count = Self::default();
        for part in rest.split([';', '.']) {
            match part.trim().split_once(' ') {
                Some((number, "passed")) => count.passed = number.parse().ok()?,
                Some((number, "failed")) => count.failed = number.parse().ok()?,
                _ => {}
            }
        }
        Some(count)
    }
}

/// One finished stage.
#[derive(Debug)]
struct Done {
    name: &'static str,
    took: Duration,
    budget: Duration,
    error: Option<anyhow::Error>,
}

/// Runs stages one after another and remembers how they ended.
#[derive(Debug)]
pub(crate) struct Run {
    started: Instant,
    done: Vec<Done>,
    tests: Count,
}

impl Run {
    /// Starts the clock.
    pub(crate) fn start() -> Self {
        Self {
            started: now(),
            done: Vec::new(),
            tests: Count::default(),
        }
    }

    /// Runs one stage. `true` if it passed; a failed stage never ends the run.
    pub(crate) fn stage(
        &mut self,
        name: &'static str,
        budget: Duration,
        work: impl FnOnce(&mut Count) -> Result<()>,
    ) -> bool {
        println!("── {name} (budget {})", minutes(budget));
        let begin = now();
        let error = work(&mut self.tests).err();
        let took = begin.elapsed();
        let passed = error.is_none();
        match &error {
            None => println!("── {name}: ok in {:.1} s", took.as_secs_f64()),
            Some(error) => println!(
                "── {name}: FAILED after {:.1} s: {error:#}",
                took.as_secs_f64()
            ),
        }
        self.done.push(Done {
            name,
            took,
            budget,
            error,
        });
        passed
    }

    /// Prints every stage's time and cargo's own kind of last line.
    ///
    /// # Errors
    /// When a stage failed.
    pub(crate) fn finish(self) -> Result<()> {
        println!();
        for done in &self.done {
            let verdict = match (&done.error, done.took > done.budget) {
                (Some(_), _) => "FAILED",
                (None, true) => "ok, over its budget",
                (None, false) => "ok",
            };
            println!(
                "{:<10} {:>7.1} s of {:>6}  {verdict}",
                done.name,
                done.took.as_secs_f64(),
                minutes(done.budget)
            );
        }
        let failed: Vec<&str> = self
            .done
            .iter()
            .filter(|done| done.error.is_some())
            .map(|done| done.name)
            .collect();
        println!(
            "test result: {}. {} passed; {} failed; 0 ignored; 0 measured; 0 filtered out; \
             finished in {:.2}s",
            if failed.is_empty() { "ok" } else { "FAILED" },
            self.tests.passed,
            self.tests.failed,
            self.started.elapsed().as_secs_f64()
        );
        std::io::stdout().flush().context("cannot write")?;
        if failed.is_empty() {
            return Ok(());
        }
        bail!("failed: {}", failed.join(", "))
    }
}

/// Runs a command, its output on our terminal.
///
/// # Errors
/// When it cannot be started or exits with another code than 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}

/// Runs a test command, passing its output on and adding up its `test result:` lines.
///
/// # Errors
/// As [`run`], and when the command succeeded without a single test having run.
pub(crate) fn run_tests(command: &mut Command, total: &mut Count) -> Result<()> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let stdout = child.stdout.take().context("no pipe")?;
    let mut here = Count::default();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("test output is not UTF-8")?;
        println!("{line}");
        if let Some(count) = Count::of_line(&line) {
            here.passed += count.passed;
            here.failed += count.failed;
        }
    }
    total.passed += here.passed;
    total.failed += here.failed;
    let status = child.wait().context("cannot wait for the tests")?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    if here == Count::default() {
        bail!("{command:?} ran no test");
    }
    Ok(())
}

fn minutes(time: Duration) -> String {
    format!("{} min", time.as_secs().div_ceil(60))
}

#[expect(
    clippy::disallowed_methods,
    reason = "stages are timed for people, outside the product"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
