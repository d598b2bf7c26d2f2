//! Random changes: following them gives what starting from their end gives.

use proptest::prelude::*;
use reef_config::Object;

use super::*;

/// One random change.
#[derive(Debug, Clone)]
enum Step {
    Service {
        at: usize,
        port: u16,
    },
    Gone(usize),
    Endpoints {
        at: usize,
        ips: Vec<u8>,
    },
    Scope {
        ns: usize,
        wide: bool,
    },
    NoScope(usize),
    /// A `PeerAuthentication` of a namespace, or of workloads in it.
    Mtls {
        ns: usize,
        app: Option<usize>,
        mode: usize,
        there: bool,
    },
    /// An `AuthorizationPolicy` of workloads.
    Closed {
        ns: usize,
        app: usize,
        there: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0usize..12, 80u16..83).prop_map(|(at, port)| Step::Service { at, port }),
        1 => (0usize..12).prop_map(Step::Gone),
        4 => (0usize..12, prop::collection::vec(1u8..9, 0..4)).prop_map(|(at, ips)| Step::Endpoints { at, ips }),
        1 => (0usize..3, any::<bool>()).prop_map(|(ns, wide)| Step::Scope { ns, wide }),
        1 => (0usize..3).prop_map(Step::NoScope),
        2 => (0usize..4, prop::option::of(0usize..4), 0usize..3, any::<bool>())
            .prop_map(|(ns, app, mode, there)| Step::Mtls { ns, app, mode, there }),
        1 => (0usize..4, 0usize..4, any::<bool>()).prop_map(|(ns, app, there)| Step::Closed { ns, app, there }),
    ]
}

/// The object a step is about, and its new text if it is not deleted.
fn text_of(step: &Step) -> (String, bool) {
    let place = |at: usize| (NAMES[at % 4], NAMESPACES[at / 4]);
    match step {
        Step::Service { at, port } => {
            let (name, ns) = place(*at);
            (
                service(name, ns, u8::try_from(*at).expect("small") + 1, *port),
                true,
            )
        }
        Step::Gone(at) => {
            let (name, ns) = place(*at);
            (service(name, ns, 1, 80), false)
        }
        Step::Endpoints { at, ips } => {
            let (name, ns) = place(*at);
            let mut ips = ips.clone();
            ips.sort_unstable();
            ips.dedup();
            (slice_to(name, ns, &ips, 6), true)
        }
        Step::Scope { ns, wide } => {
            let hosts: &[&str] = if *wide { &["./*", "two/*"] } else { &["./*"] };
            (sidecar(NAMESPACES[*ns], hosts), true)
        }
        Step::NoScope(ns) => (sidecar(NAMESPACES[*ns], &["./*"]), false),
        Step::Mtls {
            ns,
            app,
            mode,
            there,
        } => {
            let mode = ["DISABLE", "PERMISSIVE", "STRICT"][*mode];
            let (name, selector) = app.map_or(("all", String::new()), |app| {
                (
                    NAMES[app],
                    format!("selector: {{matchLabels: {{app: {}}}}}, ", NAMES[app]),
                )
            });
            let spec = format!("{selector}mtls: {{mode: {mode}}}");
            (policy("PeerAuthentication", name, *ns, &spec), *there)
        }
        Step::Closed { ns, app, there } => {
            let name = NAMES[*app];
            let spec = format!("selector: {{matchLabels: {{app: {name}}}}}, rules: [{{}}]");
            (policy("AuthorizationPolicy", name, *ns, &spec), *there)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Following changes gives what starting from the end gives; who is not in the plan did not change; whoever
    /// follows the log ends with the same.
    #[test]
    fn following_is_starting_anew(batches in prop::collection::vec(prop::collection::vec(step(), 1..4), 1..10)) {
        let start = two() + &pods();
        let mut world = World::new(&start);
        let mut last: BTreeMap<ObjectKey, Arc<Object>> =
            objects(&start).into_iter().map(|object| (object.key.clone(), object)).collect();
        let proxies: Vec<ProxyId> = nodes().into_iter().map(|node| world.engine.connect(node).proxy).collect();
        for batch in batches {
            let mut changes = Vec::new();
            for step in &batch {
                let (text, there) = text_of(step);
                for object in objects(&text) {
                    if there {
                        last.insert(object.key.clone(), Arc::clone(&object));
                        changes.push(Change::Apply(object));
                    } else {
                        last.remove(&object.key);
                        changes.push(Change::Delete(object.key.clone()));
                    }
                }
            }
            let before: Vec<_> = proxies.iter().map(|proxy| world.view(*proxy)).collect();
            let plan = world.change(changes);
            let mut fresh =
                World { index: MeshIndex::new("cluster.local"), engine: PushEngine::default() };
            fresh.change(last.values().map(|object| Change::Apply(Arc::clone(object))).collect());
            for ((proxy, node), before) in proxies.iter().zip(nodes()).zip(before) {
                let now = world.view(*proxy);
                let expected = fresh.engine.connect(node).view;
                prop_assert_eq!(everything(&now), everything(&expected));
                let told = plan.classes.iter().any(|(_, view)| Arc::ptr_eq(view, &now))
                    || plan.moved.iter().any(|(moved, _, view)| moved == proxy && Arc::ptr_eq(view, &now));
                let same_lineage = now.lineage() == before.lineage();
                if !told {
                    prop_assert!(same_lineage);
                    prop_assert_eq!(now.generation(), before.generation());
                    prop_assert_eq!(everything(&now), everything(&before));
                }
                if same_lineage {
                    let mut differing = BTreeSet::new();
                    for one in everything(&now).iter().chain(&everything(&before)) {
                        let (ty, name) = (one.resource_type(), one.name());
                        if now.resource(ty, name) != before.resource(ty, name) {
                            differing.insert((ty, Arc::clone(name)));
                        }
                    }
                    prop_assert_eq!(told, !differing.is_empty(), "a new generation has new bytes");
                    let logged = now.changed_since(before.generation()).expect("the last generation is logged");
                    prop_assert_eq!(logged.into_iter().collect::<BTreeSet<_>>(), differing);
                }
            }
        }
        world.engine.options.idle_classes = 0;
        for proxy in proxies {
            world.engine.disconnect(proxy);
        }
        prop_assert_eq!(world.engine.sizes(), Sizes::default());
    }
}
