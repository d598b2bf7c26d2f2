//! Any sequence of changes gives the snapshot of the final objects, and reports are exact.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use reef_config::{Change, Object, Origin};
use reef_mesh::{
    ChangeReport, Locality, MeshIndex, MeshSnapshot, MetaValue, ProxyNode, ServiceKey, identify,
};

use reef_testkit::{Followed, Step, Steps};

use crate::support::objects;

/// Variants of a few objects that relate to one another in every way the index knows.
fn universe() -> Vec<Arc<Object>> {
    let mut texts: Vec<String> = Vec::new();
    let meta = |kind: &str, name: &str, more: &str| {
        let api = match kind {
            "EndpointSlice" => "discovery.k8s.io/v1",
            "Service" | "Pod" | "Node" | "Namespace" | "Endpoints" => "v1",
            _ => "networking.istio.io/v1",
        };
        format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}, namespace: a{more}}}\n")
    };
    for (port, extra) in [(80, ""), (81, ""), (80, "clusterIP: None, ")] {
        texts.push(
            meta("Service", "web", "")
                + &format!(
                    "spec: {{{extra}selector: {{app: web}}, ports: [{{name: http, port: {port}}}]}}"
                ),
        );
    }
    texts.push(
        meta("Service", "web", "")
            + "spec: {type: ExternalName, externalName: other.a.svc.cluster.local}",
    );
    texts.push(meta("Service", "other", "") + "spec: {ports: [{name: http, port: 80}]}");
    texts.push(
        meta("Service", "alias", "")
            + "spec: {type: ExternalName, externalName: web.a.svc.cluster.local}",
    );
    for (ip, ready) in [("10.0.0.1", true), ("10.0.0.2", true), ("10.0.0.1", false)] {
        for service in ["web", "other"] {
            texts.push(
                meta(
                    "EndpointSlice",
                    "slice",
                    &format!(", labels: {{kubernetes.io/service-name: {service}}}"),
                ) + &format!(
                    "addressType: IPv4\nports: [{{name: http, port: 8080}}]\nendpoints:\n- \
                     addresses: [{ip}]\n  conditions: {{ready: {ready}, terminating: false}}\n  \
                     targetRef: {{kind: Pod, name: pod, namespace: a}}\n- addresses: [10.0.0.9]\n"
                ),
            );
        }
    }
    texts.push(
        meta("Endpoints", "web", "")
            + "subsets: [{addresses: [{ip: 10.0.0.1}], ports: [{name: http, port: 8080}]}]",
    );
    for (labels, node, ip) in [
        (
            "app: web, security.istio.io/tlsMode: istio",
            "n1",
            "10.0.0.1",
        ),
        ("app: web", "n2", "10.0.0.1"),
        ("app: else", "n1", "10.0.0.2"),
        ("app: web, topology.istio.io/network: far", "n1", "10.0.0.1"),
    ] {
        texts.push(
            meta("Pod", "pod", &format!(", labels: {{{labels}}}"))
                + &format!(
                    "spec: {{nodeName: {node}, serviceAccountName: sa}}\nstatus: {{podIP: {ip}}}"
                ),
        );
    }
    for (name, zone) in [("n1", "z1"), ("n1", "z2"), ("n2", "z2")] {
        texts.push(format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: \
             {{topology.kubernetes.io/region: r, topology.kubernetes.io/zone: {zone}}}}}\n"
        ));
    }
    for spec in [
        "hosts: [web.a.svc.cluster.local, x.com]\n  resolution: STATIC\n  endpoints: [{address: 10.0.0.1}]",
        "hosts: [x.com]\n  resolution: STATIC\n  workloadSelector: {labels: {app: web}}",
        "hosts: [x.com, '*.y.com']\n  resolution: NONE",
        "hosts: [x.com]\n  resolution: DNS",
        "hosts: [x.com, z.com]\n  addresses: [192.0.2.0/24, 198.51.100.1]\n  resolution: NONE",
        "hosts: [z.com]\n  resolution: DNS_ROUND_ROBIN\nstatus: {addresses: [{value: 240.240.1.1, host: z.com}]}",
    ] {
        for name in ["se", "se2"] {
            texts.push(
                meta("ServiceEntry", name, "")
                    + &format!(
                        "spec:\n  ports: [{{number: 80, name: http, protocol: HTTP}}]\n  {spec}\n"
                    ),
            );
        }
    }
    for (network, ip) in [
        ("far", "192.0.2.7"),
        ("far", "gw.example.com"),
        ("near", "192.0.2.7"),
    ] {
        let label = format!(", labels: {{topology.istio.io/network: {network}}}");
        texts.push(
            meta("Service", "gate", &label)
                + &format!(
                    "spec: {{clusterIP: 10.96.0.9, externalIPs: [{ip}], ports: [{{port: 80}}]}}"
                ),
        );
    }
    texts.push(
        meta("Service", "web", "")
            + "spec: {clusterIP: 10.96.0.8, externalIPs: [192.0.2.9], selector: {app: web}, \
               ports: [{name: http, port: 80}]}",
    );
    texts.push(
        meta("ServiceEntry", "se2", "")
            + "spec: {hosts: [z.com], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}], \
               endpoints: [{address: b.com, network: far}, {address: a.com, network: near}]}",
    );
    texts.push(
        meta("ServiceEntry", "se2", "")
            + "spec: {hosts: [z.com], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], \
               endpoints: [{network: far}, {address: 10.0.0.4, network: near}]}",
    );
    for app in ["web", "else"] {
        texts.push(
            meta("WorkloadEntry", "vm", "")
                + &format!("spec: {{address: 10.0.0.7, labels: {{app: {app}}}}}"),
        );
    }
    for address in ["'unix:///run/vm.sock'", "vm.example.net", "10.0.0.2"] {
        let spec = format!("spec: {{address: {address}, labels: {{app: web}}, locality: r/z}}");
        texts.push(meta("WorkloadEntry", "vm2", "") + &spec);
    }
    for (name, created) in [("se", 1), ("se2", 2), ("se2", 1)] {
        let aged = format!(
            ", creationTimestamp: '2026-01-0{created}T00:00:00Z', \
             labels: {{networking.istio.io/enable-autoallocate-ip: '{}'}}",
            created == 1,
        );
        texts.push(
            meta("ServiceEntry", name, &aged)
                + "spec: {hosts: [x.com, z.com], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}",
        );
    }
    for (name, spec) in [
        ("vs", "hosts: [web], http: [{delegate: {name: part}}]"),
        (
            "vs",
            "hosts: [web], exportTo: ['.'], http: [{route: [{destination: {host: other}}]}]",
        ),
        (
            "vs2",
            "hosts: [x.com], exportTo: [b], http: [{route: [{destination: {host: web}}]}]",
        ),
        (
            "part",
            "http: [{route: [{destination: {host: other, port: {number: 80}}}]}]",
        ),
    ] {
        texts.push(meta("VirtualService", name, "") + &format!("spec: {{{spec}}}"));
    }
    for (name, spec) in [
        ("dr", "host: web, subsets: [{name: v1}]"),
        ("dr2", "host: web, subsets: [{name: v1}, {name: v2}]"),
        ("dr2", "host: '*.com', exportTo: ['.']"),
    ] {
        texts.push(meta("DestinationRule", name, "") + &format!("spec: {{{spec}}}"));
    }
    for (name, spec) in [
        ("s1", "egress: [{hosts: ['./*']}]"),
        (
            "s2",
            "workloadSelector: {labels: {app: web}}, egress: [{hosts: ['*/*']}]",
        ),
        (
            "s1",
            "workloadSelector: {labels: {app: web}}, egress: [{hosts: ['~/*']}]",
        ),
    ] {
        texts.push(meta("Sidecar", name, "") + &format!("spec: {{{spec}}}"));
    }
    let security = |kind: &str, namespace: &str, name: &str, spec: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: \
             {namespace}}}\nspec: {{{spec}}}\n"
        )
    };
    for (namespace, name, spec) in [
        ("a", "pa", "mtls: {mode: STRICT}"),
        ("a", "pa", "mtls: {mode: DISABLE}"),
        (
            "a",
            "pa2",
            "selector: {matchLabels: {app: web}}, portLevelMtls: {8080: {mode: DISABLE}}",
        ),
        ("istio-system", "pa", "mtls: {mode: PERMISSIVE}"),
    ] {
        texts.push(security("PeerAuthentication", namespace, name, spec));
    }
    for kind in ["AuthorizationPolicy", "RequestAuthentication"] {
        texts.push(security(
            kind,
            "a",
            "policy",
            "selector: {matchLabels: {app: web}}",
        ));
    }
    for (namespace, name, spec) in [
        ("a", "pc", "concurrency: 1"),
        (
            "a",
            "pc",
            "selector: {matchLabels: {app: web}}, concurrency: 2",
        ),
        ("istio-system", "pc", "concurrency: 3"),
    ] {
        texts.push(format!(
            "apiVersion: networking.istio.io/v1beta1\nkind: ProxyConfig\nmetadata: {{name: {name}, \
             namespace: {namespace}}}\nspec: {{{spec}}}\n"
        ));
    }
    for (name, labels) in [
        ("a", "mesh: 'yes'"),
        ("a", "mesh: 'no'"),
        (
            "istio-system",
            "mesh: 'yes', topology.istio.io/network: main",
        ),
        ("istio-system", "topology.istio.io/network: other"),
    ] {
        texts.push(format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n"
        ));
    }
    for mode in ["NONE", "TPROXY", "WRONG"] {
        let annotations = format!(
            ", labels: {{app: web}}, annotations: {{sidecar.istio.io/interceptionMode: {mode}, \
             proxy.istio.io/config: 'concurrency: 4'}}"
        );
        texts.push(meta("Pod", "pod", &annotations) + "status: {podIP: 10.0.0.1}");
    }
    for health in ["'True'", "'False'"] {
        let checked = ", annotations: {proxy.istio.io/health-checks-enabled: 'true'}";
        texts.push(
            meta("WorkloadEntry", "vm", checked)
                + "spec: {address: 10.0.0.7, labels: {app: web}}\nstatus: {conditions: [{type: \
                   Healthy, status: "
                + health
                + "}]}",
        );
    }
    texts.iter().flat_map(|text| objects(text)).collect()
}

