//! Checking a token of the cluster with its published keys alone, for as long as the API server cannot be asked.
//!
//! The algorithm is that of the key, never the one the token names; only RS256 and ES256 exist here, so there is no
//! secret that a public key could be mistaken for.

use std::sync::Arc;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use reef_config::Uid;
use serde::Deserialize;

use crate::credential::{BoundPod, VerifiedToken, service_account};

/// Longest token looked at; one of Kubernetes has about 1 KB.
pub const MAX_TOKEN_BYTES: usize = 12 * 1024;

/// What a token must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// One of these must be among its audiences.
    pub audiences: Vec<String>,
    /// How much clocks may differ, in seconds.
    pub skew: u64,
}

impl Policy {
    /// A policy for these audiences, with 30 seconds for clocks that differ.
    #[must_use]
    pub fn new(audiences: Vec<String>) -> Self {
        Self {
            audiences,
            skew: 30,
        }
    }
}

/// The keys of a cluster, and who issues its tokens.
#[derive(Clone)]
pub struct Jwks {
    issuer: Box<str>,
    keys: Vec<Key>,
}

impl std::fmt::Debug for Jwks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<&str> = self.keys.iter().map(|key| &*key.id).collect();
        f.debug_struct("Jwks")
            .field("issuer", &self.issuer)
            .field("keys", &ids)
            .finish()
    }
}

#[derive(Clone)]
struct Key {
    id: Box<str>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// The key set is not one.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// Not a JSON Web Key Set.
    #[error("the key set cannot be read")]
    Format(#[source] serde_json::Error),
    /// No key of a kind used here.
    #[error("the key set has no RS256 or ES256 key with an id")]
    NoKey,
}

impl Jwks {
    /// Reads a key set. Keys of other kinds, for other uses or without id are passed over.
    ///
    /// # Errors
    /// [`JwksError`] if it is none, or holds no key that can be used.
    pub fn parse(issuer: &str, json: &[u8]) -> Result<Self, JwksError> {
        let set: JwkSet = serde_json::from_slice(json).map_err(JwksError::Format)?;
        let keys: Vec<Key> = set.keys.iter().filter_map(key).collect();
        if keys.is_empty() {
            return Err(JwksError::NoKey);
        }
        Ok(Self {
            issuer: issuer.into(),
            keys,
        })
    }

