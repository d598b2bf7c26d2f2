//! Stages of a check run: each is timed against a budget, all run, failures are told at the end.
//!
//! A stage over its budget is reported, not failed: a slow machine is not a wrong program. One far
//! over it is ended, so that a hang is told by us and not by whoever loses patience with us.

mod budget;
mod process;

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

pub(crate) use process::run;

/// The whole of a CI run is over before the 90 minutes that CI gives it.
const WHOLE: Duration = Duration::from_secs(84 * 60);
/// Lines of a failed stage that are told again at the end.
const TOLD_AGAIN: usize = 120;

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

/// What a stage's work does its commands with: their output is shown, kept and counted.
#[derive(Debug)]
pub(crate) struct Stage {
    /// When its commands are ended.
    deadline: Instant,
    log: Option<File>,
    /// The end of the output, without lines that say that something is well.
    tail: VecDeque<String>,
    count: Count,
    left_out: Option<String>,
}

impl Stage {
    fn new(name: &str, deadline: Instant) -> Self {
        let file = || -> Result<File> {
            let folder = log_folder()?;
            std::fs::create_dir_all(&folder)?;
            Ok(File::create(folder.join(format!("{name}.log")))?)
        };
        Self {
            deadline,
            // Without a log the run is worth as much.
            log: file().ok(),
            tail: VecDeque::new(),
            count: Count::default(),
            left_out: None,
        }
    }

    /// Runs a command, its output on our terminal.
    ///
    /// # Errors
    /// When it cannot be started, exits with another code than 0, or takes far too long.
    pub(crate) fn run(&mut self, command: &mut Command) -> Result<()> {
        process::tee(command, self.deadline, |line| {
            println!("{line}");
            self.keep(line);
        })
    }

    /// Runs a test command, adding up its `test result:` lines.
    ///
    /// # Errors
    /// As [`Self::run`], and when the command succeeded without a single test having run.
    pub(crate) fn tests(&mut self, command: &mut Command) -> Result<()> {
        let before = self.count;
        let mut found = Count::default();
        let outcome = process::tee(command, self.deadline, |line| {
            println!("{line}");
            self.keep(line);
            if let Some(count) = Count::of_line(line) {
                found.passed += count.passed;
                found.failed += count.failed;
            }
        });
        self.count.passed = before.passed + found.passed;
        self.count.failed = before.failed + found.failed;
        outcome?;
        if found == Count::default() {
            bail!("{command:?} ran no test");
        }
        Ok(())
    }

    /// Says that this machine makes the rest of the stage impossible.
    pub(crate) fn leave_out(&mut self, why: &str) {
        println!("left out: {why}");
        self.left_out = Some(why.to_owned());
    }

    /// Counts one test that is no `#[test]`.
    pub(crate) fn passed(&mut self) {
        self.count.passed += 1;
    }

    fn keep(&mut self, line: &str) {
        if let Some(log) = &mut self.log {
            // A full disk shows elsewhere.
            writeln!(log, "{line}").unwrap_or_default();
        }
        if is_well(line) {
            return;
        }
        if self.tail.len() == TOLD_AGAIN {
            self.tail.pop_front();
        }
        self.tail.push_back(line.to_owned());
    }
}

/// Whether a line of output says only that something is as it should be.
fn is_well(line: &str) -> bool {
    let line = line.trim();
    let first = line.split(' ').next().unwrap_or_default();
    line.is_empty()
        || ["Compiling", "Checking", "Running", "Downloaded", "Finished"].contains(&first)
        || (first == "running" && (line.ends_with("tests") || line.ends_with("test")))
        || (first == "test" && line.ends_with("... ok"))
        || line.starts_with("test result: ok")
}

/// One finished stage.
#[derive(Debug)]
struct Done {
    name: &'static str,
    took: Duration,
    budget: Duration,
    error: Option<anyhow::Error>,
    tail: VecDeque<String>,
    count: Count,
    left_out: Option<String>,
}

impl Done {
    fn verdict(&self) -> String {
        match (&self.error, &self.left_out, self.took > self.budget) {
            (Some(_), ..) => "FAILED".to_owned(),
            (None, Some(why), _) => format!("left out: {why}"),
            (None, None, true) => "ok, over its budget".to_owned(),
            (None, None, false) => "ok".to_owned(),
        }
    }
}

