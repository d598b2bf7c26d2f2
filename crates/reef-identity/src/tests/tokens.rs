//! Tokens that are almost right (T29), checked by the cluster's keys.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::kit::*;
use crate::TokenError;
use crate::local::{Jwks, MAX_TOKEN_BYTES, plausible, verify};

#[test]
fn a_projected_token_says_who_its_pod_is_whichever_way_it_is_signed() {
    let (rsa, ec) = (rsa("r"), ec("e"));
    let keys = jwks(&[&rsa, &ec]);
    for signer in [&rsa, &ec] {
        let token = verify(&signer.sign(&claims()), &keys, NOW, &policy()).unwrap();
        assert_eq!(
            (&*token.namespace, &*token.service_account),
            ("shop", "cart")
        );
        assert_eq!(token.pod, Some(bound()));
        assert_eq!(token.expires, Some(NOW + 3600));
    }
    let one = ec.sign(&claims_with(json!({ "aud": "istio-ca" })));
    assert!(
        verify(&one, &keys, NOW, &policy()).is_ok(),
        "one audience as text"
    );
}

#[test]
fn times_count_but_for_clocks_that_differ_a_little() {
    let signer = ec("e");
    let keys = jwks(&[&signer]);
    let token = signer.sign(&claims());
    let at = |now| verify(&token, &keys, now, &policy()).map(|_| ());
    assert_eq!(at(NOW + 3600 + 29), Ok(()));
    assert_eq!(at(NOW + 3600 + 30), Err(TokenError::Expired));
    assert_eq!(at(NOW - 60 - 30), Ok(()));
    assert_eq!(at(NOW - 60 - 31), Err(TokenError::NotYet));
}

#[test]
fn a_token_with_one_thing_wrong_is_refused() {
    let signer = ec("e");
    let keys = jwks(&[&signer]);
    let cluster = |namespace: &str, account: &str| json!({ "kubernetes.io": { "namespace": namespace, "serviceaccount": { "name": account, "uid": "y" } } });
    let cases = [
        (json!({ "exp": NOW - 31 }), TokenError::Expired),
        (json!({ "exp": null }), TokenError::Expired),
        (json!({ "nbf": NOW + 31 }), TokenError::NotYet),
        (json!({ "aud": ["kubernetes"] }), TokenError::Audience),
        (json!({ "aud": null }), TokenError::Malformed),
        (json!({ "aud": [] }), TokenError::Audience),
        (json!({ "iss": "https://elsewhere" }), TokenError::Issuer),
        (json!({ "iss": null }), TokenError::Issuer),
        (json!({ "sub": "system:node:n1" }), TokenError::Subject),
        (
            json!({ "sub": "system:serviceaccount:shop:" }),
            TokenError::Subject,
        ),
        (
            json!({ "sub": "system:serviceaccount:shop:a:b" }),
            TokenError::Subject,
        ),
        (json!({ "sub": null }), TokenError::Subject),
        (json!({ "kubernetes.io": null }), TokenError::Subject),
        (cluster("bank", "cart"), TokenError::Subject),
        (cluster("shop", "root"), TokenError::Subject),
    ];
    for (change, error) in cases {
        let token = signer.sign(&claims_with(change.clone()));
        assert_eq!(
            verify(&token, &keys, NOW, &policy()),
            Err(error),
            "{change}"
        );
    }
}

#[test]
fn the_key_says_how_it_signs_not_the_token() {
    let (good, other) = (rsa("k"), rsa("k"));
    let keys = jwks(&[&good]);
    let check = |token: &str| verify(token, &keys, NOW, &policy()).map(|_| ());
    assert_eq!(check(&other.sign(&claims())), Err(TokenError::Signature));

    // The public key used as if it were a shared secret.
    let public = serde_json::to_vec(&good.jwk()).unwrap();
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("k".to_owned());
    let confused =
        jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(&public)).unwrap();
    assert_eq!(check(&confused), Err(TokenError::Algorithm));
    assert_eq!(
        plausible(&confused, NOW, &policy()),
        Err(TokenError::Algorithm)
    );

    // Not signed at all, in each spelling.
    let signed = good.sign(&claims());
    let payload = signed.split('.').nth(1).unwrap();
    for alg in ["none", "None", "NONE", ""] {
        use base64::Engine as _;
        let header = json!({ "alg": alg, "kid": "k", "typ": "JWT" }).to_string();
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header);
        for signature in ["", "AA"] {
            let token = format!("{header}.{payload}.{signature}");
            assert_eq!(check(&token), Err(TokenError::Malformed), "{alg:?}");
            assert_eq!(
                plausible(&token, NOW, &policy()),
                Err(TokenError::Malformed)
            );
        }
    }
    // An algorithm of the same key that nobody agreed on.
    let mut header = Header::new(Algorithm::RS512);
    header.kid = Some("k".to_owned());
    let stronger = jsonwebtoken::encode(&header, &claims(), &good.key).unwrap();
    assert_eq!(check(&stronger), Err(TokenError::Algorithm));
    // A key that is not there, and none named.
    assert_eq!(
        check(&rsa("z").sign(&claims())),
        Err(TokenError::UnknownKey)
    );
    let nameless = Header::new(Algorithm::RS256);
    let nameless = jsonwebtoken::encode(&nameless, &claims(), &good.key).unwrap();
    assert_eq!(check(&nameless), Err(TokenError::UnknownKey));
    // What must be understood and is not.
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some("k".to_owned());
    header.crit = Some(vec!["b64".to_owned()]);
    let critical = jsonwebtoken::encode(&header, &claims(), &good.key).unwrap();
    assert_eq!(check(&critical), Err(TokenError::Malformed));
}

#[test]
fn what_is_no_token_is_refused_without_much_work() {
    let keys = jwks(&[&ec("e")]);
    let huge = "a".repeat(1 << 20);
    assert_eq!(
        verify(&huge, &keys, NOW, &policy()),
        Err(TokenError::TooLong)
    );
    assert_eq!(plausible(&huge, NOW, &policy()), Err(TokenError::TooLong));
    let long = "a.".repeat(MAX_TOKEN_BYTES / 2);
    for text in [
        "",
        ".",
        "..",
        "a.b.c",
        "a.b.c.d",
        "\u{0}.\u{0}.\u{0}",
        &long,
    ] {
        assert_eq!(
            verify(text, &keys, NOW, &policy()),
            Err(TokenError::Malformed),
            "{text:.20}"
        );
    }
}

#[test]
fn a_key_set_is_read_for_the_keys_that_sign_tokens() {
    let signer = rsa("r");
    let mut encrypting = signer.jwk();
    encrypting.common.public_key_use = Some(jsonwebtoken::jwk::PublicKeyUse::Encryption);
    let set = |keys: serde_json::Value| {
        Jwks::parse(ISSUER, json!({ "keys": keys }).to_string().as_bytes())
    };
    let secret = json!({ "kty": "oct", "kid": "s", "k": "c2VjcmV0", "alg": "HS256" });
    let other = json!({ "kty": "new", "kid": "n" });
    assert!(set(json!([encrypting, secret])).is_err());
    assert!(set(json!([])).is_err());
    assert!(Jwks::parse(ISSUER, b"<html>").is_err());
    let keys = set(json!([other, secret, signer.jwk()])).unwrap();
    assert!(verify(&signer.sign(&claims()), &keys, NOW, &policy()).is_ok());
}