    /// Who issues the tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}

fn key(jwk: &jsonwebtoken::jwk::Jwk) -> Option<Key> {
    let common = &jwk.common;
    if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let algorithm = match (&jwk.algorithm, common.key_algorithm) {
        (AlgorithmParameters::RSA(_), None | Some(KeyAlgorithm::RS256)) => Algorithm::RS256,
        (AlgorithmParameters::EllipticCurve(curve), None | Some(KeyAlgorithm::ES256))
            if curve.curve == EllipticCurve::P256 =>
        {
            Algorithm::ES256
        }
        _ => return None,
    };
    Some(Key {
        id: common.key_id.as_deref().filter(|id| !id.is_empty())?.into(),
        algorithm,
        key: DecodingKey::from_jwk(jwk).ok()?,
    })
}

/// Why a token is not accepted. For the log; the peer is told none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum TokenError {
    /// Longer than any token of a cluster.
    #[error("the token is too long")]
    TooLong,
    /// Not a signed token of the usual form.
    #[error("the token cannot be read")]
    Malformed,
    /// Signed by a key that is not in the set.
    #[error("the token's key is not known")]
    UnknownKey,
    /// Not signed the way its key signs.
    #[error("the token's algorithm is not that of its key")]
    Algorithm,
    /// The signature is wrong.
    #[error("the token's signature is wrong")]
    Signature,
    /// From another issuer.
    #[error("the token's issuer is not the cluster's")]
    Issuer,
    /// For another audience.
    #[error("the token is for another audience")]
    Audience,
    /// Too old.
    #[error("the token has expired")]
    Expired,
    /// Too young.
    #[error("the token is not valid yet")]
    NotYet,
    /// Not of a service account.
    #[error("the token is of no service account")]
    Subject,
    /// The API server says no.
    #[error("the API server does not accept the token")]
    Reviewed,
    /// The pod it is bound to is gone.
    #[error("the token's pod is gone")]
    PodGone,
}

impl TokenError {
    /// Whether the API server might know better: its keys may be newer than those read, and it may have several issuers.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::UnknownKey | Self::Issuer)
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    sub: Option<String>,
    #[serde(default)]
    aud: Audiences,
    exp: Option<u64>,
    nbf: Option<u64>,
    #[serde(rename = "kubernetes.io")]
    cluster: Option<ClusterClaims>,
}

#[derive(Deserialize)]
struct ClusterClaims {
    namespace: String,
    serviceaccount: Named,
    pod: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    uid: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

impl Default for Audiences {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Audiences {
    fn include(&self, wanted: &[String]) -> bool {
        match self {
            Self::One(one) => wanted.contains(one),
            Self::Many(many) => many.iter().any(|one| wanted.contains(one)),
        }
    }
}

/// Verifies a token at `now`, in seconds since the epoch.
///
/// # Errors
/// [`TokenError`] says what is wrong with it.
pub fn verify(
    token: &str,
    jwks: &Jwks,
    now: u64,
    policy: &Policy,
) -> Result<VerifiedToken, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::TooLong);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_unsaid| TokenError::Malformed)?;
    if header.crit.is_some_and(|crit| !crit.is_empty()) {
        return Err(TokenError::Malformed);
    }
    let id = header.kid.ok_or(TokenError::UnknownKey)?;
    let key = jwks
        .keys
        .iter()
        .find(|key| *key.id == *id)
        .ok_or(TokenError::UnknownKey)?;
    if header.alg != key.algorithm {
        return Err(TokenError::Algorithm);
    }
    let mut validation = Validation::new(key.algorithm);
    // Times and audience are compared below, with the caller's clock.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    let claims = jsonwebtoken::decode::<Claims>(token, &key.key, &validation)
        .map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::InvalidSignature => TokenError::Signature,
            _ => TokenError::Malformed,
        })?
        .claims;
    if claims.iss.as_deref() != Some(&*jwks.issuer) {
        return Err(TokenError::Issuer);
    }
    in_time(&claims, now, policy)?;
    subject(claims)
}

/// Looks for what is wrong with a token whatever its signature, so that the API server need not be asked.
///
/// # Errors
/// [`TokenError`] says what is wrong with it.
pub fn plausible(token: &str, now: u64, policy: &Policy) -> Result<(), TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::TooLong);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_unsaid| TokenError::Malformed)?;
    if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) {
        return Err(TokenError::Algorithm);
    }
    in_time(&unproven(token)?, now, policy)
}

/// When a token that was verified elsewhere expires.
#[must_use]
pub(crate) fn expiry(token: &str) -> Option<u64> {
    unproven(token).ok()?.exp
}

fn unproven(token: &str) -> Result<Claims, TokenError> {
    jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_unsaid| TokenError::Malformed)
}

fn in_time(claims: &Claims, now: u64, policy: &Policy) -> Result<(), TokenError> {
    let expires = claims.exp.ok_or(TokenError::Expired)?;
    if expires.saturating_add(policy.skew) <= now {
        return Err(TokenError::Expired);
    }
    if claims
        .nbf
        .is_some_and(|from| from > now.saturating_add(policy.skew))
    {
        return Err(TokenError::NotYet);
    }
    if !claims.aud.include(&policy.audiences) {
        return Err(TokenError::Audience);
    }
    Ok(())
}

fn subject(claims: Claims) -> Result<VerifiedToken, TokenError> {
    let sub = claims.sub.unwrap_or_default();
    let (namespace, name) = service_account(&sub).ok_or(TokenError::Subject)?;
    let cluster = claims.cluster.ok_or(TokenError::Subject)?;
    if cluster.namespace != namespace || cluster.serviceaccount.name != name {
        return Err(TokenError::Subject);
    }
    Ok(VerifiedToken {
        namespace: Arc::from(namespace),
        service_account: Arc::from(name),
        pod: cluster.pod.map(|pod| BoundPod {
            uid: pod.uid.as_deref().and_then(Uid::parse),
            name: pod.name.into(),
        }),
        expires: claims.exp,
    })
}
