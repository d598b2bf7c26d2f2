//! Properties of style section 5.12: 2 (order does not matter), 3 (nothing dangles), 6 (keys).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::meshes::{Mesh, meshes, seed};
use crate::world::{Output, cases, class_of_case, of_case, output};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use prost::Message;
use reef_gen::{
    ClassInput, build_cluster, build_endpoints, build_listener, build_name_table, build_route,
    cluster_keys, endpoint_keys, listener_keys, name_table_keys, route_keys,
};

use xds_api::envoy::config::route::v3::{
    RouteAction, route::Action, route_action::ClusterSpecifier,
};

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
    let names = out
        .names
        .iter()
        .map(|r| ((4, String::new()), r.encode_to_vec()));
    clusters
        .chain(endpoints)
        .chain(listeners)
        .chain(routes)
        .chain(names)
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

/// The clusters TCP proxies share connections among.
fn shares(value: &serde_json::Value, into: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) => {
            let own = map.get("weighted_clusters");
            let clusters = own.and_then(|own| own.get("clusters")?.as_array());
            let names = clusters.into_iter().flatten();
            let names = names.filter_map(|cluster| cluster.get("name")?.as_str());
            into.extend(names.map(str::to_owned));
            map.values().for_each(|inner| shares(inner, into));
        }
        serde_json::Value::Array(list) => list.iter().for_each(|inner| shares(inner, into)),
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
        shares(&json, &mut wanted);
        references(&json, "route_config_name", &mut wanted_routes);
    }
    for route in &out.routes {
        let json = reef_xds::json::message_to_json(route).expect("known message");
        references(&json, "cluster", &mut wanted);
        let shares = route
            .virtual_hosts
            .iter()
            .flat_map(|host| &host.routes)
            .filter_map(|route| match &route.action {
                Some(Action::Route(RouteAction {
                    cluster_specifier: Some(ClusterSpecifier::WeightedClusters(all)),
                    ..
                })) => Some(&all.clusters),
                _ => None,
            });
        wanted.extend(shares.flatten().map(|share| share.name.clone()));
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
        let told = problems.contains(&format!("port {port} has no endpoint"))
            || problems.contains(&format!("port {port} has no cluster"))
            || problems.contains(&format!("destination {name} is not there"));
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
    let mut names = HashMap::new();
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
        for key in name_table_keys(input) {
            let bytes = build_name_table(&key).encode_to_vec();
            assert_eq!(names.entry(key).or_insert_with(|| bytes.clone()), &bytes);
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

/// 48 meshes, unless `PROPTEST_CASES` says how many.
#[expect(clippy::print_stderr, reason = "shown when the test fails")]
fn some() -> ProptestConfig {
    let seed = seed();
    eprintln!("REEF_SEED={seed} draws the same meshes");
    let config = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(48),
    };
    ProptestConfig {
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..config
    }
}

/// Host entries of a `Sidecar`, each of which lets something in.
const IMPORTS: [&str; 8] = [
    "./*",
    "ns0/*",
    "ns1/*",
    "ns2/*",
    "*/*.example.com",
    "*/h1.example.com",
    "ns1/s0.ns1.svc.cluster.local",
    "*/*",
];

/// The mesh without its own `Sidecar`s and without whatever claims a host that is claimed already,
/// with a `Sidecar` that imports `hosts`.
fn importing(mesh: &Mesh, hosts: &[&str]) -> Mesh {
    let origin = reef_config::Origin {
        path: "random.yaml".into(),
        line: 1,
    };
    let mut claimed = BTreeSet::new();
    let mut documents = mesh.documents.clone();
    documents.retain(|text| {
        let parsed = reef_config::parse::object(text, &origin);
        parsed.objects.iter().all(|object| match &object.spec {
            reef_config::Spec::Sidecar(_) => false,
            reef_config::Spec::ServiceEntry(entry) => {
                let free = entry.hosts.iter().all(|host| !claimed.contains(&**host));
                if free {
                    claimed.extend(entry.hosts.iter().map(|host| host.to_string()));
                }
                free
            }
            reef_config::Spec::Service(_) => {
                let (name, namespace) = (&object.key.name, &object.key.namespace);
                claimed.insert(format!("{name}.{namespace}.svc.cluster.local"))
            }
            _ => true,
        })
    });
    let hosts: Vec<String> = hosts.iter().map(|host| format!("'{host}'")).collect();
    documents.push(format!(
        "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: x, namespace: ns0}}\n\
         spec: {{egress: [{{hosts: [{}]}}]}}\n",
        hosts.join(", ")
    ));
    Mesh {
        documents,
        ..mesh.clone()
    }
}

/// Names of clusters, load assignments and listeners, and hosts of the table of names. A private
/// route may go with the listener that an older service takes.
fn named(out: &Output) -> BTreeSet<(&str, &str)> {
    let clusters = out.clusters.iter().map(|r| ("cluster", &*r.name));
    let endpoints = out.endpoints.iter();
    let endpoints = endpoints.map(|r| ("endpoints", &*r.cluster_name));
    let listeners = out.listeners.iter().map(|r| ("listener", &*r.name));
    let hosts = out.names.iter().flat_map(|table| table.table.keys());
    clusters
        .chain(endpoints)
        .chain(listeners)
        .chain(hosts.map(|host| ("name", &**host)))
        .collect()
}

proptest! {
    #![proptest_config(some())]

    #[test]
    fn widening_a_scope_removes_nothing(
        mesh in meshes(),
        few in proptest::sample::subsequence(IMPORTS.to_vec(), 1..4),
        more in proptest::sample::subsequence(IMPORTS.to_vec(), 1..4),
    ) {
        let narrow = output(&importing(&mesh, &few).class("a0"));
        let all: Vec<&str> = few.iter().chain(&more).copied().collect();
        let wide = output(&importing(&mesh, &all).class("a0"));
        let (narrow, wide) = (named(&narrow), named(&wide));
        let lost: Vec<_> = narrow.difference(&wide).collect();
        prop_assert!(lost.is_empty(), "{lost:?} of {few:?} are lost with {more:?}");
    }

    #[test]
    fn order_of_objects_does_not_change_bytes(
        (mesh, shuffled) in meshes().prop_flat_map(|mesh| {
            let shuffled = Just(mesh.documents.clone()).prop_shuffle();
            (Just(mesh), shuffled)
        }),
    ) {
        let one = encoded(&output(&mesh.class("a0")));
        let other = Mesh { documents: shuffled, ..mesh };
        prop_assert_eq!(one, encoded(&output(&other.class("a0"))));
    }

    #[test]
    fn everything_referred_to_is_sent_or_a_problem(mesh in meshes()) {
        assert_closed(&output(&mesh.class("a1")));
    }

    #[test]
    fn equal_keys_give_equal_bytes(mesh in meshes(), fewer in 0..4usize) {
        let rest = Mesh {
            documents: mesh.documents.iter().skip(fewer).cloned().collect(),
            ..mesh.clone()
        };
        assert_keys_decide(&[mesh.class("a0"), mesh.class("a1"), rest.class("a2")]);
    }
}
