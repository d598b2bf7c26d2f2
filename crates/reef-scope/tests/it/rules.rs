//! One test per rule of Istio's scoping.

use reef_mesh::ServiceKey;
use reef_scope::{OutboundPolicy, Reason, ScopeSource, Why, WhyNot, why};

use crate::support::{entry, host, load, mesh, names, ns, rule, scope, svc, svc_with};

fn sidecar(namespace: &str, name: &str, spec: &str) -> String {
    rule("Sidecar", namespace, name, spec)
}

/// Names of the services a proxy of namespace `a` sees through these egress hosts.
fn imported(hosts: &str, mut documents: Vec<String>) -> Vec<String> {
    documents.push(sidecar(
        "a",
        "s",
        &format!("egress: [{{hosts: [{hosts}]}}]"),
    ));
    names(&scope(&mesh(&documents), "a", "x"))
}

#[test]
fn a_sidecar_with_a_matching_selector_beats_one_without() {
    let index = mesh(&[
        sidecar("a", "all", "egress: [{hosts: ['./*']}]"),
        sidecar(
            "a",
            "some",
            "workloadSelector: {labels: {app: x}}, egress: [{hosts: ['*/*']}]",
        ),
    ]);
    let picked = |app: &str| match &scope(&index, "a", app).id.source {
        ScopeSource::Sidecar(key) => key.name.to_string(),
        other => format!("{other:?}"),
    };
    assert_eq!(picked("x"), "some");
    assert_eq!(picked("y"), "all");
}

#[test]
fn the_root_sidecar_without_selector_applies_where_the_namespace_has_none() {
    let index = mesh(&[
        sidecar(
            "istio-system",
            "selected",
            "workloadSelector: {labels: {app: x}}, egress: [{hosts: ['*/*']}]",
        ),
        sidecar("istio-system", "root", "egress: [{hosts: ['./*']}]"),
        svc("a", "own"),
        svc("b", "other"),
    ]);
    let found = scope(&index, "a", "x");
    assert!(matches!(&found.id.source, ScopeSource::RootSidecar(key) if *key.name == *"root"));
    // `.` is the namespace of the proxy, not of the rule.
    assert_eq!(names(&found), ["a/own:80"]);
}

#[test]
fn without_any_sidecar_everything_visible_is_imported() {
    let index = mesh(&[
        svc("a", "own"),
        svc("b", "other"),
        svc_with("b", "secret", ".", "[{port: 80}]"),
    ]);
    let found = scope(&index, "a", "x");
    assert_eq!(found.id.source, ScopeSource::Default);
    assert_eq!(names(&found), ["b/other:80", "a/own:80"]);
    assert_eq!(*found.services[0].reasons, [Reason::DefaultScope]);
}

#[test]
fn a_sidecar_without_egress_imports_everything() {
    let index = mesh(&[
        sidecar(
            "a",
            "s",
            "ingress: [{port: {number: 80, protocol: HTTP, name: http}, defaultEndpoint: '127.0.0.1:8080'}]",
        ),
        svc("b", "other"),
    ]);
    let found = scope(&index, "a", "x");
    assert_eq!(names(&found), ["b/other:80"]);
    assert_eq!(found.ingress.len(), 1);
}

#[test]
fn host_entries_select_by_namespace_and_name() {
    let all = || {
        vec![
            svc("a", "one"),
            svc("b", "two"),
            svc("b", "three"),
            entry("c", "se", "x.ext.com"),
        ]
    };
    assert_eq!(imported("'./*'", all()), ["a/one:80"]);
    assert_eq!(imported("'b/*'", all()), ["b/three:80", "b/two:80"]);
    assert_eq!(imported("'b/two.b.svc.cluster.local'", all()), ["b/two:80"]);
    assert_eq!(imported("'*/*.ext.com'", all()), ["c/se:80"]);
    assert_eq!(imported("'*/x.ext.com'", all()), ["c/se:80"]);
    assert_eq!(imported("'b/x.ext.com'", all()), [""; 0]);
    assert_eq!(imported("'~/*'", all()), [""; 0]);
}

#[test]
fn an_exclusion_beats_every_inclusion_of_its_listener() {
    let all = || vec![svc("b", "two"), svc("b", "three"), svc("c", "two")];
    assert_eq!(
        imported("'*/*', '~b/two.b.svc.cluster.local'", all()),
        ["b/three:80", "c/two:80"]
    );
    assert_eq!(imported("'*/*', '~b/*'", all()), ["c/two:80"]);
    assert_eq!(imported("'b/*', '~/*.svc.cluster.local'", all()), [""; 0]);
}

