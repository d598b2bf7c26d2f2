//! Objects of all kinds, as an API server tells them in JSON.

use reef_config::Kind;
use serde_json::{Value, json};

fn metadata(name: &str) -> Value {
    json!({
        "name": name, "namespace": "shop", "resourceVersion": "1234567", "generation": 3,
        "creationTimestamp": "2026-01-02T03:04:05Z", "uid": "0f0e2f4a-1111-4222-8333-444455556666",
        "labels": {"app": "web", "empty": "", "z.example.com/é": "ü"},
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{}", "a.istio.io/b": "c", "z": "",
        },
        "finalizers": ["a/b"],
        "managedFields": [{"manager": "kubelet", "operation": "Update", "subresource": "status"}],
    })
}

pub(super) fn pod(phase: &str) -> Value {
    json!({
        "metadata": metadata("web-1"),
        "spec": {
            "nodeName": "n1", "serviceAccountName": "web", "hostNetwork": true, "hostname": "h", "subdomain": "s",
            "nodeSelector": {"a": "b"}, "terminationGracePeriodSeconds": 30, "volumes": [{"name": "v"}],
            "containers": [
                {"name": "app", "image": "x", "ports": [
                    {"containerPort": 8080, "name": "http", "protocol": "TCP"},
                    {"containerPort": 65535, "protocol": "SCTP", "hostPort": 1}, {"containerPort": 53, "protocol": "UDP"},
                ]},
                {"name": "worker", "image": "x"},
                {"name": "odd", "ports": [{"containerPort": 1, "protocol": "OTHER"}]},
            ],
            "initContainers": [
                {"name": "proxy", "restartPolicy": "Always", "ports": [{"containerPort": 15090, "name": "p"}]},
                {"name": "once", "ports": [{"containerPort": 1}]},
                {"name": "new", "restartPolicy": "Sometimes", "ports": [{"containerPort": 1}]},
            ],
        },
        "status": {
            "phase": phase, "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "hostIP": "10.9.0.1",
        },
    })
}

pub(super) fn service() -> Value {
    json!({
        "metadata": metadata("web"),
        "spec": {
            "type": "LoadBalancer", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"],
            "externalIPs": ["192.0.2.1"], "selector": {"app": "web"}, "publishNotReadyAddresses": true,
            "internalTrafficPolicy": "Local", "trafficDistribution": "PreferClose", "sessionAffinity": "None",
            "ipFamilies": ["IPv4"],
            "ports": [
                {"name": "http", "port": 80, "protocol": "TCP", "targetPort": "web", "nodePort": 30080},
                {"name": "grpc", "port": 65535, "targetPort": 9090, "appProtocol": "kubernetes.io/h2c"},
                {"port": 1, "targetPort": 0, "appProtocol": ""},
            ],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}, {"hostname": "gw.example.com", "ipMode": "VIP"}]}},
    })
}

pub(super) fn slice() -> Value {
    json!({
        "metadata": metadata("web-x"), "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": ["10.0.0.1"], "conditions": {"ready": true, "serving": true, "terminating": false},
                "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web-1", "uid": "u"}, "nodeName": "n1",
                "zone": "z", "hostname": "h",
            },
            {"addresses": ["10.0.0.2", "10.0.0.3"], "conditions": {"ready": false}},
            {"addresses": ["10.0.0.4"], "conditions": {}, "nodeName": "", "targetRef": {"name": "alone"}},
        ],
        "ports": [
            {"name": "", "port": 8080, "protocol": "TCP"}, {"name": "g", "port": 1, "appProtocol": "http2"}, {},
        ],
    })
}

/// Each can be used.
pub(super) fn good() -> Vec<(Kind, Value)> {
    let mut bare = metadata("bare");
    let fields = bare.as_object_mut().unwrap();
    fields.remove("namespace");
    let map = json!({"metadata": metadata("istio"), "data": {"mesh": "rootNamespace: a\n", "other": "", "ü": "é"}});
    let least = |extra: Value| {
        let mut object =
            json!({"metadata": {"name": "a", "namespace": "b", "resourceVersion": "7"}});
        let fields = object.as_object_mut().unwrap();
        fields.extend(extra.as_object().unwrap().clone());
        object
    };
    vec![
        (Kind::Namespace, json!({"metadata": bare})),
        (
            Kind::Node,
            json!({"metadata": bare, "spec": {}, "status": {}}),
        ),
        (Kind::ConfigMap, map),
        (Kind::ConfigMap, least(json!({}))),
        (Kind::Pod, pod("Running")),
        (Kind::Pod, pod("Pending")),
        (
            Kind::Pod,
            least(json!({"spec": {"containers": null}, "status": {}})),
        ),
        (
            Kind::Pod,
            least(json!({"status": {"phase": "Unknown", "podIP": "10.0.0.9"}})),
        ),
        (Kind::Service, service()),
        (Kind::Service, least(json!({"spec": {"clusterIP": "None"}}))),
        (
            Kind::Service,
            least(json!({"spec": {"type": "ExternalName", "externalName": "a.example.com"}})),
        ),
        (
            Kind::Service,
            least(
                json!({"spec": {"type": "NewType", "clusterIP": "10.0.0.1", "ports": [{"port": 80}]}}),
            ),
        ),
        (Kind::EndpointSlice, slice()),
        (
            Kind::EndpointSlice,
            least(json!({"addressType": "FQDN", "endpoints": null, "ports": null})),
        ),
    ]
}

/// Each is one problem of this field.
pub(super) fn bad() -> Vec<(Kind, Value, &'static str)> {
    let mut far = pod("Running");
    far["spec"]["containers"][1]["ports"] = json!([{"containerPort": 65536}]);
    let mut below = service();
    below["spec"]["ports"][1]["port"] = json!(-1);
    let mut phase = pod("Sleeping");
    phase["metadata"]["name"] = json!("sleeper");
    let mut port = slice();
    port["ports"][1]["port"] = json!(70_000);
    vec![
        (Kind::Pod, far, "spec.containers[1].ports[0].containerPort"),
        (Kind::Pod, phase, "status.phase"),
        (Kind::Service, below, "spec.ports[1].port"),
        (Kind::EndpointSlice, port, "ports[1].port"),
    ]
}
