//! How often the API server is asked, and what counts while it is silent.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::kit::*;
use crate::reviews::Reviews;
use crate::{Answer, BoundPod, Review, TokenError, Tokens, Verdict, Vouched};

const SHORT: Duration = Duration::from_millis(10);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn here(_: &str, _: &BoundPod) -> bool {
    true
}

fn gone(_: &str, _: &BoundPod) -> bool {
    false
}

#[tokio::test(start_paused = true)]
async fn a_yes_is_kept_a_minute_and_a_no_five_seconds() {
    let script = Script::new([authentic(), Ok(Review::Refused), authentic()], SHORT);
    let reviews = Reviews::new(script.clone());
    assert!(matches!(
        reviews.check("t", at(0)).await,
        Answer::Verified(_)
    ));
    assert!(matches!(
        reviews.check("t", at(59)).await,
        Answer::Verified(_)
    ));
    assert_eq!(script.asked(), 1);
    // Revoked meanwhile: no longer than a minute.
    assert_eq!(reviews.check("t", at(60)).await, Answer::Refused);
    assert_eq!(reviews.check("t", at(64)).await, Answer::Refused);
    assert_eq!(script.asked(), 2);
    assert!(matches!(
        reviews.check("t", at(65)).await,
        Answer::Verified(_)
    ));
    assert_eq!(script.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn equal_questions_are_asked_once_and_others_not_too_many_at_a_time() {
    let script = Script::new([authentic()], Duration::from_millis(100));
    let reviews = Arc::new(Reviews::new(script.clone()));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..400_u32 {
        let reviews = Arc::clone(&reviews);
        tasks.spawn(async move { reviews.check(&format!("t{}", number % 100), at(0)).await });
    }
    while let Some(answer) = tasks.join_next().await {
        assert!(matches!(answer.unwrap(), Answer::Verified(_)));
    }
    assert_eq!(script.asked(), 100);
    assert_eq!(script.most_at_once.load(Ordering::SeqCst), 32);
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_while_asking_leaves_the_question_to_the_next() {
    let script = Script::new([authentic()], Duration::from_secs(1));
    let reviews = Arc::new(Reviews::new(script.clone()));
    let first = tokio::time::timeout(Duration::from_millis(100), reviews.check("t", at(0)));
    let (other, task) = (Arc::clone(&reviews), tokio::task::JoinSet::new());
    let mut task = task;
    task.spawn(async move { other.check("t", at(0)).await });
    assert!(first.await.is_err());
    assert!(matches!(
        task.join_next().await.unwrap().unwrap(),
        Answer::Verified(_)
    ));
    assert_eq!(script.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_takes_five_seconds_at_most_and_one_question_finds_out_when_it_is_back() {
    let script = Script::new([authentic()], Duration::from_secs(60));
    let reviews = Arc::new(Reviews::new(script.clone()));
    let started = tokio::time::Instant::now();
    assert!(matches!(
        reviews.check("a", at(0)).await,
        Answer::Unreachable(_)
    ));
    assert_eq!(started.elapsed(), Duration::from_secs(5));
    assert!(reviews.is_silent());
    // Nobody waits for it again until the next attempt is due …
    for token in ["a", "b", "c"] {
        assert!(matches!(
            reviews.check(token, at(4)).await,
            Answer::Unreachable(_)
        ));
    }
    assert_eq!(started.elapsed(), Duration::from_secs(5));
    assert_eq!(script.asked(), 1);
    // … and then only one.
    let probe = reviews.check("b", at(6));
    let rest = async {
        tokio::time::sleep(SHORT).await;
        let answer = reviews.check("c", at(6)).await;
        (answer, started.elapsed())
    };
    let (probe, (rest, elapsed)) = tokio::join!(probe, rest);
    assert!(matches!(
        (probe, rest),
        (Answer::Unreachable(_), Answer::Unreachable(_))
    ));
    assert!(elapsed < Duration::from_millis(5_100), "{elapsed:?}");
    assert_eq!(script.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn strangers_do_not_push_out_those_who_are_known() {
    let script = Script::new([authentic()], SHORT);
    let reviews = Reviews::keeping(script, 40);
    for number in 0..20_u32 {
        reviews.check(&format!("good{number}"), at(0)).await;
    }
    for number in 0..500_u32 {
        reviews.check(&format!("stranger{number}"), at(0)).await;
    }
    let strangers = (0..500_u32)
        .filter(|number| reviews.known(&format!("stranger{number}"), at(0)).is_some())
        .count();
    assert!((1..=20).contains(&strangers), "{strangers}");
    let known = (0..20_u32)
        .filter(|number| reviews.known(&format!("good{number}"), at(1)).is_some())
        .count();
    assert_eq!(known, 20);
}

#[tokio::test(start_paused = true)]
async fn while_the_api_server_is_silent_the_keys_vouch_for_pods_that_are_there() {
    let signer = rsa("r");
    let tokens = Tokens::new(Script::new([silent()], SHORT), policy());
    let token = signer.sign(&claims());
    assert!(matches!(
        tokens.verify(&token, at(0), NOW, &here).await,
        Verdict::Unknown(_)
    ));
    tokens.set_keys(jwks(&[&signer]));
    match tokens.verify(&token, at(1), NOW, &here).await {
        Verdict::Verified(token, Vouched::ByKeys) => assert_eq!(token.pod, Some(bound())),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        tokens.verify(&token, at(2), NOW, &gone).await,
        Verdict::Refused(TokenError::PodGone)
    );
    let foreign = rsa("x").sign(&claims());
    assert_eq!(
        tokens.verify(&foreign, at(3), NOW, &here).await,
        Verdict::Refused(TokenError::UnknownKey)
    );
}

#[tokio::test(start_paused = true)]
async fn a_no_of_the_api_server_is_final_even_when_it_falls_silent() {
    let signer = rsa("r");
    let script = Script::new([Ok(Review::Refused), silent()], SHORT);
    let tokens = Tokens::new(script.clone(), policy());
    tokens.set_keys(jwks(&[&signer]));
    let token = signer.sign(&claims());
    for second in [0, 10, 20, 600] {
        assert_eq!(
            tokens.verify(&token, at(second), NOW, &here).await,
            Verdict::Refused(TokenError::Reviewed),
            "{second}"
        );
    }
    assert!(script.asked() > 1, "it was asked again");
    // Another token of the account that nobody said no to is believed.
    let other = signer.sign(&claims_with(json!({ "exp": NOW + 3601 })));
    assert!(matches!(
        tokens.verify(&other, at(601), NOW, &here).await,
        Verdict::Verified(_, Vouched::ByKeys)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_yes_that_is_kept_needs_no_key_but_does_not_outlive_its_token() {
    let (signer, other) = (rsa("r"), rsa("r"));
    let script = Script::new([authentic()], SHORT);
    let tokens = Tokens::new(script.clone(), policy());
    tokens.set_keys(jwks(&[&signer]));
    let token = signer.sign(&claims());
    let known = |verdict| matches!(verdict, Verdict::Verified(_, Vouched::ByReview));
    assert!(known(tokens.verify(&token, at(0), NOW, &here).await));
    let late = tokens.verify(&token, at(1), NOW + 3700, &here).await;
    assert_eq!(late, Verdict::Refused(TokenError::Expired));
    tokens.set_keys(jwks(&[&other]));
    assert!(known(tokens.verify(&token, at(59), NOW + 59, &here).await));
    assert_eq!(
        tokens.verify(&token, at(60), NOW + 60, &here).await,
        Verdict::Refused(TokenError::Signature)
    );
    assert_eq!(script.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn garbage_never_reaches_the_api_server() {
    let (signer, forger) = (rsa("r"), rsa("r"));
    let script = Script::new([authentic()], SHORT);
    let tokens = Tokens::new(script.clone(), policy());
    let expired = signer.sign(&claims_with(json!({ "exp": NOW - 100 })));
    let elsewhere = signer.sign(&claims_with(json!({ "aud": ["vault"] })));
    for keys in [false, true] {
        if keys {
            tokens.set_keys(jwks(&[&signer]));
        }
        for token in ["garbage", "", &expired, &elsewhere] {
            let verdict = tokens.verify(token, at(0), NOW, &here).await;
            assert!(matches!(verdict, Verdict::Refused(_)), "{verdict:?}");
        }
    }
    assert_eq!(
        tokens
            .verify(&forger.sign(&claims()), at(0), NOW, &here)
            .await,
        Verdict::Refused(TokenError::Signature)
    );
    assert_eq!(script.asked(), 0);
    // A key made after the set was read: the API server knows.
    let newer = rsa("new").sign(&claims());
    assert!(matches!(
        tokens.verify(&newer, at(0), NOW, &here).await,
        Verdict::Verified(_, Vouched::ByReview)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_person_is_no_proxy() {
    let script = Script::new(
        [Ok(Review::Authentic {
            user: "kubernetes-admin".to_owned(),
            pod: None,
        })],
        SHORT,
    );
    assert_eq!(
        Reviews::new(script).check("t", at(0)).await,
        Answer::Refused
    );
}
