//! `docs/rules/*.md`: the list of rules, and that every rule that is `here` is proven.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::{expect, world};

/// Files of the list by section.
const FILES: &[(&str, &str)] = &[
    ("1", "1-identity"),
    ("2", "2-protocols"),
    ("3", "3-clusters"),
    ("4", "4-endpoints"),
    ("5", "5-listeners"),
    ("6", "6-routes"),
    ("7", "7-security"),
    ("9", "9-streams"),
    ("12", "12-pitfalls"),
];

/// How many rules each section has: their ids are `IC <section>/1` to `IC <section>/<number>`.
const SECTIONS: &[(&str, usize)] = &[
    ("1.1", 7),
    ("1.2", 7),
    ("1.3", 24),
    ("1.4", 4),
    ("2.1", 19),
    ("2.2", 5),
    ("3.1", 4),
    ("3.2", 4),
    ("3.3", 11),
    ("3.4", 14),
    ("3.5", 4),
    ("3.6", 35),
    ("3.7", 12),
    ("3.8", 10),
    ("3.9", 7),
    ("3.10", 8),
    ("4.1", 6),
    ("4.2", 7),
    ("4.3", 9),
    ("4.4", 8),
    ("4.5", 4),
    ("4.6", 8),
    ("5.1", 7),
    ("5.2", 8),
    ("5.3", 13),
    ("5.4", 4),
    ("5.5", 8),
    ("5.6", 3),
    ("5.8", 12),
    ("5.10", 17),
    ("5.11", 13),
    ("5.12", 4),
    ("5.13", 12),
    ("6.1", 5),
    ("6.2", 13),
    ("6.3", 7),
    ("6.4", 3),
    ("6.5", 28),
    ("6.6", 5),
    ("7.1", 5),
    ("7.2", 6),
    ("7.3", 26),
    ("7.4", 6),
    ("9", 13),
    ("9.1", 6),
    ("12", 12),
];

/// A row of the list.
#[derive(Debug)]
struct Row {
    file: String,
    state: String,
    rule: String,
    note: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(file: &str) -> String {
    let path = root().join("docs/rules").join(file);
    match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// File of an id, without `.md`; `None` for an id no section has.
fn file_of(id: &str) -> Option<&'static str> {
    let (section, number) = id.strip_prefix("IC ")?.split_once('/')?;
    let most = SECTIONS.iter().find(|(known, _)| *known == section)?.1;
    let number: usize = number
        .parse()
        .ok()
        .filter(|number| (1..=most).contains(number))?;
    // `01` is no spelling of 1.
    if !id.ends_with(&format!("/{number}")) {
        return None;
    }
    let top = section.split('.').next()?;
    FILES
        .iter()
        .find(|(known, _)| *known == top)
        .map(|(_, file)| *file)
}

/// All rows, and what is wrong with the way they are written.
fn rows() -> (BTreeMap<String, Row>, Vec<String>) {
    let (mut found, mut wrong) = (BTreeMap::new(), Vec::new());
    for (_, file) in FILES {
        for line in read(&format!("{file}.md")).lines() {
            if !line.starts_with("| IC ") {
                continue;
            }
            // A `|` inside a cell is written `\|`.
            let line = line.replace("\\|", "\u{1}");
            let cells: Vec<String> = line
                .trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().replace('\u{1}', "|"))
                .collect();
            let [id, state, rule, note] = cells.as_slice() else {
                wrong.push(format!("{file}: {} cells in {line}", cells.len()));
                continue;
            };
            if file_of(id) != Some(file) {
                wrong.push(format!("{file}: {id} is unknown, or of another file"));
            }
            let row = Row {
                file: (*file).to_owned(),
                state: state.clone(),
                rule: rule.clone(),
                note: note.clone(),
            };
            if found.insert(id.clone(), row).is_some() {
                wrong.push(format!("{file}: {id} is there twice"));
            }
        }
    }
    (found, wrong)
}

#[test]
fn the_list_holds_every_rule_once_with_a_state() {
    let (rows, mut wrong) = rows();
    for (section, number) in SECTIONS {
        for index in 1..=*number {
            let id = format!("IC {section}/{index}");
            let file = file_of(&id).expect("sections have files");
            if !rows.contains_key(&id) {
                wrong.push(format!("{file}: {id} is missing"));
            }
        }
    }
    for (id, row) in &rows {
        if row.rule.is_empty() {
            wrong.push(format!("{id}: says nothing"));
        }
        match row.state.as_str() {
            "here" | "traffic rules" | "security" => {}
            "later" if !row.note.is_empty() => {}
            "later" => wrong.push(format!("{id}: `later` without the reason")),
            other => wrong.push(format!("{id}: `{other}` is no state")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_that_is_here_is_proven() {
    let (rows, mut wrong) = rows();
    let mut proven: BTreeSet<String> = BTreeSet::new();
    for case in world::cases() {
        for claim in expect::of(&case) {
            for id in claim.rules() {
                match file_of(id) {
                    None => wrong.push(format!("{}: {id} is unknown", case.display())),
                    Some(file) if !rows.contains_key(id) => {
                        wrong.push(format!("{}: {id} is not in {file}", case.display()));
                    }
                    Some(_) => {}
                }
                proven.insert(id.to_owned());
            }
        }
    }
    for (id, row) in &rows {
        let Some((_, test)) = row.note.split_once("test: ") else {
            continue;
        };
        let test = test.trim_matches('`');
        match test_exists(test.split([' ', '`']).next().unwrap_or(test)) {
            Ok(()) => {
                proven.insert(id.clone());
            }
            Err(why) => wrong.push(format!("{}: {id}: {why}", row.file)),
        }
    }
    let update = std::env::var_os("REEF_GOLDEN_UPDATE").is_some_and(|value| value == "1");
    let mut open = BTreeSet::new();
    for (_, file) in FILES {
        let name = format!("uncovered/{file}.txt");
        let mut listed = read(&name);
        if update {
            listed = listed
                .lines()
                .filter(|line| !proven.contains(line.trim()))
                .map(|line| format!("{line}\n"))
                .collect();
            std::fs::write(root().join("docs/rules").join(&name), &listed).expect("is written");
        }
        open.extend(listed.lines().map(str::trim).map(str::to_owned));
    }
    open.retain(|line| !line.is_empty() && !line.starts_with('#'));
    let generated = |row: &Row| ["here", "traffic rules"].contains(&row.state.as_str());
    for (id, _) in rows.iter().filter(|(_, row)| generated(row)) {
        match (proven.contains(id), open.contains(id)) {
            (true, true) => wrong.push(format!("{id}: proven, so remove it from uncovered/")),
            (false, false) => wrong.push(format!("{id}: generated, but no case proves it")),
            _ => {}
        }
    }
    for id in &open {
        if !rows.get(id).is_some_and(generated) {
            wrong.push(format!("uncovered/: {id} is no rule that is generated"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A test named as `crates/x/tests/it/y.rs::name`.
fn test_exists(name: &str) -> Result<(), String> {
    let (file, function) = name
        .split_once("::")
        .ok_or_else(|| format!("`{name}` names no test"))?;
    let text =
        std::fs::read_to_string(root().join(file)).map_err(|error| format!("{file}: {error}"))?;
    if text.contains(&format!("fn {function}(")) {
        Ok(())
    } else {
        Err(format!("{file} has no `fn {function}`"))
    }
}
