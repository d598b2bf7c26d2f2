//! The incremental variant: requests (section 6), responses and removals.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reef_xds::{EncodedResource, ResourceType, Version};

use super::draft::{Draft, Target, take_dirty, take_forced, target, tell_spaces};
use super::nonce::{SentResponse, Told};
use super::order::Gate;
use super::request::Request;
use super::state::{Known, Outcome, StreamState, Variant, intern};
use super::subscription::Change;
use super::types::{Body, Response};
use crate::provider::ResourceView;

impl StreamState {
    pub(super) fn delta_request(
        &mut self,
        ty: ResourceType,
        request: &Request,
        now: Duration,
    ) -> Outcome {
        let view = self.view.clone();
        let before_clusters = ty == ResourceType::Endpoint
            && self.only.is_none()
            && !self.types.contains_key(&ResourceType::Cluster);
        let first = self.types.get(&ty).is_none_or(|state| state.sub.is_fresh());
        // A nonce in the first request of a type is of an earlier stream and means nothing here.
        let mut outcome = Outcome::Subscription;
        if !first && !request.nonce.is_empty() {
            outcome = match request.nonce.parse() {
                Ok(nonce) => self.answer_to(ty, nonce, request, now),
                Err(_) => Outcome::ExpiredNonce,
            };
        }
        let state = self.types.entry(ty).or_default();
        let change = state
            .sub
            .delta(ty, &request.subscribe, &request.unsubscribe, &|name| {
                intern(view.as_deref(), ty, name)
            });
        if change.first {
            self.first_delta(ty, request, now);
        }
        self.owe_answers(ty, &change, before_clusters);
        self.report_subscription(ty, &change);
        self.note_tables(ty, &change);
        outcome
    }

    /// The first request of a type says what the client holds.
    fn first_delta(&mut self, ty: ResourceType, request: &Request, now: Duration) {
        let view = self.view.clone();
        let state = self.types.entry(ty).or_default();
        state.since = now;
        state.warm = !request.initial.is_empty();
        for (name, version) in &request.initial {
            let known = Version::from_wire(version).map_or(Known::Unknown, Known::Held);
            state.known.insert(intern(view.as_deref(), ty, name), known);
        }
        state.reconciling = state.warm;
        state.dirty.everything();
        self.recall(ty, now);
    }

    /// What a change of subscription has to be answered with, and what it makes obsolete.
    fn owe_answers(&mut self, ty: ResourceType, change: &Change, before_clusters: bool) {
        let early = if ty == ResourceType::Endpoint {
            std::mem::take(&mut self.early)
        } else {
            BTreeSet::new()
        };
        let state = self.types.entry(ty).or_default();
        for name in &change.asked {
            // D-5, with its exception for versions the first request reports; R-4 where clusters may warm.
            let reported = change.first
                && !before_clusters
                && !early.contains(name)
                && matches!(state.known.get(name), Some(Known::Held(_)));
            if !reported {
                state.forced.insert(Arc::clone(name));
            }
        }
        for name in &change.dropped {
            state.forget(name);
            if state.sub.wildcard() {
                state.forced.insert(Arc::clone(name)); // 7.5
            }
        }
        if change.wildcard_gained {
            // D-8: answered even if empty; a client that reports what it holds does not wait for it.
            state.owed = !state.warm;
            state.dirty.everything();
        }
        if change.wildcard_lost {
            let kept = &state.sub;
            state.known.retain(|name, _| kept.names(name));
            state.alone.retain(|name| kept.names(name));
            state.forced.retain(|name| kept.names(name));
            state.gone.retain(|name| kept.names(name));
            state.owed = false;
        }
    }

    /// Name spaces of virtual hosts that a change of subscription opens or closes (H-3).
    fn note_tables(&mut self, ty: ResourceType, change: &Change) {
        if ty == ResourceType::VirtualHost && change.wildcard_gained {
            let tables: Vec<Arc<str>> = self
                .types
                .get(&ResourceType::Route)
                .map(|routes| routes.known.names().cloned().collect())
                .unwrap_or_default();
            self.owe_spaces(tables.iter());
        }
        if ty == ResourceType::Route
            && let Some(hosts) = self.types.get_mut(&ResourceType::VirtualHost)
        {
            for table in &change.dropped {
                hosts.spaces_told.remove(format!("{table}/").as_str());
            }
        }
    }

