//! The full-state types of the state-of-the-world variant: a response holds everything and omission deletes (W-3).
//!
//! A rejected state is isolated on top of the last one the client took: its changes are tried name by name, many of
//! them by halves. Whatever is tried, the state never holds less than what was taken before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use reef_xds::{EncodedResource, ResourceType};

use super::nonce::{SentResponse, Told};
use super::order::Gate;
use super::request::Rejection;
use super::sotw::{hex, wanted};
use super::state::{StreamState, TypeState};
use super::types::Response;
use crate::provider::{ResourceView, StreamReport};

/// One full set, by name.
pub(super) type Set = BTreeMap<Arc<str>, EncodedResource>;

/// Up to so many suspects are tried one by one, more of them by halves.
const ONE_BY_ONE: usize = 8;

/// Full states kept until their answer. The order rules let out no more.
const MOST_UNANSWERED: usize = 4;

/// What a full-state type needs besides.
#[derive(Debug, Default)]
pub(super) struct FullState {
    /// The last set sent.
    sent: Arc<Set>,
    /// Sets that wait for their answer, by nonce.
    unanswered: BTreeMap<u64, Arc<Set>>,
    /// The last set ACKed, once there was one.
    acked: Option<Arc<Set>>,
    /// Version of a set that was rejected and cannot be isolated: not sent again (N-3).
    rejected: Option<Arc<str>>,
    /// What may be half applied of rejected sets: it has to be said again, although it is what was ACKed (N-6).
    half_applied: BTreeSet<Arc<str>>,
    /// Names of rejected sets, in groups that are tried in turn.
    suspects: VecDeque<Vec<Arc<str>>>,
    /// A group is being tried.
    trying: bool,
}

/// A [`FullState`] that takes no room until something is written to it: delta streams never have one.
#[derive(Debug, Default)]
pub(super) struct Full(Option<Box<FullState>>);

impl Deref for Full {
    type Target = FullState;

    fn deref(&self) -> &FullState {
        static NOTHING: LazyLock<FullState> = LazyLock::new(FullState::default);
        self.0.as_deref().unwrap_or(&NOTHING)
    }
}

impl DerefMut for Full {
    fn deref_mut(&mut self) -> &mut FullState {
        self.0.get_or_insert_default()
    }
}

impl FullState {
    /// Whether something was sent.
    pub(super) fn has_sent(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Whether groups wait for their trial.
    pub(super) fn has_suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Forgets that anything is being isolated.
    fn give_up(&mut self) {
        self.suspects.clear();
        self.trying = false;
    }

    /// Takes up names to be tried before all others.
    fn suspect(&mut self, names: Vec<Arc<str>>) {
        if names.len() <= ONE_BY_ONE {
            for name in names.into_iter().rev() {
                self.suspects.push_front(vec![name]);
            }
        } else {
            let (first, second) = names.split_at(names.len() / 2);
            self.suspects.push_front(second.to_vec());
            self.suspects.push_front(first.to_vec());
        }
    }
}

impl TypeState {
    /// A client came back with the full state of a version: what it took before is the base of isolation, if somebody
    /// remembers it. A rejection before may have been half applied, so all of it is said again.
    pub(super) fn full_came_back(&mut self, version: &str, taken: Option<Arc<Set>>) {
        if let Some(taken) = taken.filter(|taken| *set_version(taken) == *version) {
            self.full.half_applied.extend(taken.keys().cloned());
            self.full.acked = Some(taken);
        }
    }

    /// The full state the client took last.
    pub(super) fn full_taken(&self) -> Option<&Arc<Set>> {
        self.full.acked.as_ref()
    }

    /// The client took the full state of this nonce.
    pub(super) fn full_acked(&mut self, nonce: u64) {
        let full = &mut *self.full;
        if let Some(taken) = full.unanswered.remove(&nonce) {
            full.acked = Some(taken);
        }
        full.unanswered.retain(|later, _| *later > nonce);
        full.half_applied.clear();
        if self.last_nonce != Some(nonce) {
            return;
        }
        full.rejected = None;
        if std::mem::take(&mut full.trying) && full.suspects.is_empty() {
            self.dirty.everything();
        }
    }
}

impl StreamState {
    /// A full state was rejected: if it is the last, fall back to what was taken and try what differs.
    pub(super) fn full_nacked(
        &mut self,
        ty: ResourceType,
        sent: &SentResponse,
        rejection: &Rejection,
        now: Duration,
    ) {
        self.report_nack(ty, sent, rejection);
        let Some(state) = self.types.get_mut(&ty) else {
            return;
        };
        let is_last = state.last_nonce == Some(sent.nonce);
        let full = &mut *state.full;
        let Some(rejected) = full.unanswered.remove(&sent.nonce) else {
            return;
        };
        let base = match &full.acked {
            Some(acked) => Arc::clone(acked),
            // A client that came with nothing: nothing is a base as well.
            None if !state.warm => Arc::default(),
            // It holds something of before this stream; a smaller set would delete it.
            None => {
                full.rejected = Some(set_version(&rejected));
                return;
            }
        };
        let differs: Vec<&EncodedResource> = rejected
            .values()
            .filter(|found| differs_from(&base, found))
            .collect();
        let removed = base.keys().filter(|name| !rejected.contains_key(*name));
        let touched: Vec<&Arc<str>> = differs
            .iter()
            .map(|one| one.name())
            .chain(removed)
            .collect();
        if touched.len() > 1 {
            full.half_applied.extend(touched.into_iter().cloned());
        }
        if !is_last {
            return; // the answer to a later one decides
        }
        full.trying = false;
        full.acked = Some(Arc::clone(&base));
        full.sent = Arc::clone(&base);
        match differs.as_slice() {
            // Only removals: there is nothing to be tried alone.
            [] => full.rejected = Some(set_version(&rejected)),
            [one] => {
                let (name, version) = (Arc::clone(one.name()), one.version());
                state.bad.insert(Arc::clone(&name), version);
                self.memory.bad(&self.node_id, ty, &name, version, now);
                self.reports
                    .push(StreamReport::Rejected { ty, name, version });
            }
            many => full.suspect(many.iter().map(|one| Arc::clone(one.name())).collect()),
        }
        state.dirty.everything();
    }

