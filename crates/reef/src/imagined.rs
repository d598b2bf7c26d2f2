//! Proxies that are imagined, so that what is wrong shows although they are not connected here: `reef check` looks at
//! all of them at once, the leader among replicas at a few at a time.

#[cfg(test)]
mod tests;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reef_config::{Namespace, Problem};
use reef_mesh::{ChangeReport, Locality, MeshSnapshot, MetaValue, Pod, ProxyNode};
use reef_push::{ClassId, Connected, ProxyId, PushEngine, PushOptions};

/// How much is held of what the proxies would be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Everything until the end.
    Everything,
    /// The resources of one namespace, and of these not many more bytes than this.
    Bytes(usize),
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// What is wrong with what the proxies would be sent.
    pub(crate) problems: BTreeSet<Problem>,
    /// Classes of proxies; those that were forgotten and came again count again.
    pub(crate) classes: usize,
    /// The most encoded bytes that were held.
    pub(crate) most_bytes: usize,
}

/// Looks at what proxies would be sent. Those of a namespace had better come together. `None` if `goes_on` says no,
/// which is asked before each proxy.
pub(crate) fn find(
    snapshot: &Arc<MeshSnapshot>,
    nodes: impl Iterator<Item = ProxyNode>,
    keep: Keep,
    mut goes_on: impl FnMut() -> bool,
) -> Option<Found> {
    let room = match keep {
        Keep::Everything => usize::MAX,
        Keep::Bytes(bytes) => bytes,
    };
    // The class that was left last stays, so that what all have in common is not made again for each namespace.
    let mut engine = PushEngine::new(PushOptions { idle_classes: 1 });
    engine.apply(Arc::clone(snapshot), &ChangeReport::default());
    let mut found = Found::default();
    let mut held: BTreeMap<ClassId, ProxyId> = BTreeMap::new();
    let mut namespace: Option<Namespace> = None;
    for node in nodes {
        if !goes_on() {
            return None;
        }
        let next = namespace.as_ref() != Some(&node.namespace);
        let full = held.len() > 1 && engine.sizes().resource_bytes > room;
        if (next && keep != Keep::Everything) || full {
            found.gather(&mut engine, &mut held);
        }
        namespace = Some(node.namespace.clone());
        let Connected { proxy, class, .. } = engine.connect(node);
        match held.entry(class) {
            Entry::Vacant(free) => {
                free.insert(proxy);
            }
            // One of each class is enough.
            Entry::Occupied(_) => engine.disconnect(proxy),
        }
        found.most_bytes = found.most_bytes.max(engine.sizes().resource_bytes);
    }
    found.gather(&mut engine, &mut held);
    found.problems.extend(reef_gen::policy_problems(snapshot));
    Some(found)
}

impl Found {
    /// Asks the classes that are held, and forgets them.
    fn gather(&mut self, engine: &mut PushEngine, held: &mut BTreeMap<ClassId, ProxyId>) {
        if held.is_empty() {
            return;
        }
        self.classes += held.len();
        self.problems.append(&mut engine.problems_of_classes());
        for proxy in std::mem::take(held).into_values() {
            engine.disconnect(proxy);
        }
    }
}

/// The proxy of a pod that says nothing of itself. `None` if the pod has no address.
pub(crate) fn of_pod(pod: &Pod, domain: &str) -> Option<ProxyNode> {
    let ip = pod.ips.first()?.to_string();
    imagined(&pod.namespace, &pod.name, &ip, domain, BTreeMap::new())
}

/// The proxy of a pod that says that it has a certificate.
pub(crate) fn of_certified_pod(pod: &Pod, domain: &str) -> Option<ProxyNode> {
    let ip = pod.ips.first()?.to_string();
    let certificate = ("WORKLOAD_CERT".to_owned(), MetaValue::from("sds-grpc"));
    let says = BTreeMap::from([certificate]);
    imagined(&pod.namespace, &pod.name, &ip, domain, says)
}

/// The proxy of a workload that is like no pod.
pub(crate) fn in_namespace(namespace: &Namespace, domain: &str) -> Option<ProxyNode> {
    imagined(
        namespace,
        "reef-check",
        "192.0.2.1",
        domain,
        BTreeMap::new(),
    )
}

fn imagined(
    namespace: &Namespace,
    pod: &str,
    ip: &str,
    domain: &str,
    says: BTreeMap<String, MetaValue>,
) -> Option<ProxyNode> {
    let id = format!("sidecar~{ip}~{pod}.{namespace}~{namespace}.svc.{domain}");
    // An odd namespace name makes no node id; the objects in it have their own problem.
    ProxyNode::parse(&id, says, Locality::default()).ok()
}
