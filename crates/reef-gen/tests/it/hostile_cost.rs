//! Objects made to cost (T23) or to contradict each other (T26): what they cost follows their size,
//! in any order one is right, and others do not notice.

use prost::Message;

use crate::hostile::{assert_linear, class_of, hosts, object, rule};
use crate::world::{Output, output};

/// A service nothing hostile is about.
const GOOD: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: good, namespace: ns0}\n\
                    spec: {clusterIP: 10.1.0.1, ports: [{name: http, port: 80}, {name: tcp, port: 90}]}\n";

/// What a proxy has of the good service: cluster, endpoints, listener and virtual host.
fn good(made: &Output) -> Vec<Vec<u8>> {
    let host = "good.ns0.svc.cluster.local";
    let cluster = |name: &str| name.ends_with(host);
    let clusters = made.clusters.iter().filter(|it| cluster(&it.name));
    let endpoints = made.endpoints.iter();
    let endpoints = endpoints.filter(|it| cluster(&it.cluster_name));
    let listeners = made.listeners.iter().filter(|it| it.name == "10.1.0.1_90");
    let routes = made.routes.iter().filter(|it| it.name == "80");
    let virtual_hosts = routes.flat_map(|it| &it.virtual_hosts);
    let virtual_hosts = virtual_hosts.filter(|it| it.name.starts_with(host));
    clusters
        .map(Message::encode_to_vec)
        .chain(endpoints.map(Message::encode_to_vec))
        .chain(listeners.map(Message::encode_to_vec))
        .chain(virtual_hosts.map(Message::encode_to_vec))
        .collect()
}

fn assert_good_is_untouched(made: &Output) {
    let alone = good(&output(&class_of(&[GOOD.to_owned()])));
    assert_eq!(
        alone.len(),
        6,
        "two clusters and assignments, a listener, a virtual host"
    );
    assert_eq!(good(made), alone);
}

fn entry(name: &str, hosts: &[String], more: &str) -> String {
    let spec = format!("hosts: [{}], {more}", hosts.join(", "));
    object("ServiceEntry", name, &spec)
}

const HTTP: &str = "resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], \
                    endpoints: [{address: 192.0.2.1}]";

fn route(path: &str) -> String {
    format!("{{match: [{{uri: {{exact: {path}}}}}], route: [{{destination: {{host: h0.test}}}}]}}")
}

#[test]
fn five_thousand_routes_of_one_rule() {
    let mesh = |count| {
        let host = hosts(1);
        let paths: Vec<String> = (0..count).map(|at| route(&format!("/p{at}"))).collect();
        vec![
            GOOD.to_owned(),
            entry("e", &host, HTTP),
            rule("r", &host, "http", &paths),
        ]
    };
    let made = assert_linear(mesh, 5000);
    let all = made.routes.iter().flat_map(|it| &it.virtual_hosts);
    let host = all.clone().find(|it| it.name == "h0.test:80");
    assert_eq!(host.map(|it| it.routes.len()), Some(5000));
    assert_good_is_untouched(&made);
}

#[test]
fn five_thousand_hosts_of_one_service_entry() {
    let mesh = |count| vec![GOOD.to_owned(), entry("e", &hosts(count), HTTP)];
    let made = assert_linear(mesh, 5000);
    let of = |name: &str| name.ends_with(".test");
    let clusters = made.clusters.iter().filter(|it| of(&it.name)).count();
    let endpoints = made.endpoints.iter().filter(|it| of(&it.cluster_name));
    assert_eq!((clusters, endpoints.count()), (5000, 5000));
    assert_good_is_untouched(&made);
}

#[test]
fn five_thousand_server_names_of_one_service_entry() {
    let tls = "resolution: STATIC, ports: [{number: 443, name: tls, protocol: TLS}], \
               endpoints: [{address: 192.0.2.1}]";
    let mesh = |count| vec![GOOD.to_owned(), entry("e", &hosts(count), tls)];
    let made = assert_linear(mesh, 5000);
    let listener = made.listeners.iter().find(|it| it.name == "0.0.0.0_443");
    let chains = listener.map(|it| it.filter_chains.len());
    assert_eq!(chains, Some(5000));
    assert_good_is_untouched(&made);
}

fn destination(at: usize) -> String {
    let spec = format!(
        "host: h0.test, trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: {}}}}}}}, \
         subsets: [{{name: v{at}, labels: {{version: v{at}}}}}]",
        at + 1
    );
    object("DestinationRule", &format!("d{at:04}"), &spec)
}

#[test]
fn two_thousand_destination_rules_of_one_host() {
    let mesh = |count| {
        let mut documents = vec![GOOD.to_owned(), entry("e", &hosts(1), HTTP)];
        documents.extend((0..count).map(destination));
        documents
    };
    let made = assert_linear(mesh, 2000);
    let clusters = || {
        made.clusters
            .iter()
            .filter(|it| it.name.ends_with("|h0.test"))
    };
    // The service, and the subset of each.
    assert_eq!(clusters().count(), 2001);
    // The oldest says the policy; of one age, the first by name.
    let limits = clusters().filter_map(|it| {
        it.circuit_breakers
            .as_ref()?
            .thresholds
            .first()?
            .max_connections
    });
    assert!(limits.clone().all(|most| most == 1), "{:?}", limits.max());
    assert_good_is_untouched(&made);
}

#[test]
fn destination_rules_of_one_host_are_merged_alike_in_any_order() {
    let mut documents = vec![entry("e", &hosts(1), HTTP)];
    documents.extend((0..40).map(destination));
    let clusters = |documents: &[String]| format!("{:?}", output(&class_of(documents)).clusters);
    let first = clusters(&documents);
    documents.reverse();
    assert_eq!(clusters(&documents), first);
    documents.rotate_left(17);
    assert_eq!(clusters(&documents), first);
}

/// Entries and services that all want one host, each with another address behind it.
fn claims(count: usize) -> Vec<String> {
    let claim = |at: usize| {
        let behind = format!("192.0.{}.{}", at / 200, at % 200 + 1);
        let text = entry(
            &format!("e{at:04}"),
            &hosts(1),
            &HTTP.replace("192.0.2.1", &behind),
        );
        text.replace("namespace: ns0", &format!("namespace: n{:02}", at % 40))
    };
    (0..count).map(claim).collect()
}

#[test]
fn two_thousand_claims_on_one_host() {
    let mesh = |count| {
        let mut documents = claims(count);
        documents.push(GOOD.to_owned());
        documents
    };
    let made = assert_linear(mesh, 2000);
    let ours = |name: &str| name.ends_with("|h0.test");
    assert_eq!(made.clusters.iter().filter(|it| ours(&it.name)).count(), 1);
    assert_good_is_untouched(&made);
}

#[test]
fn the_oldest_of_many_claims_on_a_host_wins_in_any_order() {
    let mut documents = claims(60);
    let behind = |documents: &[String]| format!("{:?}", output(&class_of(documents)).endpoints);
    let first = behind(&documents);
    assert!(first.contains("\"192.0.0.1\""), "{first}");
    assert_eq!(first.matches("\"192.0.").count(), 1, "{first}");
    documents.reverse();
    assert_eq!(behind(&documents), first);
    documents.rotate_left(23);
    assert_eq!(behind(&documents), first);
}
