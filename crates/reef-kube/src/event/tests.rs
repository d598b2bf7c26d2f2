//! Lines, frames and events.

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
    let read = bookmark(Raw::Json(text)).unwrap();
    assert_eq!((read.version, read.list_end), (12, true));
    let text = br#"{"metadata":{"resourceVersion":"13"}}"#;
    let read = bookmark(Raw::Json(text)).unwrap();
    assert_eq!((read.version, read.list_end), (13, false));
}

fn frames(pieces: &[&[u8]]) -> Result<(Vec<Vec<u8>>, bool), String> {
    let mut frames = Frames::default();
    let mut found = Vec::new();
    for piece in pieces {
        frames.push(Bytes::copy_from_slice(piece));
        while let Some(frame) = frames.next()? {
            found.push(frame.to_vec());
        }
    }
    Ok((found, frames.has_partial()))
}

#[test]
fn frames_are_the_same_however_they_are_cut() {
    let bytes = b"\0\0\0\x03one\0\0\0\0\0\0\0\x05three";
    let wanted: Vec<Vec<u8>> = vec![b"one".to_vec(), Vec::new(), b"three".to_vec()];
    let wanted = Ok((wanted, false));
    assert_eq!(frames(&[bytes]), wanted);
    for first in 0..bytes.len() {
        for second in first..bytes.len() {
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            assert_eq!(frames(&pieces), wanted, "cut at {first} and {second}");
        }
    }
    let singles: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(frames(&singles), wanted);
    for missing in 1..5 {
        let (found, partial) = frames(&[&bytes[..bytes.len() - missing]]).unwrap();
        assert_eq!((found.len(), partial), (2, true));
    }
}

#[test]
fn frame_longer_than_any_object_is_refused_before_it_comes() {
    let long = u32::try_from(EVENT_BYTES).unwrap() + 1;
    assert!(frames(&[&long.to_be_bytes()]).is_err());
    let [first, rest @ ..] = long.to_be_bytes();
    assert!(frames(&[&[first], &rest]).is_err());
}

#[test]
fn event_of_a_frame_is_the_one_of_its_line() {
    use reef_testkit::fake_api::protobuf;
    let line = r#"{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"12",
        "annotations":{"k8s.io/initial-events-end":"true"}}}}"#;
    let mut feed = Feed::new(Encoding::Protobuf);
    feed.push(protobuf::frames(&(line.replace('\n', " ") + "\n")).into());
    let frame = feed.next().unwrap().unwrap();
    let (happened, object) = feed.event(&frame).unwrap();
    let read = bookmark(object).unwrap();
    assert_eq!(
        (happened, read.version, read.list_end),
        (Type::Bookmark, 12, true)
    );

    for wrong in ["{\"type\":\"UNHEARD\",\"object\":{}}\n", "{\n", "{}\n"] {
        feed.push(protobuf::frames(wrong).into());
        let frame = feed.next().unwrap().unwrap();
        assert!(feed.event(&frame).is_err(), "{wrong}");
    }
}
