//! What single changes do.

use reef_mesh::{Address, Health, MeshIndex, Protocol, Registry, Resolution, TlsMode, Unenforced};

use crate::support::{apply, delete, key, mesh_config};

const WEB: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: a}
spec: {clusterIP: 10.1.0.1, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
";
const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: a, labels: {app: web, security.istio.io/tlsMode: istio}}
spec: {serviceAccountName: web, nodeName: n1}
status: {podIP: 10.0.0.1}
";

fn slice(endpoints: &str) -> String {
    format!(
        "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-x, namespace: a, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}]
endpoints: {endpoints}
"
    )
}

fn web() -> reef_mesh::ServiceKey {
    key("web.a.svc.cluster.local", "a")
}

#[test]
fn a_cluster_ip_service_is_found_by_host_with_its_vip() {
    let mut index = MeshIndex::default();
    apply(&mut index, WEB);
    let service = index.snapshot().service(&web()).unwrap();
    assert_eq!(service.resolution, Resolution::ClientSide);
    assert_eq!(
        *service.addresses,
        [Address::Ip("10.1.0.1".parse().unwrap())]
    );
    assert_eq!(service.ports[0].protocol, Protocol::Http);
}

#[test]
fn the_same_object_again_publishes_nothing() {
    let mut index = MeshIndex::default();
    assert!(apply(&mut index, WEB).is_some());
    assert_eq!(apply(&mut index, WEB), None);
}

#[test]
fn an_endpoint_that_refers_to_a_pod_waits_for_it() {
    let mut index = MeshIndex::default();
    let reference = "[{addresses: [10.0.0.1], targetRef: {kind: Pod, name: web-1, namespace: a}}]";
    apply(&mut index, &[WEB, &slice(reference)].join("\n---"));
    assert!(index.snapshot().endpoints(&web()).unwrap().is_empty());
    apply(&mut index, POD);
    let endpoints = index.snapshot().endpoints(&web()).unwrap().clone();
    assert_eq!(endpoints.of_port("http")[0].tls_mode, TlsMode::Istio);
    let service = index.snapshot().service(&web()).unwrap();
    assert_eq!(
        *service.service_accounts,
        ["spiffe://cluster.local/ns/a/sa/web".into()]
    );
    assert!(service.all_endpoints_tls);
    delete(&mut index, POD);
    assert!(index.snapshot().endpoints(&web()).unwrap().is_empty());
}

#[test]
fn an_endpoint_change_reports_the_endpoints_of_one_service_only() {
    let mut index = MeshIndex::default();
    apply(
        &mut index,
        &[WEB, &slice("[{addresses: [10.0.0.1]}]")].join("\n---"),
    );
    let service = index.snapshot().service(&web()).unwrap().clone();
    let report = apply(
        &mut index,
        &slice("[{addresses: [10.0.0.1]}, {addresses: [10.0.0.2]}]"),
    );
    let report = report.unwrap();
    assert!(report.only_endpoints());
    assert_eq!(report.endpoints, [web()].into());
    assert!(std::sync::Arc::ptr_eq(
        &service,
        index.snapshot().service(&web()).unwrap()
    ));
}

#[test]
fn a_headless_service_reports_a_service_change_when_its_addresses_differ() {
    let mut index = MeshIndex::default();
    let headless = WEB.replace("10.1.0.1", "None");
    apply(
        &mut index,
        &[&*headless, &slice("[{addresses: [10.0.0.1]}]")].join("\n---"),
    );
    assert!(
        index
            .snapshot()
            .service(&web())
            .unwrap()
            .addresses
            .is_empty()
    );
    let report = apply(&mut index, &slice("[{addresses: [10.0.0.2]}]")).unwrap();
    assert_eq!(report.services, [web()].into());
    assert!(report.endpoints.is_empty());
}

