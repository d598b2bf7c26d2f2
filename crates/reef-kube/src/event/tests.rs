//! Lines and events.

use super::*;

fn lines(frames: &[&str]) -> Vec<String> {
    let mut lines = Lines::default();
    let mut found = Vec::new();
    for frame in frames {
        lines.push(Bytes::copy_from_slice(frame.as_bytes()));
        while let Some(line) = lines.next().unwrap() {
            found.push(String::from_utf8(line.to_vec()).unwrap());
        }
    }
    found
}

#[test]
fn lines_are_the_same_however_they_are_cut() {
    let text = "one\ntwo\n\n  \nthree\n";
    let wanted = ["one", "two", "three"];
    assert_eq!(lines(&[text]), wanted);
    for at in 0..text.len() {
        let (first, second) = text.split_at(at);
        assert_eq!(lines(&[first, second]), wanted, "cut at {at}");
    }
    let bytes: Vec<&str> = text.split("").filter(|byte| !byte.is_empty()).collect();
    assert_eq!(lines(&bytes), wanted);
    assert!(lines(&["never ended"]).is_empty());
}

#[test]
fn event_is_read_in_any_order_of_its_fields() {
    let usual = br#"{"type":"MODIFIED","object":{"a":"}"}}"#;
    assert_eq!(event(usual).unwrap(), (Type::Applied, &br#"{"a":"}"}"#[..]));
    let other = br#" { "object" : {"a":1} , "type" : "DELETED" } "#;
    assert_eq!(event(other).unwrap(), (Type::Deleted, &br#"{"a":1}"#[..]));
    for wrong in [
        &br#"{"type":"ADDED","object":{"a":1"#[..],
        br#"{"type":"UNHEARD","object":{}}"#,
        b"<html>",
        b"",
    ] {
        assert!(event(wrong).is_err());
    }
}

#[test]
fn bookmark_says_how_far_and_whether_the_list_is_complete() {
    let text = br#"{"kind":"Pod","metadata":{"resourceVersion":"12","creationTimestamp":null,
        "annotations":{"k8s.io/initial-events-end":"true"}},"spec":{"containers":null}}"#;
    let read = bookmark(text).unwrap();
    assert_eq!((read.version, read.list_end), (12, true));
    let text = br#"{"metadata":{"resourceVersion":"13"}}"#;
    let read = bookmark(text).unwrap();
    assert_eq!((read.version, read.list_end), (13, false));
}