/// Runs stages one after another and remembers how they ended.
#[derive(Debug)]
pub(crate) struct Run {
    started: Instant,
    done: Vec<Done>,
    left_out: Vec<(&'static str, String)>,
}

impl Run {
    /// Starts the clock.
    pub(crate) fn start() -> Self {
        Self {
            started: now(),
            done: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// Runs one stage of those that have a budget. `true` if it passed; a failed stage never ends the run.
    pub(crate) fn stage(
        &mut self,
        name: &'static str,
        work: impl FnOnce(&mut Stage) -> Result<()>,
    ) -> bool {
        self.stage_within(name, budget::of(name), work)
    }

    /// The same, with a budget of its own.
    pub(crate) fn stage_within(
        &mut self,
        name: &'static str,
        budget: Duration,
        work: impl FnOnce(&mut Stage) -> Result<()>,
    ) -> bool {
        println!("── {name} (budget {})", seconds(budget));
        let begin = now();
        let whole = if std::env::var_os("CI").is_some() {
            WHOLE
        } else {
            Duration::from_secs(24 * 3600)
        };
        let own = (budget * 3).max(Duration::from_secs(600));
        let mut stage = Stage::new(name, (begin + own).min(self.started + whole));
        let error = work(&mut stage).err();
        let took = begin.elapsed();
        match &error {
            None => println!("── {name}: ok in {:.1} s", took.as_secs_f64()),
            Some(error) => println!(
                "── {name}: FAILED after {:.1} s: {error:#}",
                took.as_secs_f64()
            ),
        }
        let passed = error.is_none();
        self.done.push(Done {
            name,
            took,
            budget,
            error,
            tail: stage.tail,
            count: stage.count,
            left_out: stage.left_out,
        });
        passed
    }

    /// Notes a stage that this machine cannot run and does not have to.
    pub(crate) fn leave_out(&mut self, name: &'static str, why: impl Into<String>) {
        self.left_out.push((name, why.into()));
    }

    /// Tells again what failed, then every stage's time and cargo's own kind of last line.
    ///
    /// # Errors
    /// When a stage failed.
    pub(crate) fn finish(self) -> Result<()> {
        let failed: Vec<&Done> = self.done.iter().filter(|d| d.error.is_some()).collect();
        for done in &failed {
            println!("\n── what {} said last", done.name);
            for line in &done.tail {
                println!("{line}");
            }
            if let Some(error) = &done.error {
                println!("── {} FAILED: {error:#}", done.name);
            }
        }
        println!(
            "\n{:<10} {:>9} {:>9} {:>7}  state",
            "stage", "time", "budget", "tests"
        );
        for done in &self.done {
            let tests = done.count.passed + done.count.failed;
            println!(
                "{:<10} {:>7.1} s {:>9} {:>7}  {}",
                done.name,
                done.took.as_secs_f64(),
                seconds(done.budget),
                if tests == 0 {
                    "-".to_owned()
                } else {
                    tests.to_string()
                },
                done.verdict()
            );
        }
        for (name, why) in &self.left_out {
            println!(
                "{name:<10} {:>9} {:>9} {:>7}  left out: {why}",
                "-", "-", "-"
            );
        }
        let sum = |of: fn(&Count) -> u64| self.done.iter().map(|d| of(&d.count)).sum::<u64>();
        println!(
            "test result: {}. {} passed; {} failed; 0 ignored; 0 measured; 0 filtered out; \
             finished in {:.2}s",
            if failed.is_empty() { "ok" } else { "FAILED" },
            sum(|count| count.passed),
            sum(|count| count.failed),
            self.started.elapsed().as_secs_f64()
        );
        std::io::stdout().flush().context("cannot write")?;
        if failed.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = failed.iter().map(|done| done.name).collect();
        bail!("failed: {}", names.join(", "))
    }
}

/// Where the whole output of each stage is kept.
fn log_folder() -> Result<PathBuf> {
    Ok(crate::repo::target_folder()?.join("stages"))
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

#[expect(
    clippy::disallowed_methods,
    reason = "stages are timed for people, outside the product"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
