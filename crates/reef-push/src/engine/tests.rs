//! Proxies, classes and pushes on small meshes.

use std::fmt::Write as _;

use reef_config::{Change, ChangeBatch, Kind, ObjectKey};
use reef_mesh::{Locality, MeshIndex, MetaValue};
use reef_testkit::objects;
use reef_xds::xds_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use reef_xds::{EncodedResource, ResourceType};

use super::*;
use crate::view::TYPES;

mod following;
mod networks;
mod parts;
mod routes;
mod rules;

/// An index and an engine that follows it.
struct World {
    index: MeshIndex,
    engine: PushEngine,
}

impl World {
    fn new(yaml: &str) -> Self {
        let mut world = Self {
            index: MeshIndex::new("cluster.local"),
            engine: PushEngine::default(),
        };
        world.apply(yaml);
        world
    }

    fn apply(&mut self, yaml: &str) -> PushPlan {
        let changes = objects(yaml).into_iter().map(Change::Apply);
        self.change(changes.collect())
    }

    fn change(&mut self, changes: Vec<Change>) -> PushPlan {
        match self.index.apply(ChangeBatch {
            changes,
            synced: true,
        }) {
            Some((snapshot, report)) => self.engine.apply(snapshot, &report),
            None => PushPlan::default(),
        }
    }

    fn connect(&mut self, pod: &str, ns: &str, app: &str) -> Connected {
        self.engine.connect(node(pod, ns, app, "10.9.0.1"))
    }

    fn view(&self, proxy: ProxyId) -> Arc<ClassView> {
        Arc::clone(self.engine.proxy(proxy).expect("connected").view)
    }
}

fn node(pod: &str, ns: &str, app: &str, ip: &str) -> ProxyNode {
    let labels = BTreeMap::from([("app".to_owned(), MetaValue::from(app))]);
    let metadata = BTreeMap::from([
        ("NAMESPACE".to_owned(), MetaValue::from(ns)),
        ("WORKLOAD_CERT".to_owned(), MetaValue::from("none")),
        ("LABELS".to_owned(), MetaValue::Map(labels.into())),
    ]);
    let id = format!("sidecar~{ip}~{pod}.{ns}~{ns}.svc.cluster.local");
    ProxyNode::parse(&id, metadata, Locality::default()).expect("a valid node")
}

/// A proxy whose agent has a certificate.
fn with_agent(pod: &str, ns: &str, app: &str) -> ProxyNode {
    let mut metadata = node(pod, ns, app, "10.9.0.2").metadata;
    metadata.insert("WORKLOAD_CERT", MetaValue::from("sds-grpc"));
    let id = format!("sidecar~10.9.0.2~{pod}.{ns}~{ns}.svc.cluster.local");
    ProxyNode::parse(&id, metadata, Locality::default()).expect("a valid node")
}

fn nodes() -> Vec<ProxyNode> {
    NAMESPACES
        .iter()
        .flat_map(|ns| ["a", "b"].map(|app| node(&format!("p-{app}"), ns, app, "10.9.0.1")))
        .chain([
            node("p-ip", "one", "none", "10.0.0.1"),
            with_agent("m-one", "one", "a"),
            with_agent("m-two", "two", "b"),
        ])
        .collect()
}

fn service(name: &str, ns: &str, vip: u8, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {ns}}}\nspec:\n  clusterIP: 172.16.0.{vip}\n  \
         selector: {{app: {name}}}\n  ports:\n  - {{name: http, port: {port}, targetPort: 8080}}\n---\n"
    )
}

fn slice(name: &str, ns: &str, ips: &[u8]) -> String {
    slice_to(name, ns, ips, 0)
}

/// A slice whose endpoints below a number are the pods of [`pods`].
fn slice_to(name: &str, ns: &str, ips: &[u8], pods: u8) -> String {
    let mut text = format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}-a\n  namespace: {ns}\n  \
         labels: {{kubernetes.io/service-name: {name}}}\naddressType: IPv4\nports:\n- {{name: http, port: 8080, protocol: TCP}}\n"
    );
    text.push_str("endpoints:");
    text.push_str(if ips.is_empty() { " []\n" } else { "\n" });
    for ip in ips {
        writeln!(
            text,
            "- addresses: [\"10.0.0.{ip}\"]\n  conditions: {{ready: true}}"
        )
        .expect("text");
        if *ip < pods {
            writeln!(
                text,
                "  targetRef: {{kind: Pod, name: w{ip}, namespace: {ns}}}"
            )
            .expect("text");
        }
    }
    text.push_str("---\n");
    text
}

