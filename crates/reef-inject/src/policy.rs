//! Which pods get a sidecar: Istio's labels and annotations, for one revision.

use std::collections::BTreeMap;
use std::fmt;

use reef_config::proxy_config::MeshProxyConfig;

use crate::pod::Pod;
use crate::{PROXY_CONTAINER, STATUS, Settings};

/// Label of namespaces and pods that names a revision.
const REVISION: &str = "istio.io/rev";
/// Label of namespaces from before there were revisions.
const INJECTION: &str = "istio-injection";
/// Label and annotation of a pod.
const INJECT: &str = "sidecar.istio.io/inject";

/// Where a pod is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place<'a> {
    /// Its namespace, if known.
    pub namespace: Option<&'a str>,
    /// The labels of that namespace. `None`: somebody else has looked at them, as the API server does by the selectors
    /// of a webhook.
    pub namespace_labels: Option<&'a BTreeMap<String, String>>,
    /// Name of the workload whose template this is, if it is one.
    pub workload: Option<&'a str>,
    /// What the mesh says of its proxy, if there is a mesh to ask.
    pub mesh: Option<&'a MeshSays>,
}

/// What the mesh says of the proxy of one pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MeshSays {
    /// What the pod's annotation lies over: the defaults of the mesh and of the namespace.
    pub under: MeshProxyConfig,
    /// What lies over the annotation: an object that selects the pod.
    pub over: MeshProxyConfig,
}

/// Why a pod stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// It uses the network of its node, whose traffic is not the pod's to take.
    HostNetwork,
    /// It does not run on Linux.
    OtherSystem,
    /// Its namespace is one of the cluster's own.
    SystemNamespace,
    /// It has been injected, or brings a container `istio-proxy` of its own.
    HasSidecar,
    /// It says so by label or annotation.
    NotWanted,
    /// Its namespace belongs to another revision, or to Istio's default one.
    OtherRevision,
    /// Neither it nor its namespace names this revision.
    NotSelected,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HostNetwork => "it uses the network of its node",
            Self::OtherSystem => "it does not run on Linux",
            Self::SystemNamespace => "its namespace is never injected",
            Self::HasSidecar => "it has a sidecar",
            Self::NotWanted => "sidecar.istio.io/inject says no",
            Self::OtherRevision => "its namespace belongs to another revision",
            Self::NotSelected => "neither it nor its namespace names this revision",
        })
    }
}

/// The reason to leave a pod alone, if there is one.
pub(crate) fn skip(pod: &Pod<'_>, place: &Place<'_>, settings: &Settings) -> Option<Skip> {
    if pod.is_true("hostNetwork") {
        return Some(Skip::HostNetwork);
    }
    if pod.system().is_some_and(|system| system != "linux") {
        return Some(Skip::OtherSystem);
    }
    let is_excluded = |namespace| settings.excluded_namespaces.contains(namespace);
    if place.namespace.is_some_and(is_excluded) {
        return Some(Skip::SystemNamespace);
    }
    let is_proxy = |name: &str| name == PROXY_CONTAINER;
    if pod.annotations.contains_key(STATUS)
        || pod.all_containers().any(|(_, _, c)| is_proxy(c.name))
    {
        return Some(Skip::HasSidecar);
    }
    // The label wins: it is what the API server selects by.
    let wish = pod.labels.get(INJECT).or(pod.annotations.get(INJECT));
    if wish.is_some_and(|wish| !wish.is_empty() && !is_yes(wish)) {
        return Some(Skip::NotWanted);
    }
    selected(pod, place.namespace_labels?, settings).err()
}

/// As Istio's selectors do: a namespace's revision decides, then a pod's.
fn selected(
    pod: &Pod<'_>,
    namespace: &BTreeMap<String, String>,
    settings: &Settings,
) -> Result<(), Skip> {
    let ours = settings.revision.as_str();
    match namespace.get(INJECTION).map(String::as_str) {
        None => {}
        Some("disabled") => return Err(Skip::NotWanted),
        // Istio's default revision answers for such a namespace, whatever else it is labelled with.
        Some(_) => return Err(Skip::OtherRevision),
    }
    match namespace.get(REVISION) {
        Some(revision) if revision == ours => Ok(()),
        Some(_) => Err(Skip::OtherRevision),
        None if pod.labels.get(REVISION) == Some(&ours) => Ok(()),
        None => Err(Skip::NotSelected),
    }
}

fn is_yes(text: &str) -> bool {
    ["y", "yes", "true", "on"]
        .iter()
        .any(|yes| text.eq_ignore_ascii_case(yes))
}