    /// The load assignments behind a cluster response (O-2): in full, even if unchanged.
    pub(super) fn follow_response(
        &mut self,
        view: &dyn ResourceView,
        now: Duration,
    ) -> Option<Response> {
        let names = std::mem::take(&mut self.follow);
        let state = self.types.get_mut(&ResourceType::Endpoint)?;
        let mut resources = Vec::new();
        let mut bytes = 0;
        for name in names {
            if bytes >= self.options.split_bytes {
                self.follow.insert(name);
                continue;
            }
            let Some(found) = view.resource(ResourceType::Endpoint, &name) else {
                if self.variant == Variant::Delta && state.sub.names(&name) {
                    state.forced.insert(name);
                }
                continue;
            };
            if state.is_bad(&found) || state.alone.contains(&name) {
                continue;
            }
            bytes += found.wire_delta_len();
            state.dirty.names.remove(&name);
            if state.sub.wildcard() || state.sub.names(&name) {
                state.forced.remove(&name);
                state.gone.remove(&name);
                state
                    .known
                    .insert(Arc::clone(found.name()), Known::Held(found.version()));
            } else if self.variant == Variant::Sotw {
                state
                    .unasked
                    .insert(Arc::clone(found.name()), found.version());
            }
            resources.push(found);
        }
        if resources.is_empty() {
            return None;
        }
        match self.variant {
            Variant::Delta => {
                Some(self.delta_emit(ResourceType::Endpoint, resources, Vec::new(), view, now))
            }
            Variant::Sotw => Some(self.sotw_emit(ResourceType::Endpoint, resources, view, now)),
        }
    }

    /// The next response of a type, removals of other than listeners and virtual hosts aside.
    pub(super) fn delta_response(
        &mut self,
        ty: ResourceType,
        gate: Gate,
        view: &dyn ResourceView,
        now: Duration,
    ) -> Option<Response> {
        let mut out = Draft::default();
        let split = self.options.split_bytes;
        let held_back: Vec<Arc<str>> = match ty {
            ResourceType::Endpoint => self.held_back(view),
            _ => Vec::new(),
        };
        let state = self.types.get_mut(&ty)?;

        take_forced(ty, state, view, split, &mut out);
        let open = gate == Gate::Open || (state.owed && state.known.is_empty());
        let owed = open && std::mem::take(&mut state.owed);
        if open {
            take_dirty(ty, state, view, split, &held_back, &mut out);
        }
        if ty == ResourceType::VirtualHost {
            tell_spaces(state, &out.resources, &mut out.removed);
        }
        if owed || !out.is_empty() {
            return Some(self.delta_emit(ty, out.resources, out.removed, view, now));
        }
        if gate == Gate::Open {
            self.delta_alone(ty, view, now)
        } else {
            None
        }
    }

    /// The removals of a type whose turn has come.
    pub(super) fn delta_removal(
        &mut self,
        ty: ResourceType,
        view: &dyn ResourceView,
        now: Duration,
    ) -> Option<Response> {
        let state = self.types.get_mut(&ty)?;
        let mut out = Draft::default();
        let reconciling = std::mem::take(&mut state.reconciling);
        for name in std::mem::take(&mut state.gone) {
            match target(state, view, ty, &name) {
                Target::Resource(found) => {
                    let negative = view.resource(ty, &name).is_none();
                    // A listener that drains still reads its table (9.3): leave it what it has, unless it is a
                    // reconnect, where the client must learn that nobody knows the name.
                    let drains = negative && ty == ResourceType::Route && !reconciling;
                    // Not negative: it came back while its removal waited.
                    let held = state.known.get(&name) == Some(&Known::Held(found.version()));
                    if !drains && !held && !state.is_bad(&found) {
                        out.take(state, found);
                    }
                }
                Target::Nothing => {
                    if state.known.contains(&name) || state.sub.names(&name) {
                        out.take_removed(state, name);
                    }
                }
            }
        }
        (!out.is_empty()).then(|| self.delta_emit(ty, out.resources, out.removed, view, now))
    }

