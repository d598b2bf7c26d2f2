//! Random meshes: services, endpoints, entries, subsets; the rules are in `rules`.
//!
//! Every endpoint has an address of its own, so that the address an app was called at tells who was meant.

use serde_json::{Value, json};

use crate::dice::Dice;
use crate::rules::{self, Recipe};
use crate::sidecar;

/// Address of the proxy's pod.
pub(crate) const PROXY: &str = "10.244.0.1";
/// Ports of apps: every port some endpoint or destination has.
pub(crate) const PORTS: [u16; 10] = [80, 443, 5432, SOCKET, 7070, 8080, 8081, 9000, 9100, 9443];
/// Port of the proxy's own socket for calls, if the mesh has one.
pub(crate) const SOCKET: u16 = 6060;
/// Where the proxy is.
pub(crate) const PLACE: (&str, &str) = ("eu", "a");

/// A mesh, and what is worth asking it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mesh {
    /// The mesh configuration.
    pub(crate) config: Value,
    /// The objects.
    pub(crate) objects: Vec<Value>,
    /// Hosts of HTTP.
    pub(crate) hosts: Vec<Host>,
    /// Requests made for some route.
    pub(crate) recipes: Vec<Recipe>,
    /// Connections worth making: protocol, address, port, server name.
    pub(crate) connections: Vec<(&'static str, String, u16, Option<String>)>,
    /// Connections to the proxy's pod worth making: protocol, port.
    pub(crate) inbound: Vec<(&'static str, u16)>,
    /// Whether the proxy has a socket of its own for calls.
    pub(crate) socket: bool,
}

/// A host that HTTP is sent to.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// Full name.
    pub(crate) name: String,
    /// Its namespace.
    pub(crate) namespace: String,
    /// Virtual address.
    pub(crate) vip: String,
    /// Ports.
    pub(crate) ports: Vec<u16>,
    /// Whether it has subsets v1 and v2.
    pub(crate) subsets: bool,
    /// Whether it is a Service of Kubernetes.
    pub(crate) service: bool,
}

impl Host {
    /// Names a client in the proxy's namespace may use.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut all = vec![self.name.clone(), format!("{}.", self.name)];
        if self.service {
            let short = self.name.split('.').next().unwrap_or_default();
            all.push(format!("{short}.{}", self.namespace));
            all.push(format!("{short}.{}.svc", self.namespace));
            if self.namespace == "default" {
                all.push(short.to_owned());
            }
        }
        all
    }
}

/// Draws a mesh.
pub(crate) fn draw(dice: &mut Dice) -> Mesh {
    let mut mesh = Mesh {
        config: config(dice),
        ..Mesh::default()
    };
    for number in 1..=4 {
        service(dice, &mut mesh, number);
    }
    for number in 1..=2 {
        entry(dice, &mut mesh, number);
    }
    wildcard_entry(&mut mesh);
    by_address(&mut mesh);
    by_server_name(dice, &mut mesh);
    sidecar::own(dice, &mut mesh);
    rules::draw(dice, &mut mesh);
    mesh
}

fn config(dice: &mut Dice) -> Value {
    let policy = *dice.pick(&["ALLOW_ANY", "ALLOW_ANY", "REGISTRY_ONLY"]);
    let slashes = *dice.pick(&[
        "DEFAULT",
        "DEFAULT",
        "NONE",
        "MERGE_SLASHES",
        "DECODE_AND_MERGE_SLASHES",
    ]);
    json!({
        "outboundTrafficPolicy": {"mode": policy},
        "pathNormalization": {"normalization": slashes},
    })
}

/// A time of creation; higher numbers are younger.
pub(crate) fn born(number: usize) -> String {
    format!("2026-01-01T00:{:02}:{:02}Z", number / 60 % 60, number % 60)
}

/// The object's envelope.
pub(crate) fn object(
    api: &str,
    kind: &str,
    namespace: &str,
    name: &str,
    age: usize,
    spec: Value,
) -> Value {
    json!({
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": born(age)},
        "spec": spec,
    })
}

