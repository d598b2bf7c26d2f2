//! The state of one stream: what it holds per type, and the events it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reef_xds::{EncodedResource, ResourceType, Version};

use super::full::Full;
use super::memory::NackMemory;
use super::nonce::Outstanding;
use super::request::Request;
use super::sotw::is_full_state;
use super::subscription::{Change, Subscription};
use super::table::Table;
use super::types::Response;
use crate::provider::{ResourceView, StreamReport, Watched};
use crate::status::StreamEnd;

/// The form a stream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// State of the world.
    Sotw,
    /// Incremental.
    Delta,
}

/// Limits and patience of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// A delta response is closed when its resources reach this size. One MiB keeps Envoy's main thread responsive
    /// (section 19).
    pub split_bytes: usize,
    /// How long a missing ACK holds back what comes after it (O-3). Longer than Envoy's `initial_fetch_timeout` of
    /// 15 s, after which a warming cluster is active anyway.
    pub ack_patience: Duration,
    /// How long cluster removals of a reconnecting client wait for its listener and route requests (O-6). Envoy sends
    /// them within a millisecond of each other.
    pub reconnect_grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            split_bytes: 1 << 20,
            ack_patience: Duration::from_secs(20),
            reconnect_grace: Duration::from_secs(1),
        }
    }
}

/// What a request came to, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A subscription, or a change of one.
    Subscription,
    /// An ACK; how long after the response was handed over.
    Ack(Duration),
    /// A NACK.
    Nack,
    /// The nonce is not outstanding.
    ExpiredNonce,
    /// A type this server does not know; ignored (T-3).
    UnknownType,
}

/// What the stream believes the client holds under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// This content was sent or reported.
    Held(Version),
    /// Something, or nothing: a response about it was rejected, or the version it reported is not ours.
    Unknown,
    /// It was told that the name does not exist.
    Absent,
}

/// What has to be compared with the view before the next response.
#[derive(Debug, Clone, Default)]
pub(super) struct Dirty {
    pub(super) all: bool,
    pub(super) names: BTreeSet<Arc<str>>,
}

impl Dirty {
    pub(super) fn is_clean(&self) -> bool {
        !self.all && self.names.is_empty()
    }

    pub(super) fn everything(&mut self) {
        self.all = true;
        self.names.clear();
    }

    pub(super) fn name(&mut self, name: &Arc<str>) {
        if !self.all {
            self.names.insert(Arc::clone(name));
        }
    }

    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

/// One type on one stream.
#[derive(Debug, Default)]
pub(super) struct TypeState {
    pub(super) sub: Subscription,
    /// By name: what the client holds. Only subscribed names (wildcard or explicit).
    pub(super) known: Table<Known>,
    pub(super) dirty: Dirty,
    /// Names to be answered whatever is known of them (D-5, W-6).
    pub(super) forced: BTreeSet<Arc<str>>,
    /// Names that vanished and whose removal waits for its turn.
    pub(super) gone: BTreeSet<Arc<str>>,
    /// Names to be re-sent alone after a NACK.
    pub(super) alone: BTreeSet<Arc<str>>,
    /// Names of rejected responses that no ACK has settled.
    pub(super) unresolved: BTreeSet<Arc<str>>,
    /// Content rejected when sent alone.
    pub(super) bad: BTreeMap<Arc<str>, Version>,
    /// VHDS: name spaces of route configurations that wait for their first word (H-3).
    pub(super) spaces: BTreeSet<Arc<str>>,
    /// VHDS: name spaces something was said in.
    pub(super) spaces_told: BTreeSet<Arc<str>>,
    /// Removals of the response being made whose names the client held.
    pub(super) had: BTreeSet<Arc<str>>,
    /// A response is due even if it is empty (D-8, W-2).
    pub(super) owed: bool,
    /// The client came with state of before this stream.
    pub(super) warm: bool,
    /// What the client reported has not been compared completely yet.
    pub(super) reconciling: bool,
    /// When the first request came.
    pub(super) since: Duration,
    pub(super) outstanding: Outstanding,
    /// `SotW`: nonce of the last response.
    pub(super) last_nonce: Option<u64>,
    /// `SotW`: names sent before they were asked for, with what was sent.
    pub(super) unasked: BTreeMap<Arc<str>, Version>,
    pub(super) full: Full,
}

impl TypeState {
    /// Whether nothing is waiting to be computed or sent.
    pub(super) fn nothing_pending(&self) -> bool {
        self.dirty.is_clean()
            && self.forced.is_empty()
            && self.alone.is_empty()
            && self.spaces.is_empty()
            && !self.full.has_suspects()
            && !self.owed
    }

