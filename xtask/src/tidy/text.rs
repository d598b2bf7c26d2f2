//! Rules that the text of one file can show.

/// Longest file, in lines that are not tests.
const MAX_LINES: usize = 600;

/// A `mod name;` line, or an `include!`d file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Module {
    pub(super) name: String,
    /// Its file, where the line says so itself.
    pub(super) path: Option<String>,
}

/// Checks one hand-written Rust file. `long`: it may be longer than others.
pub(super) fn rust_file(path: &str, content: &str, long: bool) -> Vec<String> {
    let mut found = Vec::new();
    let first = content.lines().find(|line| !line.trim().is_empty());
    if !first.is_some_and(|line| line.starts_with("//!")) {
        found.push(format!("{path}: does not begin with `//!` docs"));
    }
    let lines = product_lines(path, content);
    if lines > MAX_LINES && !long {
        found.push(format!("{path}: {lines} lines, at most {MAX_LINES}"));
    }
    for (number, line) in content.lines().enumerate() {
        let line = line.trim_start();
        for banned in ["should_panic", "ignore"] {
            let attribute = line
                .strip_prefix("#[")
                .and_then(|rest| rest.strip_prefix(banned));
            if attribute.is_some_and(|rest| rest.starts_with([']', '(', ' ', '='])) {
                let number = number + 1;
                found.push(format!("{path}:{number}: `#[{banned}]` is banned"));
            }
        }
    }
    found
}

/// Counts lines outside tests: none in a test file, else those before an inline test module.
fn product_lines(path: &str, content: &str) -> usize {
    let in_tests = path.split('/').any(|part| {
        part == "tests"
            || part == "tests.rs"
            || (part.starts_with("tests_") && part.ends_with(".rs"))
    });
    if in_tests && !path.starts_with("tests/src/") {
        return 0;
    }
    let mut previous = "";
    for (number, line) in content.lines().enumerate() {
        if previous.trim() == "#[cfg(test)]" && line.starts_with("mod ") && line.ends_with('{') {
            return number;
        }
        previous = line;
    }
    content.lines().count()
}

/// Lists the modules a file declares in files of their own.
pub(super) fn modules(content: &str) -> Vec<Module> {
    let mut found = Vec::new();
    let mut path = None;
    for line in content.lines() {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("#[path = \"") {
            path = rest.split('"').next().map(str::to_owned);
            continue;
        }
        if let Some(rest) = line.split("include!(\"").nth(1) {
            let file = rest.split('"').next().unwrap_or_default().to_owned();
            found.push(Module {
                name: String::new(),
                path: Some(file),
            });
        }
        if line.starts_with("#[") {
            continue;
        }
        let declaration = line
            .strip_prefix("pub ")
            .or_else(|| {
                let rest = line.strip_prefix("pub(")?;
                rest.split_once(") ").map(|(_, rest)| rest)
            })
            .unwrap_or(line);
        let name = declaration
            .strip_prefix("mod ")
            .and_then(|rest| rest.strip_suffix(';'));
        if let Some(name) = name {
            found.push(Module {
                name: name.trim().to_owned(),
                path: path.take(),
            });
        }
        path = None;
    }
    found
}

/// Checks one file of `changelog.d`: `<slug>.<kind>.md` with one sentence.
pub(super) fn changelog(name: &str, content: &str) -> Vec<String> {
    const KINDS: [&str; 6] = [
        "added",
        "changed",
        "fixed",
        "removed",
        "performance",
        "security",
    ];
    if name == ".gitkeep" {
        return Vec::new();
    }
    let mut found = Vec::new();
    let parts: Vec<&str> = name.split('.').collect();
    let well_named = match parts.as_slice() {
        [slug, kind, "md"] => {
            let slug_is_kebab = !slug.is_empty()
                && slug
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
            slug_is_kebab && KINDS.contains(kind)
        }
        _ => false,
    };
    if !well_named {
        found.push(format!(
            "changelog.d/{name}: want <slug>.<{}>.md",
            KINDS.join("|")
        ));
    }
    let text = content.trim();
    if text.is_empty() || text.lines().count() > 1 || !text.ends_with('.') {
        found.push(format!(
            "changelog.d/{name}: want one line, one sentence, ending with a period"
        ));
    }
    found
}

/// Finds words that must not be in the repository at all.
pub(super) fn forbidden(path: &str, content: &str, words: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for word in words {
        if let Some(number) = content
            .lines()
            .position(|line| line.contains(word.as_str()))
        {
            let number = number + 1;
            found.push(format!("{path}:{number}: names `{word}`"));
        }
    }
    found
}
