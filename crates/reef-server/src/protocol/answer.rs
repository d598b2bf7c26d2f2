//! ACK and NACK of a response (section 13), and the isolation of what was rejected.

use std::sync::Arc;
use std::time::Duration;

use reef_xds::ResourceType;

use super::nonce::SentResponse;
use super::request::{Rejection, Request};
use super::state::{Known, Outcome, StreamState};
use crate::provider::StreamReport;

impl StreamState {
    /// Takes the answer to a delta response: by its own nonce, whatever else is outstanding (D-10).
    pub(super) fn answer(&mut self, ty: ResourceType, request: &Request, now: Duration) -> Outcome {
        let sent = request
            .nonce
            .parse()
            .ok()
            .and_then(|nonce: u64| self.types.get_mut(&ty)?.outstanding.take(nonce));
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
        let nonce: Arc<str> = Arc::from(sent.nonce.to_string());
        self.reports.push(StreamReport::Nacked {
            ty,
            nonce,
            names: sent.told.iter().map(|(name, _)| Arc::clone(name)).collect(),
            detail: rejection.text.clone(),
        });
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
                    if !superseded && (state.known.contains_key(&name)) {
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
                    self.memory.unresolved(&self.node_id, ty, &name, now);
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
}
