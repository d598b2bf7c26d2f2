//! The mesh of a scenario as an API server keeps it: JSON, with what controllers write and nobody reads.

use serde_json::{Value, json};

use crate::scenario::Scenario;

/// Where an object is in etcd, and what is there.
pub(super) type Stored = (String, Value);

/// Nodes the pods are on.
const NODES: usize = 20;

/// Everything but what clusters have of themselves.
pub(super) fn all(scenario: &Scenario) -> impl Iterator<Item = Stored> {
    let of = scenario.clone();
    let namespaces = (0..of.namespaces).flat_map(move |at| namespace(&of, at));
    let of = scenario.clone();
    let services = (0..of.services).map(move |at| service(&of, at));
    let of = scenario.clone();
    let slices = (0..of.services).map(move |at| slice(&of, at, 0));
    let of = scenario.clone();
    let pods = (0..of.services * of.endpoints).map(move |at| pod(&of, at));
    let reef = object("v1", "Namespace", "", "reef-system", json!({}));
    std::iter::once(("namespaces/reef-system".to_owned(), reef))
        .chain((0..NODES).map(node))
        .chain(namespaces)
        .chain(services)
        .chain(slices)
        .chain(pods)
}

/// Host of a service, as the names of its load assignments end.
pub(super) fn address(at: usize) -> String {
    format!(
        "10.{}.{}.{}",
        200 + at / 62_500,
        at / 250 % 250,
        at % 250 + 1
    )
}

/// An address that no pod has and no other version.
pub(super) fn moved(version: usize) -> String {
    format!(
        "11.{}.{}.{}",
        version / 62_500,
        version / 250 % 250,
        version % 250 + 1
    )
}

/// The slice of a service; its first endpoint is elsewhere after a change.
pub(super) fn slice(scenario: &Scenario, at: usize, version: usize) -> Stored {
    let namespace = scenario.namespace(at);
    let mut rest = json!({
        "metadata": {"labels": {
            "kubernetes.io/service-name": format!("s{at}"),
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        }},
        "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    });
    rest["endpoints"] = endpoints(scenario, at, version);
    let name = format!("s{at}-a");
    let key = format!("endpointslices/{namespace}/{name}");
    let version = "discovery.k8s.io/v1";
    (
        key,
        object(version, "EndpointSlice", &namespace, &name, rest),
    )
}

/// The endpoints of that slice.
pub(super) fn endpoints(scenario: &Scenario, at: usize, version: usize) -> Value {
    let namespace = scenario.namespace(at);
    let endpoint = |of: usize| {
        let pod = at + of * scenario.services;
        let address = match (of, version) {
            (0, 1..) => moved(version),
            _ => address(pod),
        };
        json!({
            "addresses": [address], "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": format!("node-{}", pod % NODES), "zone": format!("z{}", pod % 3),
            "targetRef": {"kind": "Pod", "name": format!("p{pod}"), "namespace": namespace,
                "uid": "00000000-0000-4000-8000-000000000000"},
        })
    };
    (0..scenario.endpoints).map(endpoint).collect()
}

fn object(version: &str, kind: &str, namespace: &str, name: &str, rest: Value) -> Value {
    let fields = json!({
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {"f:ports": {".": {}}, "f:selector": {}},
    });
    let managed = json!({
        "manager": "kube-controller-manager", "operation": "Update", "apiVersion": version,
        "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1", "fieldsV1": fields,
    });
    let mut object = rest;
    object["apiVersion"] = json!(version);
    object["kind"] = json!(kind);
    let metadata = &mut object["metadata"];
    metadata["name"] = json!(name);
    metadata["uid"] = json!("00000000-0000-4000-8000-000000000001");
    metadata["creationTimestamp"] = json!("2026-01-02T03:04:05Z");
    metadata["managedFields"] = json!([managed, managed]);
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    object
}

/// A namespace, the account its pods run as, and its `Sidecar`: everything of the namespace and nothing else.
fn namespace(scenario: &Scenario, at: usize) -> [Stored; 3] {
    let name = scenario.namespace(at);
    let labels = json!({"metadata": {"labels": {"kubernetes.io/metadata.name": name}}});
    let egress = json!({"spec": {"egress": [{"hosts": ["./*"]}]}});
    let version = "networking.istio.io/v1";
    [
        (
            format!("namespaces/{name}"),
            object("v1", "Namespace", "", &name, labels),
        ),
        (
            format!("serviceaccounts/{name}/default"),
            object("v1", "ServiceAccount", &name, "default", json!({})),
        ),
        (
            format!("networking.istio.io/sidecars/{name}/default"),
            object(version, "Sidecar", &name, "default", egress),
        ),
    ]
}

fn node(at: usize) -> Stored {
    let rest = json!({
        "metadata": {"labels": {
            "topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": format!("z{}", at % 3),
        }},
        "status": {"addresses": [{"type": "InternalIP", "address": format!("192.168.0.{}", at + 1)}]},
    });
    let name = format!("node-{at}");
    (
        format!("minions/{name}"),
        object("v1", "Node", "", &name, rest),
    )
}

fn service(scenario: &Scenario, at: usize) -> Stored {
    let (namespace, name) = (scenario.namespace(at), format!("s{at}"));
    let address = format!(
        "10.{}.{}.{}",
        96 + at / 62_500,
        at / 250 % 250,
        at % 250 + 1
    );
    let rest = json!({
        "metadata": {"labels": {"app": name}},
        "spec": {
            "clusterIP": address, "clusterIPs": [address], "selector": {"app": name}, "type": "ClusterIP",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster",
        },
        "status": {"loadBalancer": {}},
    });
    let key = format!("services/specs/{namespace}/{name}");
    (key, object("v1", "Service", &namespace, &name, rest))
}

fn pod(scenario: &Scenario, at: usize) -> Stored {
    let service = at % scenario.services;
    let (namespace, name) = (scenario.namespace(service), format!("p{at}"));
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"});
    let variables: Vec<Value> = (0..10)
        .map(|at| json!({"name": format!("VARIABLE_{at}"), "value": "some value"}))
        .collect();
    let address = address(at);
    let rest = json!({
        "metadata": {"labels": {"app": format!("s{service}"), "version": "v1", "pod-template-hash": "abcdef"}},
        "spec": {
            "nodeName": format!("node-{}", at % NODES), "serviceAccountName": "default", "restartPolicy": "Always",
            "containers": [{
                "name": "app", "image": "registry.example.com/team/app:1.2.3", "env": variables,
                "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
            }],
            "volumes": [{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}],
        },
        "status": {
            "phase": "Running", "hostIP": "192.168.0.1", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [condition("Initialized"), condition("Ready"), condition("ContainersReady"), condition("PodScheduled")],
            "containerStatuses": [{"name": "app", "ready": true, "restartCount": 0, "image": "app", "imageID": ""}],
        },
    });
    let key = format!("pods/{namespace}/{name}");
    (key, object("v1", "Pod", &namespace, &name, rest))
}
