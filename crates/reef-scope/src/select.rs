//! Which scope a proxy gets.

use reef_mesh::{MeshSnapshot, ProxyIdentity, ProxyKind};

use crate::{ScopeId, ScopeSource};

/// Selects the scope of a proxy; the first that applies: a `Sidecar` of its namespace whose
/// selector matches, one there without selector, the root namespace's without selector, the
/// default. `Sidecar`s are never merged.
#[must_use]
pub fn select(snapshot: &MeshSnapshot, proxy: &ProxyIdentity) -> ScopeId {
    let namespace = proxy.namespace.clone();
    if proxy.kind != ProxyKind::Sidecar {
        return ScopeId {
            namespace,
            source: ScopeSource::Default,
        };
    }
    let own = snapshot.sidecars(&namespace).iter().find(|sidecar| {
        let selector = sidecar.spec.workload_selector.as_ref();
        selector.is_none_or(|selector| selector.labels.selects(&proxy.labels))
    });
    if let Some(sidecar) = own {
        return ScopeId {
            namespace,
            source: ScopeSource::Sidecar(sidecar.object.clone()),
        };
    }
    let root = snapshot
        .sidecars(&snapshot.settings().root_namespace)
        .iter()
        .find(|sidecar| sidecar.spec.workload_selector.is_none());
    let source = root.map_or(ScopeSource::Default, |sidecar| {
        ScopeSource::RootSidecar(sidecar.object.clone())
    });
    ScopeId { namespace, source }
}
