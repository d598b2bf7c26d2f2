//! What the quick reader reads, and that the library reads the same.

use std::path::Path;

use proptest::prelude::*;

use super::super::documents;
use super::*;

/// Asserts that a document is read here, and as the library reads it.
#[track_caller]
fn reads(text: &str) {
    assert_eq!(
        read(text),
        Some(yaml::read_any(text).expect("YAML")),
        "{text}"
    );
}

/// Asserts that a document is left to the library.
#[track_caller]
fn leaves(text: &str) {
    assert_eq!(read(text), None, "{text}");
}

#[test]
fn objects_as_people_write_them_are_read() {
    reads(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  labels: {app: a, tier: \"1\"}\nspec:\n  ports:\n  - name: http\n    port: 80\n",
    );
    reads(
        "a:\n- b\n-   c: 1\n    d: [x, 2, true]\n- - e\n  - f\ng: # comment\n  h: []\n# comment\ni: {}\nj:\n",
    );
    reads(
        "- 10.0.0.1\n- 10.0.0.0/8\n- 1.2\n- 10s\n- 1e3\n- 0x1f\n- 017\n- 1_000\n- 2024-01-01\n- no\n- 'it is # text' # comment\n",
    );
    reads("a: b # comment\nc: d#e\nf: http://x:80/y\ng:  spaced   out  \n");
    reads("  a: 1\n  b:\n    - c\n");
}

#[test]
fn everything_else_is_left_to_the_library() {
    for text in [
        "",
        "scalar",
        "a: b\n c: d",
        "a: b\n  continued",
        "a: |\n  text",
        "a: &x 1\nb: *x",
        "<<: {a: 1}",
        "a: 1\na: 2",
        "? a\n: b",
        "a: \"\\n\"",
        "a: 'it''s'",
        "a: [b\n]",
        "a: [b, ]",
        "a: {b}",
        "a: b: c",
        "a:\tb",
        "a: \u{e9}",
        "a: -1",
        "a: ~",
        "no: a",
        "1: a",
        "\"a\": b",
        "a: \"b\" c",
        "- a\nb: c",
        "a: b\n- c",
        "a: !!str 1",
        "a:\n  b",
        "a: [1]]",
    ] {
        leaves(text);
    }
    leaves(&"- ".repeat(64));
    leaves(&format!("a: {}1{}", "[".repeat(64), "]".repeat(64)));
    let keys: Vec<String> = (0..1_000).map(|key| format!("k{key}: 1")).collect();
    leaves(&keys.join("\n"));
}

#[test]
fn most_files_of_this_repository_are_read_and_all_as_by_the_library() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut texts = Vec::new();
    for folder in ["deploy", "crates/reef-gen/tests", "crates/reef-scope/tests"] {
        files(&root.join(folder), &mut texts);
    }
    let (mut all, mut quick) = (0, 0);
    for text in &texts {
        for document in documents(text.as_bytes()).expect("documents") {
            all += 1;
            if let Some(node) = read(document.text) {
                quick += 1;
                assert_eq!(yaml::read_any(document.text), Ok(node), "{}", document.text);
            }
        }
    }
    assert!(all > 20 && quick * 2 > all, "{quick} of {all} documents");
}

fn files(folder: &Path, texts: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, texts);
        } else if path.extension().is_some_and(|end| end == "yaml") {
            texts.push(std::fs::read_to_string(&path).expect("text"));
        }
    }
}

/// Pieces of YAML, whole and broken.
const PIECES: [&str; 56] = [
    "a", "b", "key", "a: ", "b: ", "a:", "c:", "- ", "-", "-  ", "\n", "\n", "\n  ", "\n  ",
    "\n    ", "\n- ", "\n  - ", "[", "]", "{", "}", ", ", ",", "\"", "'", "\"x\"", "'y'", "#",
    " #", " # c", ":", ": ", "1", "0", "07", "-1", "1.5", "1e3", ".5", "0x1", "10.0.0.1", "/",
    "true", "null", "no", "Yes", "NaN", "inf", "infinity", "~", "*", "&", "|", "\\", " ", "a.b/c",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever is read here is read the same by the library.
    #[test]
    fn what_is_read_is_what_the_library_reads(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 1..14)) {
        let text = pieces.concat();
        if let Some(node) = read(&text) {
            let expected = yaml::read_any(&text);
            prop_assert!(expected.is_ok(), "{text:?} is {node:?} here, there {expected:?}");
            // Not a number is not equal to itself; its text is.
            prop_assert_eq!(format!("{:?}", node), format!("{:?}", expected.expect("YAML")), "{:?}", text);
        }
    }

    /// The same for documents that are whole more often.
    #[test]
    fn scalars_stand_for_what_they_do_in_the_library(text in "[a-zA-Z0-9.+_/-]{1,5}|[0-9.eE_xo:-]{1,8}|(?i)(null|true|false|yes|no|on|off|y|n|inf|nan|infinity)") {
        for document in [format!("a: {text}"), format!("- {text}"), format!("a: [{text}]"), format!("{text}: 1")] {
            if let Some(node) = read(&document) {
                let expected = yaml::read_any(&document);
                prop_assert!(expected.is_ok(), "{document:?} is {node:?} here, there {expected:?}");
                prop_assert_eq!(format!("{:?}", node), format!("{:?}", expected.expect("YAML")), "{:?}", document);
            }
        }
    }
}
