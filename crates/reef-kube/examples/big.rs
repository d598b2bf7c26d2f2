//! A fake API server with a large mesh, to measure `follow` against: `cargo run -p reef-kube --example big -- KUBECONFIG`.
//!
//! Writes a kubeconfig and serves until killed: 10,000 Services, as many EndpointSlices, 20,000 Pods of 100 namespaces.

#![expect(clippy::print_stdout, reason = "it is a command line program")]

use reef_testkit::fake_api::FakeApi;
use serde_json::{Value, json};

const NAMESPACES: usize = 100;
const SERVICES: usize = 10_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(file) = std::env::args().nth(1) else {
        return Err("a file for the kubeconfig is wanted".into());
    };
    let api = FakeApi::start().await;
    api.apply_all((0..NAMESPACES).map(|n| object("v1", "Namespace", &space(n), "", json!({}))));
    api.apply_all((0..20).map(node));
    api.apply_all((0..SERVICES).map(service));
    api.apply_all((0..SERVICES).map(slice));
    api.apply_all((0..2 * SERVICES).map(pod));
    std::fs::write(&file, api.kubeconfig())?;
    println!("serving, {file} leads there");
    std::future::pending().await
}

fn space(n: usize) -> String {
    format!("ns-{}", n % NAMESPACES)
}

fn address(pod: usize) -> String {
    format!("10.{}.{}.{}", 16 + (pod >> 16), (pod >> 8) & 255, pod & 255)
}

/// What every object of a real server has and nobody reads.
fn managed(fields: usize) -> Value {
    let field =
        json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {"f:containers": {}}});
    let entry = json!({
        "manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
        "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1", "fieldsV1": field,
    });
    json!(vec![entry; fields])
}

fn object(version: &str, kind: &str, name: &str, namespace: &str, rest: Value) -> Value {
    let mut object = rest;
    object["apiVersion"] = json!(version);
    object["kind"] = json!(kind);
    object["metadata"]["name"] = json!(name);
    object["metadata"]["managedFields"] = managed(3);
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = json!(namespace);
    }
    object
}

fn node(n: usize) -> Value {
    let labels = json!({"topology.kubernetes.io/zone": format!("z{}", n % 3), "topology.kubernetes.io/region": "r"});
    let status =
        json!({"addresses": [{"type": "InternalIP", "address": format!("192.168.0.{n}")}]});
    let rest = json!({"metadata": {"labels": labels}, "status": status});
    object("v1", "Node", &format!("node-{n}"), "", rest)
}

fn service(n: usize) -> Value {
    let (name, namespace) = (format!("svc-{n}"), space(n));
    let address = format!("10.{}.{}.{}", 96 + (n >> 16), (n >> 8) & 255, n & 255);
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
    object("v1", "Service", &name, &namespace, rest)
}

fn slice(n: usize) -> Value {
    let (name, namespace) = (format!("svc-{n}"), space(n));
    let endpoint = |pod: usize| {
        json!({
            "addresses": [address(pod)], "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": format!("node-{}", pod % 20), "zone": format!("z{}", pod % 3),
            "targetRef": {"kind": "Pod", "name": format!("svc-{n}-pod-{pod}"), "namespace": namespace,
                "uid": "00000000-0000-4000-8000-000000000000"},
        })
    };
    let rest = json!({
        "metadata": {"labels": {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "c"}},
        "addressType": "IPv4", "endpoints": [endpoint(2 * n), endpoint(2 * n + 1)],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    });
    object(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        &format!("{name}-abcde"),
        &namespace,
        rest,
    )
}

fn pod(n: usize) -> Value {
    let service = n / 2;
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"});
    let environment: Vec<Value> = (0..10)
        .map(|n| json!({"name": format!("VARIABLE_{n}"), "value": "some value"}))
        .collect();
    let rest = json!({
        "metadata": {"labels": {"app": format!("svc-{service}"), "version": "v1", "pod-template-hash": "abcdef"}},
        "spec": {
            "nodeName": format!("node-{}", n % 20), "serviceAccountName": format!("sa-{}", service % 50),
            "containers": [{
                "name": "app", "image": "registry.example.com/team/app:1.2.3", "env": environment,
                "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
            }],
            "volumes": [{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}],
        },
        "status": {
            "phase": "Running", "hostIP": "192.168.0.1", "podIP": address(n), "podIPs": [{"ip": address(n)}],
            "conditions": [condition("Initialized"), condition("Ready"), condition("ContainersReady"), condition("PodScheduled")],
            "containerStatuses": [{"name": "app", "ready": true, "restartCount": 0, "image": "registry.example.com/team/app:1.2.3"}],
        },
    });
    object(
        "v1",
        "Pod",
        &format!("svc-{service}-pod-{n}"),
        &space(service),
        rest,
    )
}
