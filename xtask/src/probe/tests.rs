//! Tests of reading the probe's lines.

use super::read;

#[test]
fn a_line_is_a_test_and_a_reason() {
    let found = read("a::b\tno IPv6: refused").unwrap();
    assert_eq!(found, ("a::b".to_owned(), "no IPv6: refused".to_owned()));
    assert!(read("sh: not found").is_err());
}
