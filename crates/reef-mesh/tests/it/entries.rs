//! Service entries: who has a host, and which address is found for it.

use std::collections::{BTreeMap, BTreeSet};

use reef_mesh::{Locality, MeshIndex, ProxyNode, ServiceKey, identify};

use crate::support::{apply, delete, key};

fn entry(at: &str, day: u8, host: &str, more: &str) -> String {
    let (namespace, name) = at.split_once('/').expect("namespace/name");
    format!(
        "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: '2026-01-0{day}T00:00:00Z'}}
spec: {{hosts: [{host}], resolution: STATIC, ports: [{{number: 80, name: http, protocol: HTTP}}]{more}}}
"
    )
}

/// Addresses found, by host.
fn found(index: &MeshIndex) -> BTreeMap<ServiceKey, Vec<String>> {
    let services = index.snapshot().services();
    services
        .map(|service| {
            let addresses = service.auto_addresses.iter().map(ToString::to_string);
            (service.key.clone(), addresses.collect())
        })
        .collect()
}

#[test]
fn the_oldest_entry_has_a_host_whatever_comes_first() {
    let entries = [
        entry("a/young", 3, "x.com", ", endpoints: [{address: 10.0.0.3}]"),
        entry("a/old", 1, "x.com", ", endpoints: [{address: 10.0.0.1}]"),
        entry("a/middle", 2, "x.com", ", endpoints: [{address: 10.0.0.2}]"),
        entry("b/other", 1, "x.com", ", endpoints: [{address: 10.0.0.4}]"),
    ];
    let mut seen = BTreeSet::new();
    for first in 0..4 {
        for second in (0..4).filter(|at| *at != first) {
            let mut order: Vec<usize> = vec![first, second];
            order.extend((0..4).filter(|at| *at != first && *at != second));
            let mut index = MeshIndex::default();
            for at in order {
                apply(&mut index, &entries[at]);
            }
            let snapshot = index.snapshot();
            let service = snapshot.service(&key("x.com", "a")).expect("it is there");
            assert_eq!(&*service.name, "old");
            let other = snapshot.service(&key("x.com", "b")).expect("it is there");
            assert_eq!(&*other.name, "other");
            let told: Vec<String> = index.problems().iter().map(ToString::to_string).collect();
            assert_eq!(told.len(), 2, "the losers are told: {told:?}");
            assert!(told.iter().all(|told| told.contains("x.com")), "{told:?}");
            seen.insert((snapshot.dump(), told));
        }
    }
    assert_eq!(seen.len(), 1, "the order does not matter");
}

#[test]
fn the_next_oldest_entry_inherits_a_host() {
    let mut index = MeshIndex::default();
    let old = entry("a/old", 1, "x.com", "");
    apply(&mut index, &old);
    apply(&mut index, &entry("a/young", 2, "x.com", ""));
    let before = found(&index);
    let report = delete(&mut index, &old).expect("something differs");
    assert_eq!(report.services, BTreeSet::from([key("x.com", "a")]));
    let service = index.snapshot().service(&key("x.com", "a"));
    assert_eq!(&*service.expect("it is there").name, "young");
    assert_eq!(
        found(&index),
        before,
        "the address is the host's, not the object's"
    );
    assert_eq!(index.problems(), []);
}

#[test]
fn addresses_stay_while_other_entries_come_and_go() {
    let mut index = MeshIndex::default();
    let hosts: Vec<String> = (0..400).map(|at| format!("h{at}.example.com")).collect();
    apply(&mut index, &entry("a/many", 2, &hosts.join(", "), ""));
    let before = found(&index);
    let all: BTreeSet<&Vec<String>> = before.values().collect();
    assert_eq!(
        (before.len(), all.len()),
        (400, 400),
        "each host has its own"
    );
    let younger = entry("a/younger", 3, "new.example.com", "");
    let report = apply(&mut index, &younger).expect("something differs");
    assert_eq!(
        report.services,
        BTreeSet::from([key("new.example.com", "a")])
    );
    let after = found(&index);
    assert!(
        before
            .iter()
            .all(|(host, has)| after.get(host) == Some(has))
    );
    delete(&mut index, &younger);
    assert_eq!(found(&index), before);
}

#[test]
fn addresses_of_a_status_belong_to_its_host() {
    let mut index = MeshIndex::default();
    let given =
        "status: {addresses: [{value: 240.240.5.5, host: a.com}, {value: bad, host: b.com}]}";
    apply(
        &mut index,
        &(entry("a/se", 1, "a.com, b.com, c.com", "") + given),
    );
    let found = found(&index);
    assert_eq!(found[&key("a.com", "a")], ["240.240.5.5"]);
    for host in ["b.com", "c.com"] {
        let addresses = &found[&key(host, "a")];
        assert_eq!(addresses.len(), 2, "one of each family: {addresses:?}");
        assert!(addresses[0].starts_with("240.240."), "{addresses:?}");
        assert!(addresses[1].starts_with("2001:2::f0f0:"), "{addresses:?}");
    }
    // Without the status it is as if there had never been one.
    apply(&mut index, &entry("a/se", 1, "a.com, b.com, c.com", ""));
    let mut fresh = MeshIndex::default();
    apply(&mut fresh, &entry("a/se", 1, "a.com, b.com, c.com", ""));
    assert_eq!(self::found(&index), self::found(&fresh));
}

#[test]
fn one_endpoint_of_many_hosts_is_one_change() {
    let mut index = MeshIndex::default();
    let hosts: Vec<String> = (0..2_000).map(|at| format!("h{at}.example.com")).collect();
    let many = |last: u8| {
        let endpoints = format!(", endpoints: [{{address: 10.0.0.{last}}}]");
        entry("a/many", 1, &hosts.join(", "), &endpoints)
    };
    apply(&mut index, &many(1));
    assert_eq!(index.snapshot().service_count(), 2_000);
    let other = ", endpoints: [{address: 10.0.0.1}]";
    let report = apply(&mut index, &entry("a/one", 1, "one.com", other)).expect("it differs");
    assert_eq!(report.services.len(), 1);
    let report = apply(&mut index, &many(2)).expect("it differs");
    assert_eq!((report.services.len(), report.endpoints.len()), (0, 2_000));
}

#[test]
fn a_machine_is_where_its_workload_entry_says() {
    let mut index = MeshIndex::default();
    let workload = "
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm, namespace: a, labels: {tier: back}}
spec: {address: 10.0.0.7, labels: {app: vm}, locality: eu/a/rack}
";
    apply(&mut index, workload);
    let node = |namespace: &str| {
        let id = format!("sidecar~10.0.0.7~vm.{namespace}~{namespace}.svc.cluster.local");
        ProxyNode::parse(&id, BTreeMap::new(), Locality::parse("us/b")).expect("a valid node")
    };
    let proxy = identify(index.snapshot(), &node("a"));
    assert_eq!(proxy.locality, Locality::parse("eu/a/rack"));
    let label = |name: &str| proxy.labels.get(name).map(|value| &**value);
    assert_eq!((label("app"), label("tier")), (Some("vm"), Some("back")));
    assert_eq!(label("topology.istio.io/subzone"), Some("rack"));
    let stranger = identify(index.snapshot(), &node("b"));
    assert_eq!(stranger.locality, Locality::parse("us/b"));
    assert_eq!(stranger.labels.get("app"), None);
}
