//! Asking the API server about tokens, as seldom as can be: answers are kept, equal questions asked once, and while it
//! does not answer one question at a time finds out whether it does again.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use crate::credential::{BoundPod, VerifiedToken};
use crate::local::{self, Jwks, Policy, TokenError};

/// How long the API server's yes is kept, and so how long a revoked token may still open streams.
pub const SUCCESS_TTL: Duration = Duration::from_secs(60);

/// How long its no is kept, and how long it is left alone after it did not answer.
pub const FAILURE_TTL: Duration = Duration::from_secs(5);

/// How long one answer may take.
pub const REVIEW_TIMEOUT: Duration = Duration::from_secs(5);

/// Questions asked at a time; more wait. The API server allows a client of its default settings some hundred a second.
const ASKED_AT_ONCE: usize = 32;

/// Answers kept, 150 bytes each: more than there are proxies, so that only a flood of strangers' tokens throws any out.
const KEPT: usize = 16 * 1024;

/// What the API server says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Review {
    /// It is good, for one of the audiences asked for.
    Authentic {
        /// `system:serviceaccount:NAMESPACE:NAME`.
        user: String,
        /// The pod it is bound to, if it is.
        pod: Option<BoundPod>,
    },
    /// It is not.
    Refused,
}

/// The API server could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the API server cannot be asked about a token: {reason}")]
pub struct Unreachable {
    /// What stood in the way.
    pub reason: String,
}

/// What [`Reviewer::review`] returns.
pub type ReviewFuture<'a> = Pin<Box<dyn Future<Output = Result<Review, Unreachable>> + Send + 'a>>;

/// Whoever can ask the API server.
pub trait Reviewer: Send + Sync + 'static {
    /// Asks about one token.
    ///
    /// # Errors
    /// [`Unreachable`] if there is no answer; an answer that says no is [`Review::Refused`].
    fn review<'a>(&'a self, token: &'a str) -> ReviewFuture<'a>;
}

/// What is known about a token from the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is good.
    Verified(Arc<VerifiedToken>),
    /// It is not.
    Refused,
    /// The API server does not answer.
    Unreachable(Unreachable),
}

type Hash = [u8; 32];

/// The answers of the API server.
pub struct Reviews {
    reviewer: Arc<dyn Reviewer>,
    state: Mutex<State>,
    turns: Semaphore,
    kept: usize,
}

impl std::fmt::Debug for Reviews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Reviews")
            .field("known", &state.known.len())
            .field("silent", &state.silent)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    known: HashMap<Hash, Known>,
    /// Set while the API server does not answer.
    silent: Option<Silent>,
}

#[derive(Debug, Clone)]
struct Silent {
    why: Unreachable,
    again_at: Duration,
    /// One question finds out whether it is back.
    probing: bool,
}

enum Known {
    Asking(watch::Receiver<Option<Answer>>),
    Good(Arc<VerifiedToken>, Duration),
    /// A no counts until asked again, and for ever where nobody can be asked.
    Bad(Duration),
}

enum Role {
    Follow(watch::Receiver<Option<Answer>>),
    Lead(watch::Sender<Option<Answer>>),
}

/// A question being asked; if whoever asks goes away, so does it.
struct Asking<'a> {
    reviews: &'a Reviews,
    hash: Hash,
    answered: bool,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.answered {
            let mut state = self.reviews.state.lock();
            if matches!(state.known.get(&self.hash), Some(Known::Asking(_))) {
                state.known.remove(&self.hash);
            }
            if let Some(silent) = &mut state.silent {
                silent.probing = false;
            }
        }
    }
}

impl Reviews {
    /// Answers of `reviewer`.
    #[must_use]
    pub fn new(reviewer: Arc<dyn Reviewer>) -> Self {
        Self::keeping(reviewer, KEPT)
    }

    pub(crate) fn keeping(reviewer: Arc<dyn Reviewer>, kept: usize) -> Self {
        Self {
            reviewer,
            state: Mutex::new(State::default()),
            turns: Semaphore::new(ASKED_AT_ONCE),
            kept,
        }
    }

