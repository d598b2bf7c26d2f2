//! Measurements, and the files they are kept in.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

/// One number.
#[derive(Debug, Clone)]
struct Sample {
    scenario: &'static str,
    run: u32,
    metric: String,
    unit: &'static str,
    value: f64,
}

/// All numbers of a session.
#[derive(Debug, Default)]
pub(crate) struct Record {
    samples: Vec<Sample>,
}

impl Record {
    /// Notes a number, and shows it.
    pub(crate) fn note(
        &mut self,
        (scenario, run): (&'static str, u32),
        metric: &str,
        unit: &'static str,
        value: f64,
    ) {
        println!("{scenario} run {run}: {metric} {value:.4} {unit}");
        self.samples.push(Sample {
            scenario,
            run,
            metric: metric.to_owned(),
            unit,
            value,
        });
    }

    /// Median, least and most of each metric, as a table.
    pub(crate) fn summary(&self) -> String {
        let mut groups: BTreeMap<(&str, usize, &str, &str), Vec<f64>> = BTreeMap::new();
        let mut order: Vec<&str> = Vec::new();
        for sample in &self.samples {
            let place = order
                .iter()
                .position(|known| *known == sample.metric)
                .unwrap_or_else(|| {
                    order.push(&sample.metric);
                    order.len() - 1
                });
            let group = (sample.scenario, place, &*sample.metric, sample.unit);
            groups.entry(group).or_default().push(sample.value);
        }
        let mut text =
            "| Scenario | Metric | Median | Least | Most | Unit | Runs |\n|---|---|---|---|---|---|---|\n".to_owned();
        for ((scenario, _, metric, unit), mut values) in groups {
            values.sort_by(f64::total_cmp);
            let (Some(least), Some(most)) = (values.first(), values.last()) else {
                continue;
            };
            let median = values.get(values.len() / 2).unwrap_or(least);
            let runs = values.len();
            let _infallible = writeln!(
                text,
                "| {scenario} | {metric} | {median:.4} | {least:.4} | {most:.4} | {unit} | {runs} |"
            );
        }
        text
    }

    /// Writes `raw.csv`, `summary.md` and `machine.md`.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).context("making the folder of results")?;
        let mut raw = "scenario,run,metric,unit,value\n".to_owned();
        for Sample {
            scenario,
            run,
            metric,
            unit,
            value,
        } in &self.samples
        {
            let _infallible = writeln!(raw, "{scenario},{run},{metric},{unit},{value}");
        }
        fs::write(dir.join("raw.csv"), raw)?;
        fs::write(
            dir.join("summary.md"),
            format!("# Results\n\n{}", self.summary()),
        )?;
        fs::write(dir.join("machine.md"), machine())?;
        Ok(())
    }
}

/// What the numbers were measured on.
fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&cpu, "model name");
    let cores = cpu
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let command: Vec<String> = std::env::args().collect();
    format!(
        "# Machine\n\n- CPU: {model}, {cores} cores\n- Memory: {}\n- Kernel: {}\n- Load at the end: {}\n- Toolchain: {}\n- Commit: {}\n\
         - Command: `{}`\n",
        field(&memory, "MemTotal"),
        kernel.trim(),
        load.trim(),
        output("rustc", &["--version"]),
        output("git", &["rev-parse", "HEAD"]),
        command.join(" ")
    )
}

fn field(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(':'))
        .map_or("unknown", |(_, value)| value.trim())
        .to_owned()
}

fn output(program: &str, arguments: &[&str]) -> String {
    let done = Command::new(program).args(arguments).output();
    done.map_or_else(
        |_| "unknown".to_owned(),
        |done| String::from_utf8_lossy(&done.stdout).trim().to_owned(),
    )
}