fn service(dice: &mut Dice, mesh: &mut Mesh, number: usize) {
    let namespace = *dice.pick(&["default", "default", "shop"]);
    let name = format!("s{number}");
    let vip = format!("10.96.1.{number}");
    let mut ports = vec![
        json!({"name": "http", "port": 80, "targetPort": 8080}),
        json!({"name": "http-b", "port": 8081, "targetPort": 8081}),
        json!({"name": "http-e", "port": SOCKET, "targetPort": 8080}),
    ];
    let mut here = vec![
        json!({"name": "http", "port": 8080}),
        json!({"name": "http-b", "port": 8081}),
        json!({"name": "http-e", "port": 8080}),
    ];
    let mut more = |name: &str, port: u16| {
        ports.push(json!({"name": name, "port": port, "targetPort": port}));
        here.push(json!({"name": name, "port": port}));
        mesh.connections.push(("tcp", vip.clone(), port, None));
    };
    more("tcp-c", 9000);
    more("data", 9100);
    more("tls-d", 9443);
    let host = format!("{name}.{namespace}.svc.cluster.local");
    mesh.connections
        .push(("tls", vip.clone(), 9443, Some(host.clone())));
    mesh.connections
        .push(("http", vip.clone(), 9100, Some(host.clone())));
    let spec = json!({"clusterIP": vip, "selector": {"app": name}, "ports": ports});
    mesh.objects
        .push(object("v1", "Service", namespace, &name, number, spec));
    let mut endpoints = Vec::new();
    for (index, version) in ["v1", "v1", "v2"].iter().enumerate() {
        let ip = format!("10.244.{number}.{}", index + 1);
        let pod = format!("{name}-{}", index + 1);
        let place = *dice.pick(&["eu.a", "eu.b", "us.c"]);
        // Another of the same version is ready.
        let ready = index != 1 || dice.percent(70);
        mesh.objects.push(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": pod, "namespace": namespace, "labels": {
                "app": name, "version": version, "istio-locality": place,
            }},
            "spec": {"containers": [{"name": "c"}]},
            "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]},
        }));
        endpoints.push(json!({
            "addresses": [ip], "conditions": {"ready": ready, "terminating": false},
            "targetRef": {"kind": "Pod", "name": pod, "namespace": namespace},
        }));
    }
    mesh.objects.push(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{name}-x"), "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "ports": here, "endpoints": endpoints,
    }));
    let subsets = dice.percent(70);
    if subsets {
        mesh.objects
            .push(destination_rule(dice, namespace, &name, &host, number));
    }
    mesh.hosts.push(Host {
        name: host,
        namespace: namespace.to_owned(),
        vip,
        ports: vec![80, 8081, SOCKET],
        subsets,
        service: true,
    });
}

fn destination_rule(
    dice: &mut Dice,
    namespace: &str,
    name: &str,
    host: &str,
    number: usize,
) -> Value {
    let mut policy = json!({});
    match dice.below(5) {
        0 => policy["loadBalancer"] = json!({"consistentHash": {"httpHeaderName": "x-hash"}}),
        1 => policy["loadBalancer"] = json!({"simple": "ROUND_ROBIN"}),
        2 => policy["connectionPool"] = json!({"http": {"http2MaxRequests": 100}}),
        _ => {}
    }
    if dice.percent(50) {
        near(dice, &mut policy);
    }
    let spec = json!({
        "host": host,
        "trafficPolicy": policy,
        "subsets": [
            {"name": "v1", "labels": {"version": "v1"}},
            {"name": "v2", "labels": {"version": "v2"}},
        ],
    });
    let api = "networking.istio.io/v1";
    object(api, "DestinationRule", namespace, name, number, spec)
}

/// Prefers near endpoints. Apps fail on demand, which must not eject them.
fn near(dice: &mut Dice, policy: &mut Value) {
    policy["outlierDetection"] = json!({"consecutive5xxErrors": 0});
    policy["loadBalancer"]["localityLbSetting"] = match dice.below(4) {
        0 => json!({"distribute": [{"from": "eu/*", "to": {"eu/a": 30, "eu/b": 20, "us/c": 50}}]}),
        1 => json!({"failover": [{"from": "eu", "to": "us"}]}),
        2 => json!({"failoverPriority": ["topology.kubernetes.io/region"]}),
        _ => json!({}),
    };
}

