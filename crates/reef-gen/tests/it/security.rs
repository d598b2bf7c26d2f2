//! Which resources policies of the mesh change, and the choice to let unenforced traffic through.

use std::collections::BTreeSet;
use std::sync::Arc;

use reef_gen::{cluster_keys, endpoint_keys, listener_keys, policy_problems, problems, route_keys};
use reef_mesh::{MeshIndex, MeshSnapshot, Unenforced, identify};
use xds_api::Any;

use crate::world::{class, documents, node, output, snapshot, snapshot_in};

const PROXY: &str = r#"
id: sidecar~10.0.0.1~client-0.default~default.svc.cluster.local
metadata: {NAMESPACE: default, INSTANCE_IPS: "10.0.0.1", WORKLOAD_CERT: sds-grpc, LABELS: {app: client}}
"#;

const MESH: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, labels: {app: web, security.istio.io/tlsMode: istio}}
status: {podIP: 10.0.0.7}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 80}]
endpoints: [{addresses: [10.0.0.7], targetRef: {kind: Pod, name: web-0, namespace: shop}}]
---
apiVersion: v1
kind: Service
metadata: {name: near, namespace: default}
spec: {clusterIP: 10.96.0.2, selector: {app: client}, ports: [{name: http, port: 81}]}
"#;

fn peer_authentication(namespace: &str, spec: &str) -> String {
    format!(
        "{MESH}---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
         metadata: {{name: p, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

/// Names of the resources whose keys differ, by the first letter of their type.
fn differing(before: &str, after: &str, proxy: &str) -> BTreeSet<String> {
    let keys = |text: &str| {
        let snapshot = snapshot(&documents(text), None);
        let input = class(&snapshot, &identify(&snapshot, &node(proxy)));
        (
            cluster_keys(&input),
            endpoint_keys(&input),
            listener_keys(&input),
            route_keys(&input),
        )
    };
    let (a, b) = (keys(before), keys(after));
    let mut found = BTreeSet::new();
    macro_rules! compare {
        ($part:tt, $letter:literal) => {
            assert_eq!(a.$part.len(), b.$part.len());
            for (old, new) in a.$part.iter().zip(&b.$part) {
                if old != new {
                    found.insert(format!("{} {}", $letter, new.name()));
                }
            }
        };
    }
    compare!(0, 'c');
    compare!(1, 'e');
    compare!(2, 'l');
    compare!(3, 'r');
    found
}

#[test]
fn a_policy_changes_the_connections_to_its_namespace_and_nothing_else() {
    let web = "outbound|80||web.shop.svc.cluster.local";
    let both = [format!("c {web}"), format!("e {web}")];
    let off = peer_authentication("shop", "{mtls: {mode: DISABLE}}");
    assert_eq!(differing(MESH, &off, PROXY), both.into());
    // Without certificate there is nothing to switch off; the endpoint's mark is the same for all.
    let plain = PROXY.replace("sds-grpc", "none");
    assert_eq!(differing(MESH, &off, &plain), [format!("e {web}")].into());
    // STRICT is what servers demand: clients that can already do.
    let strict = peer_authentication("shop", "{mtls: {mode: STRICT}}");
    assert!(differing(MESH, &strict, PROXY).is_empty());
    // A workload's own policy is about its endpoints.
    let spec = "{selector: {matchLabels: {app: web}}, mtls: {mode: DISABLE}}";
    let workload = peer_authentication("shop", spec);
    assert_eq!(
        differing(MESH, &workload, PROXY),
        [format!("e {web}")].into()
    );
    // The proxy's own namespace: its inbound listener.
    let own = peer_authentication("default", "{mtls: {mode: STRICT}}");
    assert_eq!(
        differing(MESH, &own, PROXY),
        ["l virtualInbound".to_owned()].into()
    );
}

const POLICIES: &str = r#"
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: default}
spec: {rules: [{to: [{operation: {methods: [GET]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: asked, namespace: default}
spec: {action: CUSTOM, provider: {name: x}, rules: [{to: [{operation: {ports: ["81"]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: audited, namespace: default}
spec: {action: AUDIT, rules: [{}]}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: default}
spec: {jwtRules: [{issuer: x, jwks: "{}"}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: default}
spec: {mtls: {mode: STRICT}}
"#;

const NOTHING_ALLOWED: &str = r#"
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nothing, namespace: default}
spec: {}
"#;

fn with(unenforced: Unenforced, policies: &str) -> Arc<MeshSnapshot> {
    let index = MeshIndex::new("cluster.local").with_unenforced(unenforced);
    snapshot_in(index, &documents(&format!("{MESH}{policies}")), None)
}

fn closes(snapshot: &Arc<MeshSnapshot>) -> bool {
    let proxy = PROXY.replace("sds-grpc", "none");
    let out = output(&class(snapshot, &identify(snapshot, &node(&proxy))));
    out.listeners
        .iter()
        .map(|listener| Any::pack(listener).value)
        .any(|bytes| String::from_utf8_lossy(&bytes).contains("reef-unenforced-security"))
}

#[test]
fn unenforced_policies_are_told_as_errors_whether_or_not_they_close() {
    for (unenforced, outcome) in [
        (Unenforced::Deny, "is refused"),
        (Unenforced::Allow, "is let through"),
    ] {
        let snapshot = with(unenforced, POLICIES);
        assert_eq!(closes(&snapshot), unenforced == Unenforced::Deny);
        let mut told = policy_problems(&snapshot);
        let proxy = PROXY.replace("sds-grpc", "none");
        told.extend(problems(&class(
            &snapshot,
            &identify(&snapshot, &node(&proxy)),
        )));
        told.retain(|problem| problem.code == Unenforced::PROBLEM);
        assert!(told.iter().all(|problem| {
            problem.severity == reef_config::Severity::Error && problem.reason.ends_with(outcome)
        }));
        let objects: BTreeSet<String> = told
            .iter()
            .filter_map(|problem| Some(problem.object.as_ref()?.name.to_string()))
            .collect();
        let named = ["asked", "readers", "strict", "tokens"].map(str::to_owned);
        assert_eq!(objects, named.into());
    }
}

#[test]
fn a_policy_that_allows_nothing_is_enforced_as_it_is() {
    let snapshot = with(Unenforced::Allow, NOTHING_ALLOWED);
    assert!(closes(&snapshot));
    assert!(policy_problems(&snapshot).is_empty());
    // Another one may allow something: together they are not enforced.
    let snapshot = with(Unenforced::Allow, &format!("{NOTHING_ALLOWED}{POLICIES}"));
    assert!(!closes(&snapshot));
    assert!(!closes(&with(Unenforced::Deny, "")));
}