fn sidecar(ns: &str, hosts: &[&str]) -> String {
    let hosts = hosts
        .iter()
        .map(|host| format!("'{host}'"))
        .collect::<Vec<_>>()
        .join(", ");
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: default, namespace: {ns}}}\nspec:\n  egress:\n  \
         - hosts: [{hosts}]\n---\n"
    )
}

const NAMESPACES: [&str; 3] = ["one", "two", "three"];
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A security policy; the root namespace follows the others.
fn policy(kind: &str, name: &str, ns: usize, spec: &str) -> String {
    let ns = NAMESPACES.get(ns).unwrap_or(&"istio-system");
    format!(
        "apiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {ns}}}\nspec: {{{spec}}}\n"
    )
}

/// Pods with a sidecar behind some of the endpoints steps make.
fn pods() -> String {
    let mut text = String::new();
    for ns in NAMESPACES {
        for ip in 1..6 {
            let app = NAMES[(ip - 1) % 4];
            write!(
                text,
                "apiVersion: v1\nkind: Pod\nmetadata:\n  name: w{ip}\n  namespace: {ns}\n  \
                 labels: {{app: {app}, security.istio.io/tlsMode: istio}}\nstatus: {{podIP: 10.0.0.{ip}}}\n---\n"
            )
            .expect("text");
        }
    }
    text
}

/// Two namespaces that see only themselves.
fn two() -> String {
    [
        service("a", "one", 1, 80),
        slice("a", "one", &[1, 2]),
        service("b", "two", 2, 80),
        slice("b", "two", &[3]),
        sidecar("one", &["./*"]),
        sidecar("two", &["./*"]),
    ]
    .concat()
}

fn everything(view: &ClassView) -> Vec<EncodedResource> {
    let mut all = Vec::new();
    for ty in TYPES {
        view.for_each(ty, &mut |resource| all.push(resource.clone()));
    }
    all
}

#[test]
fn equal_proxies_share_a_class_and_other_ones_do_not() {
    let mut world = World::new(&two());
    let first = world.connect("p1", "one", "a");
    let built = world.engine.resource_count();
    let second = world.engine.connect(node("p2", "one", "a", "10.9.0.2"));
    let other = world.connect("p3", "one", "none");
    assert_eq!(first.class, second.class);
    assert!(Arc::ptr_eq(&first.view, &second.view));
    assert_ne!(first.class, other.class);
    assert!(built > 0);
    let mine = first.view.resource(
        ResourceType::Endpoint,
        "outbound|80||a.one.svc.cluster.local",
    );
    let theirs = other.view.resource(
        ResourceType::Endpoint,
        "outbound|80||a.one.svc.cluster.local",
    );
    assert_eq!(
        mine.expect("there").value().as_ptr(),
        theirs.expect("there").value().as_ptr()
    );
    assert!(
        first
            .view
            .resource(
                ResourceType::Cluster,
                "outbound|80||b.two.svc.cluster.local"
            )
            .is_none()
    );
}

#[test]
fn an_endpoint_change_reaches_one_resource_of_those_who_import_it() {
    let mut world = World::new(&two());
    let one = world.connect("p1", "one", "a");
    let two = world.connect("p2", "two", "b");
    let plan = world.apply(&slice("a", "one", &[1, 7]));
    assert_eq!(
        plan.classes.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        [one.class]
    );
    assert_eq!(plan.stats.build.built, 1);
    assert_eq!(
        (plan.stats.scopes_resolved, plan.stats.classes_remade),
        (0, 0)
    );
    let view = &plan.classes[0].1;
    assert_eq!(view.lineage(), one.view.lineage());
    let name = Arc::from("outbound|80||a.one.svc.cluster.local");
    assert_eq!(
        view.changed_since(one.view.generation()),
        Some(vec![(ResourceType::Endpoint, name)])
    );
    assert!(
        Arc::ptr_eq(&world.view(two.proxy), &two.view),
        "an unaffected class keeps its view"
    );
    let assignment: ClusterLoadAssignment = view
        .resource(
            ResourceType::Endpoint,
            "outbound|80||a.one.svc.cluster.local",
        )
        .expect("there")
        .decode()
        .expect("decodes");
    assert_eq!(
        assignment
            .endpoints
            .iter()
            .map(|group| group.lb_endpoints.len())
            .sum::<usize>(),
        2
    );
}

