//! Which security rules hold for a workload.

use reef_config::Labels;
use reef_mesh::{MeshIndex, MtlsMode, PeerPolicy};

use crate::support::{apply, delete};

fn rule(kind: &str, at: &str, year: u16, spec: &str) -> String {
    let (namespace, name) = at.split_once('/').expect("namespace/name");
    format!(
        "
apiVersion: security.istio.io/v1
kind: {kind}
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: '{year}-01-01T00:00:00Z'}}
spec: {{{spec}}}
"
    )
}

fn peer(at: &str, year: u16, spec: &str) -> String {
    rule("PeerAuthentication", at, year, spec)
}

fn labels() -> Labels {
    [("app", "web"), ("tier", "front")].into_iter().collect()
}

fn policy(index: &MeshIndex, namespace: &str) -> PeerPolicy {
    index.snapshot().peer_policy(&namespace.into(), &labels())
}

#[test]
fn nothing_said_is_permissive() {
    let index = MeshIndex::default();
    assert_eq!(policy(&index, "a"), PeerPolicy::default());
    assert_eq!(policy(&index, "a").of_port(80), MtlsMode::Permissive);
}

#[test]
fn the_nearest_level_that_sets_a_mode_wins() {
    let mut index = MeshIndex::default();
    let workload = "selector: {matchLabels: {app: web}}";
    apply(
        &mut index,
        &peer("istio-system/mesh", 2020, "mtls: {mode: STRICT}"),
    );
    assert_eq!(policy(&index, "a").mode, MtlsMode::Strict);
    apply(&mut index, &peer("a/ns", 2020, "mtls: {mode: DISABLE}"));
    assert_eq!(policy(&index, "a").mode, MtlsMode::Disable);
    assert_eq!(policy(&index, "b").mode, MtlsMode::Strict);
    let own = format!("{workload}, mtls: {{mode: PERMISSIVE}}");
    apply(&mut index, &peer("a/own", 2020, &own));
    assert_eq!(policy(&index, "a").mode, MtlsMode::Permissive);
    assert_eq!(
        index.snapshot().namespace_mtls(&"a".into()),
        MtlsMode::Disable
    );
    // Unset leaves it to the next level, at every level.
    apply(
        &mut index,
        &peer("a/own", 2020, &format!("{workload}, mtls: {{mode: UNSET}}")),
    );
    assert_eq!(policy(&index, "a").mode, MtlsMode::Disable);
    apply(&mut index, &peer("a/ns", 2020, "mtls: {mode: UNSET}"));
    assert_eq!(policy(&index, "a").mode, MtlsMode::Strict);
    apply(&mut index, &peer("istio-system/mesh", 2020, ""));
    assert_eq!(policy(&index, "a").mode, MtlsMode::Permissive);
}

#[test]
fn the_oldest_rule_of_a_level_counts_even_if_it_sets_nothing() {
    let mut index = MeshIndex::default();
    apply(&mut index, &peer("a/young", 2022, "mtls: {mode: STRICT}"));
    assert_eq!(policy(&index, "a").mode, MtlsMode::Strict);
    let old = peer("a/zold", 2021, "mtls: {mode: UNSET}");
    apply(&mut index, &old);
    assert_eq!(policy(&index, "a").mode, MtlsMode::Permissive);
    delete(&mut index, &old);
    assert_eq!(policy(&index, "a").mode, MtlsMode::Strict);
}

#[test]
fn a_selector_in_the_root_namespace_is_ignored() {
    let mut index = MeshIndex::default();
    let spec = "selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}";
    apply(&mut index, &peer("istio-system/x", 2020, spec));
    assert_eq!(policy(&index, "a").mode, MtlsMode::Permissive);
    assert_eq!(policy(&index, "istio-system").mode, MtlsMode::Permissive);
    assert!(
        !index
            .snapshot()
            .has_workload_peer_policies(&"istio-system".into())
    );
}

#[test]
fn ports_count_in_the_rule_of_the_workload_and_inherit_its_result() {
    let mut index = MeshIndex::default();
    let ports = "portLevelMtls: {8080: {mode: DISABLE}, 9090: {mode: UNSET}}";
    apply(&mut index, &peer("a/ns", 2020, "mtls: {mode: STRICT}"));
    let own = format!("selector: {{matchLabels: {{app: web}}}}, {ports}");
    apply(&mut index, &peer("a/own", 2020, &own));
    let found = policy(&index, "a");
    assert_eq!(found.of_port(8080), MtlsMode::Disable);
    assert_eq!(found.of_port(9090), MtlsMode::Strict);
    assert_eq!(found.of_port(1), MtlsMode::Strict);
    assert_eq!(
        *found.ports,
        [(8080, MtlsMode::Disable), (9090, MtlsMode::Strict)]
    );
    assert!(found.has_strict());
    let names: Vec<&str> = found.objects.iter().map(|key| &*key.name).collect();
    assert_eq!(names, ["ns", "own"]);
    assert!(index.snapshot().has_workload_peer_policies(&"a".into()));
}

#[test]
fn policies_select_by_labels_from_the_root_and_the_own_namespace() {
    for kind in ["AuthorizationPolicy", "RequestAuthentication"] {
        let mut index = MeshIndex::default();
        let all: String = [
            ("a/all", 2022, ""),
            ("a/old", 2020, "selector: {matchLabels: {app: web}}"),
            ("a/other", 2020, "selector: {matchLabels: {app: other}}"),
            (
                "a/gateway",
                2020,
                "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: g}]",
            ),
            ("b/all", 2020, ""),
            (
                "istio-system/web",
                2023,
                "selector: {matchLabels: {tier: front}}",
            ),
            (
                "istio-system/no",
                2020,
                "selector: {matchLabels: {tier: back}}",
            ),
        ]
        .iter()
        .map(|(at, year, spec)| rule(kind, at, *year, spec))
        .collect::<Vec<_>>()
        .join("---");
        apply(&mut index, &all);
        let names = |namespace: &str| -> Vec<String> {
            let (namespace, labels) = (namespace.into(), labels());
            let snapshot = index.snapshot();
            if kind == "AuthorizationPolicy" {
                let rules = snapshot.authorization_policies_of(&namespace, &labels);
                rules.map(|rule| rule.object.name.to_string()).collect()
            } else {
                let rules = snapshot.request_authentications_of(&namespace, &labels);
                rules.map(|rule| rule.object.name.to_string()).collect()
            }
        };
        assert_eq!(names("a"), ["web", "old", "all"], "{kind}");
        assert_eq!(names("c"), ["web"], "{kind}");
        assert_eq!(names("istio-system"), ["web"], "{kind}");
    }
}
