//! Any sequence of changes gives the snapshot of the final objects, and reports are exact.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use reef_config::{Change, ChangeBatch, MeshConfig, Object, ObjectKey};
use reef_mesh::{ChangeReport, MeshIndex, MeshSnapshot, ServiceKey};

use crate::support::objects;

/// Variants of a few objects that relate to one another in every way the index knows.
fn universe() -> Vec<Arc<Object>> {
    let mut texts: Vec<String> = Vec::new();
    let meta = |kind: &str, name: &str, more: &str| {
        let api = match kind {
            "EndpointSlice" => "discovery.k8s.io/v1",
            "Service" | "Pod" | "Node" | "Namespace" | "Endpoints" => "v1",
            _ => "networking.istio.io/v1",
        };
        format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}, namespace: a{more}}}\n")
    };
    for (port, extra) in [(80, ""), (81, ""), (80, "clusterIP: None, ")] {
        texts.push(
            meta("Service", "web", "")
                + &format!(
                    "spec: {{{extra}selector: {{app: web}}, ports: [{{name: http, port: {port}}}]}}"
                ),
        );
    }
    texts.push(
        meta("Service", "web", "")
            + "spec: {type: ExternalName, externalName: other.a.svc.cluster.local}",
    );
    texts.push(meta("Service", "other", "") + "spec: {ports: [{name: http, port: 80}]}");
    texts.push(
        meta("Service", "alias", "")
            + "spec: {type: ExternalName, externalName: web.a.svc.cluster.local}",
    );
    for (ip, ready) in [("10.0.0.1", true), ("10.0.0.2", true), ("10.0.0.1", false)] {
        for service in ["web", "other"] {
            texts.push(
                meta(
                    "EndpointSlice",
                    "slice",
                    &format!(", labels: {{kubernetes.io/service-name: {service}}}"),
                ) + &format!(
                    "addressType: IPv4\nports: [{{name: http, port: 8080}}]\nendpoints:\n- \
                     addresses: [{ip}]\n  conditions: {{ready: {ready}, terminating: false}}\n  \
                     targetRef: {{kind: Pod, name: pod, namespace: a}}\n- addresses: [10.0.0.9]\n"
                ),
            );
        }
    }
    texts.push(
        meta("Endpoints", "web", "")
            + "subsets: [{addresses: [{ip: 10.0.0.1}], ports: [{name: http, port: 8080}]}]",
    );
    for (labels, node, ip) in [
        (
            "app: web, security.istio.io/tlsMode: istio",
            "n1",
            "10.0.0.1",
        ),
        ("app: web", "n2", "10.0.0.1"),
        ("app: else", "n1", "10.0.0.2"),
    ] {
        texts.push(
            meta("Pod", "pod", &format!(", labels: {{{labels}}}"))
                + &format!(
                    "spec: {{nodeName: {node}, serviceAccountName: sa}}\nstatus: {{podIP: {ip}}}"
                ),
        );
    }
    for (name, zone) in [("n1", "z1"), ("n1", "z2"), ("n2", "z2")] {
        texts.push(format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: \
             {{topology.kubernetes.io/region: r, topology.kubernetes.io/zone: {zone}}}}}\n"
        ));
    }
    for spec in [
        "hosts: [web.a.svc.cluster.local, x.com]\n  resolution: STATIC\n  endpoints: [{address: 10.0.0.1}]",
        "hosts: [x.com]\n  resolution: STATIC\n  workloadSelector: {labels: {app: web}}",
        "hosts: [x.com, '*.y.com']\n  resolution: NONE",
        "hosts: [x.com]\n  resolution: DNS",
    ] {
        for name in ["se", "se2"] {
            texts.push(
                meta("ServiceEntry", name, "")
                    + &format!(
                        "spec:\n  ports: [{{number: 80, name: http, protocol: HTTP}}]\n  {spec}\n"
                    ),
            );
        }
    }
    for app in ["web", "else"] {
        texts.push(
            meta("WorkloadEntry", "vm", "")
                + &format!("spec: {{address: 10.0.0.7, labels: {{app: {app}}}}}"),
        );
    }
    for (name, spec) in [
        ("vs", "hosts: [web], http: [{delegate: {name: part}}]"),
        (
            "vs",
            "hosts: [web], exportTo: ['.'], http: [{route: [{destination: {host: other}}]}]",
        ),
        (
            "vs2",
            "hosts: [x.com], exportTo: [b], http: [{route: [{destination: {host: web}}]}]",
        ),
        (
            "part",
            "http: [{route: [{destination: {host: other, port: {number: 80}}}]}]",
        ),
    ] {
        texts.push(meta("VirtualService", name, "") + &format!("spec: {{{spec}}}"));
    }
    for (name, spec) in [
        ("dr", "host: web, subsets: [{name: v1}]"),
        ("dr2", "host: web, subsets: [{name: v1}, {name: v2}]"),
        ("dr2", "host: '*.com', exportTo: ['.']"),
    ] {
        texts.push(meta("DestinationRule", name, "") + &format!("spec: {{{spec}}}"));
    }
    for (name, spec) in [
        ("s1", "egress: [{hosts: ['./*']}]"),
        (
            "s2",
            "workloadSelector: {labels: {app: web}}, egress: [{hosts: ['*/*']}]",
        ),
        (
            "s1",
            "workloadSelector: {labels: {app: web}}, egress: [{hosts: ['~/*']}]",
        ),
    ] {
        texts.push(meta("Sidecar", name, "") + &format!("spec: {{{spec}}}"));
    }
    texts.iter().flat_map(|text| objects(text)).collect()
}

