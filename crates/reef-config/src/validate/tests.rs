//! The grammars. Rules are proven by the documents in `tests/validate`.

use super::{header_value, re2, text};

#[test]
fn re2_is_read_as_re2_reads_it() {
    for good in [
        "",
        "/v1/{id}",
        "a{,2}",
        "a{1000}",
        "[[]",
        "[]a]",
        "[a-]",
        "[^]]",
        r"\Q**\E+",
        r"\pL\p{Greek}\P{^Lu}",
        r"[\d\-x[:alpha:]]",
        r"\x41\x{1F600}\012\_",
        "(?P<a>x)(?<b>y)(?i)(?i-s:z)",
        "^*",
        "a|b||",
        "a??",
        "é+",
        "(((a)))",
        "{",
        "x{2}?",
    ] {
        assert_eq!(re2::check(good), Ok(()), "{good}");
    }
    for bad in [
        "a**",
        "a{2}{3}",
        "*",
        "(*)",
        "|+",
        "(",
        ")",
        "[",
        "[a",
        "[z-a]",
        r"[a-\d]",
        r"\",
        r"\1",
        r"\8",
        r"\y",
        r"\pX",
        r"\p{}",
        r"\x4",
        r"\x{110000}",
        "(?=a)",
        "(?<!a)",
        "(?P=a)",
        "(?P<>a)",
        "(?z)",
        "a{1001}",
        "a{2,1}",
        "(a{100}){11}",
        "[[:nope:]]",
    ] {
        let error = re2::check(bad).unwrap_err();
        assert!(matches!(error, re2::Error::Syntax { .. }), "{bad}: {error}");
    }
    assert_eq!(re2::check(&"[^/]{900}".repeat(4)), Ok(()));
    let large = "[^/]{900}".repeat(5);
    assert_eq!(re2::check(&large), Err(re2::Error::Large(5 * 900 * 8)));
}

#[test]
fn domains_are_as_istio_has_them() {
    for good in ["a", "a.b", "A-1.b", "istio.io.", "1.2.a"] {
        assert_eq!(text::domain(good), Ok(()), "{good}");
        assert_eq!(text::domain_pattern(good), Ok(()), "{good}");
    }
    for pattern in ["*", "*.a", "*a.b", "*-a.b"] {
        assert!(text::domain(pattern).is_err(), "{pattern}");
        assert_eq!(text::domain_pattern(pattern), Ok(()), "{pattern}");
    }
    let long = "a.".repeat(128);
    for bad in [
        "", ".", "a..b", "-a", "a-", "a_b", "1.2.3.4", "a.*", "a.*.b", "**.a", &long,
    ] {
        assert!(text::domain(bad).is_err(), "{bad}");
        assert!(text::domain_pattern(bad).is_err(), "{bad}");
    }
}

#[test]
fn prefixes_are_plain_numbers() {
    for good in ["1.2.3.4", "1.2.3.0/24", "0.0.0.0/0", "::1", "fd00::/8"] {
        assert!(text::is_address_or_prefix(good), "{good}");
    }
    for bad in [
        "",
        "a",
        "1.2.3.4/33",
        "1.2.3.4/08",
        "1.2.3.4/+8",
        "1.2.3.4/",
        "::/129",
        "fe80::1%lo",
    ] {
        assert!(!text::is_address_or_prefix(bad), "{bad}");
    }
}

#[test]
fn header_values_are_format_strings() {
    for good in [
        "",
        "100%%",
        "%HOSTNAME%",
        "a %REQ(X?Y)% b",
        r#"%DYNAMIC_METADATA(["a", "b"])%"#,
        r"%REQ(a\)b)%",
    ] {
        assert_eq!(header_value::format(good), Ok(()), "{good}");
    }
    for bad in [
        "%",
        "a%",
        "%A",
        "%A%%",
        "%A(",
        "%A(b",
        "%A(b)",
        "%A(b):3%",
        r#"%A(["b" "c"])%"#,
        "%A([b])%",
        r"%A(b\",
    ] {
        assert!(header_value::format(bad).is_err(), "{bad}");
    }
}
