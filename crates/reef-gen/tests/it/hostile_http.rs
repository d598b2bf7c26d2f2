//! HTTP rules made to cost: thousands of routes, thousands of hosts, many claims on one host.

use std::time::Duration;

use reef_gen::{build_route, problems, route_keys};
use reef_mesh::identify;
use xds_api::envoy::config::route::v3::RouteConfiguration;

use crate::world::{class, node, snapshot};

const PROXY: &str = "id: sidecar~10.2.0.1~x.ns0~ns0.svc.cluster.local\n\
                     metadata: {NAMESPACE: ns0, INSTANCE_IPS: 10.2.0.1, WORKLOAD_CERT: none}\n";

/// The route configuration of port 80, and what is told, with the time it took.
fn outcome(documents: &[String]) -> (RouteConfiguration, Vec<String>, Duration) {
    let texts: Vec<&str> = documents.iter().map(String::as_str).collect();
    let snapshot = snapshot(&texts, None);
    let class = class(&snapshot, &identify(&snapshot, &node(PROXY)));
    #[expect(
        clippy::disallowed_methods,
        reason = "what is asserted is how long it takes"
    )]
    let begin = std::time::Instant::now();
    let keys = route_keys(&class);
    let key = keys.iter().find(|key| &*key.name() == "80");
    let routes = build_route(key.expect("a route configuration")).0;
    let taken = begin.elapsed();
    let told = problems(&class).iter().map(ToString::to_string).collect();
    (routes, told, taken)
}

fn entry(hosts: &[String]) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: e, namespace: ns0}}\n\
         spec: {{hosts: [{}], resolution: NONE, ports: [{{number: 80, name: http, protocol: HTTP}}]}}\n",
        hosts.join(", ")
    )
}

fn rule(name: &str, hosts: &[String], http: &[String]) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: ns0}}\n\
         spec: {{hosts: [{}], http: [{}]}}\n",
        hosts.join(", "),
        http.join(", ")
    )
}

fn hosts(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("h{at}.test")).collect()
}

fn route(path: &str) -> String {
    format!("{{match: [{{uri: {{exact: {path}}}}}], route: [{{destination: {{host: h0.test}}}}]}}")
}

#[test]
fn five_thousand_routes_cost_what_they_are() {
    let paths: Vec<String> = (0..5000).map(|at| route(&format!("/p{at}"))).collect();
    let host = hosts(1);
    let (routes, told, taken) = outcome(&[entry(&host), rule("r", &host, &paths)]);
    let host = routes
        .virtual_hosts
        .iter()
        .find(|it| it.name == "h0.test:80");
    assert_eq!(host.map(|it| it.routes.len()), Some(5000), "{told:?}");
    assert!(taken < Duration::from_secs(20), "{taken:?}");
}

#[test]
fn five_thousand_hosts_cost_what_they_are() {
    let hosts = hosts(5000);
    let (routes, told, taken) = outcome(&[entry(&hosts), rule("r", &hosts, &[route("/p")])]);
    let ours = |name: &str| name.ends_with(".test:80");
    let count = routes.virtual_hosts.iter().filter(|it| ours(&it.name));
    assert_eq!(count.count(), 5000, "{told:?}");
    assert!(taken < Duration::from_secs(20), "{taken:?}");
}

#[test]
fn the_oldest_of_many_rules_for_a_host_wins_in_any_order() {
    let host = hosts(1);
    let mut documents = vec![entry(&host)];
    documents
        .extend((0..40).map(|at| rule(&format!("r{at:02}"), &host, &[route(&format!("/p{at}"))])));
    let first = outcome(&documents).0;
    let text = format!("{first:?}");
    assert!(text.contains("/virtual-service/r00"), "{text}");
    assert_eq!(text.matches("/virtual-service/").count(), 1, "{text}");
    documents.reverse();
    assert_eq!(outcome(&documents).0, first);
    documents.rotate_left(17);
    assert_eq!(outcome(&documents).0, first);
}
