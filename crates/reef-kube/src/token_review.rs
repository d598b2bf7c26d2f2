//! Asking the API server about a token, and for the keys it signs tokens with.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::api::{Api, PostParams};
use serde::Deserialize;

use crate::Cluster;

/// What the API server says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Review {
    /// It is good, for one of the audiences asked for.
    Authentic {
        /// Whose it is: `system:serviceaccount:NAMESPACE:NAME` for a workload.
        user: String,
        /// Name and uid of the pod it is bound to, if it is.
        pod: Option<(String, Option<String>)>,
    },
    /// It is not. The reason is for the log alone.
    Refused {
        /// What the API server says.
        reason: String,
    },
}

/// The API server could not be asked, or did not answer what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// The request failed.
    #[error("the API server did not answer: {0}")]
    Request(#[from] Box<kube::Error>),
    /// The answer has no status.
    #[error("the API server answered without a status")]
    NoStatus,
    /// What came is not what was asked for.
    #[error("the API server's {what} cannot be read: {source}")]
    Format {
        /// What was asked for.
        what: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl From<kube::Error> for ReviewError {
    fn from(error: kube::Error) -> Self {
        Self::Request(Box::new(error))
    }
}

/// The keys a cluster signs its tokens with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKeys {
    /// Who the tokens say they are from.
    pub issuer: String,
    /// The key set, as JSON.
    pub jwks: String,
}

/// Where the pod a token is bound to is told, in `extra` of the answer.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

impl Cluster {
    /// Asks about a token: `create tokenreviews.authentication.k8s.io`.
    ///
    /// # Errors
    /// [`ReviewError`] if there is no answer. A token that is not good is [`Review::Refused`].
    pub async fn token_review(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Review, ReviewError> {
        let reviews: Api<TokenReview> = Api::all(self.client().clone());
        let question = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(audiences.to_vec()),
            },
            ..TokenReview::default()
        };
        let answer = reviews.create(&PostParams::default(), &question).await?;
        let status = answer.status.ok_or(ReviewError::NoStatus)?;
        let for_us = status
            .audiences
            .iter()
            .flatten()
            .any(|audience| audiences.contains(audience));
        if status.authenticated != Some(true) {
            let reason = status
                .error
                .unwrap_or_else(|| "not authenticated".to_owned());
            return Ok(Review::Refused { reason });
        }
        if !for_us {
            // An API server that does not know of audiences says nothing of them.
            let reason = "not for this audience".to_owned();
            return Ok(Review::Refused { reason });
        }
        let user = status.user.unwrap_or_default();
        Ok(Review::Authentic {
            pod: bound_pod(&user),
            user: user.username.unwrap_or_default(),
        })
    }

    /// Reads the keys tokens are signed with: `get` of two paths every service account may read.
    ///
    /// # Errors
    /// [`ReviewError`] if they cannot be had.
    pub async fn signing_keys(&self) -> Result<SigningKeys, ReviewError> {
        let discovery = self.text("/.well-known/openid-configuration").await?;
        let discovery: Discovery =
            serde_json::from_str(&discovery).map_err(|source| ReviewError::Format {
                what: "/.well-known/openid-configuration",
                source,
            })?;
        Ok(SigningKeys {
            issuer: discovery.issuer,
            jwks: self.text("/openid/v1/jwks").await?,
        })
    }

    async fn text(&self, path: &'static str) -> Result<String, ReviewError> {
        let request = http::Request::get(path)
            .body(Vec::new())
            .map_err(kube::Error::HttpError)?;
        Ok(self.client().request_text(request).await?)
    }
}

fn bound_pod(user: &UserInfo) -> Option<(String, Option<String>)> {
    let extra = user.extra.as_ref()?;
    let first = |key: &str| extra.get(key)?.first().cloned();
    Some((first(POD_NAME)?, first(POD_UID)))
}
