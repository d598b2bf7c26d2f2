//! Rules made to cost: many hosts, many matches, many claims on one host, in any order.

use std::time::Duration;

use reef_gen::{build_listener, listener_keys};

use crate::hostile::{class_of, hosts, rule, timed, told};

/// The chains of all listeners, and what is told, with the time it took.
fn outcome(documents: &[String]) -> (usize, Vec<String>, Duration) {
    let class = class_of(documents);
    let (chains, taken) = timed(|| {
        let keys = listener_keys(&class);
        let chains = keys
            .iter()
            .map(|key| build_listener(key).0.filter_chains.len());
        chains.sum()
    });
    (chains, told(&class), taken)
}

fn entry(name: &str, hosts: &[String], more: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: ns0}}\n\
         spec: {{hosts: [{}], resolution: NONE, ports: [{{number: 443, name: tls, protocol: TLS}}]{more}}}\n",
        hosts.join(", ")
    )
}

fn route(sni: &str, to: &str) -> String {
    format!("{{match: [{{sniHosts: [{sni}]}}], route: [{{destination: {{host: {to}}}}}]}}")
}

/// One rule for all hosts, with a match for each.
fn many(count: usize) -> Vec<String> {
    let hosts = hosts(count);
    let tls: Vec<String> = hosts.iter().map(|host| route(host, "h0.test")).collect();
    vec![entry("all", &hosts, ""), rule("all", &hosts, "tls", &tls)]
}

#[test]
fn thousands_of_hosts_and_matches_cost_what_they_are() {
    let (chains, told, taken) = outcome(&many(3000));
    assert!(chains >= 3000, "{chains} chains");
    assert!(
        !told.iter().any(|it| it.contains("listener-conflict")),
        "{told:?}"
    );
    // A comparison of all with all would take minutes.
    assert!(taken < Duration::from_secs(20), "{taken:?}");
}

#[test]
fn a_rule_that_multiplies_is_named_and_cut_off() {
    let mut documents = many(600);
    // Each host at an address of its own: every address would have all matches.
    documents.remove(0);
    let own = |(at, host): (usize, String)| {
        let address = format!(", addresses: [198.18.{}.{}]", at / 250, at % 250);
        entry(&format!("e{at}"), &[host], &address)
    };
    documents.extend(hosts(600).into_iter().enumerate().map(own));
    let (chains, told, taken) = outcome(&documents);
    assert!(chains < 210_000, "{chains} chains");
    let named = |it: &&String| it.contains("ns0/all") && it.contains("make more than");
    assert_eq!(told.iter().filter(named).count(), 1, "{told:?}");
    assert!(taken < Duration::from_secs(60), "{taken:?}");
}

#[test]
fn the_oldest_of_many_rules_for_a_host_wins_in_any_order() {
    let host = hosts(1);
    let mut documents = vec![entry("e", &host, "")];
    documents.extend((0..40).map(|at| {
        let name = format!("r{at:02}");
        rule(
            &name,
            &host,
            "tls",
            &[route("h0.test", &format!("to{at}.test"))],
        )
    }));
    let chain = |documents: &[String]| {
        let class = class_of(documents);
        let keys = listener_keys(&class);
        let listeners = keys.iter().map(|key| build_listener(key).0);
        let found = listeners.into_iter().find(|it| it.name == "0.0.0.0_443");
        format!("{:?}", found.expect("a listener").filter_chains)
    };
    let first = chain(&documents);
    assert!(first.contains("/virtual-service/r00"), "{first}");
    assert_eq!(first.matches("/virtual-service/").count(), 1, "{first}");
    documents.reverse();
    assert_eq!(chain(&documents), first);
    documents.rotate_left(17);
    assert_eq!(chain(&documents), first);
}

#[test]
fn names_times_ranges_are_counted_before_they_are_made() {
    let names: Vec<String> = (0..1000).map(|at| format!("n{at}.h0.test")).collect();
    let ranges: Vec<String> = (0..1000)
        .map(|at| format!("10.{}.{}.0/24", at / 250, at % 250))
        .collect();
    let tls = format!(
        "{{match: [{{sniHosts: [{}], destinationSubnets: [{}]}}], route: [{{destination: {{host: h0.test}}}}]}}",
        names.join(", "),
        ranges.join(", ")
    );
    let hosts = ["h0.test".to_owned(), "'*.h0.test'".to_owned()];
    let documents = [
        entry("e", &hosts[..1], ""),
        rule("huge", &hosts, "tls", &[tls]),
    ];
    let (_, told, taken) = outcome(&documents);
    assert!(
        told.iter().any(|it| it.contains("make more than")),
        "{told:?}"
    );
    assert!(taken < Duration::from_secs(5), "{taken:?}");
}
