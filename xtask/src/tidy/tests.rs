//! Tests of the house rules, and the rules themselves over this repository.

use super::{check, machine, text};

#[test]
fn a_file_must_begin_with_docs() {
    assert_eq!(text::rust_file("a/b.rs", "//! Docs.\n", false), [""; 0]);
    assert_eq!(
        text::rust_file("a/b.rs", "use x;\n", false),
        ["a/b.rs: does not begin with `//!` docs"]
    );
}

#[test]
fn a_long_file_is_found_unless_it_is_listed_or_a_test() {
    let long = format!("//! Docs.\n{}", "fn f() {}\n".repeat(600));
    assert_eq!(
        text::rust_file("a/b.rs", &long, false),
        ["a/b.rs: 601 lines, at most 600"]
    );
    assert_eq!(text::rust_file("a/b.rs", &long, true), [""; 0]);
    assert_eq!(text::rust_file("a/b/tests.rs", &long, false), [""; 0]);
    assert_eq!(text::rust_file("tests/src/b.rs", &long, false).len(), 1);
}

#[test]
fn banned_test_attributes_are_found() {
    for banned in ["should_panic", "ignore"] {
        let content = format!("//! Docs.\n#[test]\n#[{banned}]\nfn f() {{}}\n");
        assert_eq!(
            text::rust_file("a.rs", &content, false),
            [format!("a.rs:3: `#[{banned}]` is banned")]
        );
    }
}

#[test]
fn module_lines_are_read_in_all_forms() {
    let content = "mod a;\npub mod b;\npub(crate) mod c;\n#[path = \"x/y.rs\"]\nmod d;\nmod e {\n}";
    let names: Vec<(String, Option<String>)> = text::modules(content)
        .into_iter()
        .map(|module| (module.name, module.path))
        .collect();
    let want = [("a", None), ("b", None), ("c", None), ("d", Some("x/y.rs"))]
        .map(|(name, path)| (name.to_owned(), path.map(str::to_owned)));
    assert_eq!(names, want);
}

#[test]
fn the_form_of_a_change_note_is_checked() {
    assert_eq!(text::changelog("a-b.added.md", "It works.\n"), [""; 0]);
    assert_eq!(text::changelog("a-b.new.md", "It works.\n").len(), 1);
    assert_eq!(text::changelog("a_b.added.md", "It works.\n").len(), 1);
    assert_eq!(text::changelog("a.added.md", "Two\nlines.\n").len(), 1);
    assert_eq!(text::changelog("a.added.md", "No period\n").len(), 1);
}

#[test]
fn hosts_are_taken_from_settings_without_public_ones() {
    let text = "index = sparse+https://user:pw@mirror.example.net:8443/index/ and \
                https://pypi.org/simple and http://localhost:1/";
    assert_eq!(machine::hosts(text), ["mirror.example.net"]);
    let words = ["mirror.example.net".to_owned()];
    assert_eq!(
        text::forbidden("a.md", "x\nhttps://mirror.example.net/\n", &words),
        ["a.md:2: names `mirror.example.net`"]
    );
}

#[test]
fn this_repository_is_tidy() {
    assert_eq!(check().unwrap(), [""; 0]);
}
