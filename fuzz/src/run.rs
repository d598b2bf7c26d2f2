//! The loop: take an input, try it, keep what breaks.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::mutate::{Mutator, Random};
use crate::targets::Target;

/// Longest time one input may keep a processor. Inputs have at most [`MAX_BYTES`]; a parser that needs longer is an attack surface.
const SLOW: Duration = Duration::from_secs(5);

/// Longest input made.
const MAX_BYTES: usize = 64 << 10;

/// Stack of the thread that tries inputs: what threads of the product have.
const STACK_BYTES: usize = 2 << 20;

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How long per target.
    pub time: Duration,
    /// Which inputs.
    pub seed: u64,
    /// Inputs to try as they are; none means to make some.
    pub files: Vec<PathBuf>,
}

/// Runs targets, as many at a time as there are processors; how many were broken.
pub fn together(targets: &[Target], plan: &Plan) -> usize {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let broken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..workers.min(targets.len()) {
            scope.spawn(|| {
                while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !run(*target, plan) {
                        broken.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    broken.into_inner()
}

/// Runs one target; `false` if an input broke it.
fn run(target: Target, plan: &Plan) -> bool {
    let plan = plan.clone();
    std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || work(target, &plan))
        .is_ok_and(|thread| thread.join().unwrap_or(false))
}

fn work(target: Target, plan: &Plan) -> bool {
    let name = target.name();
    if !plan.files.is_empty() {
        return plan.files.iter().all(|file| match std::fs::read(file) {
            Ok(input) => attempt(target, &input),
            Err(error) => {
                eprintln!("{}: {error}", file.display());
                false
            }
        });
    }
    let corpus = corpus(target);
    if corpus.is_empty() {
        eprintln!("{name}: the corpus is empty");
        return false;
    }
    // A stack overflow or an abort leaves no panic to catch, but it leaves this file.
    let current = artifacts().join(format!("current-{name}"));
    let mut random = Random::new(plan.seed);
    let mut tried = 0u64;
    let begin = Instant::now();
    for input in &corpus {
        if !guarded(target, input, &current) {
            return false;
        }
        tried += 1;
    }
    let mutator = Mutator::new(target.is_text(), corpus);
    while begin.elapsed() < plan.time {
        let mut input = mutator.input(&mut random);
        input.truncate(MAX_BYTES);
        if !guarded(target, &input, &current) {
            return false;
        }
        tried += 1;
    }
    let _gone = std::fs::remove_file(&current);
    println!(
        "{name}: ok, {tried} inputs from {} seeds, seed {}",
        mutator.seeds(),
        plan.seed
    );
    true
}

fn guarded(target: Target, input: &[u8], current: &Path) -> bool {
    if let Err(error) = std::fs::write(current, input) {
        eprintln!("{}: {error}", current.display());
        return false;
    }
    attempt(target, input)
}

/// Tries one input and reports how it ended.
fn attempt(target: Target, input: &[u8]) -> bool {
    let begin = processor_time();
    let outcome = catch_unwind(AssertUnwindSafe(|| target.run(input)));
    let took = processor_time().saturating_sub(begin);
    if outcome.is_ok() && took <= SLOW {
        return true;
    }
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let file = artifacts().join(format!("{}-{:016x}", target.name(), hasher.finish()));
    let why = if outcome.is_err() {
        "panicked".to_owned()
    } else {
        format!("took {took:?}")
    };
    match std::fs::write(&file, input) {
        Ok(()) => eprintln!("{}: {why}; input kept in {}", target.name(), file.display()),
        Err(error) => eprintln!("{}: {why}; {}: {error}", target.name(), file.display()),
    }
    false
}

/// What this thread has used of a processor, so that a busy machine makes no input slow. Zero where it cannot be read.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

/// The folder of this workspace.
pub fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn artifacts() -> PathBuf {
    let folder = here().join("artifacts");
    if let Err(error) = std::fs::create_dir_all(&folder) {
        eprintln!("{}: {error}", folder.display());
    }
    folder
}

/// The committed seeds of a target, and for objects also the examples and golden inputs of the repository.
fn corpus(target: Target) -> Vec<Vec<u8>> {
    if let Target::Kind(_) = target {
        let file = here()
            .join("corpus/kinds")
            .join(format!("{}.yaml", target.name()));
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let mut seeds: Vec<Vec<u8>> = text
            .split("\n---\n")
            .filter(|seed| !seed.is_empty())
            .map(|seed| seed.as_bytes().to_vec())
            .collect();
        // What once broke the target.
        let mut files = Vec::new();
        list(&here().join("corpus").join(target.name()), "", &mut files);
        files.sort();
        seeds.extend(files.iter().filter_map(|file| std::fs::read(file).ok()));
        return seeds;
    }
    let mut files = Vec::new();
    list(&here().join("corpus").join(target.name()), "", &mut files);
    if target == Target::MeshConfig {
        let golden = here().join("../crates/reef-gen/tests/golden");
        list(&golden, "mesh.yaml", &mut files);
    }
    if target == Target::Objects {
        list(&here().join("../deploy/examples"), "yaml", &mut files);
        list(
            &here().join("../crates/reef-gen/tests/golden"),
            "in.yaml",
            &mut files,
        );
        list(
            &here().join("../crates/reef-scope/tests/golden"),
            "in.yaml",
            &mut files,
        );
    }
    files.sort();
    files
        .iter()
        .filter_map(|file| std::fs::read(file).ok())
        .collect()
}

/// Adds the files below a folder whose names end so.
pub fn list(folder: &Path, ending: &str, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() {
            list(&path, ending, files);
        } else if path.to_string_lossy().ends_with(ending) {
            files.push(path);
        }
    }
}
