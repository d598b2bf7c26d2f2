//! The workload a node id names, as the mesh knows it; what the proxy says of the same is not listened to.

use std::net::IpAddr;
use std::sync::Arc;

use reef_identity::{NodeClaim, PodRecord};
use reef_mesh::{Address, Locality, MeshSnapshot, MetaValue, Pod, ProxyNode, WorkloadInstance};

/// What a proxy may not say of itself, for its Pod or WorkloadEntry says it.
const NOT_ITS_TO_SAY: [&str; 9] = [
    "CLUSTER_ID",
    "INSTANCE_IPS",
    "LABELS",
    "NAMESPACE",
    "NETWORK",
    "NODE_NAME",
    "POD_PORTS",
    "SERVICE_ACCOUNT",
    "STATIC_LABELS",
];

/// A workload of the mesh.
#[derive(Debug, Clone)]
pub(super) enum Found {
    /// A Pod.
    Pod(Arc<Pod>),
    /// A WorkloadEntry: a machine outside the cluster.
    Entry(Arc<WorkloadInstance>),
}

/// Finds the workload a node id names: the Pod of its name, else the WorkloadEntry of its namespace and address.
pub(super) fn find(snapshot: &MeshSnapshot, claim: &NodeClaim<'_>) -> Option<(PodRecord, Found)> {
    let namespace = claim.namespace.into();
    if let Some(pod) = snapshot.pod(&namespace, claim.name) {
        return (!pod.finished).then(|| (of_pod(pod), Found::Pod(Arc::clone(pod))));
    }
    let entry = snapshot.workload_entry_at(claim.ip, &namespace)?;
    Some((of_entry(entry), Found::Entry(Arc::clone(entry))))
}

fn of_pod(pod: &Pod) -> PodRecord {
    PodRecord {
        namespace: Arc::from(&*pod.namespace),
        name: Arc::clone(&pod.name),
        uid: pod.uid,
        service_account: Arc::clone(&pod.service_account),
        ips: pod.ips.clone(),
        host_network: pod.host_network,
        in_cluster: true,
    }
}

fn of_entry(entry: &WorkloadInstance) -> PodRecord {
    let ips: Vec<IpAddr> = match &entry.address {
        Address::Ip(ip) => vec![*ip],
        _ => Vec::new(),
    };
    PodRecord {
        namespace: Arc::from(&*entry.namespace),
        name: Arc::clone(&entry.object.name),
        uid: None,
        service_account: Arc::from(account(&entry.workload.service_account)),
        ips: ips.into(),
        host_network: false,
        in_cluster: false,
    }
}

/// The account of a SPIFFE identity, or the text itself where it is none.
fn account(identity: &str) -> &str {
    identity
        .rsplit_once("/sa/")
        .map_or(identity, |(_, account)| account)
}

impl Found {
    /// Puts what is known in the place of what the proxy says.
    pub(super) fn overrule(&self, record: &PodRecord, node: &mut ProxyNode) {
        for key in NOT_ITS_TO_SAY {
            node.metadata.remove(key);
        }
        node.namespace = (&*record.namespace).into();
        node.pod = Some(((&*record.namespace).into(), Arc::clone(&record.name)));
        node.ips.clone_from(&record.ips);
        node.locality = Locality::default();
        let mut say = |key: &str, value: MetaValue| {
            node.metadata.insert(key, value);
        };
        say("SERVICE_ACCOUNT", MetaValue::from(&*record.service_account));
        let network = match self {
            Self::Pod(pod) => &pod.network,
            Self::Entry(entry) => &entry.network,
        };
        if !network.is_empty() {
            say("NETWORK", MetaValue::from(&**network));
        }
        if let Self::Pod(pod) = self {
            if let Some(name) = &pod.node {
                say("NODE_NAME", MetaValue::from(&**name));
            }
            if !pod.ports.is_empty() {
                let ports = pod.ports.iter().map(port).collect();
                say("POD_PORTS", MetaValue::List(ports));
            }
        }
    }
}

fn port((name, number): &(Arc<str>, u16)) -> MetaValue {
    MetaValue::Map(
        [
            ("name", MetaValue::from(&**name)),
            ("containerPort", MetaValue::Number(f64::from(*number))),
        ]
        .into(),
    )
}
