//! Which VirtualServices and DestinationRules a scope holds, and aliases.

use reef_config::Labels;
use reef_scope::Scope;

use crate::support::{host, load, mesh, names, ns, rule, scope, svc};

fn virtual_service(namespace: &str, name: &str, spec: &str) -> String {
    rule("VirtualService", namespace, name, spec)
}

fn to(host: &str) -> String {
    format!("http: [{{route: [{{destination: {{host: {host}}}}}]}}]")
}

fn alias(namespace: &str, name: &str, of: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{type: ExternalName, externalName: {of}}}\n"
    )
}

/// `namespace/name` of the VirtualServices of the first listener.
fn rules(found: &Scope) -> Vec<String> {
    let rules = found.egress[0].virtual_services.iter();
    rules
        .map(|rule| format!("{}/{}", rule.object.namespace, rule.object.name))
        .collect()
}

/// Name of the VirtualService for a service of the first listener.
fn rule_for(found: &Scope, name: &str, namespace: &str) -> Option<String> {
    let listener = &found.egress[0];
    let at = listener.most_specific.get(&host(name, namespace))?;
    Some(listener.virtual_services[*at].object.name.to_string())
}

#[test]
fn a_service_keeps_the_aliases_that_are_imported_with_it() {
    let documents = |hosts: &str| {
        vec![
            svc("b", "web"),
            alias("b", "front", "web.b.svc.cluster.local"),
            alias("c", "far", "web.b.svc.cluster.local"),
            rule(
                "Sidecar",
                "a",
                "s",
                &format!("egress: [{{hosts: [{hosts}]}}]"),
            ),
        ]
    };
    let aliases = |hosts: &str| -> Vec<String> {
        let found = scope(&mesh(&documents(hosts)), "a", "x");
        let web = found.service(&host("web", "b")).expect("imported");
        web.service
            .aliases
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let (front, far) = ("front.b.svc.cluster.local", "far.c.svc.cluster.local");
    assert_eq!(aliases("'*/*'"), [far, front]);
    assert_eq!(aliases("b/web.b.svc.cluster.local"), [] as [&str; 0]);
    assert_eq!(
        aliases("b/web.b.svc.cluster.local, b/front.b.svc.cluster.local"),
        [front]
    );
    // The entry that imports the service is the one its aliases are looked for in.
    assert_eq!(
        aliases("b/web.b.svc.cluster.local, c/far.c.svc.cluster.local"),
        [] as [&str; 0]
    );
}

#[test]
fn the_rule_with_the_most_specific_host_is_the_services() {
    let index = mesh(&[
        svc("b", "web"),
        svc("b", "api"),
        svc("c", "web"),
        virtual_service(
            "b",
            "all",
            &format!("hosts: ['*.svc.cluster.local'], {}", to("web")),
        ),
        virtual_service(
            "b",
            "ns",
            &format!("hosts: ['*.b.svc.cluster.local'], {}", to("web")),
        ),
        virtual_service("b", "one", &format!("hosts: [web], {}", to("web"))),
        virtual_service("b", "two", &format!("hosts: [web], {}", to("web"))),
    ]);
    let found = scope(&index, "a", "x");
    // Of two with the same host the older one, here by name.
    assert_eq!(rule_for(&found, "web", "b").as_deref(), Some("one"));
    assert_eq!(rule_for(&found, "api", "b").as_deref(), Some("ns"));
    assert_eq!(rule_for(&found, "web", "c").as_deref(), Some("all"));
}

#[test]
fn rules_come_private_then_exported_then_public() {
    let vs = |namespace: &str, name: &str, export: &str| {
        let spec = format!(
            "hosts: [x.com], exportTo: [{export}], {}",
            to("web.b.svc.cluster.local")
        );
        virtual_service(namespace, name, &spec)
    };
    let index = mesh(&[
        vs("a", "public", "'*'"),
        vs("a", "private", "'.'"),
        vs("b", "private", "'.'"),
        vs("b", "listed", "c, a"),
        vs("b", "elsewhere", "c"),
        vs("b", "apublic", "'*'"),
    ]);
    let wanted = ["a/private", "b/listed", "b/apublic", "a/public"];
    let found = rules(&scope(&index, "a", "x"));
    assert_eq!(found[..2], wanted[..2]);
    assert_eq!(found.len(), 4);
    assert!(
        found[2..]
            .iter()
            .all(|name| wanted.contains(&name.as_str()))
    );
    assert_eq!(
        rules(&scope(&index, "c", "x"))[..2],
        ["b/elsewhere", "b/listed"]
    );
}

#[test]
fn the_mesh_says_who_sees_rules_that_do_not() {
    let index = {
        let mut index = mesh(&[
            svc("b", "web"),
            virtual_service("b", "vs", &format!("hosts: [web], {}", to("web"))),
            rule(
                "DestinationRule",
                "b",
                "dr",
                "host: web, subsets: [{name: v1}]",
            ),
        ]);
        let config = reef_config::MeshConfig {
            default_virtual_service_export_to: vec![".".to_owned()],
            default_destination_rule_export_to: vec![".".to_owned()],
            ..reef_config::MeshConfig::default()
        };
        let changes = vec![reef_config::Change::MeshConfig(std::sync::Arc::new(config))];
        index.apply(reef_config::ChangeBatch {
            changes,
            synced: true,
        });
        index
    };
    let held = |namespace: &str| {
        let found = scope(&index, namespace, "x");
        let policy = found.destination_rule(&host("web", "b"), &Labels::default());
        (rules(&found).len(), policy.is_some())
    };
    assert_eq!(held("b"), (1, true));
    assert_eq!(held("a"), (0, false));
}

#[test]
fn a_destination_rule_is_for_those_it_is_exported_to() {
    let policy = |export: &str, client: &str| {
        let index = mesh(&[
            svc("b", "web"),
            rule(
                "DestinationRule",
                "b",
                "dr",
                &format!("host: web, exportTo: [{export}]"),
            ),
        ]);
        let found = scope(&index, client, "x");
        found
            .destination_rule(&host("web", "b"), &Labels::default())
            .is_some()
    };
    assert!(policy("'*'", "a") && policy("'*'", "b"));
    assert!(!policy("'.'", "a") && policy("'.'", "b"));
    assert!(policy("a, c", "a") && policy("a, c", "c") && !policy("a, c", "d"));
}

#[test]
fn the_best_host_of_a_namespace_decides_even_if_it_is_not_exported() {
    let index = mesh(&[
        svc("b", "web"),
        rule(
            "DestinationRule",
            "b",
            "all",
            "host: '*.b.svc.cluster.local'",
        ),
        rule("DestinationRule", "b", "one", "host: web, exportTo: [c]"),
        rule(
            "DestinationRule",
            "istio-system",
            "root",
            "host: '*.svc.cluster.local'",
        ),
    ]);
    let policy = |client: &str| {
        let found = scope(&index, client, "x");
        let policy = found.destination_rule(&host("web", "b"), &Labels::default());
        policy.map(|policy| policy.objects[0].name.to_string())
    };
    assert_eq!(policy("c").as_deref(), Some("one"));
    // The less specific one that is exported is not tried; the next level is.
    assert_eq!(policy("a").as_deref(), Some("root"));
}

#[test]
fn a_destination_rule_with_a_selector_is_for_some_clients_of_its_own_namespace() {
    let selected = "host: web.b.svc.cluster.local, workloadSelector: {matchLabels: {app: x}}";
    let index = mesh(&[
        svc("b", "web"),
        rule("DestinationRule", "a", "zsome", selected),
        rule(
            "DestinationRule",
            "a",
            "all",
            "host: web.b.svc.cluster.local",
        ),
    ]);
    let policy = |client: &str, app: &str| {
        let found = scope(&index, client, app);
        let labels: Labels = [("app", app)].into_iter().collect();
        let policy = found.destination_rule(&host("web", "b"), &labels);
        policy.map(|policy| policy.objects[0].name.to_string())
    };
    assert_eq!(policy("a", "x").as_deref(), Some("zsome"));
    assert_eq!(policy("a", "y").as_deref(), Some("all"));
    assert_eq!(policy("c", "x"), None);
}

#[test]
fn equal_hosts_are_merged_and_selectors_only_if_they_agree() {
    let dr = |name: &str, more: &str, subset: &str| {
        let spec = format!("host: web.b.svc.cluster.local{more}, subsets: [{{name: {subset}}}]");
        rule("DestinationRule", "a", name, &spec)
    };
    let selector = |app: &str| format!(", workloadSelector: {{matchLabels: {{app: {app}}}}}");
    let index = mesh(&[
        svc("b", "web"),
        dr("one", "", "v1"),
        dr("two", "", "v2"),
        dr("x1", &selector("x"), "v3"),
        dr("x2", &selector("x"), "v4"),
        dr("y", &selector("y"), "v5"),
    ]);
    let subsets = |app: &str| -> Vec<String> {
        let found = scope(&index, "a", app);
        let labels: Labels = [("app", app)].into_iter().collect();
        let policy = found
            .destination_rule(&host("web", "b"), &labels)
            .expect("a rule");
        policy
            .spec
            .subsets
            .iter()
            .map(|subset| subset.name.clone())
            .collect()
    };
    assert_eq!(subsets("x"), ["v3", "v4"]);
    assert_eq!(subsets("y"), ["v5"]);
    assert_eq!(subsets("z"), ["v1", "v2"]);
}

/// A mesh whose proxies of `a` import only `b/front`, with a root that delegates to `c/part`.
fn delegating(matches: &str, export: &str, part: &str) -> Vec<String> {
    vec![
        svc("b", "front"),
        svc("c", "one"),
        svc("c", "two"),
        rule("Sidecar", "a", "s", "egress: [{hosts: ['b/*']}]"),
        virtual_service(
            "b",
            "root",
            &format!("hosts: [front], http: [{{{matches}delegate: {{name: part, namespace: c}}}}]"),
        ),
        virtual_service("c", "part", &format!("{export}http: [{{{part}}}]")),
    ]
}

#[test]
fn destinations_of_delegates_are_implied_by_the_root() {
    let one = "route: [{destination: {host: one}}]";
    let mut index = mesh(&delegating("", "", one));
    // Short names are the delegate's, not the root's.
    assert_eq!(names(&scope(&index, "a", "x")), ["b/front:80", "c/one:80"]);
    // A delegate is no rule by itself.
    assert_eq!(rules(&scope(&index, "a", "x")), ["b/root"]);
    let before = scope(&index, "a", "x");
    let two = virtual_service("c", "part", "http: [{route: [{destination: {host: two}}]}]");
    let report = load(&mut index, &[two]);
    assert!(before.depends_on(&report, index.snapshot()));
    assert_eq!(names(&scope(&index, "a", "x")), ["b/front:80", "c/two:80"]);
}

#[test]
fn a_delegate_must_be_exported_to_the_root_and_there() {
    let one = "route: [{destination: {host: one}}]";
    let found = |documents: &[String]| names(&scope(&mesh(documents), "a", "x"));
    assert_eq!(
        found(&delegating("", "exportTo: ['.'], ", one)),
        ["b/front:80"]
    );
    assert_eq!(
        found(&delegating("", "exportTo: [a], ", one)),
        ["b/front:80"]
    );
    assert_eq!(found(&delegating("", "exportTo: [b], ", one)).len(), 2);
    let mut without = delegating("", "", one);
    without.pop();
    assert_eq!(found(&without), ["b/front:80"]);
    // One with hosts is a root of its own, not a delegate.
    assert_eq!(
        found(&delegating("", "hosts: [x.com], ", one)),
        ["b/front:80"]
    );
}

#[test]
fn a_delegates_destination_is_for_the_clients_of_both_routes() {
    let found = |root: &str, part: &str| {
        let root = if root.is_empty() {
            String::new()
        } else {
            format!("match: [{{sourceNamespace: {root}}}], ")
        };
        let part = if part.is_empty() {
            "route: [{destination: {host: one}}]".to_owned()
        } else {
            format!("match: [{{sourceNamespace: {part}}}], route: [{{destination: {{host: one}}}}]")
        };
        let found = scope(&mesh(&delegating(&root, "", &part)), "a", "x");
        found.service(&host("one", ns("c").as_ref())).is_some()
    };
    assert!(found("", "") && found("a", "") && found("", "a") && found("a", "a"));
    assert!(!found("d", "") && !found("", "d") && !found("a", "d") && !found("d", "a"));
}
