//! The state-of-the-world variant: requests and responses (section 5).
//!
//! Clusters, listeners and scoped routes are full-state: a response holds all of them and omission deletes (W-3).
//! Everything else is partial: a response holds what changed (W-4).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reef_xds::{EncodedResource, ResourceType};

use super::nonce::{SentResponse, Told};
use super::order::Gate;
use super::request::Request;
use super::state::{Known, Outcome, StreamState, TypeState, intern};
use super::subscription::Change;
use super::types::{Body, Response};
use crate::provider::{ResourceView, StreamReport};

/// Whether a response of this type is the whole state; Envoy treats scoped routes so as well (section 8).
pub(super) fn is_full_state(ty: ResourceType) -> bool {
    ty.is_full_state() || ty == ResourceType::ScopedRoute
}

impl StreamState {
    pub(super) fn sotw_request(
        &mut self,
        ty: ResourceType,
        request: &Request,
        now: Duration,
    ) -> Outcome {
        let view = self.view.clone();
        let nonce: Option<u64> = request.nonce.parse().ok();
        let mut taken = None;
        let state = self.types.entry(ty).or_default();
        if request.nonce.is_empty() {
            // W-9: an empty nonce is a restart of the type. Its answers may still be on their way.
            let before = std::mem::take(state);
            if is_full_state(ty) {
                taken = before.full_taken().cloned();
            } else {
                state.outstanding = before.outstanding;
            }
        }
        let first = state.sub.is_fresh();
        let current = !first && nonce.is_some() && nonce == state.last_nonce;
        let answers = nonce.is_some_and(|nonce| state.outstanding.has(nonce));
        let change = state.sub.sotw(ty, &request.subscribe, &|name| {
            intern(view.as_deref(), ty, name)
        });
        if change.first {
            state.since = now;
            state.warm = !request.version.is_empty();
            let recalled = self.memory.recall(&self.node_id, ty, now);
            state.bad.extend(recalled.bad);
            if state.warm && is_full_state(ty) {
                let taken = taken.or_else(|| self.memory.taken(&self.node_id, ty, now));
                state.full_came_back(&request.version, taken);
            }
        }
        for name in &change.dropped {
            state.forget(name);
        }
        if change.wildcard_lost {
            let kept = &state.sub;
            state.known.retain(|name, _| kept.names(name));
        }
        if is_full_state(ty) {
            state.full_owes(&change, current);
        } else {
            // W-10: the last ACK once more, word for word, asks for load assignments of modified clusters.
            let repeated = ty == ResourceType::Endpoint
                && current
                && !answers
                && request.error.is_none()
                && change.is_none();
            state.partial_owes(&change, current, repeated);
        }
        let alarm = change.wildcard_lost && state.sub.explicit_len() > 0;
        self.report_subscription(ty, &change);
        if alarm {
            self.reports.push(StreamReport::WildcardLost { ty });
        }
        match nonce {
            Some(nonce) if answers => self.sotw_answer(ty, nonce, request, now),
            Some(_) if !first && !current => Outcome::ExpiredNonce,
            _ => Outcome::Subscription,
        }
    }

    /// ACK or NACK of a response, which need not be the last: an ACK covers older ones, and what a stale answer says of
    /// its own response is true, though it asks for nothing (W-8).
    fn sotw_answer(
        &mut self,
        ty: ResourceType,
        nonce: u64,
        request: &Request,
        now: Duration,
    ) -> Outcome {
        let Some(state) = self.types.get_mut(&ty) else {
            return Outcome::ExpiredNonce;
        };
        let Some(rejection) = &request.error else {
            let covered = state.outstanding.take_through(nonce);
            if is_full_state(ty) {
                state.full_acked(nonce);
            }
            for sent in &covered {
                self.acked(ty, sent);
            }
            let took = covered.last().map(|sent| now.saturating_sub(sent.at));
            return took.map_or(Outcome::ExpiredNonce, Outcome::Ack);
        };
        let Some(sent) = state.outstanding.take(nonce) else {
            return Outcome::ExpiredNonce;
        };
        if is_full_state(ty) {
            self.full_nacked(ty, &sent, rejection, now);
        } else {
            self.nacked(ty, sent, rejection, now);
        }
        Outcome::Nack
    }

    /// The next response of a type.
    pub(super) fn sotw_response(
        &mut self,
        ty: ResourceType,
        gate: Gate,
        view: &dyn ResourceView,
        now: Duration,
    ) -> Option<Response> {
        if is_full_state(ty) {
            self.full_response(ty, gate, view, now)
        } else {
            self.partial_response(ty, gate, view, now)
        }
    }

    /// The full state without what was kept only for its turn.
    pub(super) fn sotw_removal(
        &mut self,
        ty: ResourceType,
        view: &dyn ResourceView,
        now: Duration,
    ) -> Option<Response> {
        if is_full_state(ty) {
            self.full_response(ty, Gate::Open, view, now)
        } else {
            None
        }
    }

    fn partial_response(
        &mut self,
        ty: ResourceType,
        gate: Gate,
        view: &dyn ResourceView,
        now: Duration,
    ) -> Option<Response> {
        let state = self.types.get_mut(&ty)?;
        let mut resources = Vec::new();
        for name in std::mem::take(&mut state.forced) {
            state.dirty.names.remove(&name);
            if let Some(found) = wanted(state, view, ty, &name)
                && !state.is_bad(&found)
                && !state.alone.contains(&name)
            {
                resources.push(found);
            }
        }
        if gate == Gate::Open {
            take_changed(state, view, ty, &mut resources);
            if resources.is_empty() {
                resources.extend(take_alone(state, view, ty));
            }
        }
        state.owed = false;
        (!resources.is_empty()).then(|| self.sotw_emit(ty, resources, view, now))
    }