    /// Whether the API server did not answer when it was asked last.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.state.lock().silent.is_some()
    }

    /// Takes note that the API server answered something else, so that it can be asked again.
    pub fn heard(&self) {
        self.state.lock().silent = None;
    }

    /// What was answered about a token and still counts at `now`, without asking.
    #[must_use]
    pub fn known(&self, token: &str, now: Duration) -> Option<Answer> {
        match self.state.lock().known.get(&hash(token))? {
            Known::Good(token, until) if now < *until => Some(Answer::Verified(token.clone())),
            Known::Bad(until) if now < *until => Some(Answer::Refused),
            _ => None,
        }
    }

    /// Whether the last answer about a token was no, however old it is.
    #[must_use]
    pub fn was_refused(&self, token: &str) -> bool {
        matches!(
            self.state.lock().known.get(&hash(token)),
            Some(Known::Bad(_))
        )
    }

    /// What the API server says about a token, at `now` on any clock that does not go back.
    pub async fn check(&self, token: &str, now: Duration) -> Answer {
        let hash = hash(token);
        loop {
            match self.role(&hash, now) {
                Err(answer) => return answer,
                Ok(Role::Follow(mut answer)) => {
                    let answer = answer.wait_for(Option::is_some).await;
                    // Else whoever asked went away; another asks.
                    if let Ok(Some(answer)) = answer.map(|answer| answer.clone()) {
                        return answer;
                    }
                }
                Ok(Role::Lead(tell)) => {
                    let mut asking = Asking {
                        reviews: self,
                        hash,
                        answered: false,
                    };
                    let answer = self.ask(token).await;
                    asking.answered = true;
                    self.note(hash, &answer, now);
                    tell.send_replace(Some(answer.clone()));
                    return answer;
                }
            }
        }
    }

    fn role(&self, hash: &Hash, now: Duration) -> Result<Role, Answer> {
        let mut state = self.state.lock();
        match state.known.get(hash) {
            Some(Known::Good(token, until)) if now < *until => {
                return Err(Answer::Verified(Arc::clone(token)));
            }
            Some(Known::Bad(until)) if now < *until => return Err(Answer::Refused),
            Some(Known::Asking(answer)) => return Ok(Role::Follow(answer.clone())),
            _ => {}
        }
        if let Some(silent) = &mut state.silent {
            if now < silent.again_at || silent.probing {
                return Err(Answer::Unreachable(silent.why.clone()));
            }
            silent.probing = true;
        }
        let (tell, answer) = watch::channel(None);
        // A no stays known while it is asked again only if the question is answered; see `note`.
        let refused = matches!(state.known.get(hash), Some(Known::Bad(_)));
        if !refused {
            state.known.insert(*hash, Known::Asking(answer));
        }
        Ok(Role::Lead(tell))
    }

    async fn ask(&self, token: &str) -> Answer {
        let asked = async {
            // Never closed.
            let _turn = self.turns.acquire().await;
            self.reviewer.review(token).await
        };
        let review = tokio::time::timeout(REVIEW_TIMEOUT, asked)
            .await
            .unwrap_or_else(|_elapsed| {
                Err(Unreachable {
                    reason: "no answer in 5 seconds".to_owned(),
                })
            });
        match review {
            Ok(Review::Authentic { user, pod }) => match crate::service_account(&user) {
                Some((namespace, name)) => Answer::Verified(Arc::new(VerifiedToken {
                    namespace: Arc::from(namespace),
                    service_account: Arc::from(name),
                    pod,
                    expires: local::expiry(token),
                })),
                // A person's token; it is no proxy's.
                None => Answer::Refused,
            },
            Ok(Review::Refused) => Answer::Refused,
            Err(unreachable) => Answer::Unreachable(unreachable),
        }
    }

    fn note(&self, hash: Hash, answer: &Answer, asked: Duration) {
        let mut state = self.state.lock();
        let known = match answer {
            Answer::Verified(token) => Some(Known::Good(Arc::clone(token), asked + SUCCESS_TTL)),
            Answer::Refused => Some(Known::Bad(asked + FAILURE_TTL)),
            Answer::Unreachable(_) => None,
        };
        match (known, answer) {
            (Some(known), _) => {
                state.silent = None;
                state.known.insert(hash, known);
            }
            (None, Answer::Unreachable(why)) => {
                state.silent = Some(Silent {
                    why: why.clone(),
                    again_at: asked + FAILURE_TTL,
                    probing: false,
                });
                if matches!(state.known.get(&hash), Some(Known::Asking(_))) {
                    state.known.remove(&hash);
                }
            }
            (None, _) => {}
        }
        if state.known.len() > self.kept {
            state.make_room(self.kept, asked);
        }
    }
}