#[test]
fn conditions_decide_health_and_an_unready_endpoint_without_terminating_is_left_out() {
    let mut index = MeshIndex::default();
    let endpoints = "
- {addresses: [10.0.0.1]}
- {addresses: [10.0.0.2], conditions: {ready: false}}
- {addresses: [10.0.0.3], conditions: {ready: false, terminating: true, serving: true}}
- {addresses: [10.0.0.4], conditions: {ready: false, terminating: false}}
- {addresses: [10.0.0.1]}";
    apply(&mut index, &[WEB, &slice(endpoints)].join("\n---"));
    let found: Vec<_> = index
        .snapshot()
        .endpoints(&web())
        .unwrap()
        .iter()
        .map(|at| (at.address.to_string(), at.health))
        .collect();
    let expected = [
        ("10.0.0.1".to_owned(), Health::Healthy),
        ("10.0.0.4".to_owned(), Health::Unhealthy),
    ];
    assert_eq!(found, expected);
}

#[test]
fn endpoints_objects_count_only_where_there_is_no_slice() {
    let mut index = MeshIndex::default();
    let legacy = "
apiVersion: v1
kind: Endpoints
metadata: {name: web, namespace: a}
subsets: [{addresses: [{ip: 10.0.0.8}], ports: [{name: http, port: 8080}]}]
";
    apply(&mut index, &[WEB, legacy].join("\n---"));
    let first = |index: &MeshIndex| {
        let endpoints = index.snapshot().endpoints(&web()).unwrap();
        endpoints.of_port("http")[0].address.to_string()
    };
    assert_eq!(first(&index), "10.0.0.8");
    apply(&mut index, &slice("[{addresses: [10.0.0.1]}]"));
    assert_eq!(first(&index), "10.0.0.1");
}

#[test]
fn a_kubernetes_service_beats_an_older_service_entry_and_the_loser_is_told() {
    let mut index = MeshIndex::default();
    let entry = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: se, namespace: a, creationTimestamp: '2020-01-01T00:00:00Z'}
spec: {hosts: [web.a.svc.cluster.local], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}
";
    apply(&mut index, &[entry, WEB].join("\n---"));
    assert_eq!(
        index.snapshot().service(&web()).unwrap().registry,
        Registry::Kubernetes
    );
    let problems = index.problems();
    assert_eq!(problems.len(), 1);
    assert_eq!(&*problems[0].object.as_ref().unwrap().name, "se");
    delete(&mut index, WEB);
    assert_eq!(
        index.snapshot().service(&web()).unwrap().registry,
        Registry::ServiceEntry
    );
    assert!(index.problems().is_empty());
}

#[test]
fn a_dns_service_entry_without_endpoints_resolves_its_own_host() {
    let mut index = MeshIndex::default();
    apply(
        &mut index,
        "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: se, namespace: a}
spec: {hosts: [x.com], ports: [{number: 80, targetPort: 8080, name: http, protocol: HTTP}], resolution: DNS}
",
    );
    let endpoints = index.snapshot().endpoints(&key("x.com", "a")).unwrap();
    let only = &endpoints.of_port("http")[0];
    assert_eq!(
        (only.address.to_string().as_str(), only.port),
        ("x.com", 8080)
    );
    assert_eq!(only.tls_mode, TlsMode::Disabled);
}

#[test]
fn a_service_entry_selects_workload_entries_and_pods_of_its_namespace() {
    let mut index = MeshIndex::default();
    let entry = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: se, namespace: a}
spec: {hosts: [x.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, workloadSelector: {labels: {app: web}}}
";
    let vm = "
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm, namespace: a}
spec: {address: 10.0.0.7, labels: {app: web}, ports: {http: 9090}}
";
    apply(&mut index, &[entry, POD].join("\n---"));
    let report = apply(&mut index, vm).unwrap();
    // The first one without mTLS: a derived fact, so more than endpoints.
    assert_eq!(report.services, [key("x.com", "a")].into());
    let found: Vec<_> = index
        .snapshot()
        .endpoints(&key("x.com", "a"))
        .unwrap()
        .iter()
        .map(|at| format!("{}:{}", at.address, at.port))
        .collect();
    assert_eq!(found, ["10.0.0.7:9090", "10.0.0.1:80"]);
}