#[test]
fn a_service_change_reaches_only_its_importers() {
    let mut world = World::new(&two());
    let one = world.connect("p1", "one", "a");
    let two = world.connect("p2", "two", "b");
    let plan = world.apply(&service("c", "one", 9, 81));
    assert_eq!(
        plan.classes.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        [one.class]
    );
    assert!(plan.moved.is_empty());
    let view = world.view(one.proxy);
    assert!(
        view.resource(
            ResourceType::Cluster,
            "outbound|81||c.one.svc.cluster.local"
        )
        .is_some()
    );
    assert!(Arc::ptr_eq(&world.view(two.proxy), &two.view));
    let key = ObjectKey {
        name: Arc::from("c"),
        ..objects(&service("c", "one", 9, 81))[0].key.clone()
    };
    assert_eq!(key.kind, Kind::Service);
    world.change(vec![Change::Delete(key)]);
    assert_eq!(everything(&world.view(one.proxy)), everything(&one.view));
}

#[test]
fn a_new_service_that_selects_the_pod_moves_its_proxy() {
    let mut world = World::new(&two());
    let lonely = world.connect("p1", "one", "c");
    let other = world.connect("p2", "one", "a");
    let plan = world.apply(&service("c", "one", 9, 81));
    assert_eq!(
        plan.moved
            .iter()
            .map(|(proxy, ..)| *proxy)
            .collect::<Vec<_>>(),
        [lonely.proxy]
    );
    let (_, class, view) = &plan.moved[0];
    assert_ne!(*class, lonely.class);
    assert_ne!(view.lineage(), lonely.view.lineage());
    assert!(
        view.resource(ResourceType::Cluster, "inbound|8080||")
            .is_some()
    );
    assert_eq!(
        world.engine.proxy(other.proxy).expect("connected").class,
        other.class
    );
}

#[test]
fn widening_a_scope_adds_and_removes_nothing() {
    let mut world = World::new(&two());
    let one = world.connect("p1", "one", "a");
    world.apply(&sidecar("one", &["./*", "two/*"]));
    let wide = world.view(one.proxy);
    for resource in everything(&one.view) {
        let ty = resource.resource_type();
        assert!(
            wide.resource(ty, resource.name()).is_some(),
            "{} is gone",
            resource.name()
        );
    }
    assert!(
        wide.resource(
            ResourceType::Cluster,
            "outbound|80||b.two.svc.cluster.local"
        )
        .is_some()
    );
}

#[test]
fn what_nobody_uses_is_dropped() {
    let mut world = World::new(&two());
    world.engine.options.idle_classes = 0;
    let one = world.connect("p1", "one", "a");
    let two = world.connect("p2", "two", "b");
    world.engine.disconnect(one.proxy);
    world.engine.disconnect(two.proxy);
    assert_eq!(world.engine.sizes(), Sizes::default());
}

#[test]
fn an_idle_class_is_kept_up_to_date_and_found_again() {
    let mut world = World::new(&two());
    let one = world.connect("p1", "one", "a");
    world.engine.disconnect(one.proxy);
    let plan = world.apply(&slice("a", "one", &[9]));
    assert!(plan.classes.is_empty(), "there is nobody to push to");
    let again = world.connect("p1", "one", "a");
    assert_eq!(again.class, one.class);
    let fresh = World::new(&(two() + &slice("a", "one", &[9]))).connect("p1", "one", "a");
    assert_eq!(everything(&again.view), everything(&fresh.view));
}

#[test]
fn what_does_not_exist_has_an_empty_form_where_envoy_would_wait() {
    let view = ClassView::default();
    let route = view.absent(ResourceType::Route, "81").expect("a route");
    assert_eq!(
        (route.resource_type(), &**route.name()),
        (ResourceType::Route, "81")
    );
    let assignment: ClusterLoadAssignment = view
        .absent(ResourceType::Endpoint, "x")
        .expect("an assignment")
        .decode()
        .expect("decodes");
    assert_eq!(
        (assignment.cluster_name.as_str(), assignment.endpoints.len()),
        ("x", 0)
    );
    assert!(view.absent(ResourceType::Cluster, "x").is_none());
}

