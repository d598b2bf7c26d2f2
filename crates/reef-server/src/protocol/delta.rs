//! The incremental variant: requests (section 6), responses and removals.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reef_xds::{EncodedResource, ResourceType, Version};

use super::nonce::{SentResponse, Told};
use super::order::Gate;
use super::request::Request;
use super::state::{Dirty, Known, Outcome, StreamState, TypeState, Variant, intern};
use super::types::{Body, Response};
use crate::provider::{ResourceView, StreamReport};

/// What the client should hold under a name.
enum Target {
    /// This resource, or its negative form.
    Resource(EncodedResource),
    /// Nothing.
    Nothing,
}

/// What a name came to when compared with the view.
enum Verdict {
    Send(EncodedResource),
    Remove,
    /// It vanished; the removal waits for its turn.
    Gone,
    Nothing,
}

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
        let state = self.types.entry(ty).or_default();
        let early = if ty == ResourceType::Endpoint {
            std::mem::take(&mut self.early)
        } else {
            BTreeSet::new()
        };
        let reported = |state: &TypeState, name: &Arc<str>| {
            change.first
                && !before_clusters
                && !early.contains(name)
                && matches!(state.known.get(name), Some(Known::Held(_)))
        };
        for name in &change.asked {
            // D-5, with its exception for versions the first request reports; R-4 where clusters may warm.
            if !reported(state, name) {
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
        if change.first
            || !change.asked.is_empty()
            || !change.dropped.is_empty()
            || change.wildcard_lost
        {
            let report = StreamReport::Subscribed {
                ty,
                wildcard: state.sub.wildcard(),
                names: state.sub.explicit_len(),
            };
            self.reports.push(report);
        }
        if ty == ResourceType::VirtualHost && change.wildcard_gained {
            let tables: Vec<Arc<str>> = self
                .types
                .get(&ResourceType::Route)
                .map(|routes| routes.known.keys().cloned().collect())
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
        outcome
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
            bytes += found.wire_delta().len();
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
        let mut resources = Vec::new();
        let mut removed = Vec::new();
        let mut bytes = 0;
        let split = self.options.split_bytes;
        let held_back: Vec<Arc<str>> = match ty {
            ResourceType::Endpoint => self.held_back(view),
            _ => Vec::new(),
        };
        let state = self.types.get_mut(&ty)?;

        // What was asked for, first.
        for name in std::mem::take(&mut state.forced) {
            if bytes >= split {
                state.forced.insert(name);
                continue;
            }
            if state.alone.contains(&name) {
                continue; // answered alone, below
            }
            state.dirty.names.remove(&name);
            match compare(ty, state, view, &name, true) {
                Verdict::Send(found) => take(state, found, &mut resources, &mut bytes),
                Verdict::Remove | Verdict::Gone => take_removed(state, name, &mut removed),
                Verdict::Nothing => {}
            }
        }
        let open = gate == Gate::Open || (state.owed && state.known.is_empty());
        let owed = open && std::mem::take(&mut state.owed);
        if open {
            let mut left = Dirty::default();
            let dirty = state.dirty.take();
            let answered: BTreeSet<Arc<str>> = resources
                .iter()
                .map(|sent| Arc::clone(sent.name()))
                .chain(removed.iter().cloned())
                .collect();
            let candidates = if dirty.all {
                candidates(ty, state, view)
            } else {
                dirty.names
            };
            for name in candidates {
                if bytes >= split || held_back.binary_search(&name).is_ok() {
                    left.names.insert(name);
                    continue;
                }
                if answered.contains(&name) || state.alone.contains(&name) {
                    continue;
                }
                match compare(ty, state, view, &name, false) {
                    Verdict::Send(found) => take(state, found, &mut resources, &mut bytes),
                    Verdict::Remove => take_removed(state, name, &mut removed),
                    Verdict::Gone => {
                        state.gone.insert(name);
                    }
                    Verdict::Nothing => {}
                }
            }
            state.dirty = left;
        }
        if ty == ResourceType::VirtualHost {
            tell_spaces(state, &resources, &mut removed);
        }
        if !resources.is_empty() || !removed.is_empty() || owed {
            return Some(self.delta_emit(ty, resources, removed, view, now));
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
        let mut resources = Vec::new();
        let mut removed = Vec::new();
        let mut bytes = 0;
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
                        take(state, found, &mut resources, &mut bytes);
                    }
                }
                Target::Nothing => {
                    if state.known.contains_key(&name) || state.sub.names(&name) {
                        take_removed(state, name, &mut removed);
                    }
                }
            }
        }
        if resources.is_empty() && removed.is_empty() {
            return None;
        }
        Some(self.delta_emit(ty, resources, removed, view, now))
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
                    if forced || state.known.contains_key(&name) || state.sub.names(&name) {
                        let mut removed = Vec::new();
                        take_removed(state, name, &mut removed);
                        return Some(self.delta_emit(ty, Vec::new(), removed, view, now));
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
            .keys()
            .filter(|name| self.cluster_is_held_back(view, name))
            .cloned()
            .collect()
    }
}

