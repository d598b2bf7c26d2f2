//! Who a proxy is: which source counts for each attribute.

use std::collections::BTreeMap;
use std::net::IpAddr;

use reef_mesh::{IpMode, Locality, MeshIndex, MetaValue, ProxyIdentity, ProxyNode, identify};

use crate::support::{apply, delete};

const ID: &str = "sidecar~10.0.0.1~web-1.a~a.svc.cluster.local";

fn at(id: &str, metadata: &[(&str, MetaValue)], locality: Locality) -> ProxyNode {
    let metadata: BTreeMap<String, MetaValue> = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    ProxyNode::parse(id, metadata, locality).expect("a valid node")
}

fn node(metadata: &[(&str, MetaValue)]) -> ProxyNode {
    at(ID, metadata, Locality::default())
}

fn text(value: &str) -> MetaValue {
    MetaValue::from(value)
}

fn labels(pairs: &[(&str, &str)]) -> MetaValue {
    let pairs = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), text(value)));
    MetaValue::Map(pairs.collect())
}

fn of(index: &MeshIndex, node: &ProxyNode) -> ProxyIdentity {
    identify(index.snapshot(), node)
}

fn label<'a>(proxy: &'a ProxyIdentity, key: &str) -> Option<&'a str> {
    proxy.labels.get(key).map(|value| &**value)
}

fn pod(labels: &str, node: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: web-1, namespace: a, labels: {{{labels}}}}}
spec: {{nodeName: {node}, serviceAccountName: web}}
status: {{podIP: 10.0.0.1}}
"
    )
}

const NODE: &str = "
apiVersion: v1
kind: Node
metadata:
  name: n1
  labels: {topology.kubernetes.io/region: r1, topology.kubernetes.io/zone: z1, topology.istio.io/subzone: s1}
";

#[test]
fn addresses_come_from_metadata_else_from_the_id() {
    let ips = |metadata: &[(&str, MetaValue)]| -> Vec<String> {
        node(metadata).ips.iter().map(IpAddr::to_string).collect()
    };
    assert_eq!(ips(&[]), ["10.0.0.1"]);
    assert_eq!(
        ips(&[("INSTANCE_IPS", text("10.9.0.1, ::9"))]),
        ["10.9.0.1", "::9"]
    );
    assert_eq!(ips(&[("INSTANCE_IPS", text("nothing"))]), ["10.0.0.1"]);
    let none = ProxyNode::parse("sidecar~~x.a~a.svc", BTreeMap::new(), Locality::default());
    assert!(none.is_err());
    let told = [("INSTANCE_IPS", text("10.9.0.1"))];
    assert!(ProxyNode::parse("sidecar~~x.a~a.svc", told, Locality::default()).is_ok());
}

#[test]
fn address_families_follow_from_all_addresses() {
    let index = MeshIndex::default();
    let of = |ips: &str| of(&index, &node(&[("INSTANCE_IPS", text(ips))]));
    assert_eq!(of("10.0.0.1,10.0.0.2").ip_mode, IpMode::V4);
    assert_eq!(of("2001:db8::1").ip_mode, IpMode::V6);
    assert_eq!(of("10.0.0.1,2001:db8::1").ip_mode, IpMode::Dual);
    let bind = |ips: &str| of(ips).routable_ip().map(|ip| ip.to_string());
    assert_eq!(
        bind("127.0.0.1,169.254.1.1,fe80::1,2001:db8::1,10.0.0.1").unwrap(),
        "2001:db8::1"
    );
    assert_eq!(bind("127.0.0.1"), None);
}

#[test]
fn the_namespace_comes_from_metadata_else_from_the_domain() {
    let namespace = |domain: &str, metadata: &[(&str, MetaValue)]| {
        let id = format!("sidecar~10.0.0.1~web-1.a~{domain}");
        at(&id, metadata, Locality::default()).namespace
    };
    assert_eq!(namespace("a.svc.cluster.local", &[]), "a");
    assert_eq!(
        namespace("a.svc.cluster.local", &[("NAMESPACE", text("b"))]),
        "b"
    );
    assert_eq!(namespace("single", &[]), "");
}

#[test]
fn cluster_network_and_node_come_from_metadata() {
    let index = MeshIndex::default();
    let plain = of(&index, &node(&[]));
    assert_eq!((&*plain.cluster, &*plain.network), ("Kubernetes", ""));
    assert_eq!(plain.node_name, None);
    let told = of(
        &index,
        &node(&[
            ("CLUSTER_ID", text("east")),
            ("NETWORK", text("net")),
            ("NODE_NAME", text("n1")),
            ("SERVICE_ACCOUNT", text("sa")),
            ("REQUESTED_NETWORK_VIEW", text("b,a,,b")),
        ]),
    );
    assert_eq!((&*told.cluster, &*told.network), ("east", "net"));
    assert_eq!(told.node_name.as_deref(), Some("n1"));
    assert_eq!(&*told.service_account, "sa");
    assert_eq!(*told.network_view, ["a".into(), "b".into()]);
}

