//! What a `DestinationRule`, and the mesh where it is silent, say of one cluster: as part of its key.

use std::sync::Arc;

use reef_config::MeshConfig;
use reef_config::istio::{ClientTlsMode, ProxyProtocolVersion};
use reef_mesh::DestinationPolicy;

use super::balance::Balancer;
use super::outlier::Outlier;
use super::pool::{Budget, Pool};
use crate::destination::Effective;

/// The policy of one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClusterPolicy {
    /// Path of the rule in the API, as telemetry knows it.
    pub rule: Option<Arc<str>>,
    /// Name of the subset.
    pub subset: Option<Arc<str>>,
    pub pool: Pool,
    pub budget: Option<Budget>,
    pub outlier: Option<Outlier>,
    pub balancer: Balancer,
    pub proxy_protocol: Option<ProxyProtocolVersion>,
    /// TLS is the application's, so the protocol it offers inside is left alone.
    pub foreign_tls: bool,
}

impl ClusterPolicy {
    /// Reads what holds for a port or subset. Where the rule has no pool or no outlier detection,
    /// that of the mesh stands.
    pub(crate) fn of(
        rule: Option<Arc<str>>,
        subset: Option<Arc<str>>,
        effective: &Effective<'_>,
        mesh: &MeshConfig,
    ) -> Self {
        let defaults = mesh.default_traffic_policy.as_ref();
        let pool = effective
            .connection_pool
            .or_else(|| defaults?.connection_pool.as_ref());
        let outlier = effective
            .outlier_detection
            .or_else(|| defaults?.outlier_detection.as_ref());
        Self {
            rule,
            subset,
            pool: pool.map(Pool::of).unwrap_or_default(),
            budget: effective.retry_budget.map(Budget::of),
            outlier: outlier.map(Outlier::of),
            balancer: effective
                .load_balancer
                .map(Balancer::of)
                .unwrap_or_default(),
            proxy_protocol: effective.proxy_protocol.map(|protocol| protocol.version),
            foreign_tls: effective.tls.is_some_and(|tls| {
                matches!(tls.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual)
            }),
        }
    }
}

/// The pool of clusters no rule is about.
pub(crate) fn default_pool(mesh: &MeshConfig) -> Pool {
    let defaults = mesh.default_traffic_policy.as_ref();
    defaults
        .and_then(|defaults| defaults.connection_pool.as_ref())
        .map(Pool::of)
        .unwrap_or_default()
}

/// Path of a rule in the API: of the first object where several were merged.
pub(crate) fn path(policy: &DestinationPolicy) -> Option<Arc<str>> {
    let object = policy.objects.first()?;
    Some(Arc::from(format!(
        "/apis/networking.istio.io/v1/namespaces/{}/destination-rule/{}",
        object.namespace, object.name
    )))
}