/// Proxies of the universe: on the pod, on the workload entry, known to nobody.
fn nodes() -> Vec<ProxyNode> {
    let node = |id: &str, metadata: &[(&str, &str)]| {
        let metadata: BTreeMap<String, MetaValue> = metadata
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).into()))
            .collect();
        ProxyNode::parse(id, metadata, Locality::default()).expect("a valid node")
    };
    vec![
        node("sidecar~10.0.0.1~pod.a~a.svc.cluster.local", &[]),
        node(
            "sidecar~10.0.0.7~machine.a~a.svc.cluster.local",
            &[("NODE_NAME", "n1")],
        ),
        node("sidecar~10.0.0.2~other.b~b.svc.cluster.local", &[]),
    ]
}

/// Everything that decides what a proxy gets, beside its scope.
fn facts(snapshot: &MeshSnapshot, node: &ProxyNode) -> String {
    let identity = identify(snapshot, node);
    let targets: Vec<_> = snapshot
        .service_targets(&identity)
        .iter()
        .map(|target| (target.service.key.clone(), target.port, target.target_port))
        .collect();
    let policy = snapshot.peer_policy(&identity.namespace, &identity.labels);
    format!("{identity:?} {targets:?} {policy:?}")
}

/// A proxy that differs must be found by what the report names, as a consumer looks for it.
fn check_proxies(old: &MeshSnapshot, new: &MeshSnapshot, report: &ChangeReport) {
    let root = &new.settings().root_namespace;
    let rules = || report.sidecars.iter().chain(&report.rules);
    let everybody = report.settings || rules().any(|key| key.namespace == *root);
    for node in nodes() {
        let namespaces = rules()
            .map(|key| &key.namespace)
            .chain(report.services.iter().map(|key| &key.namespace))
            .chain(&report.namespaces);
        let found = everybody
            || namespaces
                .into_iter()
                .any(|namespace| *namespace == node.namespace)
            || node
                .pod
                .as_ref()
                .is_some_and(|pod| report.proxies.contains(pod))
            || report.addresses.contains(&node.ips[0])
            || [old, new].iter().any(|snapshot| {
                let name = identify(snapshot, &node).node_name;
                name.is_some_and(|name| report.nodes.contains(&name))
            })
            || report.endpoints.iter().any(|key| {
                [old, new].iter().any(|snapshot| {
                    let endpoints = snapshot.endpoints(key);
                    endpoints.is_some_and(|all| {
                        all.iter().any(|at| at.address.ip() == Some(node.ips[0]))
                    })
                })
            });
        if !found {
            assert_eq!(
                facts(old, &node),
                facts(new, &node),
                "{}: {report:?}",
                node.id
            );
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let steps = Steps {
        first: None,
        objects: 1..5,
        batches: 1..16,
        configs: CONFIGS.len() * NETWORKS.len(),
        reconfigured: 0.1,
    };
    steps.strategy()
}

/// Mesh configurations a mesh may change between; the first is the default.
const CONFIGS: [&str; 8] = [
    "",
    "defaultServiceExportTo: ['.']",
    "discoverySelectors: [{matchLabels: {mesh: 'yes'}}]",
    "discoverySelectors: [{matchExpressions: [{key: mesh, operator: NotIn, values: ['no']}]}]",
    "rootNamespace: a",
    "trustDomain: other, defaultConfig: {concurrency: 9, interceptionMode: NONE}",
    "rootNamespace: a, discoverySelectors: [{matchLabels: {mesh: 'yes'}}]",
    "serviceEntryVisibility: {applyToSidecars: true, defaultVisibility: NAMESPACE, \
     policies: [{visibility: PUBLIC, matchingRules: [{namespaceSelector: {matchLabels: {mesh: 'yes'}}}]}]}",
];

/// Networks a mesh may change between; the first is none.
const NETWORKS: [&str; 4] = [
    "",
    "far: {gateways: [{address: 192.0.2.1, port: 15443}, {registryServiceName: web.a.svc.cluster.local, port: 1}]}",
    "far: {endpoints: [{fromRegistry: Kubernetes}], gateways: [{registryServiceName: web.a.svc.cluster.local, port: 80}]}",
    "far: {endpoints: [{fromCidr: 10.0.0.1/32}], gateways: [{address: gw.example.com, port: 1}]}, wide: {endpoints: [{fromCidr: 10.0.0.0/8}]}",
];

fn config(at: usize) -> Vec<Change> {
    let origin = Origin {
        path: Arc::from("mesh.yaml"),
        line: 1,
    };
    let networks = format!("{{networks: {{{}}}}}", NETWORKS[at / CONFIGS.len()]);
    let (networks, _) = reef_config::parse::mesh_networks(&networks, &origin).expect("valid");
    let text = format!("{{{}}}", CONFIGS[at % CONFIGS.len()]);
    let (config, _) = reef_config::parse::mesh_config(&text, &origin).expect("a valid one");
    vec![
        Change::MeshConfig(Arc::new(config)),
        Change::MeshNetworks(Arc::new(networks)),
    ]
}

fn services(snapshot: &MeshSnapshot) -> BTreeSet<ServiceKey> {
    snapshot
        .services()
        .map(|service| service.key.clone())
        .collect()
}

/// Checks a report against the two snapshots it stands between.
fn check_report(old: &MeshSnapshot, new: &MeshSnapshot, report: &ChangeReport) {
    for key in services(old).union(&services(new)) {
        let service = old.service(key) != new.service(key);
        let endpoints = old.endpoints(key) != new.endpoints(key);
        let in_services = report.services.contains(key);
        let in_endpoints = report.endpoints.contains(key);
        assert!(!(in_services && in_endpoints), "{key} is reported twice");
        assert!(!service || in_services, "{key} differs but is not reported");
        assert!(
            !endpoints || in_services || in_endpoints,
            "endpoints of {key} not reported"
        );
        assert!(
            service || endpoints || !(in_services || in_endpoints),
            "{key} did not change"
        );
        let mut there = new.endpoints(key).into_iter().flat_map(|all| all.iter());
        assert_eq!(
            report.led.contains(key),
            there.any(|endpoint| report.networks.contains(&endpoint.network)),
            "{key} is led elsewhere"
        );
    }
    let of = |snapshot: &MeshSnapshot, network: &str| {
        let all = snapshot.network_gateways();
        let mut found = all.iter().filter(|(known, _)| ***known == *network);
        found.next().map(|(_, gateways)| gateways.to_vec())
    };
    for network in ["far", "near", "wide"] {
        assert_eq!(
            report.networks.contains(network),
            of(old, network) != of(new, network),
            "{network}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_changes_gives_the_snapshot_of_the_final_objects(
        steps in steps(), order in any::<prop::sample::Index>(),
    ) {
        let mut followed = Followed::new(universe(), config);
        let mut index = MeshIndex::default();
        for step in &steps {
            let batch = followed.batch(step);
            let old = index.snapshot().clone();
            let old_problems = index.problems();
            match index.apply(batch) {
                Some((new, report)) => {
                    check_report(&old, &new, &report);
                    check_proxies(&old, &new, &report);
                    prop_assert_eq!(report.problems, old_problems != index.problems());
                    let only_problems = ChangeReport { problems: true, ..Default::default() };
                    prop_assert!(report == only_problems || old.dump() != new.dump());
                }
                None => prop_assert_eq!(old.dump(), index.snapshot().dump()),
            }
        }
        let mut fresh = MeshIndex::default();
        fresh.apply(followed.at_once(order));
        let (left, right) = (index.snapshot().dump(), fresh.snapshot().dump());
        for (left, right) in left.lines().zip(right.lines()) {
            prop_assert_eq!(left, right);
        }
        prop_assert_eq!(left.len(), right.len());
        prop_assert_eq!(index.problems(), fresh.problems());
        prop_assert_eq!(index.object_counts(), fresh.object_counts());
    }
}
