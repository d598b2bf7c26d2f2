//! What the real API server tells in protobuf is what it tells in JSON: a cluster of many shapes is read in both, and
//! the objects must be equal.

use std::time::Duration;

use anyhow::{Result, ensure};
use reef_e2e::cluster::{ADMIN, Cluster, ClusterOptions};
use reef_e2e::namespace::isolated;
use reef_kube::{ClusterOptions as Client, Encoding, KubeOptions, read_once};
use serde_json::{Value, json};

/// Longer than any read takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn object(api: &str, kind: &str, name: &str, content: &Value) -> Value {
    let mut object = json!({"apiVersion": api, "kind": kind, "metadata": {
        "name": name, "namespace": "shapes",
        "labels": {"app": name, "empty": "", "example.com/a.b_c": "1.2-3_4"},
        "annotations": {"note": "ü, \"quoted\", 日本\n", "empty": "", "kubectl.kubernetes.io/x": "not read"},
    }});
    if let (Some(fields), Some(content)) = (object.as_object_mut(), content.as_object()) {
        fields.extend(content.clone());
    }
    object
}

fn services() -> Vec<Value> {
    let ports = json!([
        {"name": "http", "port": 80, "targetPort": "web", "appProtocol": "kubernetes.io/h2c"},
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 5353},
        {"name": "sctp", "port": 65535, "protocol": "SCTP"},
    ]);
    let specs = [
        json!({"ports": ports, "selector": {"app": "web"}}),
        json!({"ports": [{"port": 80}]}),
        json!({"clusterIP": "None", "ports": ports, "publishNotReadyAddresses": true}),
        json!({"clusterIP": "None", "selector": {"a": "b", "c": ""}}),
        json!({"type": "ExternalName", "externalName": "other.example.com"}),
        json!({"type": "NodePort", "ports": ports, "externalIPs": ["192.0.2.1", "2001:db8::1"]}),
        json!({"type": "LoadBalancer", "ports": ports, "internalTrafficPolicy": "Local", "trafficDistribution": "PreferClose"}),
    ];
    let made = specs.iter().enumerate();
    let made =
        made.map(|(n, spec)| object("v1", "Service", &format!("s{n}"), &json!({"spec": spec})));
    let mut services: Vec<Value> = made.collect();
    if let Some(last) = services.last_mut() {
        let ingress = json!([{"ip": "192.0.2.9"}, {"hostname": "gw.example.com"}]);
        last["status"] = json!({"loadBalancer": {"ingress": ingress}});
    }
    services
}

fn pods() -> Vec<Value> {
    let ports = json!([
        {"containerPort": 8080, "name": "web"}, {"containerPort": 53, "protocol": "UDP", "hostPort": 53},
    ]);
    let app = json!({"name": "app", "image": "x", "ports": ports});
    let bare = json!({"name": "bare", "image": "x"});
    let shapes = [
        (json!({"containers": [bare]}), json!({})),
        (
            json!({
                "containers": [app, bare], "nodeName": "node-a", "hostname": "h", "subdomain": "s",
                "initContainers": [
                    {"name": "proxy", "image": "x", "restartPolicy": "Always", "ports": [{"containerPort": 15090}]},
                    {"name": "once", "image": "x", "ports": [{"containerPort": 1}]},
                ],
            }),
            json!({"phase": "Running", "podIP": "10.9.0.1", "podIPs": [{"ip": "10.9.0.1"}, {"ip": "fd00::1"}]}),
        ),
        (
            json!({"containers": [{"name": "app", "image": "x", "ports": [{"containerPort": 65535, "hostPort": 65535}]}],
                "hostNetwork": true, "nodeName": "node-a"}),
            json!({"phase": "Pending", "podIP": "10.0.0.5", "podIPs": [{"ip": "10.0.0.5"}]}),
        ),
        (json!({"containers": [app]}), json!({"phase": "Succeeded"})),
    ];
    let made = shapes.iter().enumerate().map(|(n, (spec, status))| {
        object(
            "v1",
            "Pod",
            &format!("p{n}"),
            &json!({"spec": spec, "status": status}),
        )
    });
    made.collect()
}

