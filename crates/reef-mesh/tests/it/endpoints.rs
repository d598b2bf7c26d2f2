//! Where endpoints come from and what is known of them.

use reef_mesh::{MeshIndex, TlsMode};

use crate::support::{apply, delete, key};

/// Endpoints of a host of namespace `a`: address, port and whether it speaks mesh TLS.
fn endpoints(index: &MeshIndex, host: &str) -> Vec<String> {
    let all = index
        .snapshot()
        .endpoints(&key(host, "a"))
        .expect("endpoints");
    let all = all.iter().map(|at| {
        let tls = if at.tls_mode == TlsMode::Istio {
            " tls"
        } else {
            ""
        };
        format!("{}:{}{tls}", at.address, at.port)
    });
    all.collect()
}

fn workload(name: &str, address: &str, more: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {name}, namespace: a}}
spec: {{address: {address}, labels: {{app: web}}{more}}}
"
    )
}

fn pod(name: &str, ip: &str, labels: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: a, labels: {{{labels}}}}}
status: {{podIP: {ip}}}
"
    )
}

fn entry(spec: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: se, namespace: a}}
spec: {{hosts: [x.com], ports: [{{number: 80, targetPort: 8080, name: http, protocol: HTTP}}], {spec}}}
"
    )
}

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: a}
spec: {clusterIP: 10.1.0.1, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
";

#[test]
fn mesh_tls_follows_the_label_else_the_account_of_a_workload_entry() {
    const LABEL: &str = "security.istio.io/tlsMode";
    let mut index = MeshIndex::default();
    let slice = "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-x, namespace: a, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
- {addresses: [10.0.0.1], targetRef: {kind: Pod, name: p1, namespace: a}}
- {addresses: [10.0.0.2], targetRef: {kind: Pod, name: p2, namespace: a}}
- {addresses: [10.0.0.3], targetRef: {kind: Pod, name: p3, namespace: a}}
- {addresses: [10.0.0.4]}
";
    let mesh = [
        SERVICE.to_owned(),
        slice.to_owned(),
        pod("p1", "10.0.0.1", &format!("app: web, {LABEL}: istio")),
        pod("p2", "10.0.0.2", "app: web"),
        pod("p3", "10.0.0.3", &format!("app: web, {LABEL}: disabled")),
        workload("w1", "10.0.1.1", ""),
        workload("w2", "10.0.1.2", ", serviceAccount: sa"),
        workload("w3", "10.0.1.3", ", serviceAccount: sa")
            .replace("app: web}", &format!("app: web, {LABEL}: disabled}}")),
        workload("w4", "10.0.1.4", "").replace("app: web}", &format!("app: web, {LABEL}: istio}}")),
    ];
    apply(&mut index, &mesh.join("---"));
    let wanted = [
        "10.0.0.1:8080 tls",
        "10.0.0.2:8080",
        "10.0.0.3:8080",
        "10.0.0.4:8080",
        "10.0.1.1:8080",
        "10.0.1.2:8080 tls",
        "10.0.1.3:8080",
        "10.0.1.4:8080 tls",
    ];
    assert_eq!(endpoints(&index, "web.a.svc.cluster.local"), wanted);
}

#[test]
fn workload_entries_join_services_by_address_and_entries_by_what_their_resolution_allows() {
    let mut index = MeshIndex::default();
    let workloads = [
        workload("w1", "10.0.1.1", ""),
        workload("w2", "vm.example.com", ""),
        workload("w3", "'unix:///tmp/x'", ""),
        workload("w4", "10.0.1.4", "").replace("app: web", "app: other"),
        workload("w5", "10.0.1.5", "").replace("namespace: a", "namespace: b"),
    ];
    apply(&mut index, &workloads.join("---"));
    apply(&mut index, SERVICE);
    let of_service = |index: &MeshIndex| endpoints(index, "web.a.svc.cluster.local");
    assert_eq!(of_service(&index), ["10.0.1.1:8080"]);
    apply(&mut index, &SERVICE.replace("10.1.0.1", "None"));
    assert!(of_service(&index).is_empty());
    let selector = "workloadSelector: {labels: {app: web}}";
    apply(
        &mut index,
        &entry(&format!("resolution: STATIC, {selector}")),
    );
    let found = endpoints(&index, "x.com");
    assert!(found.contains(&"10.0.1.1:8080".to_owned()), "{found:?}");
    assert!(
        !found.iter().any(|at| at.contains("vm.example.com")),
        "{found:?}"
    );
    apply(&mut index, &entry(&format!("resolution: DNS, {selector}")));
    let found = endpoints(&index, "x.com");
    assert!(
        found.contains(&"vm.example.com:8080".to_owned()),
        "{found:?}"
    );
}

#[test]
fn entries_with_a_selector_take_pods_that_run() {
    let mut index = MeshIndex::default();
    let mesh = [
        pod("p1", "10.0.0.1", "app: web"),
        pod("p2", "10.0.0.2", "app: other"),
        pod("p3", "10.0.0.3", "app: web").replace("podIP", "phase: Succeeded, podIP"),
        pod("p4", "10.0.0.4", "app: web, istio.io/draining: 'true'"),
        entry("resolution: STATIC, workloadSelector: {labels: {app: web}}"),
    ];
    apply(&mut index, &mesh.join("---"));
    assert_eq!(endpoints(&index, "x.com"), ["10.0.0.1:8080"]);
    apply(&mut index, &pod("p2", "10.0.0.2", "app: web"));
    assert_eq!(
        endpoints(&index, "x.com"),
        ["10.0.0.1:8080", "10.0.0.2:8080"]
    );
    apply(&mut index, &pod("p1", "10.0.0.1", "app: other"));
    apply(&mut index, &pod("p5", "10.0.0.5", "app: web, tier: low"));
    assert_eq!(
        endpoints(&index, "x.com"),
        ["10.0.0.2:8080", "10.0.0.5:8080"]
    );
    let both = "resolution: STATIC, workloadSelector: {labels: {tier: low, app: web}}";
    apply(&mut index, &entry(both));
    assert_eq!(endpoints(&index, "x.com"), ["10.0.0.5:8080"]);
    delete(&mut index, &pod("p5", "10.0.0.5", "app: web, tier: low"));
    assert!(endpoints(&index, "x.com").is_empty());
}

#[test]
fn the_port_of_a_workload_is_its_own_by_name_else_the_target_else_the_number() {
    let mut index = MeshIndex::default();
    let inline = "resolution: STATIC, endpoints: [{address: 10.0.0.1, ports: {http: 7000}}, \
                  {address: 10.0.0.2}, {address: 'unix:///tmp/x'}]";
    apply(&mut index, &entry(inline));
    let found = endpoints(&index, "x.com");
    assert_eq!(found[..2], ["10.0.0.1:7000", "10.0.0.2:8080"]);
    assert!(found[2].ends_with(":0"), "{found:?}");
    apply(&mut index, &entry(inline).replace("targetPort: 8080, ", ""));
    assert_eq!(endpoints(&index, "x.com")[1], "10.0.0.2:80");
}
