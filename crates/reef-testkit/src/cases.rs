//! Documents that break a rule of validation and documents that just pass it, and the tables that list the rules.

use std::fmt::Write as _;
use std::path::Path;

use reef_config::Problem;
use reef_config::validate::Rule;

/// What breaks a rule, and what passes it: a file with the parts `--- # breaks` and `--- # passes`.
#[derive(Debug, Clone)]
pub struct RuleCase {
    /// Breaks this rule only.
    pub breaks: String,
    /// Just passes.
    pub passes: String,
}

impl RuleCase {
    /// Reads a file.
    ///
    /// # Errors
    /// If there is none, or it lacks a part; for people.
    pub fn read(file: &Path) -> Result<Self, String> {
        let shown = file.display();
        let text = std::fs::read_to_string(file).map_err(|error| format!("{shown}: {error}"))?;
        let parts = text
            .strip_prefix("--- # breaks\n")
            .and_then(|rest| rest.split_once("--- # passes\n"));
        let (breaks, passes) = parts.ok_or_else(|| {
            format!("{shown}: it must have the parts `--- # breaks` and `--- # passes`")
        })?;
        Ok(Self {
            breaks: breaks.to_owned(),
            passes: passes.to_owned(),
        })
    }
}

/// Fails if some rule's case is wrong, with all that are.
///
/// # Panics
/// If so.
pub fn assert_rules<'a>(
    rules: impl Iterator<Item = &'a Rule>,
    check: impl Fn(&'a Rule) -> Result<(), String>,
) {
    let wrong: Vec<String> = rules
        .filter_map(|rule| Some(format!("{}: {}", rule.name, check(rule).err()?)))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} rules:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// An error with findings that are not as they should be.
///
/// # Errors
/// Always.
pub fn told(what: &str, problems: &[Problem]) -> Result<(), String> {
    let mut text = format!("what {what} told");
    for problem in problems {
        let rule = problem.rule.map(|rule| rule.name);
        write!(text, "\n  {problem} [{rule:?}]").unwrap_or_default();
    }
    Err(text)
}

/// Fails if a page does not list these rules between two lines; `REEF_WRITE_DOCS=1` writes them there.
///
/// # Panics
/// If it does not, if it cannot be read or lacks the lines.
pub fn assert_table<'a>(
    page: &Path,
    (begin, end): (&str, &str),
    rules: impl Iterator<Item = &'a Rule>,
) {
    let mut rows = String::new();
    let mut count = 0;
    for rule in rules {
        count += 1;
        let kinds: Vec<&str> = rule.kinds.iter().map(|kind| kind.as_str()).collect();
        let kinds = kinds.join(", ");
        let (name, code, severity) = (rule.name, rule.istio.unwrap_or("–"), rule.severity);
        let row = format!(
            "| `{name}` | {code} | {kinds} | {severity} | {} |\n",
            rule.summary
        );
        rows.push_str(&row);
    }
    let head = "| Rule | Code | Kind | Severity | What must hold |\n|---|---|---|---|---|\n";
    let table = format!("{count} rules.\n\n{head}{rows}");
    let text = std::fs::read_to_string(page).expect("the page is readable");
    let (before, rest) = text.split_once(begin).expect("the table begins");
    let (now, after) = rest.split_once(end).expect("the table ends");
    if std::env::var_os("REEF_WRITE_DOCS").is_some() {
        let text = format!("{before}{begin}{table}{end}{after}");
        std::fs::write(page, text).expect("the page is writable");
    } else {
        assert!(
            now == table,
            "{} is old; the line before the table says how it is written",
            page.display()
        );
    }
}
