//! Who a stream belongs to: its token, verified; the Pod or WorkloadEntry its node names, from the mesh; one decision.

mod keys;
mod workload;

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use reef_admin::Refused;
use reef_identity::local::Policy;
use reef_identity::{
    Authorizer, BoundPod, Credential, Decision, Denial, Door, NodeClaim, PodRecord, Request,
    Review, ReviewFuture, Reviewer, Tokens, Unreachable, Verdict, Vouched,
};
use reef_kube::Cluster;
use reef_kube::token_review::Review as Reviewed;
use reef_mesh::ProxyNode;
use reef_server::provider::{BearerToken, NodeInfo, Peer, Refusal};
use tracing::{debug, warn};

use super::access::{Vouch, Vouching};
use super::node;
use super::shared::Shared;
use crate::clock;

pub(super) use keys::follow_keys;

/// How long a stream may wait for its Pod to be seen; the API server tells Reef of a Pod before its containers start,
/// so that only a mesh that is behind needs it.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a stream that waits looks at the mesh.
const LOOK: Duration = Duration::from_millis(50);

/// How long a stream goes on past its token while nobody can be asked about another.
const GRACE: Duration = Duration::from_secs(5);

/// Largest share of a token's remaining life by which its stream ends early, so that pods started together do not come
/// back together.
const EARLY: f64 = 0.1;

/// Decides who is served, as whom.
#[derive(Debug)]
pub(super) struct Gate {
    /// The rules.
    authorizer: Authorizer,
    /// Verifies tokens; `None` where there is no cluster to know them.
    tokens: Option<Arc<Tokens>>,
    shared: Arc<Shared>,
    start: Instant,
}

/// A stream that may be served.
#[derive(Debug)]
pub(super) struct Admitted {
    /// Who it is, by what is known rather than by what it says.
    pub(super) node: ProxyNode,
    /// Until when.
    pub(super) lease: Lease,
}

/// Until when a stream may go on.
#[derive(Debug, Clone, Default)]
pub(super) struct Lease {
    until: Option<Instant>,
    tokens: Option<Arc<Tokens>>,
}

impl Lease {
    /// When its token has to be looked at again; later, while nobody can be asked about the next one.
    pub(super) fn until(&self) -> Option<Instant> {
        let until = self.until?;
        let now = clock::now();
        let suspended = self
            .tokens
            .as_ref()
            .is_some_and(|tokens| tokens.is_silent());
        Some(if suspended && until <= now {
            now + GRACE
        } else {
            until
        })
    }
}

