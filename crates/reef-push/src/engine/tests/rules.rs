//! What a `DestinationRule` makes anew: the clusters and load assignments of its host, for who sees it.

use super::*;

fn rule(name: &str, ns: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {name}, namespace: {ns}}}\n\
         spec: {{{spec}}}\n---\n"
    )
}

/// Twenty services of one namespace, with an endpoint each.
fn many() -> String {
    (1..=20)
        .map(|n| {
            let name = format!("s{n}");
            service(&name, "one", n, 80) + &slice(&name, "one", &[n])
        })
        .collect()
}

#[test]
fn a_rule_makes_the_resources_of_its_host_anew_and_no_others() {
    let mut world = World::new(&many());
    let first = world.connect("a", "one", "a");
    let same = world.connect("b", "one", "b");
    let other = world.connect("c", "two", "c");
    assert_eq!(first.class, same.class);
    let spec = "host: s3, subsets: [{name: v1, labels: {app: s3}}, {name: v2, labels: {app: x}}]";
    let plan = world.apply(&rule("r", "one", spec));
    // A cluster and an assignment of each subset, and the cluster of the whole, which names its rule; both classes
    // share them.
    assert_eq!(plan.stats.build.built, 5, "{:?}", plan.stats);
    assert_eq!(plan.classes.len(), 2);
    let spec = "host: s3, trafficPolicy: {connectionPool: {tcp: {maxConnections: 2}}}, \
                subsets: [{name: v1, labels: {app: s3}}, {name: v2, labels: {app: x}}]";
    let plan = world.apply(&rule("r", "one", spec));
    assert_eq!(plan.stats.build.built, 3, "{:?}", plan.stats);
    // A rule only some see is the matter of those.
    let plan = world.apply(&rule(
        "own",
        "two",
        "host: s4.one.svc.cluster.local, trafficPolicy: {loadBalancer: {simple: RANDOM}}",
    ));
    assert_eq!(plan.stats.build.built, 1, "{:?}", plan.stats);
    let touched: Vec<ClassId> = plan.classes.iter().map(|(id, _)| *id).collect();
    assert_eq!(touched, [other.class]);
}

#[test]
fn rules_with_a_selector_part_proxies_by_whether_it_fits() {
    let mut world = World::new(&many());
    let a = world.connect("a", "one", "a");
    let b = world.connect("b", "one", "b");
    let c = world.connect("c", "one", "c");
    assert_eq!(a.class, b.class);
    let spec = "host: s3, workloadSelector: {matchLabels: {app: a}}, \
                trafficPolicy: {loadBalancer: {simple: RANDOM}}";
    let plan = world.apply(&rule("r", "one", spec));
    let class = |world: &World, proxy| world.engine.proxy(proxy).expect("connected").class;
    assert_ne!(class(&world, a.proxy), class(&world, b.proxy));
    assert_eq!(class(&world, b.proxy), class(&world, c.proxy));
    assert_eq!(plan.stats.build.built, 1, "{:?}", plan.stats);
}

#[test]
fn limits_of_a_served_port_follow_rules_the_scope_does_not_hold() {
    let mut world = World::new(&(many() + &sidecar("one", &["two/*"])));
    let pod = world.connect("p", "one", "s3");
    let name = "inbound|8080||";
    let cluster = |world: &World| world.view(pod.proxy).resource(ResourceType::Cluster, name);
    assert!(cluster(&world).is_some());
    let spec = "host: s3, trafficPolicy: {connectionPool: {tcp: {maxConnections: 2}}}";
    let plan = world.apply(&rule("r", "one", spec));
    assert_eq!(plan.classes.len(), 1);
    assert_eq!(plan.stats.build.built, 1, "{:?}", plan.stats);
    let plan = world.apply(&rule(
        "q",
        "one",
        "host: s4, trafficPolicy: {connectionPool: {tcp: {maxConnections: 3}}}",
    ));
    assert_eq!(plan.classes.len(), 0);
}