#[test]
fn a_moved_node_is_seen_by_the_proxies_on_it_and_by_no_other() {
    let on = |zone: &str| {
        format!(
            "apiVersion: v1\nkind: Node\nmetadata:\n  name: n1\n  labels: {{topology.kubernetes.io/region: eu, \
             topology.kubernetes.io/zone: {zone}}}\n---\n"
        )
    };
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p1, namespace: one, labels: {app: a}}\n\
               spec: {nodeName: n1}\nstatus: {podIP: 10.9.0.1, phase: Running}\n---\n";
    let mut world = World::new(&(two() + &on("a") + pod));
    let one = world.connect("p1", "one", "a");
    world.connect("p2", "two", "b");
    let zone = |world: &World| {
        let known = world.engine.proxy(one.proxy).expect("connected");
        known.identity.locality.to_string()
    };
    assert_eq!(zone(&world), "eu/a");
    let plan = world.apply(&on("b"));
    assert_eq!(zone(&world), "eu/b");
    assert_eq!(plan.stats.proxies_checked, 1);
}

#[test]
fn an_endpoint_change_asks_no_proxy_but_those_at_its_addresses() {
    let mut world = World::new(&two());
    for number in 1..=20 {
        let ip = format!("10.9.0.{number}");
        world.engine.connect(node("p", "one", "a", &ip));
    }
    let here = world.engine.connect(node("q", "one", "a", "10.0.0.5"));
    let plan = world.apply(&slice("a", "one", &[1, 5]));
    assert_eq!(plan.stats.proxies_checked, 1, "{here:?}");
}

#[test]
fn a_peer_authentication_reaches_who_connects_to_its_namespace() {
    let text = two() + &service("a", "one", 40, 80) + &slice_to("a", "one", &[1], 6) + &pods();
    let mut world = World::new(&text);
    let near = world.engine.connect(with_agent("m-one", "one", "none"));
    let far = world.engine.connect(with_agent("m-two", "two", "none"));
    let name = "outbound|80||a.one.svc.cluster.local";
    let apply = |world: &mut World, text: &str| {
        let found = objects(text).into_iter();
        world.change(found.map(Change::Apply).collect())
    };
    // Of workloads: only the endpoints, and only for those who import them.
    let spec = "selector: {matchLabels: {app: a}}, mtls: {mode: DISABLE}";
    let before = world.view(near.proxy);
    let plan = apply(&mut world, &policy("PeerAuthentication", "a", 0, spec));
    let told: Vec<ClassId> = plan.classes.iter().map(|(class, _)| *class).collect();
    assert_eq!(told, [near.class]);
    let changed = world
        .view(near.proxy)
        .changed_since(before.generation())
        .expect("logged");
    assert_eq!(changed, [(ResourceType::Endpoint, Arc::from(name))]);
    // Of the namespace: the cluster, too.
    let before = world.view(near.proxy);
    let far_before = world.view(far.proxy);
    apply(
        &mut world,
        &policy("PeerAuthentication", "all", 0, "mtls: {mode: DISABLE}"),
    );
    let same_class = world.view(near.proxy).lineage() == before.lineage();
    let cluster = world.view(near.proxy).resource(ResourceType::Cluster, name);
    assert_ne!(cluster, before.resource(ResourceType::Cluster, name));
    assert!(
        !same_class,
        "its own chains differ as well, so it is another class"
    );
    assert_eq!(world.view(far.proxy).generation(), far_before.generation());
}

#[test]
fn a_class_made_while_its_shared_part_is_remade_is_told() {
    let mut world = World::new(&two());
    let nodes = nodes();
    let proxies: Vec<ProxyId> = nodes
        .iter()
        .map(|node| world.engine.connect(node.clone()).proxy)
        .collect();
    let key = |text: &str| objects(text)[0].key.clone();
    let (service, scope) = (service("a", "two", 5, 80), sidecar("two", &["./*"]));
    world.apply(&service);
    world.change(vec![Change::Delete(key(&scope))]);
    let before: Vec<_> = proxies.iter().map(|proxy| world.view(*proxy)).collect();
    let plan = world.change(vec![Change::Delete(key(&service))]);
    let mut fresh = World::new(&two());
    fresh.change(vec![Change::Delete(key(&scope))]);
    for ((proxy, node), before) in proxies.iter().zip(nodes).zip(before) {
        let now = world.view(*proxy);
        let expected = fresh.engine.connect(node).view;
        assert_eq!(everything(&now), everything(&expected));
        let told = plan
            .classes
            .iter()
            .map(|(_, view)| view)
            .chain(plan.moved.iter().map(|(.., view)| view))
            .any(|view| Arc::ptr_eq(view, &now));
        assert!(
            told || everything(&now) == everything(&before),
            "who differs is told"
        );
    }
}