#[test]
fn a_listener_with_a_port_imports_that_port_only() {
    let index = mesh(&[
        sidecar(
            "a",
            "s",
            "egress: [{port: {number: 80, protocol: HTTP, name: h}, hosts: ['*/*']}]",
        ),
        svc_with(
            "b",
            "both",
            "",
            "[{name: http, port: 80}, {name: tcp, port: 90}]",
        ),
        svc_with("b", "none", "", "[{name: tcp, port: 90}]"),
    ]);
    let found = scope(&index, "a", "x");
    assert_eq!(names(&found), ["b/both:80"]);
    let answer = why(index.snapshot(), &found, &host("none", "b"));
    let key = ServiceKey {
        hostname: host("none", "b"),
        namespace: ns("b"),
    };
    assert_eq!(
        answer,
        Why::Excluded(vec![(
            key,
            WhyNot::NoPort {
                listener: 0,
                port: 80
            }
        )])
    );
}

#[test]
fn ports_imported_by_several_listeners_are_united() {
    let index = mesh(&[
        sidecar(
            "a",
            "s",
            "egress: [{port: {number: 90, protocol: TCP, name: t}, hosts: ['*/*']}, {port: {number: 80, protocol: HTTP, name: h}, hosts: ['*/*']}]",
        ),
        svc_with(
            "b",
            "both",
            "",
            "[{name: http, port: 80}, {name: tcp, port: 90}, {name: no, port: 91}]",
        ),
    ]);
    let found = scope(&index, "a", "x");
    assert_eq!(names(&found), ["b/both:90,80"]);
    assert_eq!(found.services[0].reasons.len(), 2);
}

#[test]
fn of_one_host_name_the_own_namespace_wins_then_the_first_seen() {
    let docs = || vec![entry("b", "old", "x.com"), entry("c", "young", "x.com")];
    assert_eq!(
        imported("'*/*'", docs()),
        ["c/young:80"].map(|_| "b/old:80")
    );
    let mut with_own = docs();
    with_own.push(entry("a", "zz", "x.com"));
    assert_eq!(imported("'*/*'", with_own), ["a/zz:80"]);
}

#[test]
fn of_one_host_name_kubernetes_beats_a_service_entry_of_another_namespace() {
    let docs = vec![
        entry("c", "aaa", "web.b.svc.cluster.local"),
        svc("b", "web"),
    ];
    assert_eq!(imported("'*/*'", docs), ["b/web:80"]);
}

#[test]
fn services_that_imported_routes_lead_to_are_in_the_scope_but_not_in_the_listener() {
    let index = mesh(&[
        sidecar(
            "a",
            "s",
            "egress: [{hosts: ['b/front.b.svc.cluster.local']}]",
        ),
        svc("b", "front"),
        svc_with(
            "b",
            "back",
            "",
            "[{name: http, port: 80}, {name: tcp, port: 90}]",
        ),
        rule(
            "VirtualService",
            "b",
            "vs",
            "hosts: [front], http: [{route: [{destination: {host: back, port: {number: 90}}}]}]",
        ),
    ]);
    let found = scope(&index, "a", "x");
    assert_eq!(names(&found), ["b/front:80", "b/back:90"]);
    assert_eq!(found.egress[0].services.len(), 1);
    let back = found.service(&host("back", "b")).unwrap();
    assert!(matches!(
        &back.reasons[..],
        [Reason::VirtualServiceDestination { listener: 0, .. }]
    ));
}

#[test]
fn destinations_of_routes_for_other_client_namespaces_are_not_implied() {
    let index = mesh(&[
        sidecar(
            "a",
            "s",
            "egress: [{hosts: ['b/front.b.svc.cluster.local']}]",
        ),
        svc("b", "front"),
        svc("b", "back"),
        rule(
            "VirtualService",
            "b",
            "vs",
            "hosts: [front], http: [{match: [{sourceNamespace: c}], route: [{destination: {host: back}}]}]",
        ),
    ]);
    assert_eq!(names(&scope(&index, "a", "x")), ["b/front:80"]);
}

