//! From text to what proxies get: the rooms in a row, as the product joins them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use reef_config::{Change, ChangeBatch, Object, Origin, parse};
use reef_gen::ClassInput;
use reef_mesh::{Locality, MeshIndex, MeshSnapshot, MetaValue, ProxyIdentity, ProxyNode, identify};
use reef_xds::{EncodedResource, ResourceType, XdsResource};

/// The usable objects of a text, in its order.
pub fn objects(text: &[u8]) -> Vec<Arc<Object>> {
    let Ok(documents) = parse::documents(text) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for document in documents {
        let origin = Origin {
            path: Arc::from("fuzz.yaml"),
            line: document.line,
        };
        let parsed = parse::object(document.text, &origin);
        for problem in &parsed.problems {
            assert!(!problem.to_string().is_empty());
        }
        found.extend(parsed.objects.into_iter().map(Arc::new));
    }
    found
}

/// The committed seeds of `objects`, of two with one key the later.
pub static SEEDS: LazyLock<Vec<Arc<Object>>> = LazyLock::new(|| {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/objects");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .map(|entries| {
            entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .collect()
        })
        .unwrap_or_default();
    files.sort();
    let found: BTreeMap<_, _> = files
        .iter()
        .filter_map(|file| std::fs::read(file).ok())
        .flat_map(|text| objects(&text))
        .map(|object| (object.key.clone(), object))
        .collect();
    found.into_values().collect()
});

/// The seeds as changes.
pub fn seeds() -> Vec<Change> {
    SEEDS.iter().cloned().map(Change::Apply).collect()
}

/// A batch that ends the initial list.
pub fn batch(changes: Vec<Change>) -> ChangeBatch {
    ChangeBatch {
        changes,
        synced: true,
    }
}

/// The snapshot of these objects in one batch.
pub fn snapshot(objects: &[Arc<Object>]) -> Arc<MeshSnapshot> {
    let mut index = MeshIndex::new("cluster.local");
    index.apply(batch(objects.iter().cloned().map(Change::Apply).collect()));
    for problem in index.problems() {
        assert!(!problem.to_string().is_empty());
    }
    Arc::clone(index.snapshot())
}

/// Proxies whose view is asked for: in namespaces and with addresses that seeds use, one without a Pod.
pub fn nodes() -> Vec<ProxyNode> {
    [
        ("10.1.0.10", "cart-1", "shop", "n1"),
        ("10.1.0.20", "ledger-1", "stock", ""),
        ("10.9.9.9", "nobody", "default", ""),
    ]
    .into_iter()
    .filter_map(|(ip, pod, namespace, network)| {
        let id = format!("sidecar~{ip}~{pod}.{namespace}~{namespace}.svc.cluster.local");
        let mut metadata = BTreeMap::from([("WORKLOAD_CERT".to_owned(), MetaValue::from("none"))]);
        if !network.is_empty() {
            metadata.insert("NETWORK".to_owned(), MetaValue::from(network));
        }
        ProxyNode::parse(&id, metadata, Locality::default()).ok()
    })
    .collect()
}

/// Resources by type and name.
pub type Resources = BTreeMap<(ResourceType, Arc<str>), EncodedResource>;

/// Everything one proxy gets.
///
/// # Panics
/// If two resources of a type have one name, or an equal key gives other bytes.
pub fn resources(snapshot: &Arc<MeshSnapshot>, proxy: &ProxyIdentity) -> Resources {
    let id = reef_scope::select(snapshot, proxy);
    let scope = reef_scope::resolve(snapshot, &id);
    for scoped in &scope.services {
        assert!(
            !scoped.reasons.is_empty(),
            "{}: in scope without a reason",
            scoped.service.key
        );
    }
    let facts = reef_gen::facts(snapshot, &scope, proxy);
    let targets = snapshot.service_targets(proxy);
    let input = ClassInput::new(Arc::clone(snapshot), scope, facts, targets);
    let mut found = Resources::new();
    for key in reef_gen::cluster_keys(&input) {
        add(&mut found, key.name(), || reef_gen::build_cluster(&key).0);
    }
    for key in reef_gen::endpoint_keys(&input) {
        add(&mut found, key.name(), || reef_gen::build_endpoints(&key));
    }
    for key in reef_gen::listener_keys(&input) {
        add(&mut found, key.name(), || reef_gen::build_listener(&key).0);
    }
    for key in reef_gen::route_keys(&input) {
        add(&mut found, key.name(), || reef_gen::build_route(&key).0);
    }
    for problem in reef_gen::problems(&input) {
        assert!(!problem.to_string().is_empty());
    }
    found
}

fn add<R: XdsResource>(found: &mut Resources, name: Arc<str>, build: impl Fn() -> R) {
    let made = EncodedResource::encode(Arc::clone(&name), &build());
    let again = EncodedResource::encode(Arc::clone(&name), &build());
    assert_eq!(
        made.version(),
        again.version(),
        "{name}: one key, two contents"
    );
    let before = found.insert((R::TYPE, Arc::clone(&name)), made);
    assert!(
        before.is_none(),
        "two {:?} resources are named {name}",
        R::TYPE
    );
}

/// What every proxy of [`nodes`] gets.
pub fn everything(snapshot: &Arc<MeshSnapshot>) -> Vec<Resources> {
    nodes()
        .iter()
        .map(|node| resources(snapshot, &identify(snapshot, node)))
        .collect()
}

/// Asserts that two meshes are one to the proxies.
pub fn assert_same(left: &Arc<MeshSnapshot>, right: &Arc<MeshSnapshot>, claim: &str) {
    let keys = |snapshot: &Arc<MeshSnapshot>| -> Vec<String> {
        snapshot
            .services()
            .map(|service| format!("{service:?} {:?}", snapshot.endpoints(&service.key)))
            .collect()
    };
    for (left, right) in keys(left).iter().zip(&keys(right)) {
        assert_eq!(left, right, "{claim}");
    }
    assert_eq!(left.service_count(), right.service_count(), "{claim}");
    for (left, right) in everything(left).iter().zip(&everything(right)) {
        let names = |all: &Resources| all.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(left), names(right), "{claim}");
        for (key, resource) in left {
            assert_eq!(
                Some(resource.version()),
                right.get(key).map(EncodedResource::version),
                "{claim}: {key:?}"
            );
        }
    }
}
