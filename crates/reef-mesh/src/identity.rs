//! Who a proxy is: what it says about itself, resolved against the mesh.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use reef_config::Labels;
use reef_config::names::{ClusterId, Namespace};
use reef_config::proxy_config::MeshProxyConfig;

use crate::{Locality, MeshSnapshot, Pod, ProxyKind, ProxyNode, ProxySettings};

/// Which IP families a proxy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpMode {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// Both.
    Dual,
}

impl Interception {
    /// The mode of this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "REDIRECT" => Some(Self::Redirect),
            "TPROXY" => Some(Self::Tproxy),
            "NONE" => Some(Self::None),
            _ => None,
        }
    }
}

impl IpMode {
    /// The mode of a proxy with these addresses.
    #[must_use]
    pub fn of(ips: &[IpAddr]) -> Self {
        match (
            ips.iter().any(IpAddr::is_ipv4),
            ips.iter().any(IpAddr::is_ipv6),
        ) {
            (true, true) => Self::Dual,
            (false, true) => Self::V6,
            _ => Self::V4,
        }
    }
}

/// How traffic gets into the proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interception {
    /// iptables REDIRECT.
    #[default]
    Redirect,
    /// iptables TPROXY.
    Tproxy,
    /// Not at all: clients connect to the proxy's own ports.
    None,
}

/// Whether and how the proxy gets its workload certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadCert {
    /// It has none: no transport socket may refer to one.
    None,
    /// From the `sds-grpc` cluster of its bootstrap.
    SdsGrpc,
}

/// A proxy as the mesh sees it. Facts come from its pod if there is one, else from its metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxyIdentity {
    /// Role.
    pub kind: ProxyKind,
    /// Node id.
    pub id: Arc<str>,
    /// Namespace whose configuration applies.
    pub namespace: Namespace,
    /// Labels of the workload, topology labels included.
    pub labels: Labels,
    /// Service account name; empty if nobody told.
    pub service_account: Arc<str>,
    /// Locality.
    pub locality: Locality,
    /// Network; empty is the default network.
    pub network: Arc<str>,
    /// Cluster.
    pub cluster: ClusterId,
    /// Addresses; never empty.
    pub ips: Box<[IpAddr]>,
    /// IP families.
    pub ip_mode: IpMode,
    /// Interception.
    pub interception: Interception,
    /// Workload certificate.
    pub workload_cert: WorkloadCert,
    /// Node it runs on.
    pub node_name: Option<Arc<str>>,
    /// `<namespace>.svc.<cluster domain>`.
    pub dns_domain: Arc<str>,
    /// Networks whose endpoints it wants, sorted; empty means all.
    pub network_view: Box<[Arc<str>]>,
    /// Its settings: metadata `PROXY_CONFIG`, else the mesh's with the root namespace's, its
    /// namespace's and its own `ProxyConfig` laid over them.
    pub settings: Arc<ProxySettings>,
    /// Container ports it tells of itself: name and number.
    pub pod_ports: Box<[(Arc<str>, u16)]>,
    /// Its pod, if the mesh knows it.
    pub pod: Option<Arc<Pod>>,
    /// Metadata, as it sent it.
    pub metadata: Arc<ProxyNode>,
}

/// The first of these addresses that others can route to.
#[must_use]
pub fn first_routable(ips: &[IpAddr]) -> Option<IpAddr> {
    let routable = |ip: &&IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_link_local() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    };
    let never = |ip: &IpAddr| ip.is_unspecified() || ip.is_loopback() || ip.is_multicast();
    ips.iter().filter(routable).find(|ip| !never(ip)).copied()
}

impl ProxyIdentity {
    /// Text of a metadata key; empty text counts as absent.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.metadata.text(key)
    }

    /// The first address others can route to, to which a `Sidecar`'s ingress listeners are bound
    /// unless they name one.
    #[must_use]
    pub fn routable_ip(&self) -> Option<IpAddr> {
        first_routable(&self.ips)
    }

    /// True if a metadata key is `true` or `"true"`.
    #[must_use]
    pub fn flag(&self, key: &str) -> bool {
        self.metadata.flag(key)
    }
}

/// Resolves a node against a snapshot.
#[must_use]
pub fn identify(snapshot: &MeshSnapshot, node: &ProxyNode) -> ProxyIdentity {
    identify_shared(snapshot, &Arc::new(node.clone()))
}

