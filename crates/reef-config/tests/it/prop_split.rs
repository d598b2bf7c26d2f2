//! Splitting gives back what was joined, and nothing panics.

use std::sync::Arc;

use proptest::prelude::*;
use reef_config::{Origin, parse};

fn document() -> impl Strategy<Value = String> {
    proptest::collection::vec("[a-z]{1,4}: ([a-z0-9]{1,4}|'--- x'|\\|\n  ---\n  y)", 1..4)
        .prop_map(|rows| format!("{}\n", rows.join("\n")))
}

proptest! {
    #[test]
    fn split_gives_back_what_was_joined(documents in proptest::collection::vec(document(), 0..6), crlf: bool) {
        let mut text = documents.join("---\n");
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        let split = parse::documents(text.as_bytes()).unwrap();
        let seen: Vec<String> = split.iter().map(|d| d.text.replace("\r\n", "\n")).collect();
        prop_assert_eq!(&seen, &documents);
        let rows: Vec<&str> = text.lines().collect();
        for document in split {
            let at = usize::try_from(document.line).unwrap() - 1;
            prop_assert_eq!(document.text.lines().next(), rows.get(at).copied());
        }
    }

    #[test]
    fn no_text_panics(text in "([a-z]+: |- |\\{|\\}|\\[|\\]|\"|'|&a |\\*a |\n|\n---\n|  |[a-z0-9]|!|\\||>|#|,|:|%|\\PC){0,40}") {
        let origin = Origin { path: Arc::from("x"), line: 1 };
        for document in parse::documents(text.as_bytes()).unwrap_or_default() {
            let parsed = parse::object(document.text, &origin);
            prop_assert!(parsed.objects.is_empty());
        }
    }
}
