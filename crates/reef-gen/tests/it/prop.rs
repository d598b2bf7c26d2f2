//! Properties of style section 5.12: 2 (order does not matter), 3 (nothing dangles), 6 (keys).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;
use prost::Message;
use reef_gen::{
    ClassInput, build_cluster, build_endpoints, build_listener, build_route, cluster_keys,
    endpoint_keys, listener_keys, route_keys,
};
use reef_mesh::identify;

use crate::world::{Output, cases, class, class_of_case, node, of_case, output, snapshot};

/// Documents of a small random mesh: services that collide on ports, addresses and hosts.
fn objects() -> impl Strategy<Value = Vec<String>> {
    let port_name = prop_oneof![
        Just("http"),
        Just("grpc"),
        Just("tcp"),
        Just("any"),
        Just("tls"),
        Just("mongo"),
        Just("grpc-web")
    ];
    let service = (0..6u8, 0..3u8, port_name, prop_oneof![Just(80u16), Just(81), Just(5432)], 0..5u8)
        .prop_map(|(name, ns, port_name, port, shape)| match shape {
            0 => format!(
                "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: se{name}, namespace: ns{ns}}}\n\
                 spec: {{hosts: [h{name}.example.com], resolution: STATIC, ports: [{{number: {port}, name: p, protocol: {}}}], endpoints: [{{address: 10.1.0.{name}}}]}}\n",
                port_name.split('-').next().unwrap_or("tcp")
            ),
            1 => format!(
                "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: dns{name}, namespace: ns{ns}}}\n\
                 spec: {{hosts: [d{name}.example.com], resolution: DNS, location: MESH_EXTERNAL, ports: [{{number: {port}, name: p, protocol: {}}}]}}\n",
                port_name.split('-').next().unwrap_or("tcp")
            ),
            _ => {
                let ip = if shape == 2 { "None".to_owned() } else { format!("10.96.{ns}.{name}") };
                format!(
                    "apiVersion: v1\nkind: Service\nmetadata: {{name: s{name}, namespace: ns{ns}}}\n\
                     spec: {{clusterIP: {ip}, selector: {{app: a{}}}, ports: [{{name: {port_name}, port: {port}}}]}}\n",
                    name % 3
                )
            }
        });
    let slice = (0..6u8, 0..3u8, 1..9u8).prop_map(|(name, ns, ip)| {
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: sl{name}-{ip}, namespace: ns{ns}, labels: {{kubernetes.io/service-name: s{name}}}}}\n\
             addressType: IPv4\nports: [{{name: tcp, port: 9000}}, {{name: http, port: 8080}}]\nendpoints: [{{addresses: [10.2.0.{ip}], zone: z{}}}]\n",
            ip % 2
        )
    });
    proptest::collection::vec(prop_oneof![3 => service, 1 => slice], 1..14).prop_map(|mut all| {
        // One object per key: which of two wins is the source's matter, not generation's.
        let mut seen = BTreeSet::new();
        all.retain(|text| {
            seen.insert(
                text.lines()
                    .take(3)
                    .map(|line| line.split(", labels").next().unwrap_or(line).to_owned())
                    .collect::<Vec<_>>(),
            )
        });
        all
    })
}

fn input(documents: &[String], labels: &str) -> ClassInput {
    let texts: Vec<&str> = documents.iter().map(String::as_str).collect();
    let snapshot = snapshot(&texts, None);
    let proxy = node(&format!(
        "id: sidecar~10.2.0.1~x.ns0~ns0.svc.cluster.local\nmetadata: {{NAMESPACE: ns0, WORKLOAD_CERT: none, LABELS: {{app: {labels}}}}}\n"
    ));
    class(&snapshot, &identify(&snapshot, &proxy))
}

type Encoded = BTreeMap<(u8, String), Vec<u8>>;

fn encoded(out: &Output) -> Encoded {
    let clusters = out
        .clusters
        .iter()
        .map(|r| ((0, r.name.clone()), r.encode_to_vec()));
    let endpoints = out
        .endpoints
        .iter()
        .map(|r| ((1, r.cluster_name.clone()), r.encode_to_vec()));
    let listeners = out
        .listeners
        .iter()
        .map(|r| ((2, r.name.clone()), r.encode_to_vec()));
    let routes = out
        .routes
        .iter()
        .map(|r| ((3, r.name.clone()), r.encode_to_vec()));
    clusters
        .chain(endpoints)
        .chain(listeners)
        .chain(routes)
        .collect()
}

/// Every quoted string of a value that is named `cluster`, `route_config_name` or `service_name`.
fn references(value: &serde_json::Value, key: &str, into: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (name, inner) in map {
                match inner {
                    serde_json::Value::String(text) if name == key => {
                        into.insert(text.clone());
                    }
                    _ => references(inner, key, into),
                }
            }
        }
        serde_json::Value::Array(list) => {
            list.iter().for_each(|inner| references(inner, key, into))
        }
        _ => {}
    }
}

