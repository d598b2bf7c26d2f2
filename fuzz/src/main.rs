//! Fuzz targets of Reef: inputs made from the committed corpus, tried until the time is over.
//!
//! ```text
//! corpus ─► mutate (seeded) ─► target ─► panic or broken property ─► artifacts/<target>-<hash>, exit 1
//! ```
//!
//! `cargo run -- all` runs each target for ten seconds, as many at a time as there are processors; `--seconds` and
//! `--seed` change that; `TARGET FILE…` tries files as they are; `seed` takes the seeds of the kinds from the golden cases. It is a plain program on the pinned stable toolchain: the same seed tries the same inputs, and it needs
//! no compiler besides Rust's. It does not follow coverage, so the corpus has to reach what is to be tested.

mod mutate;
mod run;
mod seed;
mod targets;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use run::Plan;
use targets::Target;

const USAGE: &str = "\
usage: reef-fuzz all|TARGET [--seconds N] [--seed N]
       reef-fuzz TARGET FILE...
       reef-fuzz seed
targets: discovery_request, objects, changes, node_metadata, mesh_config,
         and kind_<kind> of each kind, such as kind_virtual_service";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args == ["seed"] {
        return match seed::write(run::here()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("the seeds cannot be written: {error}");
                ExitCode::FAILURE
            }
        };
    }
    match parse(args) {
        Ok((targets, plan)) => {
            let all = targets.len();
            let broken = run::together(&targets, &plan);
            // The line that programs which count tests look for.
            println!(
                "test result: {}. {} passed; {broken} failed",
                if broken == 0 { "ok" } else { "FAILED" },
                all - broken
            );
            if broken == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(args: Vec<String>) -> Result<(Vec<Target>, Plan), String> {
    let mut args = args.into_iter();
    let name = args.next().ok_or("which target?")?;
    let targets = match name.as_str() {
        "all" => Target::all(),
        name => vec![Target::named(name).ok_or_else(|| format!("no target `{name}`"))?],
    };
    let mut plan = Plan {
        time: Duration::from_secs(10),
        seed: 1,
        files: Vec::new(),
    };
    while let Some(arg) = args.next() {
        let mut number = || -> Result<u64, String> {
            let text = args.next().ok_or_else(|| format!("{arg}: a number"))?;
            text.parse()
                .map_err(|error| format!("{arg} {text}: {error}"))
        };
        match arg.as_str() {
            "--seconds" => plan.time = Duration::from_secs(number()?),
            "--seed" => plan.seed = number()?,
            option if option.starts_with('-') => return Err(format!("no option `{option}`")),
            file => plan.files.push(PathBuf::from(file)),
        }
    }
    if name == "all" && !plan.files.is_empty() {
        return Err("files belong to one target".to_owned());
    }
    Ok((targets, plan))
}
