//! `simulate.yaml` beside golden cases of `reef-gen`, against what is recorded there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use reef_simulate::{Config, simulate};
use serde_json::Value;

use crate::expect::{Entry, check};

/// So many entries there are at least; it only grows.
const LEAST: usize = 200;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Entries by case, read from the file.
fn entries() -> Vec<(PathBuf, Vec<Entry>)> {
    let folder = root().join("crates/reef-gen/tests/golden");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("golden cases are there")
        .map(|entry| entry.expect("readable folder").path())
        .filter(|case| case.join("simulate.yaml").is_file())
        .collect();
    cases.sort();
    let read = |case: PathBuf| {
        let path = case.join("simulate.yaml");
        let text = std::fs::read_to_string(&path).expect("simulate.yaml is readable");
        match serde_saphyr::from_str(&text) {
            Ok(entries) => (case, entries),
            Err(error) => panic!("{}: {error}", path.display()),
        }
    };
    cases.into_iter().map(read).collect()
}

fn recorded(case: &Path) -> Config {
    let mut config = Config::default();
    for file in [
        "listeners.yaml",
        "routes.yaml",
        "clusters.yaml",
        "endpoints.yaml",
    ] {
        let path = case.join("out").join(file);
        let text = std::fs::read_to_string(&path).expect("the output is recorded");
        let document: Value = serde_saphyr::from_str(&text).expect("the output is YAML");
        if let Err(error) = config.add_document(&document) {
            panic!("{}: {error}", path.display());
        }
    }
    config
}

#[test]
fn requests_go_where_the_rules_say() {
    let mut wrong = Vec::new();
    for (case, entries) in entries() {
        let config = recorded(&case);
        for (index, entry) in entries.iter().enumerate() {
            let answer = simulate(&config, &entry.request);
            let notes = answer.outcomes.iter().flat_map(|one| &one.notes);
            let notes: BTreeSet<&String> = notes.collect();
            if let Err(why) = check(entry, &answer) {
                let name = case.file_name().unwrap_or_default().to_string_lossy();
                let rules = entry.rule.all();
                wrong.push(format!("{name} #{index} {rules:?}: {why}; notes {notes:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_entry_names_a_rule_of_the_list() {
    let known: BTreeSet<String> = std::fs::read_dir(root().join("docs/rules"))
        .expect("the rule list is there")
        .map(|entry| entry.expect("readable folder").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "md"))
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).expect("readable file");
            let ids = text.lines().filter_map(|line| {
                let id = line.strip_prefix('|')?.split('|').next()?.trim();
                id.starts_with("IC ").then(|| id.to_owned())
            });
            ids.collect::<Vec<_>>()
        })
        .collect();
    assert!(known.len() > 300, "only {} rules found", known.len());
    for (case, entries) in entries() {
        for (index, entry) in entries.iter().enumerate() {
            let rules = entry.rule.all();
            assert!(!rules.is_empty(), "{} #{index}", case.display());
            for rule in rules {
                assert!(known.contains(rule), "{} #{index}: {rule}", case.display());
            }
        }
    }
}

#[test]
fn there_are_as_many_entries_as_were_promised() {
    let all = entries();
    let count: usize = all.iter().map(|(_, entries)| entries.len()).sum();
    let mut rules: BTreeSet<&str> = BTreeSet::new();
    for (_, entries) in &all {
        rules.extend(entries.iter().flat_map(|entry| entry.rule.all()));
    }
    println!(
        "{count} entries in {} cases, for {} rules",
        all.len(),
        rules.len()
    );
    assert!(count >= LEAST, "{count} of {LEAST}");
}