fn assert_closed(out: &Output) {
    let clusters: BTreeSet<&str> = out.clusters.iter().map(|r| r.name.as_str()).collect();
    let routes: BTreeSet<&str> = out.routes.iter().map(|r| r.name.as_str()).collect();
    let endpoints: BTreeSet<&str> = out
        .endpoints
        .iter()
        .map(|r| r.cluster_name.as_str())
        .collect();
    assert_eq!(
        clusters.len(),
        out.clusters.len(),
        "cluster names are unique"
    );
    assert_eq!(routes.len(), out.routes.len(), "route names are unique");
    let listeners: BTreeSet<&str> = out.listeners.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(
        listeners.len(),
        out.listeners.len(),
        "listener names are unique"
    );
    let mut wanted = BTreeSet::new();
    let mut wanted_routes = BTreeSet::new();
    let mut wanted_endpoints = BTreeSet::new();
    for listener in &out.listeners {
        let json = reef_xds::json::message_to_json(listener).expect("known message");
        references(&json, "cluster", &mut wanted);
        references(&json, "route_config_name", &mut wanted_routes);
    }
    for route in &out.routes {
        references(
            &reef_xds::json::message_to_json(route).expect("known message"),
            "cluster",
            &mut wanted,
        );
    }
    for cluster in &out.clusters {
        let json = reef_xds::json::message_to_json(cluster).expect("known message");
        references(&json, "service_name", &mut wanted_endpoints);
    }
    let problems: String = out
        .problems
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect();
    for name in &wanted {
        let port = name.split('|').nth(1).unwrap_or("-");
        let told = problems.contains(&format!("port {port} has no endpoint"));
        assert!(
            clusters.contains(name.as_str()) || told,
            "cluster {name} is not sent: {problems}"
        );
    }
    let wanted_routes: BTreeSet<&str> = wanted_routes.iter().map(String::as_str).collect();
    assert_eq!(
        wanted_routes, routes,
        "exactly the routes that listeners name are sent"
    );
    let wanted_endpoints: BTreeSet<&str> = wanted_endpoints.iter().map(String::as_str).collect();
    assert_eq!(
        wanted_endpoints, endpoints,
        "exactly the assignments that clusters name are sent"
    );
    assert!(
        out.listeners.is_empty() || !wanted.is_empty(),
        "listeners refer to clusters"
    );
}

/// Keys of several classes: equal keys must give equal bytes.
fn assert_keys_decide(inputs: &[ClassInput]) {
    let mut clusters = HashMap::new();
    let mut endpoints = HashMap::new();
    let mut listeners = HashMap::new();
    let mut routes = HashMap::new();
    for input in inputs {
        for key in cluster_keys(input) {
            let bytes = build_cluster(&key).0.encode_to_vec();
            assert_eq!(clusters.entry(key).or_insert_with(|| bytes.clone()), &bytes);
        }
        for key in endpoint_keys(input) {
            let bytes = build_endpoints(&key).encode_to_vec();
            assert_eq!(
                endpoints.entry(key).or_insert_with(|| bytes.clone()),
                &bytes
            );
        }
        for key in listener_keys(input) {
            let bytes = build_listener(&key).0.encode_to_vec();
            assert_eq!(
                listeners.entry(key).or_insert_with(|| bytes.clone()),
                &bytes
            );
        }
        for key in route_keys(input) {
            let bytes = build_route(&key).0.encode_to_vec();
            assert_eq!(routes.entry(key).or_insert_with(|| bytes.clone()), &bytes);
        }
    }
}

#[test]
fn every_golden_case_is_closed() {
    for case in cases() {
        assert_closed(&of_case(&case));
    }
}

#[test]
fn equal_keys_of_the_golden_cases_give_equal_bytes() {
    let inputs: Vec<ClassInput> = cases().iter().map(|case| class_of_case(case)).collect();
    assert_keys_decide(&inputs);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn order_of_objects_does_not_change_bytes(
        (documents, shuffled) in objects().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        let (one, other) = (input(&documents, "a0"), input(&shuffled, "a0"));
        prop_assert_eq!(encoded(&output(&one)), encoded(&output(&other)));
    }

    #[test]
    fn everything_referred_to_is_sent_or_a_problem(documents in objects()) {
        assert_closed(&output(&input(&documents, "a1")));
    }

    #[test]
    fn equal_keys_give_equal_bytes(documents in objects(), fewer in 0..4usize) {
        let all = input(&documents, "a0");
        let other = input(&documents, "a1");
        let rest: Vec<String> = documents.iter().skip(fewer).cloned().collect();
        assert_keys_decide(&[all, other, input(&rest, "a2")]);
    }
}