fn entry(dice: &mut Dice, mesh: &mut Mesh, number: usize) {
    let host = format!("e{number}.example.com");
    let vip = format!("10.97.0.{number}");
    let mut endpoints = Vec::new();
    for (index, version) in ["v1", "v2"].iter().enumerate() {
        endpoints.push(json!({
            "address": format!("10.30.{number}.{}", index + 1),
            "labels": {"version": version},
            "locality": dice.pick(&["eu/a", "us/c"]),
            "weight": dice.below(3) + 1,
        }));
    }
    let resolution = *dice.pick(&["STATIC", "DNS"]);
    let spec = json!({
        "hosts": [host], "addresses": [vip], "location": "MESH_EXTERNAL", "resolution": resolution,
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8080}],
        "endpoints": endpoints,
    });
    let api = "networking.istio.io/v1";
    let name = format!("e{number}");
    mesh.objects.push(object(
        api,
        "ServiceEntry",
        "default",
        &name,
        10 + number,
        spec,
    ));
    let subsets = resolution == "STATIC" && dice.percent(60);
    if subsets {
        mesh.objects
            .push(destination_rule(dice, "default", &name, &host, 10 + number));
    }
    mesh.hosts.push(Host {
        name: host,
        namespace: "default".to_owned(),
        vip,
        ports: vec![80],
        subsets,
        service: false,
    });
}

/// `*.wild.example.com`: requests go where they were going.
fn wildcard_entry(mesh: &mut Mesh) {
    let spec = json!({
        "hosts": ["*.wild.example.com"], "location": "MESH_EXTERNAL", "resolution": "NONE",
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
    });
    let api = "networking.istio.io/v1";
    mesh.objects
        .push(object(api, "ServiceEntry", "default", "wild", 20, spec));
    for name in [
        "a.wild.example.com",
        "a.b.wild.example.com",
        "x.wild.example.com",
    ] {
        mesh.hosts.push(Host {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            vip: "10.98.0.7".to_owned(),
            ports: vec![80],
            subsets: false,
            service: false,
        });
    }
}

/// TCP to ranges of addresses.
fn by_address(mesh: &mut Mesh) {
    let spec = json!({
        "hosts": ["db.corp.example"], "addresses": ["10.99.0.0/24", "10.99.1.7"],
        "location": "MESH_EXTERNAL", "resolution": "NONE",
        "ports": [{"number": 5432, "name": "pg", "protocol": "TCP"}],
    });
    let api = "networking.istio.io/v1";
    mesh.objects
        .push(object(api, "ServiceEntry", "default", "db", 21, spec));
    for ip in ["10.99.0.4", "10.99.0.200", "10.99.1.7", "10.99.2.1"] {
        mesh.connections.push(("tcp", ip.to_owned(), 5432, None));
    }
    mesh.connections
        .push(("tcp", "10.100.0.1".to_owned(), 7070, None));
    mesh.connections.push((
        "http",
        "10.100.0.1".to_owned(),
        7070,
        Some("any".to_owned()),
    ));
}

/// TLS by server name.
fn by_server_name(dice: &mut Dice, mesh: &mut Mesh) {
    let api = "networking.istio.io/v1";
    for (number, host) in ["t1.example.com", "*.t2.example.com"].iter().enumerate() {
        let spec = json!({
            "hosts": [host], "location": "MESH_EXTERNAL", "resolution": "STATIC",
            "ports": [{"number": 443, "name": "tls", "protocol": "TLS"}],
            "endpoints": [{"address": format!("10.31.0.{}", number + 1)}],
        });
        // Several hosts with one wildcard have no addresses.
        let name = format!("t{}", number + 1);
        mesh.objects.push(object(
            api,
            "ServiceEntry",
            "default",
            &name,
            30 + number,
            spec,
        ));
    }
    let names = [
        "t1.example.com",
        "T1.Example.com",
        "a.t2.example.com",
        "a.b.t2.example.com",
        "t2.example.com",
        "other.example.com",
    ];
    for name in names {
        let to = format!("10.101.0.{}", dice.below(9) + 1);
        mesh.connections
            .push(("tls", to, 443, Some(name.to_owned())));
    }
    mesh.connections
        .push(("tls", "10.101.0.1".to_owned(), 443, None));
    mesh.connections
        .push(("tcp", "10.101.0.1".to_owned(), 443, None));
}