#[test]
fn a_destination_rule_is_looked_up_by_client_then_service_then_root_namespace() {
    let dr = |ns: &str, host: &str| {
        rule(
            "DestinationRule",
            ns,
            "dr",
            &format!("host: '{host}', subsets: [{{name: {ns}}}]"),
        )
    };
    let picked = |documents: &[String]| {
        let mut all = vec![svc("b", "web")];
        all.extend_from_slice(documents);
        let found = scope(&mesh(&all), "a", "x");
        let labels = reef_config::Labels::default();
        let policy = found.destination_rule(&host("web", "b"), &labels);
        policy.map(|policy| policy.namespace.to_string())
    };
    let (a, b) = (
        dr("a", "*.svc.cluster.local"),
        dr("b", "web.b.svc.cluster.local"),
    );
    let root = dr("istio-system", "web.b.svc.cluster.local");
    assert_eq!(picked(&[]), None);
    assert_eq!(
        picked(std::slice::from_ref(&root)).as_deref(),
        Some("istio-system")
    );
    assert_eq!(picked(&[root.clone(), b.clone()]).as_deref(), Some("b"));
    // A wildcard of the client's namespace shadows the exact rule of the service's.
    assert_eq!(picked(&[root, b, a]).as_deref(), Some("a"));
}

#[test]
fn the_outbound_policy_is_the_sidecars_else_the_meshs() {
    let with = |spec: &str| {
        scope(&mesh(&[sidecar("a", "s", spec)]), "a", "x")
            .outbound_policy
            .clone()
    };
    assert_eq!(
        with("egress: [{hosts: ['*/*']}]"),
        OutboundPolicy::AllowAny { egress_proxy: None }
    );
    let closed = "egress: [{hosts: ['*/*']}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}";
    assert_eq!(with(closed), OutboundPolicy::RegistryOnly);
    assert_eq!(
        with("egress: [{hosts: ['*/*']}], outboundTrafficPolicy: {}"),
        OutboundPolicy::RegistryOnly
    );
}

#[test]
fn why_not_names_the_reason() {
    let index = mesh(&[
        sidecar(
            "a",
            "s",
            "egress: [{hosts: ['b/*', '~b/two.b.svc.cluster.local']}]",
        ),
        svc("b", "two"),
        svc("c", "far"),
        svc_with("b", "secret", ".", "[{name: http, port: 80}]"),
    ]);
    let found = scope(&index, "a", "x");
    let reason =
        |name: &str, namespace: &str| match why(index.snapshot(), &found, &host(name, namespace)) {
            Why::Excluded(list) => list[0].1.clone(),
            other => panic!("{other:?}"),
        };
    let pattern = "~b/two.b.svc.cluster.local".to_owned();
    assert_eq!(
        reason("two", "b"),
        WhyNot::ExcludedBy {
            listener: 0,
            pattern
        }
    );
    assert_eq!(reason("far", "c"), WhyNot::NoEgressHost);
    assert_eq!(reason("secret", "b"), WhyNot::NotExported);
    assert_eq!(
        why(index.snapshot(), &found, &host("no", "b")),
        Why::Unknown
    );
}

#[test]
fn a_scope_depends_on_what_it_imports_and_on_nothing_else() {
    let mut index = mesh(&[
        sidecar("a", "s", "egress: [{hosts: ['b/*']}]"),
        svc("b", "two"),
        svc("c", "far"),
    ]);
    let found = scope(&index, "a", "x");
    let mut depends = |document: String| {
        let report = load(&mut index, &[document]);
        found.depends_on(&report, index.snapshot())
    };
    assert!(!depends(svc_with(
        "c",
        "far",
        "",
        "[{name: http, port: 81}]"
    )));
    assert!(!depends(svc("c", "new")));
    assert!(depends(svc("b", "new")));
    assert!(depends(svc_with(
        "b",
        "two",
        "",
        "[{name: http, port: 81}]"
    )));
    assert!(!depends(rule("DestinationRule", "c", "dr", "host: far")));
    assert!(depends(rule("DestinationRule", "b", "dr", "host: two")));
    assert!(!depends(rule(
        "VirtualService",
        "c",
        "vs",
        "hosts: [far], http: [{route: [{destination: {host: far}}]}]"
    )));
    assert!(depends(rule(
        "VirtualService",
        "b",
        "vs",
        "hosts: [two], http: [{route: [{destination: {host: two}}]}]"
    )));
    assert!(!depends(sidecar("d", "s", "egress: [{hosts: ['*/*']}]")));
    assert!(depends(sidecar("a", "s", "egress: [{hosts: ['c/*']}]")));
}