fn slices() -> Vec<Value> {
    let contents = [
        json!({"addressType": "IPv4", "endpoints": [], "ports": []}),
        json!({
            "addressType": "IPv4",
            "endpoints": [
                {
                    "addresses": ["10.9.0.1"], "nodeName": "node-a", "zone": "z", "hostname": "h",
                    "conditions": {"ready": true, "serving": true, "terminating": false},
                    "targetRef": {"kind": "Pod", "namespace": "shapes", "name": "p1"},
                },
                {"addresses": ["10.9.0.2", "10.9.0.3"], "conditions": {"ready": false}},
                {"addresses": ["10.9.0.4"], "targetRef": {"name": "alone"}},
            ],
            "ports": [
                {"name": "", "port": 8080, "protocol": "TCP"}, {"name": "g", "port": 0, "appProtocol": "http"}, {"name": "all"},
            ],
        }),
        json!({"addressType": "IPv6", "endpoints": [{"addresses": ["fd00::1"]}], "ports": [{"port": 65535}]}),
        json!({"addressType": "FQDN", "endpoints": [{"addresses": ["a.example.com"]}], "ports": null}),
    ];
    let made = contents.iter().enumerate();
    made.map(|(n, content)| {
        object(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            &format!("e{n}"),
            content,
        )
    })
    .collect()
}

fn shapes() -> String {
    let name = |kind: &str, name: &str| {
        let labels = json!({"topology.kubernetes.io/zone": "z", "empty": ""});
        json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": labels}})
    };
    let mut map = object(
        "v1",
        "ConfigMap",
        "istio",
        &json!({
            "data": {"mesh": "rootNamespace: shapes\naccessLogFile: /dev/stdout\n", "other": ""},
        }),
    );
    map["metadata"]["namespace"] = json!("istio-system");
    let first = [
        name("Namespace", "shapes"),
        name("Namespace", "istio-system"),
        name("Node", "node-a"),
        object("v1", "ServiceAccount", "default", &json!({})),
        map,
    ];
    let all = first
        .into_iter()
        .chain(services())
        .chain(pods())
        .chain(slices());
    all.map(|object| format!("---\n{object}\n")).collect()
}

#[test]
fn objects_are_the_same_in_protobuf_and_in_json() {
    let name = "encoding::objects_are_the_same_in_protobuf_and_in_json";
    isolated(name, |_power| {
        let work = tempfile::tempdir()?;
        let cluster = Cluster::start(work.path(), ClusterOptions::default())?;
        cluster.apply(&shapes())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let read = |encoding| -> Result<Vec<String>> {
            let options = Client {
                kubeconfig: Some(cluster.kubeconfig_for(ADMIN)),
                context: None,
            };
            let batch = runtime.block_on(async {
                let client = reef_kube::Cluster::connect(&options).await?;
                let options = KubeOptions {
                    encoding,
                    ..KubeOptions::default()
                };
                anyhow::Ok(read_once(client, options, PATIENCE).await?)
            })?;
            let mut told: Vec<String> = batch.changes.iter().map(|c| format!("{c:?}")).collect();
            told.sort();
            Ok(told)
        };
        let (of_json, of_protobuf) = (read(Encoding::Json)?, read(Encoding::Protobuf)?);
        for (json, protobuf) in of_json.iter().zip(&of_protobuf) {
            ensure!(json == protobuf, "json     {json}\nprotobuf {protobuf}");
        }
        ensure!(of_json.len() == of_protobuf.len());
        for kind in ["Service", "Pod", "EndpointSlice", "Node", "Namespace"] {
            let of_kind = format!("kind: {kind},");
            let count = of_json
                .iter()
                .filter(|told| told.contains(&of_kind))
                .count();
            ensure!(count > 0, "no {kind} among\n{}", of_json.join("\n"));
        }
        let shapes = of_json.iter().filter(|told| told.contains("日本")).count();
        ensure!(shapes == 14, "{shapes} of our own\n{}", of_json.join("\n"));
        Ok(())
    })
    .unwrap();
}
