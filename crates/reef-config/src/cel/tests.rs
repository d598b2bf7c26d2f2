//! What a real Envoy 1.40 said of these filters, one by one.

use super::{DEEPEST, LONGEST, check};

/// Taken.
const GOOD: &[&str] = &[
    "response.code >= 400",
    "request.headers['x'].contains('a')",
    "'a' + 'b' == 'ab'",
    "size(request.headers)>1",
    "request.path.matches('a+')",
    "has(request.headers.x)",
    "unknown.thing == 1",
    "1 in [1,2]",
    "[1]+[2] == [1,2]",
    "connection.mtls ? true : false",
    "int('4')==4",
    "timestamp('2020-01-01T00:00:00Z') < request.time",
    "duration('1s') < request.duration",
    "!response.flags == 3",
    "request.url_path.startsWith('/a')",
    "xds.route_name == 'a'",
    "1",
    "'text'",
    "b'ab' == b'ab'",
    r#"r'\d' == 'a'"#,
    "{'a':1}['a'] == 1",
    "request.time.getHours() == 1",
    "aaaaaaaaaa == 1",
    "1u == 1u",
    "1.5e3 > 1.0",
    "null == null",
    "dyn(1)==1",
    "type(1)==int",
    "uint(1)==1u",
    "double(1)==1.0",
    "bytes('a')==b'a'",
    "a.b.c",
    "true && 'a'",
    "-1 < 0",
    "- -1 < 2",
    "!!true",
    "a[0].b",
    "response.code>=400||response.code<200",
    r#""a\"b" == 'x'"#,
    "'''abc''' == 'a'",
    r#"// c
true"#,
    "true // c",
    "0x1F == 31",
    "request.headers['a'] in ['b']",
    "size([1])",
    "[1,]==[1]",
    "{1:2,}=={1:2}",
    ".a == 1",
    "1 < 2 < 3",
    "request.headers['x-a'] == 'b' && response.code in [500, 503]",
    "'a'.size() == 1",
    "f",
    "a ? b : c ? d : e",
    "a ? (b ? c : d) : e",
    "((((((((((((((1))))))))))))))",
    "1.e3 == 1.0",
    "1.5 < 2",
    "a.b.c.d.e.f.g.h.i.j.k.l.m",
    "a == b == c",
    "a || b || c || d",
    r#""""a
b""" == 'c'"#,
    r#"request.headers[':method'] == "GET""#,
    "has(a.b.c)",
    "has((a.b))",
];

/// Taken by Envoy, not here.
const STRICT: &[&str] = &[
    "re.extract('a','b','c') == 'x'",
    "bool('true')",
    r#"'\u00e9' == 'x'"#,
    "[,]",
    "{,}",
    "bool('true')",
    "matches('a','b')",
    "!-1 == 1",
];

/// Refused.
const BAD: &[&str] = &[
    "response.code >= 400 &&",
    "foo(1)",
    "string(1)=='1'",
    "[1,2].exists(x, x==1)",
    "request.path.matches('(')",
    "x.foo()",
    "Foo{a: 1} == 1",
    "has(x)",
    "[1,2].all(x, x>0)",
    "(((((((((((((((((((((((((((((((((((true)))))))))))))))))))))))))))))))))))",
    "request.host.lowerAscii()=='a'",
    "request.host.split(',')[0] == 'a'",
    "optional.of(1)",
    "math.max(1,2)",
    "cel.bind(x,1,x)",
    r#"'a
b' == 'c'"#,
    "in",
    "if",
    "a.in",
    "while == 1",
    "1 = 1",
    "a & b",
    "9999999999999999999999 == 1",
    "",
    " ",
    " x ? y",
    "f.g(1,2)",
    "size()",
    "'a'.contains()",
    "0x == 1",
    r#"'\q' == 'x'"#,
    "size(1,)",
    "{1}",
    "-!true",
    r#"r'a\' == 'b'"#,
    "'unclosed",
    "'a' 'b'",
    "has(request.headers['x'])",
    "$x",
    "a.1",
    "`a`",
    "matches(a)",
    "type(1,2)",
    "+1",
    "é == 1",
];

#[test]
fn what_envoy_refuses_is_refused() {
    let taken: Vec<_> = BAD.iter().filter(|text| check(text).is_ok()).collect();
    assert!(taken.is_empty(), "{taken:#?}");
}

#[test]
fn what_envoy_takes_is_taken_but_for_what_is_listed() {
    let refused: Vec<_> = GOOD
        .iter()
        .filter_map(|text| Some((text, check(text).err()?)))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
    for text in STRICT {
        assert!(check(text).is_err(), "{text} is taken after all");
    }
}

#[test]
fn hostile_expressions_end() {
    for text in [
        "(".repeat(LONGEST),
        "-".repeat(LONGEST),
        "a.".repeat(LONGEST / 2),
        "[".repeat(DEEPEST + 1),
        "a?b:".repeat(LONGEST / 4),
        "x".repeat(LONGEST + 1),
    ] {
        assert!(check(&text).is_err());
    }
}
