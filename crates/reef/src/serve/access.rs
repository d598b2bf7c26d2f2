//! Who may read debug data, whichever way it is asked for: pages over HTTP, and the same over xDS.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use reef_admin::{Caller, Refused, Rights};
use reef_identity::{Authorizer, Credential, Decision, Door, Request};
use reef_server::provider::{Peer, Refusal};

/// What a token proves, when it is known.
pub(super) type Vouching<'a> =
    Pin<Box<dyn Future<Output = Result<Credential, Refused>> + Send + 'a>>;

/// Knows whose a token is.
pub(super) trait Vouch: Debug + Send + Sync {
    /// What the token proves.
    ///
    /// # Errors
    /// If it is not accepted, or nobody can tell.
    fn credential<'a>(&'a self, token: &'a str) -> Vouching<'a>;
}

/// Decides who may read debug data.
#[derive(Debug)]
pub(super) struct Access {
    authorizer: Authorizer,
    vouch: Option<Arc<dyn Vouch>>,
}

impl Access {
    /// By these rules; without somebody who knows tokens a token proves nothing.
    pub(super) fn new(authorizer: Authorizer, vouch: Option<Arc<dyn Vouch>>) -> Self {
        Self { authorizer, vouch }
    }

    /// What the caller of a page may read.
    pub(super) async fn page(&self, caller: Caller<'_>) -> Result<Rights, Refused> {
        let credential = match (caller.token, &self.vouch) {
            (Some(token), Some(vouch)) => vouch.credential(token).await?,
            _ => Credential::None,
        };
        let door = if caller.syncz {
            Door::Syncz
        } else {
            Door::Debug
        };
        let decision = self.authorizer.decide(&Request {
            credential: &credential,
            ..Request::anonymous(caller.peer, door)
        });
        match decision {
            Decision::Allow => Ok(Rights::Everything),
            Decision::AllowNamespace(namespace) => Ok(Rights::Namespace(namespace)),
            Decision::Deny(denial) if denial.is_unauthenticated() => {
                Err(Refused::Unauthenticated(denial.told().to_owned()))
            }
            Decision::Deny(denial) => Err(Refused::Forbidden(denial.told().to_owned())),
        }
    }

    /// What the client of a stream may read. Where tokens are needed, one that came in plaintext is anybody's.
    pub(super) async fn stream(&self, peer: &Peer) -> Result<Rights, Refusal> {
        if self.authorizer.identifies() && !peer.tls {
            return Err(Refusal::NotPermitted {
                reason: "debug data is given out over TLS only".to_owned(),
            });
        }
        let caller = Caller {
            peer: peer.address,
            token: peer.bearer_token.as_ref().map(|token| token.secret()),
            // Over xDS it takes a token like all the rest.
            syncz: false,
        };
        self.page(caller).await.map_err(|refused| match refused {
            Refused::Unauthenticated(reason) => Refusal::Unauthenticated { reason },
            Refused::Forbidden(reason) => Refusal::NotPermitted { reason },
            Refused::Unavailable(reason) => Refusal::NotReady { reason },
        })
    }
}

#[cfg(test)]
mod tests;
