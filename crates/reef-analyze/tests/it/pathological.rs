//! Many rules for one host, in any order of arrival: the same findings, the oldest rule wins.

use std::sync::Arc;

use reef_config::Object;

use crate::cases::{analyzed, objects};

/// Service entries and virtual services of two namespaces, all for one host.
fn claims(many: usize) -> Vec<Arc<Object>> {
    let yaml: Vec<String> = (0..many)
        .map(|number| {
            let namespace = ["a", "b"][number % 2];
            format!(
                "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: e{number}, namespace: {namespace}}}
spec: {{hosts: [one.com], ports: [{{number: 80, name: http, protocol: HTTP}}], resolution: DNS}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: v{number}, namespace: {namespace}}}
spec: {{hosts: [one.com], http: [{{route: [{{destination: {{host: one.com}}}}]}}]}}
"
            )
        })
        .collect();
    objects(&yaml.join("---\n"))
}

#[test]
fn findings_do_not_depend_on_the_order_of_arrival() {
    let mut all = claims(8);
    let wanted = analyzed(&all);
    let losers = |rule: &str| {
        let of = wanted
            .iter()
            .filter(|problem| problem.rule.is_some_and(|r| r.name == rule));
        of.count()
    };
    assert_eq!(losers("vs-host-conflict"), 7);
    assert_eq!(losers("se-host-twice"), 7);
    for turn in 0..all.len() {
        all.rotate_left(1);
        let half = all.len() / 2;
        all.swap(turn % half, half + turn % half);
        assert_eq!(analyzed(&all), wanted, "turn {turn}");
    }
}
