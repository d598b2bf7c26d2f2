//! Objects survive being written as JSON and read again.

use std::sync::Arc;

use crate::mesh_config::MeshConfig;
use crate::object::{Object, Origin};
use crate::parse;

fn read(text: &str) -> Arc<Object> {
    let origin = Origin {
        path: Arc::from("x.yaml"),
        line: 1,
    };
    let mut parsed = parse::object(text, &origin);
    assert_eq!(parsed.problems, [], "{text}");
    Arc::new(parsed.objects.remove(0))
}

#[test]
fn object_reads_back_as_what_it_was() {
    for text in [
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: e, namespace: a, labels: {x: y}}\n\
         spec: {hosts: [e.io], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC,\n\
         endpoints: [{address: 10.0.0.1, ports: {http: 8080}, weight: 3}]}\n",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\n\
         spec: {hosts: [a], http: [{match: [{uri: {prefix: /x}, headers: {h: {}}}], timeout: 1.5s,\n\
         route: [{destination: {host: b}}]}]}\n",
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\n\
         spec: {selector: {matchLabels: {app: a}}, rules: [{}]}\n",
        "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: s}\n\
         spec: {workloadSelector: {labels: {app: a}}, egress: [{hosts: [\"./*\"]}]}\n",
    ] {
        let object = read(text);
        let json = object.to_json().to_string();
        let again = read(&json);
        assert!(object.same_content(&again), "{json}");
    }
}

#[test]
fn policy_is_shown_with_the_selector_of_its_api() {
    let policy = read(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: a}\n\
         spec: {selector: {matchLabels: {app: a}}, mtls: {mode: STRICT}}\n",
    );
    assert_eq!(
        policy.to_json(),
        serde_json::json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "PeerAuthentication",
            "metadata": {"name": "p", "namespace": "a"},
            "spec": {"selector": {"matchLabels": {"app": "a"}}, "mtls": {"mode": "STRICT"}},
        })
    );
}

#[test]
fn mesh_configuration_is_shown_with_its_defaults() {
    let json = MeshConfig::default().to_json();
    assert_eq!(json["rootNamespace"], "istio-system");
    assert_eq!(json["outboundTrafficPolicy"]["mode"], "ALLOW_ANY");
    assert_eq!(json["connectTimeout"], "10s");
    let again: MeshConfig = serde_json::from_value(json).unwrap();
    assert_eq!(again, MeshConfig::default());
}