    /// The next full state, if there is another one to be sent.
    pub(super) fn full_response(
        &mut self,
        ty: ResourceType,
        gate: Gate,
        view: &dyn ResourceView,
        now: Duration,
    ) -> Option<Response> {
        let may_remove = self.may_remove(ty, now);
        let patience = self.options.ack_patience;
        let state = self.types.get_mut(&ty)?;
        if state.full.trying && !state.owed && state.outstanding.fresh_len(now, patience) > 0 {
            return None; // one trial at a time
        }
        if state.full.trying || state.owed {
            // Nobody says what became of the trial, or something else was asked for: start again from the whole.
            state.full.give_up();
        }
        if gate == Gate::AskedOnly && (state.warm || !state.owed) {
            return None;
        }
        let set =
            next_trial(state, view, ty).or_else(|| next_whole(state, view, ty, may_remove))?;
        let full = &mut *state.full;
        let set = Arc::new(set);
        full.sent = Arc::clone(&set);
        // Compared with everything the client may hold, not only with what was sent last: it may not have read that.
        let nothing = Arc::default();
        let taken = full.acked.as_ref().unwrap_or(&nothing);
        let is_news = |found: &EncodedResource| {
            full.half_applied.contains(found.name())
                || full
                    .unanswered
                    .values()
                    .chain([taken])
                    .any(|held| differs_from(held, found))
        };
        let changed: Vec<EncodedResource> =
            set.values().filter(|one| is_news(one)).cloned().collect();
        let told: Vec<Told> = changed
            .iter()
            .map(|found| (Arc::clone(found.name()), Some(found.version())))
            .collect();
        let resources: Vec<EncodedResource> = set.values().cloned().collect();
        let version = set_version(&set);
        if ty == ResourceType::Cluster {
            self.owe_assignments(&changed, view);
        }
        let response = self.sotw_send(ty, resources, told, version, view, now);
        if let Some(state) = self.types.get_mut(&ty) {
            let unanswered = &mut state.full.unanswered;
            unanswered.insert(response.nonce, set);
            while unanswered.len() > MOST_UNANSWERED {
                unanswered.pop_first();
            }
        }
        Some(response)
    }
}

/// What was taken, and the next group of suspects that still differs from it.
fn next_trial(state: &mut TypeState, view: &dyn ResourceView, ty: ResourceType) -> Option<Set> {
    while let Some(group) = state.full.suspects.pop_front() {
        let mut set = Set::clone(&state.full.sent);
        for name in group {
            if let Some(found) = wanted(state, view, ty, &name).filter(|one| !state.is_bad(one)) {
                set.insert(name, found);
            }
        }
        if !same(&set, &state.full.sent) {
            state.full.trying = true;
            return Some(set);
        }
        state.dirty.everything();
    }
    None
}

/// The whole state, unless it is what was sent last. What must not be removed yet stays in it (O-6).
fn next_whole(
    state: &mut TypeState,
    view: &dyn ResourceView,
    ty: ResourceType,
    may_remove: bool,
) -> Option<Set> {
    let mut set = full_set(state, view, ty);
    let mut waiting = BTreeSet::new();
    for (name, old) in &*state.full.sent {
        let subscribed = state.sub.wildcard() || state.sub.names(name);
        if !set.contains_key(name) && subscribed && !may_remove {
            set.insert(Arc::clone(name), old.clone());
            waiting.insert(Arc::clone(name));
        }
    }
    state.dirty.take();
    state.gone = waiting;
    let owed = std::mem::take(&mut state.owed);
    let unchanged = same(&set, &state.full.sent) && state.full.half_applied.is_empty();
    let rejected = || state.full.rejected.as_ref() == Some(&set_version(&set));
    (owed || !(unchanged || rejected())).then_some(set)
}

/// Everything the client should hold; rejected content is replaced by what the client took before it.
fn full_set(state: &TypeState, view: &dyn ResourceView, ty: ResourceType) -> Set {
    let mut set = Set::new();
    let mut add = |found: &EncodedResource| {
        let instead = match &state.full.acked {
            _ if !state.is_bad(found) => Some(found),
            Some(acked) => acked.get(found.name()),
            // Not known what the client has: omission would delete it, the rejected content leaves it alone.
            None => state.warm.then_some(found),
        };
        if let Some(found) = instead {
            set.insert(Arc::clone(found.name()), found.clone());
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

fn differs_from(set: &Set, found: &EncodedResource) -> bool {
    set.get(found.name())
        .is_none_or(|old| old.version() != found.version())
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
