//! Widening a scope never removes a service.

use proptest::prelude::*;
use reef_config::Hostname;

use crate::support::{entry, mesh, rule, scope, svc};

const HOSTS: [&str; 8] = [
    "./*",
    "b/*",
    "c/*",
    "b/one.b.svc.cluster.local",
    "*/two.c.svc.cluster.local",
    "*/*.com",
    "c/x.com",
    "*/*",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn adding_a_host_entry_never_removes_a_host(
        picks in prop::collection::vec(0..HOSTS.len(), 1..4), more in 0..HOSTS.len(), second: bool,
    ) {
        let documents = |hosts: &[usize], listener: &str| {
            let hosts: Vec<String> = hosts.iter().map(|at| format!("'{}'", HOSTS[*at])).collect();
            let spec = format!("egress: [{listener}{{hosts: [{}]}}]", hosts.join(", "));
            vec![
                svc("a", "one"), svc("b", "one"), svc("b", "two"), svc("c", "two"),
                entry("c", "se", "x.com"), entry("b", "se", "y.com"),
                rule("VirtualService", "b", "vs", "hosts: [y.com], http: [{route: [{destination: {host: two}}]}]"),
                rule("Sidecar", "a", "s", &spec),
            ]
        };
        let narrow = scope(&mesh(&documents(&picks, "")), "a", "x");
        let wide = if second {
            let listener = format!(
                "{{port: {{number: 80, protocol: HTTP, name: h}}, hosts: ['{}']}}, ", HOSTS[more]
            );
            scope(&mesh(&documents(&picks, &listener)), "a", "x")
        } else {
            let mut all = picks;
            all.push(more);
            scope(&mesh(&documents(&all, "")), "a", "x")
        };
        for scoped in &narrow.services {
            let hostname: &Hostname = &scoped.service.key.hostname;
            let there = wide.service(hostname);
            prop_assert!(there.is_some(), "{hostname} is lost");
            for port in &scoped.service.ports {
                prop_assert!(there.unwrap().service.port(port.number).is_some());
            }
        }
    }
}
