//! The state-of-the-world variant: requests and responses (section 5).
//!
//! Clusters, listeners and scoped routes are full-state: a response holds all of them and omission deletes (W-3).
//! Everything else is partial: a response holds what changed (W-4).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reef_xds::{EncodedResource, ResourceType};

use super::nonce::{SentResponse, Told};
use super::order::Gate;
use super::request::Request;
use super::state::{Known, Outcome, StreamState, TypeState, intern};
use super::types::{Body, Response};
use crate::provider::{ResourceView, StreamReport};

/// One full set, by name.
type Set = BTreeMap<Arc<str>, EncodedResource>;

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
        // W-9: an empty nonce is a restart of the type.
        if request.nonce.is_empty() {
            self.types.remove(&ty);
        }
        let nonce: Option<u64> = request.nonce.parse().ok();
        let state = self.types.entry(ty).or_default();
        let first = state.sub.is_fresh();
        let current = !first && nonce.is_some() && nonce == state.last_nonce;
        let answers = current && nonce.is_some_and(|nonce| state.outstanding.has(nonce));
        let change = state.sub.sotw(ty, &request.subscribe, &|name| {
            intern(view.as_deref(), ty, name)
        });
        if change.first {
            state.since = now;
            state.warm = !request.version.is_empty();
            let recalled = self.memory.recall(&self.node_id, ty, now);
            state.bad.extend(recalled.bad);
        }
        let full = is_full_state(ty);
        for name in &change.dropped {
            state.forget(name);
        }
        if change.wildcard_lost {
            let kept = &state.sub;
            state.known.retain(|name, _| kept.names(name));
        }
        if full {
            let more = change.first || change.wildcard_gained || !change.asked.is_empty();
            if state.sub.wildcard() || state.sub.explicit_len() > 0 {
                // Read before this request, a response may hold the new names already (W-8): compare, then decide.
                state.owed |= more && (current || change.first);
                if more {
                    state.dirty.everything();
                }
            } else {
                state.owed = false;
                state.dirty.take();
            }
        } else {
            for name in &change.asked {
                let told = state.unasked.remove(name);
                let has_it = told.is_some() && !current && !change.first;
                match told {
                    Some(version) if has_it => {
                        state.known.insert(Arc::clone(name), Known::Held(version));
                        state.dirty.name(name);
                    }
                    _ => {
                        state.forced.insert(Arc::clone(name));
                    }
                }
            }
            if change.wildcard_gained {
                state.dirty.everything();
            }
            // W-10: the last ACK once more, word for word, asks for load assignments of modified clusters.
            let same =
                change.asked.is_empty() && change.dropped.is_empty() && !change.wildcard_gained;
            if ty == ResourceType::Endpoint
                && current
                && !answers
                && same
                && request.error.is_none()
            {
                state.forced.extend(state.sub.explicit().cloned());
            }
        }
        if change.first
            || !change.asked.is_empty()
            || !change.dropped.is_empty()
            || change.wildcard_lost
        {
            self.reports.push(StreamReport::Subscribed {
                ty,
                wildcard: state.sub.wildcard(),
                names: state.sub.explicit_len(),
            });
        }
        if change.wildcard_lost && state.sub.explicit_len() > 0 {
            self.reports.push(StreamReport::WildcardLost { ty });
        }
        match nonce {
            Some(nonce) if answers => self.sotw_answer(ty, nonce, request, now),
            Some(_) if !first && !current => Outcome::ExpiredNonce,
            _ => Outcome::Subscription,
        }
    }

    /// ACK or NACK of the last response; older ones are covered by it.
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
        let mut covered = state.outstanding.take_through(nonce);
        let Some(last) = covered.pop() else {
            return Outcome::ExpiredNonce;
        };
        let took = now.saturating_sub(last.at);
        // Nobody says what became of a superseded response; the client processed it before this one.
        match &request.error {
            None => {
                if is_full_state(ty) {
                    let state_full = &mut state.full;
                    state_full.acked = Some(state_full.sent.clone());
                    state_full.rejected = None;
                    if state_full.trial.take().is_some() && state.alone.is_empty() {
                        state.dirty.everything();
                    }
                }
                for sent in covered.iter().chain([&last]) {
                    self.acked(ty, sent);
                }
                Outcome::Ack(took)
            }
            Some(rejection) => {
                if is_full_state(ty) {
                    self.full_nacked(ty, last, rejection, now);
                } else {
                    self.nacked(ty, last, rejection, now);
                }
                Outcome::Nack
            }
        }
    }

    /// A full state was rejected: fall back to the last ACKed one and try what differs name by name.
    fn full_nacked(
        &mut self,
        ty: ResourceType,
        mut sent: SentResponse,
        rejection: &super::Rejection,
        now: Duration,
    ) {
        let Some(state) = self.types.get_mut(&ty) else {
            return;
        };
        let Some(acked) = state.full.acked.clone() else {
            // Nothing to fall back to: a smaller set would delete what the client still has (W-3).
            state.full.rejected = Some(set_version(&state.full.sent));
            self.reports.push(StreamReport::Nacked {
                ty,
                nonce: Arc::from(sent.nonce.to_string()),
                names: sent.told.iter().map(|(name, _)| Arc::clone(name)).collect(),
                detail: rejection.text.clone(),
            });
            return;
        };
        sent.told.retain(|(name, version)| {
            version
                .is_some_and(|version| acked.get(name).is_none_or(|old| old.version() != version))
        });
        state.full.trial = None;
        state.full.sent = acked;
        state.dirty.everything();
        self.nacked(ty, sent, rejection, now);
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

    fn full_response(
        &mut self,
        ty: ResourceType,
        gate: Gate,
        view: &dyn ResourceView,
        now: Duration,
    ) -> Option<Response> {
        let may_remove = self.may_remove(ty, now);
        let state = self.types.get_mut(&ty)?;
        let owed = state.owed;
        if gate == Gate::AskedOnly && (state.warm || !owed) {
            return None;
        }
        let trying = state.full.acked.is_some() && !state.alone.is_empty();
        let mut set;
        let mut waiting = BTreeSet::new();
        if trying {
            set = state.full.sent.clone();
            let name = state.alone.pop_first()?;
            if let Some(found) = wanted(state, view, ty, &name).filter(|found| !state.is_bad(found))
            {
                set.insert(Arc::clone(&name), found);
            }
            state.full.trial = Some(name);
        } else {
            state.alone.clear();
            set = full_set(state, view, ty);
            for (name, old) in &state.full.sent {
                let still_subscribed = state.sub.wildcard() || state.sub.names(name);
                if !set.contains_key(name) && still_subscribed && !may_remove {
                    set.insert(Arc::clone(name), old.clone());
                    waiting.insert(Arc::clone(name));
                }
            }
            state.dirty.take();
        }
        if trying && state.alone.is_empty() {
            state.dirty.everything();
        }
        state.owed = false;
        // Kept until whatever refers to them is gone (O-6).
        state.gone = waiting;
        let unchanged = !owed && same(&set, &state.full.sent);
        if unchanged || (!owed && state.full.rejected.as_ref() == Some(&set_version(&set))) {
            return None;
        }
        let told: Vec<Told> = set
            .values()
            .filter(|found| {
                state
                    .full
                    .sent
                    .get(found.name())
                    .is_none_or(|old| old.version() != found.version())
            })
            .map(|found| (Arc::clone(found.name()), Some(found.version())))
            .collect();
        let changed: Vec<EncodedResource> = told
            .iter()
            .filter_map(|(name, _)| set.get(name).cloned())
            .collect();
        let resources: Vec<EncodedResource> = set.values().cloned().collect();
        let version = set_version(&set);
        state.full.sent = set;
        if ty == ResourceType::Cluster {
            self.owe_assignments(&changed, view);
        }
        Some(self.sotw_send(ty, resources, told, version, view, now))
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
            for name in names {
                if state.alone.contains(&name) || resources.iter().any(|sent| *sent.name() == name)
                {
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
            if resources.is_empty() {
                while let Some(name) = state.alone.pop_first() {
                    if let Some(found) =
                        wanted(state, view, ty, &name).filter(|found| !state.is_bad(found))
                    {
                        resources.push(found);
                        break;
                    }
                }
            }
        }
        state.owed = false;
        if resources.is_empty() {
            return None;
        }
        Some(self.sotw_emit(ty, resources, view, now))
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
            for (name, known) in &state.known {
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

    fn sotw_send(
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

/// The resource the client should hold under `name`. There is no negative form here: 10.1.
fn wanted(
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

/// Everything the client should hold; rejected content is replaced by what the client took before it.
fn full_set(state: &TypeState, view: &dyn ResourceView, ty: ResourceType) -> Set {
    let mut set = Set::new();
    let mut add = |found: &EncodedResource| {
        if !state.is_bad(found) {
            set.insert(Arc::clone(found.name()), found.clone());
            return;
        }
        match &state.full.acked {
            Some(acked) => {
                if let Some(old) = acked.get(found.name()) {
                    set.insert(Arc::clone(found.name()), old.clone());
                }
            }
            // Not known what the client has: omission would delete it, the rejected content leaves it alone.
            None => {
                set.insert(Arc::clone(found.name()), found.clone());
            }
        }
    };
    if state.sub.wildcard() {
        view.for_each(ty, &mut add);
    }
    for name in state.sub.explicit() {
        if let Some(found) = view.resource(ty, name) {
            add(&found);
        }
    }
    set
}

fn same(a: &Set, b: &Set) -> bool {
    a.len() == b.len()
        && a.values()
            .zip(b.values())
            .all(|(a, b)| a.name() == b.name() && a.version() == b.version())
}

/// V-1: the version of a full set follows from its names and versions.
fn set_version(set: &Set) -> Arc<str> {
    let mut hasher = blake3::Hasher::new();
    for (name, found) in set {
        hasher
            .update(name.as_bytes())
            .update(&[0])
            .update(found.version().as_bytes());
    }
    hex(&hasher)
}

/// The first 128 bits, in hexadecimal.
fn hex(hasher: &blake3::Hasher) -> Arc<str> {
    let full = hasher.finalize().to_hex();
    Arc::from(full.as_str().get(..32).unwrap_or_default())
}
