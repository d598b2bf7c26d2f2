//! Nonces and the responses that wait for their ACK.
//!
//! A nonce is a counter per stream (V-3). ACKs can come late and together, so every outstanding response is kept, in
//! order, not only the last (D-10).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use reef_xds::Version;

/// Most responses of one type that are remembered while their ACK is missing. A well-behaved client never comes near
/// it: the order rules allow a handful. It bounds what a client that never ACKs can cost: 64 lists of names.
const MAX_REMEMBERED: usize = 64;

/// What a response said about one name: this content, or that it is gone.
pub type Told = (Arc<str>, Option<Version>);

/// A response that was handed to the transport.
#[derive(Debug, Clone)]
pub struct SentResponse {
    /// Its nonce.
    pub nonce: u64,
    /// What it said.
    pub told: Vec<Told>,
    /// When it was sent.
    pub at: Duration,
    /// Generation of the view it was made from.
    pub generation: u64,
}

impl SentResponse {
    /// Whether it carries content, not only removals.
    #[must_use]
    pub fn has_content(&self) -> bool {
        self.told.iter().any(|(_, version)| version.is_some())
    }
}

/// The outstanding responses of one type, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Outstanding {
    queue: VecDeque<SentResponse>,
    /// Names of responses nobody answered that are no longer in the queue, with what was said last.
    given_up: BTreeMap<Arc<str>, Option<Version>>,
}

impl Outstanding {
    /// Remembers a response; when there are too many, what the oldest said is kept without its nonce.
    pub fn push(&mut self, sent: SentResponse) {
        if self.queue.len() >= MAX_REMEMBERED
            && let Some(oldest) = self.queue.pop_front()
        {
            self.given_up.extend(oldest.told);
        }
        self.queue.push_back(sent);
    }

    /// Takes out everything that was said and not answered, oldest first.
    pub fn drain(&mut self) -> impl Iterator<Item = Told> {
        std::mem::take(&mut self.given_up)
            .into_iter()
            .chain(self.queue.drain(..).flat_map(|sent| sent.told))
    }

    /// Whether the response with this nonce waits for its answer.
    #[must_use]
    pub fn has(&self, nonce: u64) -> bool {
        self.queue.iter().any(|sent| sent.nonce == nonce)
    }

    /// Takes the response with this nonce out, wherever it stands.
    pub fn take(&mut self, nonce: u64) -> Option<SentResponse> {
        let at = self.queue.iter().position(|sent| sent.nonce == nonce)?;
        let taken = self.queue.remove(at);
        self.give_room_back();
        taken
    }

    /// Takes the response with this nonce and all older ones out, oldest first (`SotW`: an ACK of the last covers
    /// what came before).
    pub fn take_through(&mut self, nonce: u64) -> Vec<SentResponse> {
        match self.queue.iter().position(|sent| sent.nonce == nonce) {
            Some(at) => {
                let taken = self.queue.drain(..=at).collect();
                self.give_room_back();
                taken
            }
            None => Vec::new(),
        }
    }

    /// Most of its life a stream waits for nothing.
    fn give_room_back(&mut self) {
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
    }

    /// Whether a response sent after `nonce` says something about `name`.
    #[must_use]
    pub fn later_tells(&self, nonce: u64, name: &str) -> bool {
        self.queue
            .iter()
            .any(|sent| sent.nonce > nonce && sent.told.iter().any(|(told, _)| &**told == name))
    }

    /// Number of responses younger than `patience`; older ones no longer hold anything back.
    #[must_use]
    pub fn fresh_len(&self, now: Duration, patience: Duration) -> usize {
        self.queue
            .iter()
            .filter(|sent| now < sent.at + patience)
            .count()
    }

    /// Whether a response with content younger than `patience` waits for its ACK.
    #[must_use]
    pub fn content_waits(&self, now: Duration, patience: Duration) -> bool {
        self.queue
            .iter()
            .any(|sent| sent.has_content() && now < sent.at + patience)
    }

    /// When the next outstanding response stops holding others back, if one does.
    #[must_use]
    pub fn next_expiry(&self, now: Duration, patience: Duration) -> Option<Duration> {
        self.queue
            .iter()
            .map(|sent| sent.at + patience)
            .filter(|at| *at > now)
            .min()
    }

    /// A later word about `name` was taken: what was given up before is settled.
    pub fn settle(&mut self, name: &str) {
        self.given_up.remove(name);
    }
}