    /// Whether the client is done with everything of this type, removals included.
    pub(super) fn settled(&self, now: Duration, options: &Options) -> bool {
        self.nothing_pending()
            && self.gone.is_empty()
            && self.outstanding.fresh_len(now, options.ack_patience) == 0
    }

    pub(super) fn forget(&mut self, name: &Arc<str>) {
        self.known.remove(name);
        self.dirty.names.remove(name);
        self.forced.remove(name);
        self.gone.remove(name);
        self.alone.remove(name);
        self.unasked.remove(name);
    }

    /// Whether the client asked for everything, and nothing but that is known of it.
    pub(super) fn is_new(&self) -> bool {
        self.dirty.all
            && self.sub.wildcard()
            && self.sub.explicit_len() == 0
            && self.known.is_empty()
            && self.forced.is_empty()
            && self.gone.is_empty()
            && self.alone.is_empty()
            && self.bad.is_empty()
    }

    pub(super) fn is_bad(&self, resource: &EncodedResource) -> bool {
        self.bad.get(resource.name()) == Some(&resource.version())
    }
}

/// One stream, either variant, aggregated or of a single type.
#[derive(Debug)]
pub struct StreamState {
    pub(super) variant: Variant,
    /// The implied type of a single-type service; `None` on ADS.
    pub(super) only: Option<ResourceType>,
    pub(super) options: Options,
    pub(super) node_id: Arc<str>,
    pub(super) memory: Arc<NackMemory>,
    pub(super) view: Option<Arc<dyn ResourceView>>,
    /// Boxed, because a tree sets room for eleven values aside and most streams have four types.
    pub(super) types: BTreeMap<ResourceType, Box<TypeState>>,
    /// Load assignments owed right behind the cluster response that was sent last (O-2).
    pub(super) follow: BTreeSet<Arc<str>>,
    /// Load assignments of clusters that were sent before the stream's first endpoint request.
    pub(super) early: BTreeSet<Arc<str>>,
    pub(super) nonces: u64,
    pub(super) reports: Vec<StreamReport>,
    pub(super) settled_at: Option<(u64, u64)>,
}

impl StreamState {
    /// A stream on which nothing has happened. `only` is the implied type of a single-type service.
    #[must_use]
    pub fn new(
        variant: Variant,
        only: Option<ResourceType>,
        node_id: Arc<str>,
        memory: Arc<NackMemory>,
        options: Options,
    ) -> Self {
        Self {
            variant,
            only,
            options,
            node_id,
            memory,
            view: None,
            types: BTreeMap::new(),
            follow: BTreeSet::new(),
            early: BTreeSet::new(),
            nonces: 0,
            reports: Vec::new(),
            settled_at: None,
        }
    }

    /// A stream like this one on which nothing has happened; it stands in for this one while that is elsewhere.
    #[must_use]
    pub fn blank(&self) -> Self {
        Self::new(
            self.variant,
            self.only,
            Arc::clone(&self.node_id),
            Arc::clone(&self.memory),
            self.options,
        )
    }

    /// Takes a view; the latest wins.
    pub fn view(&mut self, view: Arc<dyn ResourceView>) {
        let changed = match &self.view {
            Some(old)
                if old.lineage() == view.lineage() && old.generation() == view.generation() =>
            {
                return;
            }
            Some(old) if old.lineage() == view.lineage() => view.changed_since(old.generation()),
            _ => None,
        };
        match changed {
            Some(names) => {
                for (ty, name) in names {
                    if let Some(state) = self.types.get_mut(&ty)
                        && (state.sub.wildcard()
                            || state.sub.names(&name)
                            || state.known.contains(&name))
                    {
                        state.dirty.name(&name);
                    }
                }
            }
            None => {
                for state in self
                    .types
                    .values_mut()
                    .filter(|state| !state.sub.is_fresh())
                {
                    state.dirty.everything();
                }
            }
        }
        self.view = Some(view);
    }

    /// Takes a request.
    ///
    /// # Errors
    /// When the stream has to end: a request without type on ADS, or of another type on a single-type service.
    pub fn request(&mut self, request: &Request, now: Duration) -> Result<Outcome, StreamEnd> {
        let ty = match (self.only, request.type_url.as_str()) {
            (Some(only), "") => only,
            (None, "") => return Err(StreamEnd::MissingType),
            (only, url) => match (only, ResourceType::from_url(url)) {
                (Some(only), Some(ty)) if only == ty => ty,
                (Some(_), _) => {
                    return Err(StreamEnd::WrongType {
                        type_url: url.to_owned(),
                    });
                }
                (None, Some(ty)) => ty,
                (None, None) => return Ok(Outcome::UnknownType),
            },
        };
        Ok(match self.variant {
            Variant::Delta => self.delta_request(ty, request, now),
            Variant::Sotw => self.sotw_request(ty, request, now),
        })
    }