/// As [`identify`], for a node that is held already: the identity shares it.
#[must_use]
pub fn identify_shared(snapshot: &MeshSnapshot, node: &Arc<ProxyNode>) -> ProxyIdentity {
    let pod = node
        .pod
        .as_ref()
        .and_then(|(ns, name)| snapshot.pod(ns, name))
        .cloned();
    let entry = if pod.is_none() {
        node.ips
            .first()
            .and_then(|ip| snapshot.workload_entry_at(*ip, &node.namespace))
    } else {
        None
    };
    let own_labels = match (&pod, entry) {
        (Some(pod), _) => overlaid(&node.labels("STATIC_LABELS"), &pod.labels),
        (None, Some(entry)) => overlaid(&node.labels("STATIC_LABELS"), &entry.labels),
        (None, None) => node.labels("LABELS"),
    };
    let told = match (&pod, entry) {
        (Some(pod), _) => Some(&pod.locality),
        (None, Some(entry)) => Some(&entry.locality),
        (None, None) => None,
    };
    let locality = locality(snapshot, node, told.map(|told| &**told), &own_labels);
    let node_name: Option<Arc<str>> = node
        .text("NODE_NAME")
        .map(Arc::from)
        .or_else(|| pod.as_ref()?.node.clone());
    let cluster = node
        .text("CLUSTER_ID")
        .map_or_else(|| snapshot.settings().cluster.clone(), ClusterId::from);
    let network: Arc<str> = node.text("NETWORK").map(Arc::from).unwrap_or_default();
    let labels = with_topology(
        &own_labels,
        &locality,
        &cluster,
        node_name.as_deref(),
        &network,
    );
    let service_account = pod
        .as_ref()
        .map(|pod| pod.service_account.clone())
        .or_else(|| node.text("SERVICE_ACCOUNT").map(Arc::from))
        .unwrap_or_default();
    let mut network_view: Vec<Arc<str>> = node
        .text("REQUESTED_NETWORK_VIEW")
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|network| !network.is_empty())
        .map(Arc::from)
        .collect();
    network_view.sort();
    network_view.dedup();
    // Who it says it is counts only where nothing better is known.
    let namespace = pod
        .as_ref()
        .map_or(&node.namespace, |pod| &pod.namespace)
        .clone();
    let settings = settings(snapshot, node, &namespace, pod.as_deref(), &labels);
    ProxyIdentity {
        kind: node.kind,
        id: node.id.clone(),
        namespace,
        labels,
        service_account,
        locality,
        network,
        cluster,
        ip_mode: IpMode::of(&node.ips),
        ips: node.ips.clone(),
        interception: interception(node, pod.as_deref(), &settings),
        settings,
        workload_cert: workload_cert(node),
        node_name,
        dns_domain: node.dns_domain.clone(),
        network_view: network_view.into(),
        pod_ports: node.pod_ports().into(),
        pod,
        metadata: Arc::clone(node),
    }
}

/// What the proxy says; else the annotation of its pod, which the injector reads; else its settings.
fn interception(node: &ProxyNode, pod: Option<&Pod>, settings: &ProxySettings) -> Interception {
    node.text("INTERCEPTION_MODE")
        .map(|mode| Interception::parse(mode).unwrap_or_default())
        .or_else(|| pod?.interception)
        .unwrap_or(settings.interception)
}

fn settings(
    snapshot: &MeshSnapshot,
    node: &ProxyNode,
    namespace: &Namespace,
    pod: Option<&Pod>,
    labels: &Labels,
) -> Arc<ProxySettings> {
    if let Some(own) = &node.settings {
        return Arc::new(ProxySettings::new(own));
    }
    let mesh = snapshot.settings();
    let (below, above) = objects(snapshot, namespace, labels);
    let annotated = pod.and_then(|pod| pod.proxy_config.as_deref().cloned());
    let [root, own] = below;
    let layers = [root, own, annotated, above];
    if layers.iter().all(Option::is_none) {
        return mesh.proxy.clone();
    }
    let mut merged = mesh.config.default_config.clone();
    for layer in layers.iter().flatten() {
        merged.overlay(layer);
    }
    Arc::new(ProxySettings::new(&merged))
}