impl Gate {
    /// A gate by these rules. `tokens` knows the tokens of the cluster, where there is one.
    pub(super) fn new(
        authorizer: Authorizer,
        tokens: Option<Arc<Tokens>>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            authorizer,
            tokens,
            shared,
            start: clock::now(),
        }
    }

    /// What a peer proves by its token. A token nobody here could know proves nothing.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] for a token that is not good, [`Refusal::NotReady`] where nobody can tell.
    pub(super) async fn credential(
        &self,
        token: Option<&BearerToken>,
    ) -> Result<Credential, Refusal> {
        let (Some(tokens), Some(token)) = (&self.tokens, token) else {
            return Ok(Credential::None);
        };
        let wall = clock::wall().duration_since(UNIX_EPOCH);
        let wall = wall.map(|since| since.as_secs()).unwrap_or_default();
        let now = clock::now().duration_since(self.start);
        let is_there = |namespace: &str, pod: &BoundPod| self.is_there(namespace, pod);
        match tokens.verify(token.secret(), now, wall, &is_there).await {
            Verdict::Verified(token, vouched) => {
                if vouched == Vouched::ByKeys {
                    debug!(namespace = %token.namespace, account = %token.service_account, "token verified by the cluster's keys: the API server cannot be asked");
                }
                Ok(Credential::Token(token))
            }
            Verdict::Refused(error) => {
                warn!(%error, "token refused");
                Err(refusal(Denial::BadToken))
            }
            Verdict::Unknown(unreachable) => {
                warn!(%unreachable, "no token can be verified");
                Err(Refusal::NotReady {
                    reason: "tokens cannot be verified at the moment".to_owned(),
                })
            }
        }
    }

    /// Looks at a peer before it has said anything, so that nobody without a credential is listened to.
    ///
    /// # Errors
    /// A [`Refusal`] if nothing it could say would help.
    pub(super) async fn admit(&self, peer: &Peer) -> Result<(), Refusal> {
        if self.needs_token(peer)
            && self.credential(peer.bearer_token.as_ref()).await? == Credential::None
        {
            return Err(refusal(Denial::NoCredential));
        }
        Ok(())
    }

    fn needs_token(&self, peer: &Peer) -> bool {
        peer.tls && self.authorizer.identifies()
    }

    /// Decides about a stream, waiting for its Pod if need be.
    ///
    /// # Errors
    /// A [`Refusal`] that tells the peer no more than it must.
    pub(super) async fn stream(&self, info: &NodeInfo, peer: &Peer) -> Result<Admitted, Refusal> {
        let credential = if self.needs_token(peer) {
            self.credential(peer.bearer_token.as_ref()).await?
        } else {
            Credential::None
        };
        let door = if peer.delta {
            Door::Delta
        } else {
            Door::StateOfTheWorld
        };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let found = loop {
            let found = self.workload(&info.id);
            let decision = self.authorizer.decide(&Request {
                peer: peer.address,
                door,
                node: &info.id,
                credential: &credential,
                pod: found.as_ref().map(|(record, _)| record),
                tls: peer.tls,
            });
            match decision {
                Decision::Allow | Decision::AllowNamespace(_) => break found,
                Decision::Deny(denial)
                    if denial.may_pass() && tokio::time::Instant::now() < deadline =>
                {
                    // Without a mesh nobody can be known; the client comes again.
                    self.shared.serving().map_err(not_ready)?;
                    tokio::time::sleep(LOOK).await;
                }
                Decision::Deny(denial) => {
                    warn!(node = %info.id, peer = ?peer.address, %denial, "stream refused");
                    return Err(refusal(denial));
                }
            }
        };
        self.shared.serving().map_err(not_ready)?;
        let mut node = node::parse(info).map_err(|error| Refusal::BadNode {
            reason: error.to_string(),
        })?;
        if let Some((record, workload)) = &found {
            workload.overrule(record, &mut node);
        }
        Ok(Admitted {
            lease: self.lease(&credential, &info.id),
            node,
        })
    }

    /// The workload a node id names, if the mesh has it and anybody asks for it.
    fn workload(&self, node: &str) -> Option<(PodRecord, workload::Found)> {
        if !self.authorizer.identifies() {
            return None;
        }
        let snapshot = self.shared.snapshot.load();
        workload::find(snapshot.as_ref()?, &NodeClaim::parse(node)?)
    }

    fn is_there(&self, namespace: &str, pod: &BoundPod) -> bool {
        let snapshot = self.shared.snapshot.load();
        let Some(snapshot) = snapshot.as_ref() else {
            return false;
        };
        snapshot
            .pod(&namespace.into(), &pod.name)
            .filter(|found| !found.finished)
            .is_some_and(|found| match (pod.uid, found.uid) {
                (Some(bound), Some(known)) => bound == known,
                _ => true,
            })
    }

    /// The stream ends when its token does, a little earlier for each by its own share.
    fn lease(&self, credential: &Credential, node: &str) -> Lease {
        let Credential::Token(token) = credential else {
            return Lease::default();
        };
        let wall = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        let left = token
            .expires
            .map(|expires| Duration::from_secs(expires).saturating_sub(wall));
        Lease {
            until: left.map(|left| {
                let early = left
                    .mul_f64(EARLY * share(node))
                    .min(Duration::from_secs(300));
                clock::now() + left - early
            }),
            tokens: self.tokens.clone(),
        }
    }
}

impl Vouch for Gate {
    fn credential<'a>(&'a self, token: &'a str) -> Vouching<'a> {
        Box::pin(async move {
            let token = BearerToken::new(token);
            let proven = Self::credential(self, Some(&token)).await;
            proven.map_err(|refusal| match refusal {
                Refusal::NotReady { reason } => Refused::Unavailable(reason),
                _ => Refused::Unauthenticated(Denial::BadToken.told().to_owned()),
            })
        })
    }
}

/// A number from 0 to 1 that differs between nodes and not between attempts of one.
fn share(node: &str) -> f64 {
    let sum = node.bytes().fold(0x811c_9dc5_u32, |sum, byte| {
        (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    f64::from(sum % 1000) / 1000.0
}

fn not_ready(reason: &'static str) -> Refusal {
    Refusal::NotReady {
        reason: reason.to_owned(),
    }
}

fn refusal(denial: Denial) -> Refusal {
    let reason = denial.told().to_owned();
    if denial.is_unauthenticated() {
        Refusal::Unauthenticated { reason }
    } else {
        Refusal::NotPermitted { reason }
    }
}

/// Asks the API server of a cluster.
#[derive(Debug)]
struct ByCluster {
    cluster: Cluster,
    audiences: Vec<String>,
}

impl Reviewer for ByCluster {
    fn review<'a>(&'a self, token: &'a str) -> ReviewFuture<'a> {
        Box::pin(async move {
            match self.cluster.token_review(token, &self.audiences).await {
                Ok(Reviewed::Authentic { user, pod }) => Ok(Review::Authentic {
                    user,
                    pod: pod.map(|(name, uid)| BoundPod {
                        name: name.into(),
                        uid: uid.as_deref().and_then(reef_config::Uid::parse),
                    }),
                }),
                Ok(Reviewed::Refused { reason }) => {
                    debug!(reason, "the API server refuses a token");
                    Ok(Review::Refused)
                }
                Err(error) => Err(Unreachable {
                    reason: error.to_string(),
                }),
            }
        })
    }
}

/// A verifier of the tokens of a cluster.
pub(super) fn tokens(cluster: &Cluster, audiences: Vec<String>) -> Arc<Tokens> {
    let reviewer = ByCluster {
        cluster: cluster.clone(),
        audiences: audiences.clone(),
    };
    Arc::new(Tokens::new(Arc::new(reviewer), Policy::new(audiences)))
}

#[cfg(test)]
mod tests;
