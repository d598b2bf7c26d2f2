//! HTTP rules made to cost: thousands of hosts, many claims on one host.

use std::time::Duration;

use reef_gen::{build_route, route_keys};
use xds_api::envoy::config::route::v3::RouteConfiguration;

use crate::hostile::{class_of, hosts, rule, timed, told};

/// The route configuration of port 80, and what is told, with the time it took.
fn outcome(documents: &[String]) -> (RouteConfiguration, Vec<String>, Duration) {
    let class = class_of(documents);
    let (routes, taken) = timed(|| {
        let keys = route_keys(&class);
        let key = keys.iter().find(|key| &*key.name() == "80");
        build_route(key.expect("a route configuration")).0
    });
    (routes, told(&class), taken)
}

fn entry(hosts: &[String]) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: e, namespace: ns0}}\n\
         spec: {{hosts: [{}], resolution: NONE, ports: [{{number: 80, name: http, protocol: HTTP}}]}}\n",
        hosts.join(", ")
    )
}

fn route(path: &str) -> String {
    format!("{{match: [{{uri: {{exact: {path}}}}}], route: [{{destination: {{host: h0.test}}}}]}}")
}

#[test]
fn five_thousand_hosts_cost_what_they_are() {
    let hosts = hosts(5000);
    let (routes, told, taken) =
        outcome(&[entry(&hosts), rule("r", &hosts, "http", &[route("/p")])]);
    let ours = |name: &str| name.ends_with(".test:80");
    let count = routes.virtual_hosts.iter().filter(|it| ours(&it.name));
    assert_eq!(count.count(), 5000, "{told:?}");
    assert!(taken < Duration::from_secs(20), "{taken:?}");
}

#[test]
fn the_oldest_of_many_rules_for_a_host_wins_in_any_order() {
    let host = hosts(1);
    let mut documents = vec![entry(&host)];
    documents.extend((0..40).map(|at| {
        rule(
            &format!("r{at:02}"),
            &host,
            "http",
            &[route(&format!("/p{at}"))],
        )
    }));
    let first = outcome(&documents).0;
    let text = format!("{first:?}");
    assert!(text.contains("/virtual-service/r00"), "{text}");
    assert_eq!(text.matches("/virtual-service/").count(), 1, "{text}");
    documents.reverse();
    assert_eq!(outcome(&documents).0, first);
    documents.rotate_left(17);
    assert_eq!(outcome(&documents).0, first);
}