    /// Sends resources of a partial type.
    pub(super) fn sotw_emit(
        &mut self,
        ty: ResourceType,
        resources: Vec<EncodedResource>,
        view: &dyn ResourceView,
        now: Duration,
    ) -> Response {
        let mut version = blake3::Hasher::new();
        if let Some(state) = self.types.get_mut(&ty) {
            for found in &resources {
                if state.sub.wildcard() || state.sub.names(found.name()) {
                    state
                        .known
                        .insert(Arc::clone(found.name()), Known::Held(found.version()));
                }
            }
            for (name, known) in state.known.iter() {
                if let Known::Held(held) = known {
                    version
                        .update(name.as_bytes())
                        .update(&[0])
                        .update(held.as_bytes());
                }
            }
        }
        let told = resources
            .iter()
            .map(|sent| (Arc::clone(sent.name()), Some(sent.version())))
            .collect();
        self.sotw_send(ty, resources, told, hex(&version), view, now)
    }

    pub(super) fn sotw_send(
        &mut self,
        ty: ResourceType,
        resources: Vec<EncodedResource>,
        told: Vec<Told>,
        version: Arc<str>,
        view: &dyn ResourceView,
        now: Duration,
    ) -> Response {
        let nonce = self.next_nonce();
        let generation = view.generation();
        if let Some(state) = self.types.get_mut(&ty) {
            state.last_nonce = Some(nonce);
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
            version,
            generation,
            body: Body::Sotw { resources },
        }
    }
}

impl TypeState {
    /// What a changed subscription of a full-state type has to be answered with.
    fn full_owes(&mut self, change: &Change, current: bool) {
        let more = change.first || change.wildcard_gained || !change.asked.is_empty();
        if !self.sub.wildcard() && self.sub.explicit_len() == 0 {
            self.owed = false;
            self.dirty.take();
            return;
        }
        // Read before this request, a response may hold the new names already (W-8): compare, then decide.
        self.owed |= more && (current || change.first);
        if more {
            self.dirty.everything();
        }
    }

    /// What a changed or `repeated` subscription of a partial type has to be answered with.
    fn partial_owes(&mut self, change: &Change, current: bool, repeated: bool) {
        for name in &change.asked {
            match self.unasked.remove(name) {
                // Sent before it was asked for, and not read yet when it was.
                Some(version) if !current && !change.first => {
                    self.known.insert(Arc::clone(name), Known::Held(version));
                    self.dirty.name(name);
                }
                _ => {
                    self.forced.insert(Arc::clone(name));
                }
            }
        }
        if change.wildcard_gained {
            self.dirty.everything();
        }
        if repeated {
            self.forced.extend(self.sub.explicit().cloned());
        }
    }
}

/// Takes what changed since it was sent.
fn take_changed(
    state: &mut TypeState,
    view: &dyn ResourceView,
    ty: ResourceType,
    resources: &mut Vec<EncodedResource>,
) {
    let dirty = state.dirty.take();
    let names: BTreeSet<Arc<str>> = if dirty.all {
        let mut names: BTreeSet<_> = state.sub.explicit().cloned().collect();
        if state.sub.wildcard() {
            view.for_each(ty, &mut |found| {
                names.insert(Arc::clone(found.name()));
            });
        }
        names
    } else {
        dirty.names
    };
    let answered: BTreeSet<Arc<str>> = resources
        .iter()
        .map(|sent| Arc::clone(sent.name()))
        .collect();
    for name in names {
        if state.alone.contains(&name) || answered.contains(&name) {
            continue;
        }
        match wanted(state, view, ty, &name) {
            Some(found) => {
                let held = state.known.get(&name) == Some(&Known::Held(found.version()));
                if !held && !state.is_bad(&found) {
                    resources.push(found);
                }
            }
            // 9.1: there is no way to say so; if it comes back, the client keeps what it has.
            None => {
                state.known.remove(&name);
            }
        }
    }
}

/// Takes the next name of a rejected response, to be sent alone (N-5).
fn take_alone(
    state: &mut TypeState,
    view: &dyn ResourceView,
    ty: ResourceType,
) -> Option<EncodedResource> {
    while let Some(name) = state.alone.pop_first() {
        let found = wanted(state, view, ty, &name).filter(|found| !state.is_bad(found));
        if found.is_some() {
            return found;
        }
    }
    None
}

/// The resource the client should hold under `name`. There is no negative form here: 10.1.
pub(super) fn wanted(
    state: &TypeState,
    view: &dyn ResourceView,
    ty: ResourceType,
    name: &str,
) -> Option<EncodedResource> {
    let subscribed = state.sub.names(name) || (state.sub.wildcard() && view.in_scope(ty, name));
    if subscribed {
        view.resource(ty, name)
    } else {
        None
    }
}

/// The first 128 bits, in hexadecimal.
pub(super) fn hex(hasher: &blake3::Hasher) -> Arc<str> {
    let full = hasher.finalize().to_hex();
    Arc::from(full.as_str().get(..32).unwrap_or_default())
}
