//! Each rule of validation has a document that breaks it and nothing else, and one that just passes; the table
//! of `docs/validation.md` lists the same rules.
//!
//! A document is `tests/validate/KIND/RULE.yaml` with the parts `--- # breaks` and `--- # passes`; in it,
//! `{{x*1000}}` is a thousand x. `REEF_WRITE_DOCS=1` writes the table again.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reef_config::parse::{self, Parsed};
use reef_config::validate::{self, Rule};
use reef_config::{Origin, Severity};
use reef_testkit::{RuleCase, assert_rules, assert_table, told_by};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/validation.md");
const BEGIN: &str =
    "<!-- objects: made by `REEF_WRITE_DOCS=1 cargo test -p reef-config --test it validate` -->\n";
const END: &str = "<!-- end of objects -->\n";

fn file_of(rule: &Rule) -> PathBuf {
    Path::new(ROOT)
        .join("tests/validate")
        .join(rule.kinds[0].as_str())
        .join(format!("{}.yaml", rule.name))
}

/// `{{x*3}}` is xxx.
fn expand(text: &str) -> String {
    let mut parts = text.split("{{");
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (what, rest) = part.split_once("}}").unwrap();
        let (unit, times) = what.rsplit_once('*').unwrap();
        all.push_str(&unit.repeat(times.parse().unwrap()));
        all.push_str(rest);
    }
    all
}

fn parsed(text: &str) -> Parsed {
    let origin = Origin {
        path: Arc::from("a.yaml"),
        line: 1,
    };
    parse::object(&expand(text), &origin)
}

fn check(rule: &'static Rule) -> Result<(), String> {
    let case = RuleCase::read(&file_of(rule))?;
    let broken = parsed(&case.breaks);
    let only = broken.problems.iter().all(|problem| {
        problem.rule == Some(rule)
            && problem.code == rule.code()
            && problem.severity == rule.severity
            && problem
                .object
                .as_ref()
                .is_some_and(|key| key.kind == rule.kinds[0])
            && !problem.field.is_empty()
    });
    let kept = usize::from(rule.severity != Severity::Error);
    if broken.problems.is_empty() || !only || broken.objects.len() != kept {
        return told_by("breaks", &broken.problems);
    }
    let good = parsed(&case.passes);
    if !good.problems.is_empty() || good.objects.len() != 1 {
        return told_by("passes", &good.problems);
    }
    Ok(())
}

#[test]
fn each_rule_is_broken_by_one_document_and_kept_by_another() {
    assert_rules(validate::rules(), check);
}

#[test]
fn every_document_is_of_a_rule() {
    let known: BTreeSet<PathBuf> = validate::rules().map(file_of).collect();
    for folder in fs::read_dir(Path::new(ROOT).join("tests/validate")).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            assert!(known.contains(&path), "{} is of no rule", path.display());
        }
    }
}

#[test]
fn names_of_rules_are_unique_and_summaries_are_one_sentence() {
    let mut names = BTreeSet::new();
    for rule in validate::rules() {
        assert!(names.insert(rule.name), "{} is there twice", rule.name);
        let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(rule.name.chars().all(kebab), "{}", rule.name);
        assert!(!rule.summary.ends_with('.'), "{}", rule.name);
        assert!(!rule.summary.contains('|'), "{}", rule.name);
    }
}

#[test]
fn the_table_lists_every_rule() {
    assert_table(Path::new(DOCS), (BEGIN, END), validate::rules());
}

/// Files below a folder.
fn yaml_below(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            yaml_below(&path, into);
        } else if path.extension().is_some_and(|end| end == "yaml") {
            into.push(path);
        }
    }
}

#[test]
fn examples_and_inputs_of_golden_cases_are_valid() {
    let mut files = Vec::new();
    yaml_below(&Path::new(ROOT).join("../../deploy/examples"), &mut files);
    yaml_below(
        &Path::new(ROOT).join("../reef-gen/tests/golden"),
        &mut files,
    );
    files.retain(|path| !path.components().any(|part| part.as_os_str() == "out"));
    let mut refused = Vec::new();
    for path in &files {
        let text = fs::read_to_string(path).unwrap();
        for document in parse::documents(text.as_bytes()).unwrap() {
            for problem in parsed(document.text).problems {
                if problem.severity == Severity::Error && problem.rule.is_some() {
                    refused.push(format!("{}:{} {problem}", path.display(), document.line));
                }
            }
        }
    }
    assert!(files.len() > 100, "{}", files.len());
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}