impl State {
    /// Throws out what is stale, then what strangers brought, then anything.
    fn make_room(&mut self, kept: usize, now: Duration) {
        self.known.retain(|_, known| match known {
            Known::Asking(_) => true,
            Known::Good(_, until) | Known::Bad(until) => now < *until,
        });
        let target = kept - kept / 4;
        for strangers in [true, false] {
            let mut over = self.known.len().saturating_sub(target);
            self.known.retain(|_, known| {
                let out = over > 0
                    && match known {
                        Known::Asking(_) => false,
                        Known::Bad(_) => true,
                        Known::Good(..) => !strangers,
                    };
                over -= usize::from(out);
                !out
            });
        }
    }
}

fn hash(token: &str) -> Hash {
    *blake3::hash(token.as_bytes()).as_bytes()
}

/// Who stands for a verified token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vouched {
    /// The API server said so.
    ByReview,
    /// The cluster's keys say so; the API server cannot be asked.
    ByKeys,
}

/// What came of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is good.
    Verified(Arc<VerifiedToken>, Vouched),
    /// It is not, for this reason; tell the peer none of it.
    Refused(TokenError),
    /// Nobody can tell: the API server does not answer, and its keys were never read.
    Unknown(Unreachable),
}

/// Verifies tokens, by the API server if it can be asked, else by its keys.
#[derive(Debug)]
pub struct Tokens {
    reviews: Reviews,
    jwks: ArcSwapOption<Jwks>,
    policy: Policy,
}

impl Tokens {
    /// A verifier of tokens for `policy`'s audiences.
    #[must_use]
    pub fn new(reviewer: Arc<dyn Reviewer>, policy: Policy) -> Self {
        Self {
            reviews: Reviews::new(reviewer),
            jwks: ArcSwapOption::empty(),
            policy,
        }
    }

    /// Takes the keys of the cluster, as read while it could be asked.
    pub fn set_keys(&self, jwks: Jwks) {
        self.jwks.store(Some(Arc::new(jwks)));
    }

    /// Whether keys were read.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.jwks.load().is_some()
    }

    /// Whether the API server did not answer when it was asked last.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.reviews.is_silent()
    }

    /// Takes note that the API server answers.
    pub fn heard(&self) {
        self.reviews.heard();
    }

    /// Verifies a token. `now` is on a clock that does not go back, `wall` in seconds since the epoch.
    ///
    /// `is_there` says whether a pod a token is bound to (namespace, pod) is known still; it is asked only where the API
    /// server, which knows better, is not.
    pub async fn verify(
        &self,
        token: &str,
        now: Duration,
        wall: u64,
        is_there: &(dyn Fn(&str, &BoundPod) -> bool + Sync),
    ) -> Verdict {
        // A yes that counts still says all that its signature would: each stream asks twice.
        if let Some(Answer::Verified(known)) = self.reviews.known(token, now)
            && known
                .expires
                .is_some_and(|expires| expires.saturating_add(self.policy.skew) > wall)
        {
            return Verdict::Verified(known, Vouched::ByReview);
        }
        let by_keys = match self.jwks.load_full() {
            Some(jwks) => local::verify(token, &jwks, wall, &self.policy),
            // No key is known: neither is this token's.
            None => local::plausible(token, wall, &self.policy).and(Err(TokenError::UnknownKey)),
        };
        if let Err(error) = &by_keys
            && !error.is_open()
        {
            return Verdict::Refused(*error);
        }
        match self.reviews.check(token, now).await {
            Answer::Verified(token) => Verdict::Verified(token, Vouched::ByReview),
            Answer::Refused => Verdict::Refused(TokenError::Reviewed),
            Answer::Unreachable(_) if self.reviews.was_refused(token) => {
                Verdict::Refused(TokenError::Reviewed)
            }
            Answer::Unreachable(unreachable) => match by_keys {
                Ok(verified) => {
                    let gone = verified
                        .pod
                        .as_ref()
                        .is_some_and(|pod| !is_there(&verified.namespace, pod));
                    if gone {
                        Verdict::Refused(TokenError::PodGone)
                    } else {
                        Verdict::Verified(Arc::new(verified), Vouched::ByKeys)
                    }
                }
                Err(error) if self.has_keys() => Verdict::Refused(error),
                Err(_) => Verdict::Unknown(unreachable),
            },
        }
    }
}
