//! ACK and NACK of a response (section 13), and the isolation of what was rejected.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reef_xds::ResourceType;

use super::memory::Doubt;
use super::nonce::SentResponse;
use super::request::{Rejection, Request};
use super::state::{Known, Outcome, StreamState, Variant};
use crate::provider::StreamReport;

impl StreamState {
    /// Takes the answer to a response by its own nonce, whatever else is outstanding (D-10).
    pub(super) fn answer_to(
        &mut self,
        ty: ResourceType,
        nonce: u64,
        request: &Request,
        now: Duration,
    ) -> Outcome {
        let sent = self
            .types
            .get_mut(&ty)
            .and_then(|state| state.outstanding.take(nonce));
        match (sent, &request.error) {
            (None, _) => Outcome::ExpiredNonce,
            (Some(sent), None) => {
                let took = now.saturating_sub(sent.at);
                self.acked(ty, &sent);
                Outcome::Ack(took)
            }
            (Some(sent), Some(rejection)) => {
                self.nacked(ty, sent, rejection, now);
                Outcome::Nack
            }
        }
    }

    /// The client took everything in `sent`.
    pub(super) fn acked(&mut self, ty: ResourceType, sent: &SentResponse) {
        let Some(state) = self.types.get_mut(&ty) else {
            return;
        };
        for (name, version) in &sent.told {
            let superseded =
                state.outstanding.later_tells(sent.nonce, name) || state.alone.contains(name);
            if superseded {
                continue;
            }
            state.outstanding.settle(name);
            let was_bad = version.is_some() && state.bad.remove(name).is_some();
            if state.unresolved.remove(name) || was_bad {
                self.memory
                    .resolved(&self.node_id, ty, name, version.is_some());
            }
        }
        self.reports.push(StreamReport::Acked {
            ty,
            nonce: Arc::from(sent.nonce.to_string()),
            generation: sent.generation,
        });
    }

    /// The client rejected `sent`: nothing is known of any name in it any more (N-4, N-6).
    pub(super) fn nacked(
        &mut self,
        ty: ResourceType,
        sent: SentResponse,
        rejection: &Rejection,
        now: Duration,
    ) {
        self.report_nack(ty, &sent, rejection);
        let Some(state) = self.types.get_mut(&ty) else {
            return;
        };
        let was_alone = sent.told.len() == 1;
        for (name, version) in sent.told {
            let superseded = state.outstanding.later_tells(sent.nonce, &name);
            match (was_alone, version) {
                (true, Some(version)) => {
                    state.bad.insert(Arc::clone(&name), version);
                    self.memory.bad(&self.node_id, ty, &name, version, now);
                    if !superseded && state.known.contains(&name) {
                        // The client keeps what it had before, which is not what was sent.
                        state.known.insert(Arc::clone(&name), Known::Unknown);
                        state.dirty.name(&name);
                    }
                    self.reports
                        .push(StreamReport::Rejected { ty, name, version });
                }
                // A removal rejected alone: there is nothing more to be said about it.
                (true, None) => {}
                (false, _) => {
                    self.memory
                        .doubt(&self.node_id, ty, &name, Doubt::Rejected, now);
                    state.unresolved.insert(Arc::clone(&name));
                    // A later response about the name decides; its own ACK or NACK will come.
                    let wanted =
                        state.sub.wildcard() || state.sub.names(&name) || version.is_none();
                    if !superseded && wanted {
                        state.known.insert(Arc::clone(&name), Known::Unknown);
                        state.gone.remove(&name);
                        state.alone.insert(name);
                    }
                }
            }
        }
    }

    pub(super) fn report_nack(
        &mut self,
        ty: ResourceType,
        sent: &SentResponse,
        rejection: &Rejection,
    ) {
        self.reports.push(StreamReport::Nacked {
            ty,
            nonce: Arc::from(sent.nonce.to_string()),
            names: sent.told.iter().map(|(name, _)| Arc::clone(name)).collect(),
            code: rejection.code,
            detail: rejection.text.clone(),
        });
    }

    /// The stream is over: what it said and nobody answered is in doubt, for a rejection may be lost with it. A `SotW`
    /// client is answered in full when it comes back; of it only the full states it took are remembered, on which
    /// anything it rejects then is isolated.
    pub fn end(&mut self, now: Duration) {
        if self.variant == Variant::Sotw {
            for (ty, state) in &self.types {
                if let Some(taken) = state.full_taken() {
                    self.memory.take_note(&self.node_id, *ty, taken, now);
                }
            }
            return;
        }
        for (ty, state) in &mut self.types {
            let mut doubts: BTreeMap<Arc<str>, Doubt> = state
                .known
                .iter()
                .filter(|(name, known)| {
                    **known == Known::Unknown && state.unresolved.contains(*name)
                })
                .map(|(name, _)| (Arc::clone(name), Doubt::Unclear))
                .collect();
            for (name, told) in state.outstanding.drain() {
                let told = Doubt::Unanswered(told);
                let unclear = state.unresolved.contains(&name)
                    || doubts.get(&name).is_some_and(|before| *before != told);
                doubts.insert(name, if unclear { Doubt::Unclear } else { told });
            }
            for (name, doubt) in &doubts {
                if state.sub.wildcard() || state.sub.names(name) {
                    self.memory.doubt(&self.node_id, *ty, name, *doubt, now);
                }
            }
        }
    }

    /// Takes over what is remembered of a type when its first delta request came.
    pub(super) fn recall(&mut self, ty: ResourceType, now: Duration) {
        let recalled = self.memory.recall(&self.node_id, ty, now);
        let state = self.types.entry(ty).or_default();
        state.bad.extend(recalled.bad);
        if recalled.everything {
            for (name, known) in state.known.iter_mut() {
                *known = Known::Unknown;
                state.unresolved.insert(Arc::clone(name));
            }
        }
        for (name, doubt) in recalled.doubts {
            let reported = match state.known.get(&name) {
                Some(Known::Held(version)) => Some(*version),
                _ => None,
            };
            if doubt == Doubt::Unanswered(reported) {
                continue; // it took what it was told, only its word was lost
            }
            if doubt == Doubt::Rejected {
                state.alone.insert(Arc::clone(&name));
            }
            state.known.insert(Arc::clone(&name), Known::Unknown);
            state.unresolved.insert(name);
        }
    }
}