/// One step: indices into the universe, and whether that object is deleted; and the mesh default.
type Step = (Vec<(prop::sample::Index, bool)>, Option<bool>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = (any::<prop::sample::Index>(), prop::bool::weighted(0.3));
    let step = (
        prop::collection::vec(change, 1..5),
        prop::option::weighted(0.05, any::<bool>()),
    );
    prop::collection::vec(step, 1..16)
}

fn config(private: bool) -> Change {
    let default = MeshConfig::default();
    let default_service_export_to = if private {
        vec![".".to_owned()]
    } else {
        default.default_service_export_to.clone()
    };
    Change::MeshConfig(Arc::new(MeshConfig {
        default_service_export_to,
        ..default
    }))
}

fn services(snapshot: &MeshSnapshot) -> BTreeSet<ServiceKey> {
    snapshot
        .services()
        .map(|service| service.key.clone())
        .collect()
}

/// Checks a report against the two snapshots it stands between.
fn check_report(old: &MeshSnapshot, new: &MeshSnapshot, report: &ChangeReport) {
    for key in services(old).union(&services(new)) {
        let service = old.service(key) != new.service(key);
        let endpoints = old.endpoints(key) != new.endpoints(key);
        let in_services = report.services.contains(key);
        let in_endpoints = report.endpoints.contains(key);
        assert!(!(in_services && in_endpoints), "{key} is reported twice");
        assert!(!service || in_services, "{key} differs but is not reported");
        assert!(
            !endpoints || in_services || in_endpoints,
            "endpoints of {key} not reported"
        );
        assert!(
            service || endpoints || !(in_services || in_endpoints),
            "{key} did not change"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_changes_gives_the_snapshot_of_the_final_objects(
        steps in steps(), order in any::<prop::sample::Index>(),
    ) {
        let universe = universe();
        let mut index = MeshIndex::default();
        let mut present: BTreeMap<ObjectKey, Arc<Object>> = BTreeMap::new();
        let mut private = false;
        for (changes, settings) in steps {
            let mut batch = ChangeBatch { changes: Vec::new(), synced: true };
            for (at, deleted) in changes {
                let object = at.get(&universe);
                if deleted {
                    present.remove(&object.key);
                    batch.changes.push(Change::Delete(object.key.clone()));
                } else {
                    present.insert(object.key.clone(), object.clone());
                    batch.changes.push(Change::Apply(object.clone()));
                }
            }
            if let Some(value) = settings {
                private = value;
                batch.changes.push(config(private));
            }
            let old = index.snapshot().clone();
            let old_problems = index.problems();
            match index.apply(batch) {
                Some((new, report)) => {
                    check_report(&old, &new, &report);
                    prop_assert_eq!(report.problems, old_problems != index.problems());
                    let only_problems = ChangeReport { problems: true, ..Default::default() };
                    prop_assert!(report == only_problems || old.dump() != new.dump());
                }
                None => prop_assert_eq!(old.dump(), index.snapshot().dump()),
            }
        }
        // The final objects at once, from any starting point of the list and backwards.
        let mut all: Vec<_> = present.into_values().collect();
        if !all.is_empty() {
            let middle = order.index(all.len());
            all.rotate_left(middle);
            all.reverse();
        }
        let mut fresh = MeshIndex::default();
        let changes = all.into_iter().map(Change::Apply).chain([config(private)]).collect();
        fresh.apply(ChangeBatch { changes, synced: true });
        let (left, right) = (index.snapshot().dump(), fresh.snapshot().dump());
        for (left, right) in left.lines().zip(right.lines()) {
            prop_assert_eq!(left, right);
        }
        prop_assert_eq!(left.len(), right.len());
        prop_assert_eq!(index.problems(), fresh.problems());
        prop_assert_eq!(index.object_counts(), fresh.object_counts());
    }
}
