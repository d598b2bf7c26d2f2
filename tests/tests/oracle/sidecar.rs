//! The proxy's own side of a random mesh: what it serves, and a `Sidecar` that says what it sees.

use serde_json::{Value, json};

use crate::dice::Dice;
use crate::mesh::{Mesh, PROXY, SOCKET, object};

/// A service that the proxy's pod serves, and connections to that pod.
pub(crate) fn own(dice: &mut Dice, mesh: &mut Mesh) {
    let ports = json!([
        {"name": "http", "port": 80, "targetPort": 8080},
        {"name": "data", "port": 9100, "targetPort": 9100},
        {"name": "tcp-c", "port": 9000, "targetPort": 9000},
    ]);
    let spec = json!({"clusterIP": "10.96.2.1", "selector": {"app": "client"}, "ports": ports});
    let service = object("v1", "Service", "default", "own", 40, spec);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "client", "namespace": "default", "labels": {"app": "client"}},
        "spec": {"containers": [{"name": "c"}]},
        "status": {"phase": "Running", "podIP": PROXY, "podIPs": [{"ip": PROXY}]},
    });
    mesh.objects.extend([service, pod]);
    // What nobody declares passes through.
    mesh.inbound = vec![
        ("http", 8080),
        ("http", 8080),
        ("http", 9100),
        ("http", 7070),
        ("tcp", 9100),
        ("tcp", 9000),
        ("tcp", 7070),
    ];
    if dice.percent(50) {
        sidecar(dice, mesh);
    }
}

fn sidecar(dice: &mut Dice, mesh: &mut Mesh) {
    let mut spec = json!({});
    let mut egress = Vec::new();
    if dice.percent(70) {
        egress.push(json!({
            "port": {"number": SOCKET, "protocol": "HTTP", "name": "http-e"},
            "bind": "127.0.0.1", "captureMode": "NONE", "hosts": ["*/*"],
        }));
        mesh.socket = true;
    }
    if dice.percent(40) {
        egress.push(json!({
            "port": {"number": 8081, "protocol": "HTTP", "name": "http-b"},
            "hosts": [dice.pick(&["default/*", "*/*"])],
        }));
    }
    egress.push(json!({"hosts": dice.pick(&[&["*/*"][..], &["./*", "shop/*"], &["./*"]])}));
    spec["egress"] = json!(egress);
    if dice.percent(75) {
        spec["workloadSelector"] = json!({"labels": {"app": "client"}});
        if dice.percent(75) {
            spec["ingress"] = ingress(dice);
            mesh.inbound
                .extend([("http", 8080), ("tcp", 9000), ("tcp", 9000)]);
        }
    }
    if dice.percent(40) {
        spec["outboundTrafficPolicy"] = json!({"mode": dice.pick(&["ALLOW_ANY", "REGISTRY_ONLY"])});
    }
    let api = "networking.istio.io/v1";
    mesh.objects
        .push(object(api, "Sidecar", "default", "own", 50, spec));
}

fn ingress(dice: &mut Dice) -> Value {
    let at = *dice.pick(&["127.0.0.1:8080", "127.0.0.1:8081", "0.0.0.0:8081"]);
    json!([
        {"port": {"number": 8080, "protocol": "HTTP", "name": "http"}, "defaultEndpoint": at},
        {"port": {"number": 9000, "protocol": "TCP", "name": "tcp"}, "defaultEndpoint": "127.0.0.1:9100"},
    ])
}
