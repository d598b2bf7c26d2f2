//! Networks: which endpoints are in which, the gateways into each, and what a change of either reports.

use std::collections::BTreeSet;
use std::sync::Arc;

use reef_config::{Change, ChangeBatch, Origin, parse};
use reef_mesh::{ChangeReport, MeshIndex};

use crate::support::{apply, delete, key};

const WEB: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: a}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: a, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
- {addresses: [10.1.0.1], targetRef: {kind: Pod, name: web-1, namespace: a}}
- {addresses: [10.2.0.1]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: a}
spec: {}
status: {podIP: 10.1.0.1}
";

const ENTRY: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: far, namespace: a}
spec: {hosts: [far.com], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], \
  endpoints: [{address: 10.9.0.1, network: far}]}
";

fn gate(labels: &str, spec: &str, status: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: gate, namespace: istio-system, labels: {{{labels}}}}}
spec: {{clusterIP: 10.96.0.9, ports: [{{port: 80}}]{spec}}}
status: {{loadBalancer: {{ingress: [{status}]}}}}
"
    )
}

fn tell(index: &mut MeshIndex, networks: &str) -> Option<ChangeReport> {
    let origin = Origin {
        path: Arc::from("networks.yaml"),
        line: 1,
    };
    let text = format!("{{networks: {{{networks}}}}}");
    let (networks, problems) = parse::mesh_networks(&text, &origin).expect("valid networks");
    assert_eq!(problems, []);
    let batch = ChangeBatch {
        changes: vec![Change::MeshNetworks(Arc::new(networks))],
        synced: true,
    };
    index.apply(batch).map(|(_, report)| report)
}

/// Networks of the endpoints of `web`.
fn networks(index: &MeshIndex) -> Vec<String> {
    let endpoints = index
        .snapshot()
        .endpoints(&key("web.a.svc.cluster.local", "a"));
    let endpoints = endpoints.expect("endpoints");
    endpoints.iter().map(|at| at.network.to_string()).collect()
}

/// `network address:port cluster` of all gateways, in order.
fn gateways(index: &MeshIndex) -> Vec<String> {
    let gateways = index.snapshot().network_gateways();
    let all = gateways.iter().flat_map(|(network, list)| {
        list.iter().map(move |one| {
            format!(
                "{network} {}:{} {}",
                one.address,
                one.port,
                one.cluster.as_str()
            )
        })
    });
    all.collect()
}

fn names(networks: &[&str]) -> BTreeSet<Arc<str>> {
    networks.iter().map(|name| Arc::from(*name)).collect()
}

#[test]
fn the_network_of_an_endpoint_is_its_label_else_the_root_namespaces_else_the_meshs() {
    const ROOT: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: istio-system, labels: {topology.istio.io/network: main}}
";
    let mut index = MeshIndex::default();
    apply(&mut index, WEB);
    assert_eq!(networks(&index), ["", ""]);
    let ranges = "narrow: {endpoints: [{fromCidr: 10.1.0.0/16}]}, six: {endpoints: [{fromCidr: 'fd00::/8'}]}";
    let report = tell(&mut index, ranges).expect("networks differ");
    assert_eq!(networks(&index), ["narrow", ""]);
    assert!(!report.settings && report.networks.is_empty() && report.led.is_empty());
    assert_eq!(report.endpoints.len() + report.services.len(), 1);
    assert_eq!(tell(&mut index, ranges), None, "told twice");

    // The widest range counts, and no range where the cluster is said to be in a network.
    tell(
        &mut index,
        &format!("{ranges}, wide: {{endpoints: [{{fromCidr: 10.0.0.0/8}}]}}"),
    );
    assert_eq!(networks(&index), ["wide", "wide"]);
    let registry = format!(
        "{ranges}, own: {{endpoints: [{{fromRegistry: elsewhere}}, {{fromRegistry: Kubernetes}}]}}"
    );
    tell(&mut index, &registry);
    assert_eq!(networks(&index), ["own", "own"]);
    apply(&mut index, ROOT);
    assert_eq!(networks(&index), ["main", "main"]);
    apply(
        &mut index,
        &WEB.replace(
            "name: web-1, namespace: a}\nspec",
            "name: web-1, namespace: a, labels: {topology.istio.io/network: label}}\nspec",
        ),
    );
    assert_eq!(networks(&index), ["label", "main"]);
    delete(&mut index, ROOT);
    assert_eq!(networks(&index), ["label", "own"]);
    tell(&mut index, "");
    assert_eq!(networks(&index), ["label", ""]);
}

