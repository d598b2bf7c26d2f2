//! A changed `VirtualService` costs the route configurations that show it.

use super::*;

/// Services, each on a port of its own, with a `VirtualService` each.
const SERVICES: usize = 1_000;

fn rule(number: usize, weight: u8) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
         metadata: {{name: s{number}, namespace: one}}\nspec:\n  hosts: [s{number}]\n  http:\n  - route:\n    \
         - {{destination: {{host: s{number}}}, weight: {weight}}}\n    \
         - {{destination: {{host: s0, port: {{number: 10000}}}}, weight: 50}}\n"
    )
}

fn mesh() -> String {
    let mut text = String::new();
    for number in 0..SERVICES {
        let (port, high, low) = (10_000 + number, number / 250, number % 250);
        write!(
            text,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: one}}\n\
             spec: {{clusterIP: 10.5.{high}.{low}, ports: [{{name: http, port: {port}}}]}}\n"
        )
        .expect("writing to text");
        text += &rule(number, 50);
    }
    text
}

#[test]
fn a_changed_virtual_service_makes_only_the_routes_that_show_it() {
    let mut world = World::new(&mesh());
    let here = world.connect("p", "one", "a").proxy;
    let there = world.connect("q", "two", "a").proxy;
    let before = [world.view(here), world.view(there)];
    assert!(before[0].len(ResourceType::Route) >= SERVICES);

    let plan = world.apply(&rule(7, 30));
    // Short names of hosts differ by namespace, so the route configuration is made once for each.
    assert_eq!(plan.stats.build.built, 2, "{:?}", plan.stats);
    assert!(plan.stats.build.bytes < 4_000, "{:?}", plan.stats);
    assert_eq!(plan.classes.len(), 2);
    for (before, proxy) in before.iter().zip([here, there]) {
        let changed = world.view(proxy).changed_since(before.generation());
        let name: Arc<str> = Arc::from("10007");
        assert_eq!(changed, Some(vec![(ResourceType::Route, name)]));
    }

    // A rule no proxy of these sees costs nothing.
    let hidden = rule(8, 30).replace("spec:", "spec:\n  exportTo: [\"far\"]");
    let hidden = hidden.replace("name: s8, namespace: one", "name: hidden, namespace: three");
    let plan = world.apply(&hidden.replace("[s8]", "[s8.one.svc.cluster.local]"));
    assert_eq!((plan.stats.build.built, plan.classes.len()), (0, 0));
}

#[test]
fn a_route_costs_those_nothing_who_cannot_match_it() {
    let mut world = World::new(&(service("web", "one", 1, 80) + &slice("web", "one", &[1])));
    let [a, b, c] = ["a", "b", "c"].map(|app| world.connect(app, "one", app));
    assert_eq!(a.class, b.class);
    let plan = world.apply(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
         metadata: {name: web, namespace: one}\nspec:\n  hosts: [web]\n  http:\n  \
         - {match: [{sourceLabels: {app: a}, uri: {prefix: /tea}}], directResponse: {status: 418}}\n  \
         - {route: [{destination: {host: web}}]}\n",
    );
    let class = |world: &World, proxy| world.engine.proxy(proxy).expect("connected").class;
    // One route configuration with the route, and one without, for whoever cannot match it.
    assert_eq!(plan.stats.build.built, 2, "{:?}", plan.stats);
    assert_ne!(class(&world, a.proxy), class(&world, b.proxy));
    assert_eq!(class(&world, b.proxy), class(&world, c.proxy));
    let held = |proxy| world.view(proxy).resource(ResourceType::Route, "80");
    let size = |proxy| held(proxy).map(|it| it.value().len());
    assert!(size(a.proxy) > size(b.proxy));
    // What does not depend on the rule is the same for all.
    let cluster = |proxy| {
        let name = "outbound|80||web.one.svc.cluster.local";
        let held = world.view(proxy).resource(ResourceType::Cluster, name);
        held.map(|it| it.value().as_ptr())
    };
    assert!(cluster(a.proxy).is_some());
    assert_eq!(cluster(a.proxy), cluster(b.proxy));
}