#[test]
fn an_alias_is_listed_by_the_service_behind_a_chain_of_them() {
    let mut index = MeshIndex::default();
    let alias = |name: &str, to: &str| {
        format!(
            "
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: a}}
spec: {{type: ExternalName, externalName: {to}.a.svc.cluster.local}}
"
        )
    };
    apply(
        &mut index,
        &[&*alias("one", "two"), &alias("two", "web"), WEB].join("\n---"),
    );
    let aliases = |index: &MeshIndex| {
        let service = index.snapshot().service(&web()).unwrap();
        service
            .aliases
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        aliases(&index),
        ["one.a.svc.cluster.local", "two.a.svc.cluster.local"]
    );
    let report = delete(&mut index, &alias("two", "web")).unwrap();
    assert!(aliases(&index).is_empty());
    assert!(report.services.contains(&web()));
}

#[test]
fn a_node_gives_its_locality_to_the_endpoints_on_it() {
    let mut index = MeshIndex::default();
    let reference = "[{addresses: [10.0.0.1], targetRef: {kind: Pod, name: web-1, namespace: a}}]";
    apply(&mut index, &[WEB, &slice(reference), POD].join("\n---"));
    let node = "
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {topology.kubernetes.io/region: r1, topology.kubernetes.io/zone: z1}}
";
    let report = apply(&mut index, node).unwrap();
    assert_eq!(report.endpoints, [web()].into());
    let endpoints = index.snapshot().endpoints(&web()).unwrap();
    assert_eq!(endpoints.of_port("http")[0].locality.to_string(), "r1/z1");
}

#[test]
fn mesh_settings_change_the_default_visibility_of_services() {
    let mut index = MeshIndex::default();
    apply(&mut index, WEB);
    let change = |config: &mut reef_config::MeshConfig| {
        config.default_service_export_to = vec![".".to_owned()];
    };
    let (_, report) = index.apply(mesh_config(change)).unwrap();
    assert!(report.settings);
    assert_eq!(report.services, [web()].into());
    let service = index.snapshot().service(&web()).unwrap();
    assert!(!service.export_to.includes(&"b".into()));
    assert!(index.apply(mesh_config(change)).is_none());
}

#[test]
fn labels_of_a_namespace_say_who_sees_its_entries() {
    let mut index = MeshIndex::default();
    let entry = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: se, namespace: a}
spec: {hosts: [x.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE}
";
    let namespace = |labels: &str| {
        format!("\napiVersion: v1\nkind: Namespace\nmetadata: {{name: a, labels: {{{labels}}}}}\n")
    };
    apply(&mut index, &[WEB, entry, &namespace("")].join("\n---"));
    let seen = |index: &MeshIndex| {
        let service = index.snapshot().service(&key("x.com", "a")).unwrap();
        ["a", "b"].map(|from| service.export_to.includes(&from.into()))
    };
    let text = "{applyToSidecars: true, defaultVisibility: NAMESPACE, policies: [\
                {visibility: PUBLIC, matchingRules: [{namespaceSelector: {matchLabels: {open: 'yes'}}}]}, \
                {visibility: NONE, matchingRules: [{namespaceSelector: {matchLabels: {open: 'no'}}}]}]}";
    let origin = reef_config::Origin {
        path: std::sync::Arc::from("mesh.yaml"),
        line: 1,
    };
    let text = format!("serviceEntryVisibility: {text}");
    let (config, problems) = reef_config::parse::mesh_config(&text, &origin).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(seen(&index), [true, true]);
    let (_, report) = index.apply(mesh_config(|it| *it = config)).unwrap();
    assert_eq!(report.services, [key("x.com", "a")].into());
    assert_eq!(seen(&index), [true, false]);
    let report = apply(&mut index, &namespace("open: 'yes'")).unwrap();
    assert_eq!(report.services, [key("x.com", "a")].into());
    assert_eq!(seen(&index), [true, true]);
    apply(&mut index, &namespace("open: 'no'")).unwrap();
    assert_eq!(seen(&index), [false, false]);
    delete(&mut index, &namespace("")).unwrap();
    assert_eq!(seen(&index), [true, false]);
}

#[test]
fn choice_for_unenforced_rules_outlives_mesh_settings() {
    let mut index = MeshIndex::new("cluster.local");
    assert_eq!(index.snapshot().settings().unenforced, Unenforced::Deny);
    index = index.with_unenforced(Unenforced::Allow);
    let change = |config: &mut reef_config::MeshConfig| config.enable_auto_mtls = false;
    index.apply(mesh_config(change)).unwrap();
    assert_eq!(index.snapshot().settings().unenforced, Unenforced::Allow);
}
