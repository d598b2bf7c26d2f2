//! What goes into an incremental response: names compared with the view, one by one.

use std::collections::BTreeSet;
use std::sync::Arc;

use reef_xds::{EncodedResource, ResourceType};

use super::state::{Dirty, Known, TypeState};
use crate::provider::ResourceView;

/// What the client should hold under a name.
pub(super) enum Target {
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

/// Says that the name space itself does not exist where nothing else is said in it (H-3).
pub(super) fn tell_spaces(
    state: &mut TypeState,
    resources: &[EncodedResource],
    removed: &mut Vec<Arc<str>>,
) {
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
pub(super) fn target(
    state: &TypeState,
    view: &dyn ResourceView,
    ty: ResourceType,
    name: &str,
) -> Target {
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
    let mut names: BTreeSet<Arc<str>> = state.known.names().cloned().collect();
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

/// A response in the making.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) resources: Vec<EncodedResource>,
    pub(super) removed: Vec<Arc<str>>,
    bytes: usize,
}

impl Draft {
    pub(super) fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.removed.is_empty()
    }

    pub(super) fn take(&mut self, state: &mut TypeState, found: EncodedResource) {
        self.bytes += found.wire_delta_len();
        state.gone.remove(found.name());
        state
            .known
            .insert(Arc::clone(found.name()), Known::Held(found.version()));
        self.resources.push(found);
    }

    pub(super) fn take_removed(&mut self, state: &mut TypeState, name: Arc<str>) {
        if matches!(state.known.get(&name), Some(Known::Held(_))) {
            state.had.insert(Arc::clone(&name));
        }
        state.gone.remove(&name);
        if state.sub.names(&name) {
            state.known.insert(Arc::clone(&name), Known::Absent); // 9.4: it may come back
        } else {
            state.known.remove(&name);
        }
        self.removed.push(name);
    }
}

/// Takes what was asked for.
pub(super) fn take_forced(
    ty: ResourceType,
    state: &mut TypeState,
    view: &dyn ResourceView,
    split: usize,
    out: &mut Draft,
) {
    let mut forced = std::mem::take(&mut state.forced);
    while out.bytes < split
        && let Some(name) = forced.pop_first()
    {
        if state.alone.contains(&name) {
            continue; // answered alone
        }
        state.dirty.names.remove(&name);
        match compare(ty, state, view, &name, true) {
            Verdict::Send(found) => out.take(state, found),
            Verdict::Remove | Verdict::Gone => out.take_removed(state, name),
            Verdict::Nothing => {}
        }
    }
    state.forced = or_nothing(forced);
}

/// Takes what changed, other than `held_back`. What has no room stays as it is: a large subscription is answered in many
/// responses, and none of them may cost more than what it says.
pub(super) fn take_dirty(
    ty: ResourceType,
    state: &mut TypeState,
    view: &dyn ResourceView,
    split: usize,
    held_back: &[Arc<str>],
    out: &mut Draft,
) {
    if out.bytes >= split {
        return;
    }
    if state.is_new() && held_back.is_empty() && out.is_empty() {
        take_all(ty, state, view, split, out);
        return;
    }
    let dirty = state.dirty.take();
    let answered: BTreeSet<Arc<str>> = out
        .resources
        .iter()
        .map(|sent| Arc::clone(sent.name()))
        .chain(out.removed.iter().cloned())
        .collect();
    let mut candidates = if dirty.all {
        candidates(ty, state, view)
    } else {
        dirty.names
    };
    let mut later = Vec::new();
    while out.bytes < split
        && let Some(name) = candidates.pop_first()
    {
        if held_back.binary_search(&name).is_ok() {
            later.push(name);
            continue;
        }
        if answered.contains(&name) || state.alone.contains(&name) {
            continue;
        }
        match compare(ty, state, view, &name, false) {
            Verdict::Send(found) => out.take(state, found),
            Verdict::Remove => out.take_removed(state, name),
            Verdict::Gone => {
                state.gone.insert(name);
            }
            Verdict::Nothing => {}
        }
    }
    candidates.extend(later);
    state.dirty.names = or_nothing(candidates);
}

/// Takes everything for a client that holds nothing and asked for everything: there is nothing to compare.
fn take_all(
    ty: ResourceType,
    state: &mut TypeState,
    view: &dyn ResourceView,
    split: usize,
    out: &mut Draft,
) {
    state.dirty = Dirty::default();
    view.for_each(ty, &mut |found| {
        if view.in_scope(ty, found.name()) {
            if out.bytes < split {
                out.take(state, found.clone());
            } else {
                state.dirty.names.insert(Arc::clone(found.name()));
            }
        }
    });
}

/// A set from which all was taken keeps the memory of its last node; a new one has none.
fn or_nothing(names: BTreeSet<Arc<str>>) -> BTreeSet<Arc<str>> {
    if names.is_empty() {
        BTreeSet::new()
    } else {
        names
    }
}
