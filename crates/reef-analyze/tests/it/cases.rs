//! A case is `tests/cases/RULE.yaml` with the parts `--- # breaks` and `--- # passes`; what breaks has exactly
//! that finding. `REEF_WRITE_DOCS=1` writes the table of `docs/validation.md` again.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reef_config::validate::Rule;
use reef_config::{Change, ChangeBatch, Object, Origin, Problem, Severity, parse};
use reef_mesh::MeshIndex;
use reef_testkit::{RuleCase, assert_rules, assert_table, told_by};

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/validation.md");
const BEGIN: &str =
    "<!-- mesh: made by `REEF_WRITE_DOCS=1 cargo test -p reef-analyze --test it` -->\n";
const END: &str = "<!-- end of mesh -->\n";

pub(crate) fn objects(yaml: &str) -> Vec<Arc<Object>> {
    let origin = Origin {
        path: Arc::from("a.yaml"),
        line: 1,
    };
    let documents = parse::documents(yaml.as_bytes()).unwrap();
    let parsed = documents
        .iter()
        .map(|document| parse::object(document.text, &origin));
    parsed
        .flat_map(|parsed| {
            assert_eq!(parsed.problems, [], "{yaml}");
            parsed.objects
        })
        .map(Arc::new)
        .collect()
}

pub(crate) fn analyzed(objects: &[Arc<Object>]) -> Vec<Problem> {
    let mut index = MeshIndex::new("cluster.local");
    index.apply(ChangeBatch {
        changes: objects.iter().cloned().map(Change::Apply).collect(),
        synced: true,
    });
    reef_analyze::analyze(objects, index.snapshot())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

fn check(rule: &'static Rule) -> Result<(), String> {
    let case = RuleCase::read(&folder().join(format!("{}.yaml", rule.name)))?;
    let found = analyzed(&objects(&case.breaks));
    let only = found.iter().all(|problem| {
        problem.rule == Some(rule)
            && problem.severity != Severity::Error
            && problem
                .object
                .as_ref()
                .is_some_and(|key| rule.kinds.contains(&key.kind))
            && problem.origin.is_some()
    });
    if found.is_empty() || !only {
        return told_by("breaks", &found);
    }
    let found = analyzed(&objects(&case.passes));
    if found.is_empty() {
        Ok(())
    } else {
        told_by("passes", &found)
    }
}

#[test]
fn each_rule_finds_what_breaks_it_and_nothing_in_what_passes() {
    assert_rules(reef_analyze::rules(), check);
}

#[test]
fn every_case_is_of_a_rule_and_names_are_unique() {
    let mut names = BTreeSet::new();
    for rule in reef_config::validate::rules().chain(reef_analyze::rules()) {
        assert!(names.insert(rule.name), "{} is there twice", rule.name);
    }
    let known: BTreeSet<&str> = reef_analyze::rules().map(|rule| rule.name).collect();
    for file in fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(known.contains(name), "{name} is of no rule");
    }
}

#[test]
fn the_table_lists_every_rule() {
    assert_table(Path::new(DOCS), (BEGIN, END), reef_analyze::rules());
}
