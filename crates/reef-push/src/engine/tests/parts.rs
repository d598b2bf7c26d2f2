//! Which parts classes share, and what reaches each.

use reef_config::{Origin, parse};

use super::*;

/// Two services of different pods in one namespace.
fn shop() -> String {
    [
        service("a", "one", 1, 80),
        service("b", "one", 2, 80),
        slice("a", "one", &[1]),
        sidecar("one", &["./*"]),
    ]
    .concat()
}

#[test]
fn classes_of_a_scope_share_what_leads_out() {
    let mut world = World::new(&shop());
    let first = world.connect("p1", "one", "a");
    let alone = world.engine.sizes();
    let second = world.connect("p2", "one", "b");
    assert_ne!(first.class, second.class);
    let both = world.engine.sizes();
    assert_eq!(
        both.parts,
        alone.parts + 2,
        "its inbound clusters and listeners"
    );
    // The inbound clusters differ by the service they name, `virtualInbound` by its host.
    assert_eq!(both.resources, alone.resources + 2);
    let stats = world.engine.classes.take_stats();
    assert_eq!(stats.built, both.resources, "nothing was made twice");
    assert_eq!(stats.shared, 0, "nothing was even looked for");

    // Each is told once of what concerns both, and alone of what concerns its own ports.
    let plan = world.apply(&slice("a", "one", &[1, 2]));
    assert_eq!(plan.classes.len(), 2);
    assert_eq!(plan.stats.build.built, 1);
    let closed = policy(
        "AuthorizationPolicy",
        "b",
        0,
        "selector: {matchLabels: {app: b}}, rules: [{}]",
    );
    let plan = world.apply(&closed);
    assert!(plan.classes.is_empty());
    let moved: Vec<ProxyId> = plan.moved.iter().map(|(proxy, ..)| *proxy).collect();
    assert_eq!(moved, [second.proxy]);
    assert_eq!(plan.stats.build.built, 1, "its `virtualInbound`");
}

#[test]
fn problems_of_what_is_shared_are_told_of_all_and_follow_it() {
    let rule = |host: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v, namespace: one}}\n\
             spec: {{hosts: [a], http: [{{route: [{{destination: {{host: {host}}}}}]}}]}}\n---\n"
        )
    };
    let mut world = World::new(&(shop() + &rule("nobody")));
    let first = world.connect("p1", "one", "a");
    let told = world.engine.problems();
    assert_eq!(told.len(), 1, "{told:?}");
    world.connect("p2", "one", "b");
    assert_eq!(world.engine.problems(), told);
    world.engine.options.idle_classes = 0;
    world.engine.disconnect(first.proxy);
    assert_eq!(world.engine.problems(), told);
    world.apply(&rule("b"));
    assert_eq!(world.engine.problems(), []);
}

/// A service that listeners name as the one that takes their logs.
#[test]
fn a_service_that_takes_logs_reaches_every_listener() {
    let mesh = "extensionProviders:\n- {name: als, envoyTcpAls: {service: logs.one.svc.cluster.local, port: 81}}\n\
                defaultProviders: {accessLogging: [als]}\n";
    let origin = Origin {
        path: Arc::from("mesh.yaml"),
        line: 1,
    };
    let (config, told) = parse::mesh_config(mesh, &origin).expect("mesh configuration");
    assert_eq!(told, []);
    let config = Arc::new(config);
    let everyone = |world: &mut World| {
        let names = ["a", "b"].map(|app| world.connect(&format!("p-{app}"), "one", app).view);
        names.map(|view| everything(&view))
    };
    let start = |port: u16| {
        let telemetry = "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\n\
                         metadata: {name: t, namespace: one}\nspec: {accessLogging: [{providers: [{name: als}]}]}\n---\n";
        let mut world = World::new(&(shop() + &service("logs", "one", 3, port) + telemetry));
        world.change(vec![Change::MeshConfig(Arc::clone(&config))]);
        world
    };
    let mut world = start(81);
    let with = everyone(&mut world);
    for port in [82, 81] {
        world.apply(&service("logs", "one", 3, port));
        let now = everyone(&mut world);
        assert_eq!(now, everyone(&mut start(port)), "port {port}");
        assert_eq!(now == with, port == 81, "a log needs its cluster");
    }
}
