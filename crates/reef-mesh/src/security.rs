//! Which security rules hold for a workload: the result of selection and inheritance, no more.

use std::sync::Arc;

use reef_config::names::Namespace;
use reef_config::{Labels, ObjectKey, istio};

use crate::{MeshSnapshot, Rule};

/// What a workload accepts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MtlsMode {
    /// Mesh mTLS and plain text.
    #[default]
    Permissive,
    /// Mesh mTLS only.
    Strict,
    /// Plain text only.
    Disable,
}

impl MtlsMode {
    /// The mode a rule sets; `None` if it leaves it to the next level.
    fn set(mtls: Option<&istio::MutualTls>) -> Option<Self> {
        match mtls?.mode {
            istio::MutualTlsMode::Unset => None,
            istio::MutualTlsMode::Disable => Some(Self::Disable),
            istio::MutualTlsMode::Permissive => Some(Self::Permissive),
            istio::MutualTlsMode::Strict => Some(Self::Strict),
        }
    }
}

/// What the `PeerAuthentication`s mean for one workload.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerPolicy {
    /// The mode of all ports that are not listed.
    pub mode: MtlsMode,
    /// Ports of the workload with a mode of their own, which may be the same one, sorted.
    pub ports: Arc<[(u16, MtlsMode)]>,
    /// The objects it follows from, sorted: those that set a mode, and the workload's own.
    pub objects: Arc<[ObjectKey]>,
}

impl PeerPolicy {
    /// The mode of a port of the workload.
    #[must_use]
    pub fn of_port(&self, port: u16) -> MtlsMode {
        self.ports
            .binary_search_by_key(&port, |(known, _)| *known)
            .ok()
            .and_then(|at| self.ports.get(at))
            .map_or(self.mode, |(_, mode)| *mode)
    }

    /// True if some port accepts nothing but mesh mTLS.
    #[must_use]
    pub fn has_strict(&self) -> bool {
        self.mode == MtlsMode::Strict
            || self.ports.iter().any(|(_, mode)| *mode == MtlsMode::Strict)
    }
}

/// Labels a rule wants; `None` if it is for every workload.
fn wanted(selector: Option<&istio::WorkloadSelector>) -> Option<&Labels> {
    selector
        .map(|selector| &selector.labels)
        .filter(|labels| !labels.is_empty())
}

type Peer = Arc<Rule<istio::PeerAuthentication>>;

impl MeshSnapshot {
    /// What the `PeerAuthentication`s mean for a workload with these labels.
    ///
    /// The oldest rule of each level counts: of the mesh (the root namespace's without selector),
    /// of the namespace, of the workload (by selector; ignored in the root namespace). A nearer
    /// level wins unless it leaves the mode unset; ports count only in the workload's rule.
    #[must_use]
    pub fn peer_policy(&self, namespace: &Namespace, labels: &Labels) -> PeerPolicy {
        let (mut mode, mut objects) = self.peer_levels(namespace);
        let own = (*namespace != self.settings.root_namespace)
            .then(|| self.peer_authentications(namespace))
            .into_iter()
            .flatten()
            .find(|rule| {
                wanted(rule.spec.selector.as_ref()).is_some_and(|wanted| wanted.selects(labels))
            });
        let Some(own) = own else {
            return PeerPolicy {
                mode,
                ports: Arc::default(),
                objects: objects.into(),
            };
        };
        if let Some(set) = MtlsMode::set(own.spec.mtls.as_ref()) {
            mode = set;
            objects.clear();
        }
        objects.push(own.object.clone());
        objects.sort();
        let ports = own.spec.port_level_mtls.iter();
        PeerPolicy {
            mode,
            ports: ports
                .map(|(port, mtls)| (*port, MtlsMode::set(Some(mtls)).unwrap_or(mode)))
                .collect(),
            objects: objects.into(),
        }
    }

    /// What the `PeerAuthentication`s of a namespace and of the mesh mean, workloads' own aside.
    #[must_use]
    pub fn namespace_mtls(&self, namespace: &Namespace) -> MtlsMode {
        self.peer_levels(namespace).0
    }

    /// True if the workloads of a namespace may differ in [`MeshSnapshot::peer_policy`].
    #[must_use]
    pub fn has_workload_peer_policies(&self, namespace: &Namespace) -> bool {
        *namespace != self.settings.root_namespace
            && self
                .peer_authentications(namespace)
                .iter()
                .any(|rule| wanted(rule.spec.selector.as_ref()).is_some())
    }

    /// The mode of the namespace level, and the object that sets it.
    fn peer_levels(&self, namespace: &Namespace) -> (MtlsMode, Vec<ObjectKey>) {
        let oldest = |namespace: &Namespace| -> Option<&Peer> {
            let mut rules = self.peer_authentications(namespace).iter();
            rules.find(|rule| wanted(rule.spec.selector.as_ref()).is_none())
        };
        for namespace in [namespace, &self.settings.root_namespace] {
            if let Some(rule) = oldest(namespace)
                && let Some(mode) = MtlsMode::set(rule.spec.mtls.as_ref())
            {
                return (mode, vec![rule.object.clone()]);
            }
        }
        (MtlsMode::default(), Vec::new())
    }

    /// The `AuthorizationPolicy`s that select a workload with these labels: the root namespace's,
    /// then its own namespace's, each oldest first.
    pub fn authorization_policies_of<'a>(
        &'a self,
        namespace: &'a Namespace,
        labels: &'a Labels,
    ) -> impl Iterator<Item = &'a Arc<Rule<istio::AuthorizationPolicy>>> {
        self.with_root(namespace)
            .flat_map(|namespace| self.authorization_policies(namespace))
            .filter(|rule| {
                let spec = &rule.spec;
                // One attached to a resource is for gateways and waypoints.
                spec.target_ref.is_none()
                    && spec.target_refs.is_empty()
                    && wanted(spec.selector.as_ref()).is_none_or(|wanted| wanted.selects(labels))
            })
    }

    /// The `RequestAuthentication`s that select a workload with these labels: the root
    /// namespace's, then its own namespace's, each oldest first.
    pub fn request_authentications_of<'a>(
        &'a self,
        namespace: &'a Namespace,
        labels: &'a Labels,
    ) -> impl Iterator<Item = &'a Arc<Rule<istio::RequestAuthentication>>> {
        self.with_root(namespace)
            .flat_map(|namespace| self.request_authentications(namespace))
            .filter(|rule| {
                let spec = &rule.spec;
                spec.target_ref.is_none()
                    && spec.target_refs.is_empty()
                    && wanted(spec.selector.as_ref()).is_none_or(|wanted| wanted.selects(labels))
            })
    }

    /// The root namespace and another one, once if they are the same.
    fn with_root<'a>(&'a self, namespace: &'a Namespace) -> impl Iterator<Item = &'a Namespace> {
        let root = &self.settings.root_namespace;
        let own = (namespace != root).then_some(namespace);
        std::iter::once(root).chain(own)
    }
}