#[test]
fn services_are_gateways_by_label_or_by_name_at_their_external_addresses() {
    let label = "topology.istio.io/network: far";
    let mut index = MeshIndex::default();
    apply(&mut index, &gate(label, "", ""));
    assert_eq!(gateways(&index), [""; 0]);
    let told = |index: &MeshIndex| -> Vec<String> {
        let problems = index.problems();
        problems
            .iter()
            .map(|problem| problem.reason.clone())
            .collect()
    };
    assert_eq!(
        told(&index),
        ["the gateway of network far has no external address yet"]
    );

    // The balancer's address comes with its type.
    apply(&mut index, &gate(label, "", "{ip: 192.0.2.1}"));
    assert_eq!(gateways(&index), [""; 0]);
    let balanced = ", type: LoadBalancer, externalIPs: [192.0.2.2]";
    apply(
        &mut index,
        &gate(
            label,
            balanced,
            "{ip: 192.0.2.10}, {hostname: gw.example.com}",
        ),
    );
    let all = [
        "far 192.0.2.10:15443 Kubernetes",
        "far 192.0.2.2:15443 Kubernetes",
        "far gw.example.com:15443 Kubernetes",
    ];
    assert_eq!(gateways(&index), all);
    assert_eq!(told(&index).len(), 1, "the name: {:?}", told(&index));

    let port = format!("{label}, networking.istio.io/gatewayPort: '443'");
    apply(&mut index, &gate(&port, ", externalIPs: [192.0.2.2]", ""));
    assert_eq!(gateways(&index), ["far 192.0.2.2:443 Kubernetes"]);
    let wrong = format!("{label}, networking.istio.io/gatewayPort: none");
    apply(&mut index, &gate(&wrong, ", externalIPs: [192.0.2.2]", ""));
    assert_eq!(gateways(&index), ["far 192.0.2.2:15443 Kubernetes"]);
    assert!(
        told(&index)[0].contains("gatewayPort"),
        "{:?}",
        told(&index)
    );

    // By name it is one only if its cluster is in that network; the label comes first.
    let of = |registry: &str| {
        format!(
            "near: {{endpoints: [{{fromRegistry: {registry}}}], \
             gateways: [{{registryServiceName: gate.istio-system.svc.cluster.local, port: 80}}, {{address: 192.0.2.99, port: 1}}]}}"
        )
    };
    tell(&mut index, &of("Kubernetes"));
    assert_eq!(
        gateways(&index),
        ["far 192.0.2.2:15443 Kubernetes", "near 192.0.2.99:1 "]
    );
    apply(&mut index, &gate("", ", externalIPs: [192.0.2.2]", ""));
    assert_eq!(
        gateways(&index),
        ["near 192.0.2.2:80 Kubernetes", "near 192.0.2.99:1 "]
    );
    tell(&mut index, &of("elsewhere"));
    assert_eq!(gateways(&index), ["near 192.0.2.99:1 "]);
    tell(&mut index, &of("Kubernetes"));
    delete(&mut index, &gate("", "", ""));
    assert_eq!(gateways(&index), ["near 192.0.2.99:1 "]);
    tell(&mut index, "");
    assert!(index.snapshot().network_gateways().is_empty());
    assert_eq!(told(&index), [""; 0]);
}

#[test]
fn a_gateway_that_changes_is_reported_with_the_services_it_leads_to() {
    let mut index = MeshIndex::default();
    apply(&mut index, &format!("{WEB}\n---{ENTRY}"));
    let label = "topology.istio.io/network: far";
    let report =
        apply(&mut index, &gate(label, ", externalIPs: [192.0.2.2]", "")).expect("a service");
    assert_eq!(report.networks, names(&["far"]));
    assert_eq!(report.led, [key("far.com", "a")].into());
    assert_eq!(
        report.services,
        [key("gate.istio-system.svc.cluster.local", "istio-system")].into()
    );
    assert!(report.endpoints.is_empty() && !report.settings);

    // An address more is no change of the service as clients see it.
    let report = apply(
        &mut index,
        &gate(label, ", externalIPs: [192.0.2.2, 192.0.2.3]", ""),
    );
    let only = ChangeReport {
        networks: names(&["far"]),
        led: [key("far.com", "a")].into(),
        ..ChangeReport::default()
    };
    assert_eq!(report, Some(only.clone()));
    assert!(only.only_endpoints() && !only.is_empty());
    // Nobody is in this one.
    let report = tell(
        &mut index,
        "empty: {gateways: [{address: 192.0.2.9, port: 1}]}",
    );
    let none = ChangeReport {
        networks: names(&["empty"]),
        ..ChangeReport::default()
    };
    assert_eq!(report, Some(none));
}
