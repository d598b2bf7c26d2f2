//! Gateways between networks: what they cost, and whom.

use super::*;

/// A service with endpoints in both networks.
fn entry(name: &str, networks: [&str; 2]) -> String {
    let endpoints = networks.map(|network| {
        let tls = "labels: {security.istio.io/tlsMode: istio}";
        format!("{{address: 10.1.0.1, network: {network}, {tls}}}")
    });
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: one}}\n\
         spec: {{hosts: [{name}.com], location: MESH_INTERNAL, resolution: STATIC, \
         ports: [{{number: 80, name: http, protocol: HTTP}}], endpoints: [{}]}}\n---\n",
        endpoints.join(", ")
    )
}

fn gate(network: &str, ips: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: gate-{network}, namespace: hidden, \
         labels: {{topology.istio.io/network: {network}}}, annotations: {{networking.istio.io/exportTo: '~'}}}}\n\
         spec: {{externalIPs: [{ips}], ports: [{{port: 80}}]}}\n---\n"
    )
}

fn connect(world: &mut World, network: &str) -> ProxyId {
    let mut metadata = node("p", "one", "a", "10.9.0.1").metadata;
    if !network.is_empty() {
        metadata.insert("NETWORK", MetaValue::from(network));
    }
    let id = format!("sidecar~10.9.0.1~p-{network}.one~one.svc.cluster.local");
    let node = ProxyNode::parse(&id, metadata, Locality::default()).expect("a valid node");
    world.engine.connect(node).proxy
}

fn world() -> World {
    World::new(&[entry("far", ["x", "y"]), entry("near", ["x", "x"])].concat())
}

#[test]
fn networks_without_gateways_make_no_classes() {
    let mut world = world();
    for network in ["", "x", "y"] {
        connect(&mut world, network);
    }
    assert_eq!(world.engine.class_count(), 1);
    // One with a gateway is one more; all others stay together.
    world.apply(&gate("y", "192.0.2.1"));
    world.engine.options.idle_classes = 0;
    world.engine.evict();
    assert_eq!(world.engine.class_count(), 2);
}

#[test]
fn a_gateway_costs_the_assignments_it_is_in() {
    let mut world = world();
    let [inside, outside] = ["y", "x"].map(|network| connect(&mut world, network));
    let plan = world.apply(&gate("y", "192.0.2.1"));
    let moved: Vec<ProxyId> = plan.moved.iter().map(|(proxy, ..)| *proxy).collect();
    assert_eq!(moved, [inside], "the others stay a class");
    let before = world.view(outside).generation();

    let plan = world.apply(&gate("y", "192.0.2.1, 192.0.2.2"));
    assert!(plan.moved.is_empty());
    assert_eq!(plan.stats.proxies_checked, 0);
    assert_eq!(
        plan.stats.build.built, 1,
        "the one assignment, for those outside"
    );
    assert_eq!(plan.classes.len(), 1);
    let view = world.view(outside);
    let changed = view.changed_since(before).expect("remembered");
    let changed: Vec<&str> = changed.iter().map(|(_, name)| &**name).collect();
    assert_eq!(changed, ["outbound|80||far.com"]);

    // A gateway into a network nobody is in changes nothing for anybody.
    let plan = world.apply(&gate("z", "192.0.2.3"));
    assert_eq!(
        (plan.moved.len(), plan.stats.build.built, plan.classes.len()),
        (0, 0, 0)
    );
}
