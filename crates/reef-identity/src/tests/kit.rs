//! A cluster's keys, its tokens, and an API server that answers as told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::Mutex;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};

use crate::local::{Jwks, Policy};
use crate::{BoundPod, Review, ReviewFuture, Reviewer, Unreachable};
use reef_config::Uid;

/// The time of all tests.
pub(super) const NOW: u64 = 1_800_000_000;

pub(super) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

pub(super) const POD_UID: &str = "0f0e2f4a-1111-4222-8333-444455556666";

/// A key of the cluster.
pub(super) struct Signer {
    pub(super) id: &'static str,
    pub(super) algorithm: Algorithm,
    pub(super) key: EncodingKey,
}

pub(super) fn rsa(id: &'static str) -> Signer {
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    Signer {
        id,
        algorithm: Algorithm::RS256,
        // The key in PKCS#1, which is what PKCS#8 wraps in 26 bytes.
        key: EncodingKey::from_rsa_der(&pair.serialized_der()[26..]),
    }
}

pub(super) fn ec(id: &'static str) -> Signer {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    Signer {
        id,
        algorithm: Algorithm::ES256,
        key: EncodingKey::from_ec_der(pair.serialized_der()),
    }
}

impl Signer {
    pub(super) fn jwk(&self) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        jwk
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.to_owned());
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

pub(super) fn jwks(signers: &[&Signer]) -> Jwks {
    let keys: Vec<Jwk> = signers.iter().map(|signer| signer.jwk()).collect();
    Jwks::parse(ISSUER, json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

pub(super) fn policy() -> Policy {
    Policy::new(vec!["istio-ca".to_owned()])
}

/// What a projected token of pod `shop/cart-1` says.
pub(super) fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "sub": "system:serviceaccount:shop:cart",
        "aud": ["istio-ca"],
        "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 3600,
        "kubernetes.io": {
            "namespace": "shop",
            "node": { "name": "n1", "uid": "x" },
            "pod": { "name": "cart-1", "uid": POD_UID },
            "serviceaccount": { "name": "cart", "uid": "y" },
        },
    })
}

/// [`claims`] with members replaced.
pub(super) fn claims_with(changes: Value) -> Value {
    let mut all = claims();
    for (key, value) in changes.as_object().unwrap() {
        all[key] = value.clone();
    }
    all
}

pub(super) fn bound() -> BoundPod {
    BoundPod {
        name: "cart-1".into(),
        uid: Uid::parse(POD_UID),
    }
}

pub(super) fn authentic() -> Result<Review, Unreachable> {
    Ok(Review::Authentic {
        user: "system:serviceaccount:shop:cart".to_owned(),
        pod: Some(bound()),
    })
}

pub(super) fn silent() -> Result<Review, Unreachable> {
    Err(Unreachable {
        reason: "connection refused".to_owned(),
    })
}

/// Answers from a list; the last answer stays.
pub(super) struct Script {
    answers: Mutex<VecDeque<Result<Review, Unreachable>>>,
    pub(super) asked: AtomicUsize,
    pub(super) at_once: AtomicUsize,
    pub(super) most_at_once: AtomicUsize,
    takes: Duration,
}

impl Script {
    pub(super) fn new(
        answers: impl IntoIterator<Item = Result<Review, Unreachable>>,
        takes: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::new(answers.into_iter().collect()),
            asked: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            takes,
        })
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Reviewer for Script {
    fn review<'a>(&'a self, token: &'a str) -> ReviewFuture<'a> {
        Box::pin(async move {
            if token.starts_with("stranger") {
                return Ok(Review::Refused);
            }
            self.asked.fetch_add(1, Ordering::SeqCst);
            let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_at_once.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(self.takes).await;
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            let mut answers = self.answers.lock();
            if answers.len() > 1 {
                answers.pop_front().unwrap()
            } else {
                answers[0].clone()
            }
        })
    }
}