    /// One name of a rejected response, alone (N-5).
    fn delta_alone(
        &mut self,
        ty: ResourceType,
        view: &dyn ResourceView,
        now: Duration,
    ) -> Option<Response> {
        let state = self.types.get_mut(&ty)?;
        while let Some(name) = state.alone.pop_first() {
            state.dirty.names.remove(&name);
            let forced = state.forced.remove(&name);
            match target(state, view, ty, &name) {
                Target::Resource(found) => {
                    if state.is_bad(&found) {
                        continue;
                    }
                    state
                        .known
                        .insert(Arc::clone(found.name()), Known::Held(found.version()));
                    return Some(self.delta_emit(ty, vec![found], Vec::new(), view, now));
                }
                Target::Nothing => {
                    if forced || state.known.contains(&name) || state.sub.names(&name) {
                        let mut out = Draft::default();
                        out.take_removed(state, name);
                        return Some(self.delta_emit(ty, Vec::new(), out.removed, view, now));
                    }
                }
            }
        }
        None
    }

    fn delta_emit(
        &mut self,
        ty: ResourceType,
        resources: Vec<EncodedResource>,
        removed: Vec<Arc<str>>,
        view: &dyn ResourceView,
        now: Duration,
    ) -> Response {
        let told: Vec<Told> = resources
            .iter()
            .map(|sent| (Arc::clone(sent.name()), Some(sent.version())))
            .chain(removed.iter().map(|name| (Arc::clone(name), None)))
            .collect();
        // A request that waits for a host that does not exist is woken by a resource without body (H-5), a host the
        // client has goes by `removed_resources`.
        let (absent, removed) = match self.types.get_mut(&ty) {
            Some(hosts) if ty == ResourceType::VirtualHost => removed
                .into_iter()
                .partition(|name| hosts.sub.names(name) && !hosts.had.remove(name)),
            _ => (Vec::new(), removed),
        };
        if ty == ResourceType::Cluster {
            self.owe_assignments(&resources, view);
        }
        if let Some(state) = self.types.get_mut(&ty) {
            state.had.clear();
        }
        if ty == ResourceType::Route {
            self.owe_spaces(resources.iter().map(EncodedResource::name));
        }
        let nonce = self.next_nonce();
        let generation = view.generation();
        if let Some(state) = self.types.get_mut(&ty) {
            state.outstanding.push(SentResponse {
                nonce,
                told,
                at: now,
                generation,
            });
        }
        Response {
            ty,
            nonce,
            version: Arc::from(generation.to_string()),
            generation,
            body: Body::Delta {
                resources,
                removed,
                absent,
            },
        }
    }

    /// Notes the load assignments that have to follow these clusters (O-2), once the client has asked for any.
    pub(super) fn owe_assignments(
        &mut self,
        clusters: &[EncodedResource],
        view: &dyn ResourceView,
    ) {
        let Some(endpoints) = self.types.get(&ResourceType::Endpoint) else {
            // On a reconnect the first endpoint request was written before this response is read: it may report
            // versions that are current, and the changed cluster would warm for ever.
            self.early.extend(
                clusters
                    .iter()
                    .filter_map(|cluster| view.load_assignment_of(cluster.name())),
            );
            return;
        };
        let names = clusters.iter().filter_map(|cluster| {
            // A cluster whose load assignment does not exist warms as well, until it is told so.
            view.load_assignment_of(cluster.name()).or_else(|| {
                let named = endpoints.sub.names(cluster.name());
                named.then(|| Arc::clone(cluster.name()))
            })
        });
        self.follow.extend(names);
    }

    /// Notes the name spaces of route configurations the client has: Envoy keeps a listener warming until something
    /// is said in each of them, and asks for it only once (H-3).
    fn owe_spaces<'a>(&mut self, tables: impl Iterator<Item = &'a Arc<str>>) {
        let Some(hosts) = self.types.get_mut(&ResourceType::VirtualHost) else {
            return;
        };
        if hosts.sub.wildcard() {
            let spaces = tables.map(|table| Arc::from(format!("{table}/")));
            let new: Vec<Arc<str>> = spaces
                .filter(|space| !hosts.spaces_told.contains(space))
                .collect();
            hosts.spaces.extend(new);
        }
    }

    /// Load assignments whose cluster change is still held back, in order.
    fn held_back(&self, view: &dyn ResourceView) -> Vec<Arc<str>> {
        let Some(state) = self.types.get(&ResourceType::Endpoint) else {
            return Vec::new();
        };
        let clusters_pending = self
            .types
            .get(&ResourceType::Cluster)
            .is_some_and(|clusters| !clusters.dirty.is_clean());
        if !clusters_pending {
            return Vec::new();
        }
        state
            .known
            .names()
            .filter(|name| self.cluster_is_held_back(view, name))
            .cloned()
            .collect()
    }
}