/// Says that the name space itself does not exist where nothing else is said in it (H-3).
fn tell_spaces(state: &mut TypeState, resources: &[EncodedResource], removed: &mut Vec<Arc<str>>) {
    for space in std::mem::take(&mut state.spaces) {
        if !resources
            .iter()
            .any(|sent| sent.name().starts_with(&*space))
        {
            removed.push(Arc::clone(&space));
        }
        state.spaces_told.insert(space);
    }
}

/// What the client should hold under `name`.
fn target(state: &TypeState, view: &dyn ResourceView, ty: ResourceType, name: &str) -> Target {
    let named = state.sub.names(name);
    if named {
        if let Some(found) = view.resource(ty, name).or_else(|| view.absent(ty, name)) {
            return Target::Resource(found);
        }
    } else if state.sub.wildcard()
        && view.in_scope(ty, name)
        && let Some(found) = view.resource(ty, name)
    {
        return Target::Resource(found);
    }
    Target::Nothing
}

/// Every name that may need a word: what the client holds, what it named, what is in the wildcard set.
fn candidates(ty: ResourceType, state: &TypeState, view: &dyn ResourceView) -> BTreeSet<Arc<str>> {
    let mut names: BTreeSet<Arc<str>> = state.known.keys().cloned().collect();
    names.extend(state.sub.explicit().cloned());
    if state.sub.wildcard() {
        view.for_each(ty, &mut |found| {
            names.insert(Arc::clone(found.name()));
        });
    }
    names
}

/// Compares what the client holds under `name` with what it should hold.
fn compare(
    ty: ResourceType,
    state: &TypeState,
    view: &dyn ResourceView,
    name: &Arc<str>,
    forced: bool,
) -> Verdict {
    let known = state.known.get(name);
    match target(state, view, ty, name) {
        Target::Resource(found) => {
            if state.is_bad(&found) || (!forced && known == Some(&Known::Held(found.version()))) {
                return Verdict::Nothing;
            }
            let negative = view.resource(ty, name).is_none();
            if negative && !forced && matches!(known, Some(Known::Held(_) | Known::Unknown)) {
                return Verdict::Gone;
            }
            Verdict::Send(found)
        }
        Target::Nothing => {
            let named = state.sub.names(name);
            match known {
                _ if forced => Verdict::Remove,
                Some(Known::Held(_) | Known::Unknown) => match ty {
                    ResourceType::Listener
                    | ResourceType::ScopedRoute
                    | ResourceType::VirtualHost => Verdict::Remove,
                    _ => Verdict::Gone,
                },
                Some(Known::Absent) => Verdict::Nothing,
                None if named => Verdict::Remove,
                None => Verdict::Nothing,
            }
        }
    }
}

fn take(
    state: &mut TypeState,
    found: EncodedResource,
    resources: &mut Vec<EncodedResource>,
    bytes: &mut usize,
) {
    *bytes += found.wire_delta().len();
    state.gone.remove(found.name());
    state
        .known
        .insert(Arc::clone(found.name()), Known::Held(found.version()));
    resources.push(found);
}

fn take_removed(state: &mut TypeState, name: Arc<str>, removed: &mut Vec<Arc<str>>) {
    if matches!(state.known.get(&name), Some(Known::Held(_))) {
        state.had.insert(Arc::clone(&name));
    }
    state.gone.remove(&name);
    if state.sub.names(&name) {
        state.known.insert(Arc::clone(&name), Known::Absent); // 9.4: it may come back
    } else {
        state.known.remove(&name);
    }
    removed.push(name);
}