#[test]
fn many_rules_of_one_host_cost_what_they_are() {
    // Every rule adds a subset; the whole comes from the first that has a policy.
    let all: String = (0..2000)
        .map(|n| {
            let spec = format!("host: s3, subsets: [{{name: v{n}, labels: {{app: s3}}}}]");
            rule(&format!("r{n:04}"), "one", &spec)
        })
        .collect();
    let mut world = World::new(&many());
    world.connect("a", "one", "a");
    let plan = world.apply(&all);
    // A cluster and an assignment each, and the cluster of the whole.
    assert_eq!(plan.stats.build.built, 4001);
    let plan = world.apply(&rule(
        "r1000",
        "one",
        "host: s3, subsets: [{name: v1000, labels: {app: y}}]",
    ));
    assert_eq!(plan.stats.build.built, 1, "{:?}", plan.stats);
}

#[test]
fn a_change_touches_the_resources_it_can_reach_and_looks_at_no_others() {
    let virtual_service = |seconds: u32, host: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v, namespace: one}}\n\
             spec: {{hosts: [s3], http: [{{timeout: {seconds}s, route: [{{destination: {{host: {host}}}}}]}}]}}\n---\n"
        )
    };
    let spec = |limit: u32| {
        format!("host: s4, trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: {limit}}}}}}}")
    };
    let mut world = World::new(&(many() + &virtual_service(1, "s3") + &rule("r", "one", &spec(1))));
    let client = world.connect("a", "two", "a");
    // Says something else: one route configuration, and no scope, proxy or other resource is looked at.
    let stats = world.apply(&virtual_service(2, "s3")).stats;
    assert_eq!(
        (stats.scopes_resolved, stats.proxies_checked),
        (0, 0),
        "{stats:?}"
    );
    assert_eq!((stats.build.built, stats.build.shared), (1, 0), "{stats:?}");
    let stats = world.apply(&rule("r", "one", &spec(2))).stats;
    assert_eq!(
        (stats.scopes_resolved, stats.proxies_checked),
        (0, 0),
        "{stats:?}"
    );
    // The cluster; its load assignment is as it was.
    assert_eq!((stats.build.built, stats.build.shared), (1, 1), "{stats:?}");
    // Leads elsewhere: who may need another service is looked at as a whole.
    let stats = world.apply(&virtual_service(2, "s5")).stats;
    assert_eq!(stats.scopes_resolved, 1, "{stats:?}");
    assert_eq!(stats.build.built, 1, "{stats:?}");
    let routes = world.view(client.proxy).resource(ResourceType::Route, "80");
    assert!(routes.is_some());
}

#[test]
fn a_service_with_another_port_touches_what_listens_at_both() {
    let mut world = World::new(&many());
    let client = world.connect("a", "two", "a");
    let stats = world.apply(&service("s3", "one", 3, 81)).stats;
    assert_eq!(
        (stats.scopes_resolved, stats.proxies_checked),
        (0, 0),
        "{stats:?}"
    );
    // Its cluster, its load assignment, its listener, and the route configurations of both ports.
    assert!(stats.build.built <= 5, "{stats:?}");
    // The listener of the port it left.
    assert!(stats.build.shared <= 1, "{stats:?}");
    let names = |world: &World, ty| {
        let mut names = Vec::new();
        world
            .view(client.proxy)
            .for_each(ty, &mut |one| names.push(one.name().to_string()));
        names
    };
    let listeners = names(&world, ResourceType::Listener);
    assert!(
        listeners.iter().any(|name| name == "0.0.0.0_81"),
        "{listeners:?}"
    );
    assert!(
        listeners.iter().any(|name| name == "0.0.0.0_80"),
        "{listeners:?}"
    );
    assert!(names(&world, ResourceType::Route).contains(&"81".to_owned()));
    // And back: nothing of the other port is left.
    world.apply(&service("s3", "one", 3, 80));
    assert!(!names(&world, ResourceType::Listener).contains(&"0.0.0.0_81".to_owned()));
    assert!(!names(&world, ResourceType::Route).contains(&"81".to_owned()));
    assert!(
        !names(&world, ResourceType::Cluster)
            .iter()
            .any(|name| name.contains("|81|"))
    );
}
