//! A scope that says it does not depend on a change is the same after it.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use reef_config::{Change, MeshConfig, Object, Origin, parse};
use reef_mesh::{Locality, MeshIndex, MeshSnapshot, MetaValue, ProxyNode, identify};
use reef_scope::{Changes, Scope, resolve, select};
use reef_testkit::{Followed, Step, Steps};

use crate::support::{entry, rule, svc, svc_with};

/// Variants of objects that relate to one another in every way scoping knows.
fn universe() -> Vec<Arc<Object>> {
    let mut texts: Vec<String> = Vec::new();
    let two = "[{name: http, port: 80}, {name: tcp, port: 90}]";
    for namespace in ["a", "b", "c"] {
        for export in ["", ".", "a", "~"] {
            texts.push(svc_with(
                namespace,
                "one",
                export,
                "[{name: http, port: 80}]",
            ));
        }
        texts.push(svc_with(namespace, "one", "", two));
        texts.push(svc(namespace, "two"));
        texts.push(entry(namespace, "se", "x.com"));
        texts.push(entry(namespace, "se", "one.b.svc.cluster.local"));
        texts.push(format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: alias, namespace: {namespace}}}\n\
             spec: {{type: ExternalName, externalName: one.b.svc.cluster.local}}\n"
        ));
        for spec in [
            "hosts: [one], http: [{route: [{destination: {host: two}}]}]",
            "hosts: [one], exportTo: ['.'], http: [{route: [{destination: {host: x.com}}]}]",
            "hosts: ['*.com'], exportTo: [a], http: [{route: [{destination: {host: one, port: {number: 90}}}]}]",
            "hosts: [x.com], http: [{delegate: {name: part, namespace: b}}]",
            "hosts: [one], http: [{timeout: 1s, route: [{destination: {host: two}}]}]",
            "hosts: [one], http: [{match: [{sourceLabels: {app: x}}], route: [{destination: {host: two}}]}]",
            "hosts: [one], http: [{match: [{sourceNamespace: b}], route: [{destination: {host: x.com}}]}]",
        ] {
            texts.push(rule("VirtualService", namespace, "vs", spec));
        }
        texts.push(rule(
            "VirtualService",
            namespace,
            "part",
            "http: [{route: [{destination: {host: two}}]}]",
        ));
        for spec in [
            "host: one, subsets: [{name: v1}]",
            "host: one, subsets: [{name: v2}]",
            "host: '*.com', exportTo: ['.']",
            "host: one.b.svc.cluster.local, exportTo: [a]",
            "host: x.com, workloadSelector: {matchLabels: {app: x}}",
        ] {
            texts.push(rule("DestinationRule", namespace, "dr", spec));
        }
    }
    for spec in [
        "egress: [{hosts: ['./*']}]",
        "egress: [{hosts: ['b/one.b.svc.cluster.local', '*/x.com']}]",
        "egress: [{port: {number: 90, protocol: TCP, name: t}, hosts: ['*/*']}, {hosts: ['~b/*', '*/*']}]",
        "workloadSelector: {labels: {app: x}}, egress: [{hosts: ['~/*']}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}",
    ] {
        texts.push(rule("Sidecar", "a", "s", spec));
        texts.push(rule("Sidecar", "a", "t", spec));
        texts.push(rule("Sidecar", "istio-system", "root", spec));
    }
    texts.push(rule(
        "DestinationRule",
        "istio-system",
        "dr",
        "host: '*.local'",
    ));
    let origin = Origin {
        path: Arc::from("test.yaml"),
        line: 1,
    };
    let parsed = texts.iter().map(|text| {
        let parsed = parse::object(text, &origin);
        assert!(!parsed.has_errors(), "{text}\n{parsed:?}");
        parsed.objects
    });
    parsed.flatten().map(Arc::new).collect()
}

/// The mesh configuration: everything is public, or private by default.
fn config(number: usize) -> Change {
    let mut config = MeshConfig::default();
    if number == 1 {
        config.default_service_export_to = vec![".".to_owned()];
        config.default_destination_rule_export_to = vec![".".to_owned()];
    }
    Change::MeshConfig(Arc::new(config))
}

/// The scopes of a few proxies.
fn scopes(snapshot: &MeshSnapshot) -> Vec<Arc<Scope>> {
    let proxies = [("a", "x"), ("a", "y"), ("b", "x"), ("c", "x")];
    let scope_of = |(namespace, app): (&str, &str)| {
        let labels = MetaValue::Map([("app".to_owned(), MetaValue::from(app))].into());
        let id = format!("sidecar~10.9.9.9~p.{namespace}~{namespace}.svc.cluster.local");
        let metadata = BTreeMap::from([("LABELS".to_owned(), labels)]);
        let node = ProxyNode::parse(&id, metadata, Locality::default()).expect("a valid node");
        resolve(snapshot, &select(snapshot, &identify(snapshot, &node)))
    };
    proxies.into_iter().map(scope_of).collect()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let steps = Steps {
        first: Some(20..40),
        objects: 1..3,
        batches: 1..10,
        configs: 2,
        reconfigured: 0.05,
    };
    steps.strategy()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_scope_that_depends_on_nothing_that_changed_is_the_same(
        steps in steps(), order in any::<prop::sample::Index>(),
    ) {
        let mut followed = Followed::new(universe(), |number| vec![config(number)]);
        let mut index = MeshIndex::default();
        for step in &steps {
            let batch = followed.batch(step);
            let before_snapshot = Arc::clone(index.snapshot());
            let before = scopes(&before_snapshot);
            let report = index.apply(batch).map(|(_, report)| report).unwrap_or_default();
            let snapshot = index.snapshot();
            for old in before {
                let new = resolve(snapshot, &old.id);
                let mut patched = Arc::clone(&old);
                if let Some(patch) = Changes::new(&before_snapshot, snapshot, &report).patch(&mut patched) {
                    let told = format!("{} after {:?}: {:?}", old.id, report, patch);
                    prop_assert!(patched == new, "{}", told);
                    let derived = patch.services.iter().all(|change| change.before == change.after);
                    prop_assert_eq!(old == new, patch.is_empty() || (derived && patch.rules.is_empty()
                        && patch.policies.is_empty()), "{}", told);
                }
                if old != new && !old.depends_on(&report, snapshot) {
                    let (left, right) = (format!("{old:#?}"), format!("{new:#?}"));
                    let lines = left.lines().zip(right.lines());
                    let differ: Vec<_> = lines.filter(|(left, right)| left != right).take(6).collect();
                    prop_assert!(false, "{}: {:?} differ after {:?}", old.id, differ, report);
                }
            }
        }
        let mut fresh = MeshIndex::default();
        fresh.apply(followed.at_once(order));
        let (left, right) = (scopes(index.snapshot()), scopes(fresh.snapshot()));
        for (left, right) in left.iter().zip(&right) {
            prop_assert_eq!(left, right);
        }
    }
}