    /// The next response, if one is due. The caller owns it: it counts as sent from here on.
    pub fn next_response(&mut self, now: Duration) -> Option<Response> {
        let view = Arc::clone(self.view.as_ref()?);
        let response = self.next_in_order(&*view, now);
        if response.is_none() {
            self.note_settled(&*view, now);
        }
        response
    }

    /// Whether [`Self::next_response`] might have something to say; cheap, never wrong in saying no.
    #[must_use]
    pub fn may_respond(&self) -> bool {
        self.view.is_some()
            && (!self.follow.is_empty()
                || self
                    .types
                    .values()
                    .any(|state| !state.nothing_pending() || !state.gone.is_empty()))
    }

    /// Whether the next [`Self::next_response`] compares more than so many names, and so takes longer than a task may
    /// keep its thread.
    #[must_use]
    pub fn compares_more_than(&self, names: usize) -> bool {
        let Some(view) = &self.view else {
            return false;
        };
        self.types.iter().any(|(ty, state)| {
            let whole = state.dirty.all || (self.variant == Variant::Sotw && is_full_state(*ty));
            let named = state.sub.explicit_len().max(state.known.len());
            let all = |ty| {
                if state.sub.wildcard() {
                    view.count(ty)
                } else {
                    0
                }
            };
            !state.nothing_pending()
                && (state.forced.len().max(state.dirty.names.len()) > names
                    || (whole && named.max(all(*ty)) > names))
        })
    }

    /// When [`Self::next_response`] should be asked again although no event came: something waits for an ACK or a
    /// grace period that ends then.
    #[must_use]
    pub fn next_deadline(&self, now: Duration) -> Option<Duration> {
        if !self.may_respond() {
            return None;
        }
        let acks = self.types.values().filter_map(|state| {
            state
                .outstanding
                .next_expiry(now, self.options.ack_patience)
        });
        let grace = self
            .types
            .values()
            .filter(|state| state.warm)
            .map(|state| state.since + self.options.reconnect_grace)
            .filter(|at| *at > now);
        acks.chain(grace).min()
    }

    /// Reports a change of subscription, if it was one.
    pub(super) fn report_subscription(&mut self, ty: ResourceType, change: &Change) {
        let Some(state) = self.types.get(&ty) else {
            return;
        };
        let changed = change.first
            || change.wildcard_lost
            || !change.asked.is_empty()
            || !change.dropped.is_empty();
        if changed {
            self.reports.push(StreamReport::Subscribed {
                ty,
                wildcard: state.sub.wildcard(),
                names: state.sub.explicit_len(),
            });
        }
    }

    /// What it is subscribed to, by type.
    #[must_use]
    pub fn watched(&self) -> Vec<Watched> {
        let subscribed = self.types.iter().filter(|(_, state)| !state.sub.is_fresh());
        subscribed
            .map(|(ty, state)| Watched {
                ty: *ty,
                wildcard: state.sub.wildcard(),
                names: state.sub.explicit().cloned().collect(),
            })
            .collect()
    }

    /// Takes what is to be reported to the session, in order.
    pub fn take_reports(&mut self) -> Vec<StreamReport> {
        std::mem::take(&mut self.reports)
    }

    pub(super) fn next_nonce(&mut self) -> u64 {
        self.nonces += 1;
        self.nonces
    }

    fn note_settled(&mut self, view: &dyn ResourceView, now: Duration) {
        let at = (view.lineage(), view.generation());
        if self.settled_at == Some(at) || self.types.is_empty() || !self.follow.is_empty() {
            return;
        }
        let patience = &self.options;
        if self
            .types
            .values()
            .all(|state| state.settled(now, patience))
        {
            self.settled_at = Some(at);
            for state in self.types.values_mut() {
                state.known.shrink();
                state.sub.shrink();
            }
            self.reports
                .push(StreamReport::Settled { generation: at.1 });
        }
    }
}

/// The shared form of `name`: the view's own, if it knows the name.
pub(super) fn intern(view: Option<&dyn ResourceView>, ty: ResourceType, name: &str) -> Arc<str> {
    view.and_then(|view| view.resource(ty, name))
        .map_or_else(|| Arc::from(name), |found| Arc::clone(found.name()))
}
