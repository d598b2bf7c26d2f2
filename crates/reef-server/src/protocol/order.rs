//! The order of types on a stream (`xds-protocol.md` 14.1): clusters, their load assignments, listeners, routes,
//! virtual hosts, and removals of clusters last.

use std::time::Duration;

use reef_xds::ResourceType;

use super::state::{StreamState, TypeState, Variant};
use super::types::Response;
use crate::provider::ResourceView;

/// Outstanding cluster responses before further changes are merged instead of sent. Clusters that warm withhold the
/// ACK, and a later change may be what lets them warm, so one is not enough; four keeps what a client has in flight
/// small.
const CLUSTERS_IN_FLIGHT: usize = 4;

/// Endpoint updates are small and independent of each other.
const ENDPOINTS_IN_FLIGHT: usize = 8;

/// Everything else: one, further changes are merged while it waits (D-11).
const OTHERS_IN_FLIGHT: usize = 1;

/// How much of a type may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// Everything.
    Open,
    /// Only what the client asked for by name: an unanswered question may block it, a late update does not.
    AskedOnly,
}

/// The types in the order of sending, cluster removals aside.
const LANES: [ResourceType; 10] = [
    ResourceType::Cluster,
    ResourceType::Endpoint,
    ResourceType::Secret,
    ResourceType::Listener,
    ResourceType::ScopedRoute,
    ResourceType::Route,
    ResourceType::VirtualHost,
    ResourceType::ExtensionConfig,
    ResourceType::Runtime,
    ResourceType::NameTable,
];

/// The types in the order of removing: what refers goes before what it refers to.
const REMOVALS: [ResourceType; 10] = [
    ResourceType::Listener,
    ResourceType::ScopedRoute,
    ResourceType::VirtualHost,
    ResourceType::Route,
    ResourceType::ExtensionConfig,
    ResourceType::Runtime,
    ResourceType::NameTable,
    ResourceType::Cluster,
    ResourceType::Endpoint,
    ResourceType::Secret,
];

impl StreamState {
    pub(super) fn next_in_order(
        &mut self,
        view: &dyn ResourceView,
        now: Duration,
    ) -> Option<Response> {
        if !self.follow.is_empty()
            && let Some(response) = self.follow_response(view, now)
        {
            return Some(response);
        }
        for ty in LANES {
            let Some(state) = self.types.get(&ty) else {
                continue;
            };
            if !state.nothing_pending() {
                let gate = self.gate(ty, now);
                let response = match self.variant {
                    Variant::Delta => self.delta_response(ty, gate, view, now),
                    Variant::Sotw => self.sotw_response(ty, gate, view, now),
                };
                if response.is_some() {
                    return response;
                }
            }
        }
        for ty in REMOVALS {
            let removable = self
                .types
                .get(&ty)
                .is_some_and(|state| !state.gone.is_empty());
            if removable && self.may_remove(ty, now) {
                let response = match self.variant {
                    Variant::Delta => self.delta_removal(ty, view, now),
                    Variant::Sotw => self.sotw_removal(ty, view, now),
                };
                if response.is_some() {
                    return response;
                }
            }
        }
        None
    }

    /// Whether updates of a type may go now, or only answers.
    pub(super) fn gate(&self, ty: ResourceType, now: Duration) -> Gate {
        let Some(state) = self.types.get(&ty) else {
            return Gate::Open;
        };
        let limit = match ty {
            ResourceType::Cluster => CLUSTERS_IN_FLIGHT,
            ResourceType::Endpoint => ENDPOINTS_IN_FLIGHT,
            _ => OTHERS_IN_FLIGHT,
        };
        if state.outstanding.fresh_len(now, self.options.ack_patience) >= limit {
            return Gate::AskedOnly;
        }
        let after_clusters = matches!(
            ty,
            ResourceType::Listener
                | ResourceType::Route
                | ResourceType::ScopedRoute
                | ResourceType::VirtualHost
        );
        // A client that comes with nothing cannot break: its first answer does not wait.
        let can_break = state.warm || !state.known.is_empty() || state.full.has_sent();
        if after_clusters && can_break && self.clusters_wait(now) {
            return Gate::AskedOnly;
        }
        Gate::Open
    }

    /// The barrier O-3: clusters are to be sent, or sent and not ACKed yet.
    fn clusters_wait(&self, now: Duration) -> bool {
        self.types
            .get(&ResourceType::Cluster)
            .is_some_and(|clusters| {
                !clusters.nothing_pending()
                    || clusters
                        .outstanding
                        .content_waits(now, self.options.ack_patience)
            })
    }

    /// Whether the removals of a type may go now.
    pub(super) fn may_remove(&self, ty: ResourceType, now: Duration) -> bool {
        if self.only.is_some() {
            return true;
        }
        match ty {
            // O-6: whatever can refer to a cluster goes first, and is ACKed.
            ResourceType::Cluster => {
                let users = [
                    ResourceType::Listener,
                    ResourceType::Route,
                    ResourceType::ScopedRoute,
                    ResourceType::VirtualHost,
                ];
                users.iter().all(|user| self.is_settled(*user, now))
                    && !self.users_may_still_come(now)
            }
            // 9.3: the client unsubscribes by itself when the parent goes; only then is a removal news.
            ResourceType::Endpoint => self.is_settled(ResourceType::Cluster, now),
            ResourceType::Secret => {
                self.is_settled(ResourceType::Cluster, now)
                    && self.is_settled(ResourceType::Listener, now)
            }
            ResourceType::Route => self.is_settled(ResourceType::Listener, now),
            _ => true,
        }
    }

    /// On a reconnect the requests of all types arrive in one burst: clusters first, listeners and routes behind.
    fn users_may_still_come(&self, now: Duration) -> bool {
        let Some(clusters) = self.types.get(&ResourceType::Cluster) else {
            return false;
        };
        clusters.warm
            && now < clusters.since + self.options.reconnect_grace
            && !(self.types.contains_key(&ResourceType::Listener)
                && self.types.contains_key(&ResourceType::Route))
    }

    fn is_settled(&self, ty: ResourceType, now: Duration) -> bool {
        self.types
            .get(&ty)
            .is_none_or(|state| state.settled(now, &self.options))
    }

    /// O-7: the load assignment of a cluster whose own change is still held back waits with it.
    pub(super) fn cluster_is_held_back(&self, view: &dyn ResourceView, assignment: &str) -> bool {
        let held = |state: &TypeState| {
            (state.dirty.all || state.dirty.names.contains(assignment))
                && view.resource(ResourceType::Cluster, assignment).is_some()
        };
        self.types
            .get(&ResourceType::Cluster)
            .is_some_and(|state| held(state))
    }
}
