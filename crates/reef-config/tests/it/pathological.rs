//! Odd and oversized objects (T19, T21, T23, T28): refused by name, or read at a cost that follows their size.

use std::fmt::Write as _;
use std::sync::Arc;

use reef_config::Origin;
use reef_config::parse::{self, Parsed};

fn parsed(text: &str) -> Parsed {
    let origin = Origin {
        path: Arc::from("a.yaml"),
        line: 1,
    };
    parse::object(text, &origin)
}

/// A `VirtualService`; all findings have to name it.
fn service(spec: &str) -> Parsed {
    let parsed = parsed(&format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v, namespace: shop}}\nspec:\n{spec}"
    ));
    for problem in &parsed.problems {
        let told = problem.to_string();
        assert!(
            told.starts_with("a.yaml:1: VirtualService shop/v: "),
            "{told}"
        );
        assert!(told.len() < 600, "{} bytes: {told:.200}", told.len());
    }
    parsed
}

fn rules(parsed: &Parsed) -> Vec<&'static str> {
    let mut rules: Vec<_> = parsed
        .problems
        .iter()
        .filter_map(|problem| problem.rule.map(|rule| rule.name))
        .collect();
    rules.dedup();
    rules
}

/// Ten thousand of something; quadratic work on it would be noticed.
const MANY: usize = 10_000;

#[test]
fn ten_thousand_hosts_are_compared_without_pairs() {
    let mut hosts = String::new();
    for number in 0..MANY {
        writeln!(hosts, "  - h{number}.example.com").unwrap_or_default();
    }
    let route = "  http: [{route: [{destination: {host: b}}]}]\n";
    let good = service(&format!("  hosts:\n{hosts}{route}"));
    assert_eq!((rules(&good), good.objects.len()), (vec![], 1));
    let bad = service(&format!("  hosts:\n{hosts}  - '*.example.com'\n{route}"));
    assert_eq!((rules(&bad), bad.objects.len()), (vec!["vs-host-twice"], 0));
    let bad = service(&format!("  hosts:\n{hosts}  - h77.example.com\n{route}"));
    assert_eq!(rules(&bad), ["vs-host-twice"]);
}

#[test]
fn ten_thousand_routes_are_compared_without_pairs() {
    let routes = |prefix: &dyn Fn(usize) -> String| {
        let mut spec = "  hosts: [b]\n  http:\n".to_owned();
        for number in 0..MANY {
            let path = prefix(number);
            writeln!(
                spec,
                "  - {{match: [{{uri: {{prefix: {path}}}}}], route: [{{destination: {{host: b}}}}]}}"
            )
            .unwrap_or_default();
        }
        service(&spec)
    };
    let apart = routes(&|number| format!("/{number}/"));
    assert_eq!((rules(&apart), apart.objects.len()), (vec![], 1));
    let covered = routes(&|number| {
        if number == 0 {
            "/".to_owned()
        } else {
            format!("/{number}/")
        }
    });
    assert_eq!(rules(&covered), ["vs-match-covered"]);
    assert_eq!(
        (covered.problems.len(), covered.objects.len()),
        (MANY - 1, 1)
    );
}

#[test]
fn ten_thousand_subsets_and_ports_are_compared_without_pairs() {
    let mut text = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d}\nspec:\n  host: b\n  subsets:\n".to_owned();
    for number in 0..MANY {
        writeln!(text, "  - {{name: s{number}}}").unwrap_or_default();
    }
    assert_eq!(rules(&parsed(&text)), Vec::<&str>::new());
    text.push_str("  - {name: s5}\n");
    assert_eq!(rules(&parsed(&text)), ["dr-subset-twice"]);
    let mut text =
        "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  ports:\n".to_owned();
    for number in 1..=MANY {
        writeln!(text, "  - {{name: p{number}, port: {number}}}").unwrap_or_default();
    }
    assert_eq!(rules(&parsed(&text)), Vec::<&str>::new());
}

#[test]
fn what_envoy_would_refuse_is_refused_by_name() {
    let cases = [
        (
            "match: [{uri: {regex: \"{}\"}}]",
            "a".repeat(1 << 20),
            "regex-long",
        ),
        (
            "match: [{uri: {regex: '{}'}}]",
            "(".repeat(1000),
            "regex-syntax",
        ),
        (
            "match: [{uri: {regex: '{}'}}]",
            "[^a]{999}".repeat(100),
            "regex-size",
        ),
        (
            "match: [{uri: {regex: '{}'}}]",
            "(a{99}){99}".to_owned(),
            "regex-syntax",
        ),
        (
            "headers: {request: {set: {x: '{}'}}}",
            "y".repeat(10 << 20),
            "vs-header-long",
        ),
        (
            "rewrite: {uri: \"{}\"}",
            "/a\\r\\nb".to_owned(),
            "vs-text-control",
        ),
    ];
    for (field, value, rule) in cases {
        let field = field.replace("{}", &value);
        let spec =
            format!("  hosts: [b]\n  http: [{{{field}, route: [{{destination: {{host: b}}}}]}}]\n");
        let found = service(&spec);
        assert_eq!((rules(&found), found.objects.len()), (vec![rule], 0));
    }
}

#[test]
fn odd_hosts_are_refused_or_taken_as_they_are() {
    let long = format!("{}.com", "a".repeat(64));
    for bad in [
        "a..b",
        "a b.com",
        "ü.com",
        "a.*.com",
        "[::1]",
        "fe80::1%eth0",
        "x/y.com",
        &long,
    ] {
        let spec =
            format!("  hosts: ['{bad}']\n  http: [{{route: [{{destination: {{host: b}}}}]}}]\n");
        assert_eq!(rules(&service(&spec)), ["vs-host"], "{bad}");
    }
    for good in [
        "a.com.",
        "::1",
        "xn--4ca.com",
        "A.COM",
        "*.a.com",
        "*-a.com",
    ] {
        let spec =
            format!("  hosts: ['{good}']\n  http: [{{route: [{{destination: {{host: b}}}}]}}]\n");
        assert_eq!(rules(&service(&spec)), Vec::<&str>::new(), "{good}");
    }
}
