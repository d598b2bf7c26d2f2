//! Tests of reading the kubelet's files.

use super::strings;

#[test]
fn values_are_unquoted_as_go_quotes_them() {
    // Printed by Go's `%q`.
    let text = "app=\"web\"\nempty=\"\"\nproxy.istio.io/config=\"a: \\\"b=c\\\"\\n- \\\\d\\t\\u200b\\U000e0041\\a\\x01é\"\n";
    let read = strings(text);
    assert_eq!(read["app"], "web");
    assert_eq!(read["empty"], "");
    assert_eq!(
        read["proxy.istio.io/config"],
        "a: \"b=c\"\n- \\d\t\u{200b}\u{e0041}\u{7}\u{1}é"
    );
    assert_eq!(read.len(), 3);
}

#[test]
fn what_is_no_such_line_is_left_out() {
    assert!(strings("a\nb=c\nd=\"\ne=\"\\\"\nf=\"\\q\"\ng=\"\\u12\"\nh=\"\\ud800\"").is_empty());
}