/// What `ProxyConfig` objects say of a workload: those of the root and of its own namespace, which its pod's annotation
/// lies over, and the one that selects it, which lies over the annotation.
///
/// Of each level the oldest object counts. One with a selector in the root namespace is for workloads of that namespace
/// only.
fn objects(
    snapshot: &MeshSnapshot,
    own: &Namespace,
    labels: &Labels,
) -> ([Option<MeshProxyConfig>; 2], Option<MeshProxyConfig>) {
    let root = &snapshot.settings().root_namespace;
    let level = |namespace: &Namespace, selected: bool| {
        let found = snapshot.proxy_configs(namespace).iter().find(|rule| {
            let selector = rule.spec.selector.as_ref();
            let labels_of = selector.map(|selector| &selector.labels);
            match labels_of.filter(|wanted| !wanted.is_empty()) {
                Some(wanted) => selected && wanted.selects(labels),
                None => !selected,
            }
        });
        found.map(|rule| MeshProxyConfig::of_object(&rule.spec))
    };
    let own_level = (own != root).then(|| level(own, false));
    ([level(root, false), own_level.flatten()], level(own, true))
}

/// What the mesh says of a workload's proxy before there is one, for who makes its pod: what the pod's annotation lies
/// over, and what lies over that.
#[must_use]
pub fn settings_around_annotation(
    snapshot: &MeshSnapshot,
    namespace: &Namespace,
    labels: &Labels,
) -> (MeshProxyConfig, MeshProxyConfig) {
    let (below, above) = objects(snapshot, namespace, labels);
    let mut under = snapshot.settings().config.default_config.clone();
    for layer in below.iter().flatten() {
        under.overlay(layer);
    }
    (under, above.unwrap_or_default())
}

/// An Istio agent's bootstrap always has the SDS cluster; a plain Envoy's only if it says so.
fn workload_cert(node: &ProxyNode) -> WorkloadCert {
    match node.text("WORKLOAD_CERT") {
        Some("sds-grpc") => WorkloadCert::SdsGrpc,
        Some(_) => WorkloadCert::None,
        None if node.text("ISTIO_VERSION").is_some() => WorkloadCert::SdsGrpc,
        None => WorkloadCert::None,
    }
}

fn locality(
    snapshot: &MeshSnapshot,
    node: &ProxyNode,
    told: Option<&Locality>,
    labels: &Labels,
) -> Locality {
    if let Some(told) = told.filter(|told| !told.is_empty()) {
        return told.clone();
    }
    if let Some(label) = locality_label(labels) {
        return label;
    }
    let by_node = node.text("NODE_NAME").and_then(|name| snapshot.node(name));
    match by_node {
        Some(info) if !info.locality.is_empty() => (*info.locality).clone(),
        _ => node.locality.clone(),
    }
}

/// Locality a workload's label tells; `.` is read as `/` unless `/` is there already.
pub(crate) fn locality_label(labels: &Labels) -> Option<Locality> {
    let text = labels
        .get("topology.istio.io/locality")
        .or_else(|| labels.get("istio-locality"))
        .filter(|text| !text.is_empty())?;
    Some(if text.contains('/') {
        Locality::parse(text)
    } else {
        Locality::parse(&text.replace('.', "/"))
    })
}

/// Returns `base` with `over` laid over it.
pub(crate) fn overlaid(base: &Labels, over: &Labels) -> Labels {
    if base.is_empty() {
        return over.clone();
    }
    if over.is_empty() {
        return base.clone();
    }
    base.iter()
        .chain(over.iter())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn with_topology(
    labels: &Labels,
    locality: &Locality,
    cluster: &ClusterId,
    node_name: Option<&str>,
    network: &str,
) -> Labels {
    let mut all: BTreeMap<Arc<str>, Arc<str>> = labels
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let mut set = |key: &str, value: &str| {
        if !value.is_empty() {
            all.insert(Arc::from(key), Arc::from(value));
        }
    };
    set("topology.kubernetes.io/region", &locality.region);
    set("topology.kubernetes.io/zone", &locality.zone);
    set("topology.istio.io/subzone", &locality.subzone);
    set("topology.istio.io/cluster", cluster);
    set("kubernetes.io/hostname", node_name.unwrap_or_default());
    if !network.is_empty() {
        all.entry(Arc::from("topology.istio.io/network"))
            .or_insert_with(|| Arc::from(network));
    }
    Labels::from(all)
}
