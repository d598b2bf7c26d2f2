//! A case is `tests/cases/RULE.yaml` with the parts `--- # breaks` and `--- # passes`; what breaks has exactly
//! that finding. `REEF_WRITE_DOCS=1` writes the table of `docs/validation.md` again.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reef_config::validate::Rule;
use reef_config::{Change, ChangeBatch, Object, Origin, Problem, Severity, parse};
use reef_mesh::MeshIndex;

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

fn wrong(rule: &'static Rule) -> Option<String> {
    let Ok(text) = fs::read_to_string(folder().join(format!("{}.yaml", rule.name))) else {
        return Some("there is no such file".to_owned());
    };
    let (breaks, passes) = text
        .strip_prefix("--- # breaks\n")
        .and_then(|rest| rest.split_once("--- # passes\n"))?;
    let told = |problems: &[Problem]| {
        let lines = problems
            .iter()
            .map(|p| format!("  {p} [{:?}]", p.rule.map(|rule| rule.name)));
        lines.collect::<Vec<_>>().join("\n")
    };
    let found = analyzed(&objects(breaks));
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
        return Some(format!("what breaks told\n{}", told(&found)));
    }
    let found = analyzed(&objects(passes));
    (!found.is_empty()).then(|| format!("what passes told\n{}", told(&found)))
}

#[test]
fn each_rule_finds_what_breaks_it_and_nothing_in_what_passes() {
    let wrong: Vec<String> = reef_analyze::rules()
        .filter_map(|rule| Some(format!("{}: {}", rule.name, wrong(rule)?)))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} rules:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
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
    let mut table = format!("{} rules.\n\n", reef_analyze::rules().count());
    table.push_str("| Rule | Code | Kind | Severity | What must hold |\n|---|---|---|---|---|\n");
    for rule in reef_analyze::rules() {
        let kinds: Vec<&str> = rule.kinds.iter().map(|kind| kind.as_str()).collect();
        writeln!(
            table,
            "| `{}` | {} | {} | {} | {} |",
            rule.name,
            rule.istio.unwrap_or("–"),
            kinds.join(", "),
            rule.severity,
            rule.summary
        )
        .unwrap();
    }
    let page = fs::read_to_string(DOCS).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (now, after) = rest.split_once(END).unwrap();
    if std::env::var_os("REEF_WRITE_DOCS").is_some() {
        fs::write(DOCS, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert!(
            now == table,
            "docs/validation.md is old: REEF_WRITE_DOCS=1 cargo test -p reef-analyze --test it"
        );
    }
}
