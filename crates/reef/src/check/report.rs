//! How a check is told: lines for people, a document for programs, and the exit code for both.

use std::fmt::Write as _;

use reef_config::{Origin, Problem, Severity};
use reef_mesh::Unenforced;
use serde_json::{Map, Value, json};

use super::Checked;

/// 1 if there is an error, 2 if something is not applied, else 0.
///
/// A security rule that is not enforced is told as an error, but it is Reef that lacks something, not the input.
pub(super) fn exit_code(problems: &[Problem]) -> u8 {
    let not_applied = |problem: &Problem| {
        problem.severity == Severity::Warning
            || problem.code == "not-yet-applied"
            || problem.code == Unenforced::PROBLEM
    };
    if problems
        .iter()
        .any(|problem| problem.severity == Severity::Error && problem.code != Unenforced::PROBLEM)
    {
        1
    } else if problems.iter().any(not_applied) {
        2
    } else {
        0
    }
}

/// One line per problem, `file:line: severity: object: field: reason [code rule]`, and a summary.
pub(super) fn text(checked: &Checked) -> String {
    let mut page = String::new();
    for problem in &checked.problems {
        let place = problem
            .origin
            .as_ref()
            .map(|origin| format!("{origin}: "))
            .unwrap_or_default();
        let told = Problem {
            origin: None,
            ..problem.clone()
        };
        // Writing to a String cannot fail.
        // What istioctl and the table of rules call it; other problems are told in full by their reason.
        let names = match problem.rule {
            Some(rule) if rule.istio.is_some() => format!(" [{} {}]", problem.code, rule.name),
            Some(rule) => format!(" [{}]", rule.name),
            None => String::new(),
        };
        let _ok = writeln!(page, "{place}{}: {told}{names}", problem.severity);
    }
    let count = |severity| {
        checked
            .problems
            .iter()
            .filter(|problem| problem.severity == severity)
            .count()
    };
    let _ok = writeln!(
        page,
        "{} objects, {} services, {} classes of proxies: {} errors, {} warnings, {} notes",
        checked.objects.values().sum::<usize>(),
        checked.services,
        checked.scopes,
        count(Severity::Error),
        count(Severity::Warning),
        count(Severity::Info),
    );
    page
}

/// The same as a document.
pub(super) fn json(checked: &Checked) -> Value {
    let problems: Vec<Value> = checked
        .problems
        .iter()
        .map(|problem| {
            json!({
                "severity": problem.severity.as_str(),
                "code": problem.code,
                "rule": problem.rule.map(|rule| rule.name),
                "file": problem.origin.as_ref().map(|origin| &*origin.path),
                "line": problem.origin.as_ref().and_then(Origin::line),
                "object": problem.object.as_ref().map(ToString::to_string),
                "field": problem.field,
                "reason": problem.reason,
            })
        })
        .collect();
    let objects: Map<String, Value> = checked
        .objects
        .iter()
        .map(|(kind, count)| (kind.as_str().to_owned(), json!(count)))
        .collect();
    json!({
        "objects": objects,
        "services": checked.services,
        "classes": checked.scopes,
        "exitCode": exit_code(&checked.problems),
        "problems": problems,
    })
}
