//! `reef-fuzz seed`: the seeds of the kinds, taken from the golden cases and examples of the repository.
//!
//! One file per kind, `corpus/kinds/<target>.yaml`, documents of one shape once, sorted, at most [`MOST`]; so a run does not depend on what
//! the golden cases are today, and the file shows what it starts from.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use reef_config::{Kind, Origin, parse};

use crate::targets::Target;

/// Longest document taken: a large one is no better seed, and slow.
const MAX_BYTES: usize = 4096;

/// Most documents of a kind: more would make runs longer and find the same.
const MOST: usize = 160;

/// Writes the files; prints how many documents each has.
///
/// # Errors
/// If a file cannot be written.
pub fn write(here: &Path) -> std::io::Result<()> {
    let mut texts = Vec::new();
    for (folder, ending) in [
        ("../crates/reef-gen/tests/golden", "in.yaml"),
        ("../crates/reef-scope/tests/golden", "in.yaml"),
        ("../deploy/examples", "yaml"),
        ("corpus/objects", "yaml"),
    ] {
        let mut files = Vec::new();
        crate::run::list(&here.join(folder), ending, &mut files);
        texts.extend(files.iter().filter_map(|file| std::fs::read(file).ok()));
    }
    std::fs::create_dir_all(here.join("corpus/kinds"))?;
    for kind in Kind::ALL {
        let mut shapes = BTreeSet::new();
        let mut found: BTreeSet<String> =
            texts.iter().flat_map(|text| of_kind(*kind, text)).collect();
        // Names, addresses and ages are what the mutator changes anyway.
        found.retain(|text| shapes.insert(shape(text)));
        if found.is_empty() {
            continue;
        }
        let (all, mut nth) = (found.len(), 0);
        found.retain(|_| {
            nth += 1;
            // Evenly spread over the order, which is by kind of content.
            nth * MOST / all.max(MOST) > (nth - 1) * MOST / all.max(MOST)
        });
        let name = Target::Kind(*kind).name();
        let file = here.join("corpus/kinds").join(format!("{name}.yaml"));
        let count = found.len();
        let joined: Vec<String> = found.into_iter().collect();
        std::fs::write(&file, joined.join("\n---\n") + "\n")?;
        println!("{name}: {count} seeds");
    }
    Ok(())
}

/// A document without its metadata and digits: what tells it from others that matters.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for line in text.lines().filter(|line| !line.starts_with("metadata: {")) {
        shape.extend(line.chars().filter(|letter| !letter.is_ascii_digit()));
    }
    shape
}

/// The documents of a text that hold one object of a kind, without comments.
fn of_kind(kind: Kind, text: &[u8]) -> Vec<String> {
    let documents = parse::documents(text).unwrap_or_default();
    let origin = Origin {
        path: Arc::from("seed.yaml"),
        line: 1,
    };
    documents
        .into_iter()
        .filter(|document| document.text.len() <= MAX_BYTES)
        .filter(|document| {
            let parsed = parse::object(document.text, &origin);
            matches!(&parsed.objects[..], [object] if object.key.kind == kind)
        })
        .map(|document| {
            let lines = document.text.lines().map(str::trim_end);
            let kept = lines.filter(|line| !line.is_empty() && !line.trim_start().starts_with('#'));
            kept.collect::<Vec<_>>().join("\n")
        })
        .collect()
}
