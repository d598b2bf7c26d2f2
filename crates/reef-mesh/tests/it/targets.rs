//! Which services a workload serves.

use std::collections::BTreeMap;

use reef_mesh::{Locality, MeshIndex, MetaValue, ProxyNode, identify};

use crate::support::{apply, delete};

fn service(name: &str, year: u16, spec: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: a, creationTimestamp: '{year}-01-01T00:00:00Z'}}
spec: {{{spec}}}
"
    )
}

fn entry(name: &str, year: u16, spec: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: a, creationTimestamp: '{year}-01-01T00:00:00Z'}}
spec: {{{spec}}}
"
    )
}

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: a, labels: {app: web, tier: front}}
status: {podIP: 10.0.0.1, phase: Pending}
";

const WORKLOAD: &str = "
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm, namespace: a}
spec: {address: 10.0.0.1, labels: {app: vm}, ports: {http: 7000}}
";

fn targets(index: &MeshIndex) -> Vec<String> {
    targets_with(index, &[])
}

fn targets_with(index: &MeshIndex, metadata: &[(&str, MetaValue)]) -> Vec<String> {
    let metadata: BTreeMap<String, MetaValue> = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    let id = "sidecar~10.0.0.1~web-1.a~a.svc.cluster.local";
    let node = ProxyNode::parse(id, metadata, Locality::default()).expect("a valid node");
    let snapshot = index.snapshot();
    let targets = snapshot.service_targets(&identify(snapshot, &node));
    targets
        .iter()
        .map(|target| {
            let (service, port) = (&target.service, target.service_port());
            format!("{}:{}->{}", service.name, port.number, target.target_port)
        })
        .collect()
}

#[test]
fn a_workload_entry_at_the_first_address_comes_before_the_pod() {
    let mut index = MeshIndex::default();
    let ports =
        "ports: [{name: http, port: 80, targetPort: 8080}, {name: dns, port: 53, protocol: UDP}]";
    let mesh = [
        service(
            "of-vm",
            2020,
            &format!("clusterIP: 10.1.0.1, selector: {{app: vm}}, {ports}"),
        ),
        service(
            "headless",
            2020,
            &format!("clusterIP: None, selector: {{app: vm}}, {ports}"),
        ),
        service(
            "of-pod",
            2020,
            &format!("clusterIP: 10.1.0.3, selector: {{app: web}}, {ports}"),
        ),
        POD.to_owned(),
    ];
    apply(&mut index, &mesh.join("---"));
    // Of a pod, UDP ports count too.
    assert_eq!(targets(&index), ["of-pod:80->8080", "of-pod:53->53"]);
    apply(&mut index, WORKLOAD);
    assert_eq!(targets(&index), ["of-vm:80->7000"]);
    // An entry no service selects still hides the pod.
    apply(&mut index, &WORKLOAD.replace("app: vm", "app: none"));
    assert!(targets(&index).is_empty());
    delete(&mut index, WORKLOAD);
    assert_eq!(targets(&index).len(), 2);
}

#[test]
fn services_without_selector_are_found_by_address_if_none_selects() {
    let mut index = MeshIndex::default();
    let slice = "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: manual-x, namespace: a, labels: {kubernetes.io/service-name: manual}}
addressType: IPv4
ports: [{name: http, port: 9000}]
endpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2]}]
";
    let ports = "ports: [{name: http, port: 80}]";
    let manual = service("manual", 2020, &format!("clusterIP: 10.1.0.1, {ports}"));
    apply(&mut index, &[&manual, slice, POD].join("---"));
    assert_eq!(targets(&index), ["manual:80->9000"]);
    let selecting = format!("clusterIP: 10.1.0.2, selector: {{app: web}}, {ports}");
    apply(&mut index, &service("selecting", 2021, &selecting));
    assert_eq!(targets(&index), ["selecting:80->80"]);
    apply(
        &mut index,
        &service("selecting", 2021, &selecting.replace("web", "other")),
    );
    assert_eq!(targets(&index), ["manual:80->9000"]);
    apply(&mut index, &slice.replace("10.0.0.1", "10.0.0.3"));
    assert!(targets(&index).is_empty());
}

#[test]
fn service_entries_at_the_address_come_in_addition_and_age_decides_the_order() {
    let mut index = MeshIndex::default();
    let web =
        "clusterIP: 10.1.0.1, selector: {tier: front, app: web}, ports: [{name: http, port: 80}]";
    let here = "hosts: [x.com], resolution: STATIC, location: MESH_INTERNAL, \
                ports: [{number: 81, name: http, protocol: HTTP, targetPort: 8081}], \
                endpoints: [{address: 10.0.0.1}]";
    let mesh = [
        service("web", 2021, web),
        entry("older", 2020, here),
        entry("younger", 2022, &here.replace("x.com", "y.com")),
        entry(
            "elsewhere",
            2020,
            &here.replace("x.com", "z.com").replace("0.1}", "0.2}"),
        ),
        POD.to_owned(),
    ];
    apply(&mut index, &mesh.join("---"));
    let wanted = ["older:81->8081", "web:80->80", "younger:81->8081"];
    assert_eq!(targets(&index), wanted);
    // Its endpoints may be pods that it selects.
    let selected = here.replace(
        "endpoints: [{address: 10.0.0.1}]",
        "workloadSelector: {labels: {app: web}}",
    );
    apply(&mut index, &entry("older", 2020, &selected));
    assert_eq!(targets(&index), wanted);
}

#[test]
fn every_label_of_a_selector_must_hold() {
    let mut index = MeshIndex::default();
    let spec = |selector: &str| {
        format!("clusterIP: 10.1.0.1, selector: {{{selector}}}, ports: [{{port: 80}}]")
    };
    let mesh = [
        service("both", 2020, &spec("app: web, tier: front")),
        service("one", 2021, &spec("tier: front")),
        service("wrong", 2022, &spec("app: web, tier: back")),
        service("more", 2023, &spec("app: web, tier: front, env: x")),
    ];
    apply(&mut index, &mesh.join("---"));
    apply(&mut index, POD);
    assert_eq!(targets(&index), ["both:80->80", "one:80->80"]);
    delete(&mut index, &mesh[0]);
    assert_eq!(targets(&index), ["one:80->80"]);
}

#[test]
fn a_workload_entry_whose_health_is_checked_counts_once_it_is_healthy() {
    let mut index = MeshIndex::default();
    let spec = "clusterIP: 10.1.0.1, selector: {app: vm}, ports: [{name: http, port: 80}]";
    apply(&mut index, &service("of-vm", 2020, spec));
    let checked = WORKLOAD.replace(
        "namespace: a}",
        "namespace: a, annotations: {proxy.istio.io/health-checks-enabled: 'true'}}",
    );
    let status = |value: &str| {
        format!("{checked}status: {{conditions: [{{type: Healthy, status: '{value}'}}]}}\n")
    };
    let endpoints = |index: &MeshIndex| {
        let key = crate::support::key("of-vm.a.svc.cluster.local", "a");
        index.snapshot().endpoints(&key).map_or(0, |all| all.len())
    };
    apply(&mut index, &checked);
    assert_eq!((endpoints(&index), targets(&index).len()), (0, 0));
    apply(&mut index, &status("True"));
    assert_eq!((endpoints(&index), targets(&index).len()), (1, 1));
    apply(&mut index, &status("False"));
    assert_eq!((endpoints(&index), targets(&index).len()), (0, 0));
    apply(&mut index, WORKLOAD);
    assert_eq!((endpoints(&index), targets(&index).len()), (1, 1));
}
