//! What a `DestinationRule`, and the mesh where it is silent, say of one cluster: as part of its key.

use std::sync::Arc;

use reef_mesh::DestinationPolicy;

use super::pool::{Budget, Pool};
use crate::destination::Effective;

/// The policy of one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClusterPolicy {
    /// Path of the rule in the API, as telemetry knows it.
    pub rule: Option<Arc<str>>,
    pub pool: Pool,
    pub budget: Option<Budget>,
}

impl ClusterPolicy {
    /// Reads what holds for a port or subset.
    pub(crate) fn of(rule: Option<Arc<str>>, effective: &Effective<'_>) -> Self {
        Self {
            rule,
            pool: effective.connection_pool.map(Pool::of).unwrap_or_default(),
            budget: effective.retry_budget.map(Budget::of),
        }
    }
}

/// Path of a rule in the API: of the first object where several were merged.
pub(crate) fn path(policy: &DestinationPolicy) -> Option<Arc<str>> {
    let object = policy.objects.first()?;
    Some(Arc::from(format!(
        "/apis/networking.istio.io/v1/namespaces/{}/destination-rule/{}",
        object.namespace, object.name
    )))
}