#[test]
fn labels_of_the_pod_lie_over_static_ones() {
    let mut index = MeshIndex::default();
    let metadata = [
        ("LABELS", labels(&[("app", "told"), ("told", "y")])),
        (
            "STATIC_LABELS",
            labels(&[("app", "static"), ("static", "y")]),
        ),
    ];
    let alone = of(&index, &node(&metadata));
    assert_eq!(
        (label(&alone, "app"), label(&alone, "static")),
        (Some("told"), None)
    );
    apply(&mut index, &pod("app: web", "n1"));
    let known = of(&index, &node(&metadata));
    assert_eq!(
        (label(&known, "app"), label(&known, "static")),
        (Some("web"), Some("y"))
    );
    assert_eq!(label(&known, "told"), None);
}

#[test]
fn where_a_proxy_runs_becomes_labels() {
    let mut index = MeshIndex::default();
    apply(&mut index, &[NODE, &pod("app: web", "n1")].join("---"));
    let metadata = [
        ("CLUSTER_ID", text("east")),
        ("NODE_NAME", text("n1")),
        ("NETWORK", text("net")),
    ];
    let proxy = of(&index, &node(&metadata));
    for (key, value) in [
        ("topology.kubernetes.io/region", "r1"),
        ("topology.kubernetes.io/zone", "z1"),
        ("topology.istio.io/subzone", "s1"),
        ("topology.istio.io/cluster", "east"),
        ("kubernetes.io/hostname", "n1"),
        ("topology.istio.io/network", "net"),
    ] {
        assert_eq!(label(&proxy, key), Some(value), "{key}");
    }
    apply(&mut index, &pod("topology.istio.io/network: own", "n1"));
    let proxy = of(&index, &node(&metadata));
    assert_eq!(label(&proxy, "topology.istio.io/network"), Some("own"));
}

#[test]
fn the_locality_is_the_pods_else_the_proxys_label_else_the_streams() {
    let mut index = MeshIndex::default();
    let streamed = |metadata: &[(&str, MetaValue)]| at(ID, metadata, Locality::parse("rs/zs"));
    let locality = |index: &MeshIndex, metadata: &[(&str, MetaValue)]| {
        of(index, &streamed(metadata)).locality.to_string()
    };
    assert_eq!(locality(&index, &[]), "rs/zs");
    let own = [(
        "LABELS",
        labels(&[("topology.istio.io/locality", "rl.zl.sl")]),
    )];
    assert_eq!(locality(&index, &own), "rl/zl/sl");
    apply(&mut index, &[NODE, &pod("app: web", "n1")].join("---"));
    assert_eq!(locality(&index, &own), "r1/z1/s1");
    apply(&mut index, &pod("istio-locality: rp.zp", "n1"));
    assert_eq!(locality(&index, &own), "rp/zp");
    let both = "istio-locality: rp.zp, topology.istio.io/locality: rq/z.q";
    apply(&mut index, &pod(both, "n1"));
    assert_eq!(locality(&index, &own), "rq/z.q");
    // A pod that runs nowhere known leaves it to the stream.
    apply(&mut index, &pod("app: web", "n2"));
    assert_eq!(locality(&index, &[]), "rs/zs");
}

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: a}
spec: {clusterIP: 10.1.0.1, selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-x, namespace: a, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
- {addresses: [10.0.0.1], targetRef: {kind: Pod, name: web-1, namespace: a}}
- {addresses: [10.0.0.2]}
";

#[test]
fn the_network_of_an_endpoint_is_its_label_else_the_root_namespaces() {
    const ROOT: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: istio-system, labels: {topology.istio.io/network: main}}
";
    let mut index = MeshIndex::default();
    apply(&mut index, &[SERVICE, &pod("app: web", "n1")].join("---"));
    let networks = |index: &MeshIndex| -> Vec<String> {
        let key = crate::support::key("web.a.svc.cluster.local", "a");
        let endpoints = index.snapshot().endpoints(&key).expect("endpoints");
        endpoints.iter().map(|at| at.network.to_string()).collect()
    };
    assert_eq!(networks(&index), ["", ""]);
    apply(&mut index, ROOT);
    assert_eq!(networks(&index), ["main", "main"]);
    apply(
        &mut index,
        &pod("app: web, topology.istio.io/network: own", "n1"),
    );
    assert_eq!(networks(&index), ["own", "main"]);
    delete(&mut index, ROOT);
    assert_eq!(networks(&index), ["own", ""]);
}
