//! What imagined proxies show, and how much is held for them.

use std::fmt::Write as _;

use reef_config::{Kind, ObjectKey};

use super::*;
use crate::mesh::tests::snapshot;

const NAMESPACES: usize = 12;

/// Namespaces of two services and three pods, two of which are alike, and a rule in each that is for its own proxies
/// only and leads nowhere.
fn mesh() -> Arc<MeshSnapshot> {
    let mut yaml = String::new();
    for n in 0..NAMESPACES {
        for (m, app) in ["a", "b"].into_iter().enumerate() {
            write!(
                yaml,
                "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {app}, namespace: ns-{n}}}\nspec:\n  \
                 clusterIP: 10.96.{n}.{m}\n  selector: {{app: {app}}}\n  ports: [{{name: http, port: 80}}]\n"
            )
            .unwrap();
        }
        for (m, app) in ["a", "a", "b"].into_iter().enumerate() {
            write!(
                yaml,
                "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {app}-{m}, namespace: ns-{n}, labels: {{app: {app}}}}}\n\
                 spec: {{nodeName: node}}\nstatus: {{phase: Running, podIP: 10.1.{n}.{m}}}\n"
            )
            .unwrap();
        }
        write!(
            yaml,
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: lost, namespace: ns-{n}}}\n\
             spec:\n  hosts: [a]\n  exportTo: ['.']\n  http: [{{route: [{{destination: {{host: nowhere}}}}]}}]\n"
        )
        .unwrap();
    }
    snapshot(&yaml)
}

fn nodes(snapshot: &MeshSnapshot) -> Vec<ProxyNode> {
    let mut pods: Vec<&Arc<Pod>> = snapshot.pods().collect();
    pods.sort_by_key(|pod| (&pod.namespace, &pod.name));
    let nodes = pods.into_iter().map(|pod| of_pod(pod, "cluster.local"));
    nodes.map(Option::unwrap).collect()
}

#[test]
fn the_same_is_found_whatever_is_kept_and_less_is_held() {
    let snapshot = mesh();
    let look = |keep| find(&snapshot, nodes(&snapshot).into_iter(), keep, || true).unwrap();
    let (all, few, least) = (
        look(Keep::Everything),
        look(Keep::Bytes(usize::MAX)),
        look(Keep::Bytes(0)),
    );
    let objects: BTreeSet<ObjectKey> = all
        .problems
        .iter()
        .filter(|problem| problem.code == "IST0101")
        .filter_map(|problem| problem.object.clone())
        .collect();
    let lost = |n| ObjectKey::new(Kind::VirtualService, format!("ns-{n}"), "lost");
    assert_eq!(objects, (0..NAMESPACES).map(lost).collect());
    for other in [&few, &least] {
        assert_eq!(other.problems, all.problems);
        assert_eq!(other.classes, 2 * NAMESPACES);
    }
    assert_eq!(all.classes, 2 * NAMESPACES);
    assert!(
        few.most_bytes * 2 < all.most_bytes,
        "{} of {} bytes",
        few.most_bytes,
        all.most_bytes
    );
    assert!(least.most_bytes <= few.most_bytes);
}

#[test]
fn nothing_is_found_where_it_was_told_to_end() {
    let snapshot = mesh();
    let mut left = 7;
    let goes_on = || {
        left -= 1;
        left > 0
    };
    let nodes = nodes(&snapshot).into_iter();
    assert!(find(&snapshot, nodes, Keep::Bytes(0), goes_on).is_none());
    assert_eq!(left, 0, "nobody is asked after the end");
}
