//! Node ids, identities and service targets.

use std::collections::BTreeMap;

use reef_mesh::{Locality, MeshIndex, MetaValue, NodeError, ProxyNode, WorkloadCert, identify};

use crate::support::apply;

const MESH: &str = "
apiVersion: v1
kind: Service
metadata: {name: young, namespace: a, creationTimestamp: '2022-01-01T00:00:00Z'}
spec: {clusterIP: 10.1.0.2, selector: {app: web}, ports: [{name: http, port: 80, targetPort: web}]}
---
apiVersion: v1
kind: Service
metadata: {name: zold, namespace: a, creationTimestamp: '2021-01-01T00:00:00Z'}
spec: {clusterIP: 10.1.0.1, selector: {app: web}, ports: [{name: http, port: 81, targetPort: 8080}, {name: http-2, port: 82, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: else, namespace: a}
spec: {clusterIP: 10.1.0.3, selector: {app: else}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: a, labels: {app: web}}
spec: {serviceAccountName: web, containers: [{name: c, ports: [{name: web, containerPort: 8080}]}]}
status: {podIP: 10.0.0.1}
";

fn node(metadata: &[(&str, &str)]) -> ProxyNode {
    let metadata: BTreeMap<String, MetaValue> = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).into()))
        .collect();
    let id = "sidecar~10.0.0.1~web-1.a~a.svc.cluster.local";
    ProxyNode::parse(id, metadata, Locality::default()).expect("a valid node id")
}

#[test]
fn a_node_id_has_four_parts_a_known_type_and_an_ip() {
    let parse = |id: &str| ProxyNode::parse(id, BTreeMap::new(), Locality::default());
    assert!(matches!(
        parse("sidecar~10.0.0.1~x"),
        Err(NodeError::Parts { parts: 3, .. })
    ));
    assert!(matches!(
        parse("thing~10.0.0.1~x~y"),
        Err(NodeError::Kind { .. })
    ));
    assert!(matches!(
        parse("sidecar~10.0.0.1~x~y~z"),
        Err(NodeError::Parts { parts: 5, .. })
    ));
    for kind in ["sidecar", "router", "waypoint", "ztunnel", "agentgateway"] {
        assert!(parse(&format!("{kind}~10.0.0.1~x~y")).is_ok(), "{kind}");
    }
    assert!(matches!(
        parse("sidecar~nope~x~y"),
        Err(NodeError::NoIp { .. })
    ));
    assert_eq!(
        parse("sidecar~::1~p.ns~ns.svc.cluster.local")
            .unwrap()
            .namespace,
        "ns"
    );
}

#[test]
fn facts_come_from_the_pod_if_the_mesh_knows_it_else_from_metadata() {
    let mut index = MeshIndex::default();
    let mut stranger = node(&[("SERVICE_ACCOUNT", "told"), ("NAMESPACE", "told")]);
    let labels = [("app".to_owned(), MetaValue::from("told"))].into();
    stranger.metadata.insert("LABELS", MetaValue::Map(labels));
    let before = identify(index.snapshot(), &stranger);
    assert_eq!(before.labels.get("app").map(|v| &**v), Some("told"));
    assert_eq!(&*before.service_account, "told");
    assert_eq!(before.namespace, "told");
    apply(&mut index, MESH);
    let after = identify(index.snapshot(), &stranger);
    assert_eq!(after.labels.get("app").map(|v| &**v), Some("web"));
    assert_eq!(&*after.service_account, "web");
    assert_eq!(after.namespace, "a");
}

#[test]
fn the_workload_certificate_follows_metadata_then_the_presence_of_an_istio_agent() {
    let index = MeshIndex::default();
    let cert = |metadata| identify(index.snapshot(), &node(metadata)).workload_cert;
    assert_eq!(cert(&[]), WorkloadCert::None);
    assert_eq!(cert(&[("ISTIO_VERSION", "1.29.0")]), WorkloadCert::SdsGrpc);
    assert_eq!(
        cert(&[("ISTIO_VERSION", "1.29.0"), ("WORKLOAD_CERT", "none")]),
        WorkloadCert::None
    );
    assert_eq!(
        cert(&[("WORKLOAD_CERT", "sds-grpc")]),
        WorkloadCert::SdsGrpc
    );
}

#[test]
fn targets_come_oldest_service_first_with_named_ports_resolved_and_doubles_left_out() {
    let mut index = MeshIndex::default();
    apply(&mut index, MESH);
    let proxy = identify(index.snapshot(), &node(&[]));
    let targets: Vec<_> = index
        .snapshot()
        .service_targets(&proxy)
        .iter()
        .map(|t| {
            format!(
                "{}:{}->{}",
                t.service.name,
                t.service_port().number,
                t.target_port
            )
        })
        .collect();
    assert_eq!(targets, ["zold:81->8080", "young:80->8080"]);
}

#[test]
fn an_unknown_pod_is_matched_by_its_own_labels_and_pod_ports() {
    let mut index = MeshIndex::default();
    let without_pod = MESH.rsplit_once("---").unwrap().0;
    apply(&mut index, without_pod);
    let mut stranger = node(&[(
        "POD_PORTS",
        r#"[{"name":"web","containerPort":9000,"protocol":"TCP"}]"#,
    )]);
    let labels = [("app".to_owned(), MetaValue::from("web"))].into();
    stranger.metadata.insert("LABELS", MetaValue::Map(labels));
    let proxy = identify(index.snapshot(), &stranger);
    let targets = index.snapshot().service_targets(&proxy);
    assert_eq!(targets.last().unwrap().target_port, 9000);
}
