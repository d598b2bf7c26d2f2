//! What a status says, when it is right, and what a write remembers.

use std::time::Duration;

use reef_config::{Kind, ObjectKey, Problem, Severity};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::condition::{difference, verdicts};
use super::memory::Memory;
use super::*;

const NOW: &str = "2026-11-22T03:00:00Z";

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::VirtualService, "shop", name)
}

fn problem(severity: Severity, name: &str, field: &str, reason: &str) -> Problem {
    Problem::new(severity, "no-destination", reason)
        .of(&key(name))
        .field(field)
}

/// The object as the source notes it.
fn observed(version: &str, generation: i64, ours: bool, status: &Value) -> Observed {
    let manager = if ours { "reef" } else { "pilot" };
    let object = json!({
        "apiVersion": "networking.istio.io/v1beta1", "kind": "VirtualService",
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "u-1", "resourceVersion": version, "generation": generation,
            "managedFields": [{"manager": manager, "operation": "Update", "subresource": "status"}],
        },
        "spec": {}, "status": status,
    });
    let book = StatusBook::default();
    book.note(&key("web"), object.to_string().as_bytes());
    book.observed(&key("web")).unwrap()
}

fn one(problems: &[Problem]) -> Verdict {
    verdicts(problems).remove(&key("web")).unwrap()
}

/// What an API server makes of a patch.
fn patched(before: &Value, patch: &Value) -> Value {
    let mut status = before.as_object().cloned().unwrap_or_default();
    for (field, value) in patch["status"].as_object().unwrap() {
        if value.is_null() {
            status.remove(field);
        } else {
            status.insert(field.clone(), value.clone());
        }
    }
    Value::Object(status)
}

#[test]
fn the_worst_problem_gives_the_reason_and_all_are_told() {
    let verdict = one(&[
        problem(Severity::Warning, "web", "spec.http[1]", "nobody has b"),
        problem(Severity::Error, "web", "spec.http[0]", "nobody has a"),
        problem(Severity::Error, "web", "spec.http[0]", "nobody has a"),
        problem(Severity::Error, "other", "", "not this one"),
        Problem::error("no-object", "of a file"),
    ]);
    assert_eq!(verdict.status(), "False");
    assert_eq!(verdict.reason, "NoDestination");
    assert_eq!(
        verdict.message,
        "spec.http[0]: nobody has a; spec.http[1]: nobody has b"
    );
    let verdict = one(&[problem(Severity::Info, "web", "", "worth knowing")]);
    assert_eq!(verdict.status(), "True");
}

#[test]
fn objects_of_kubernetes_get_no_status() {
    let service = ObjectKey::new(Kind::Service, "shop", "web");
    let problem = Problem::error("no-port", "no port").of(&service);
    assert!(verdicts(&[problem]).is_empty());
}

#[test]
fn a_long_message_ends_with_how_much_it_lacks() {
    let problems: Vec<Problem> = (0..100)
        .map(|n| {
            problem(
                Severity::Error,
                "web",
                &format!("spec.http[{n:02}]"),
                "nobody has it",
            )
        })
        .collect();
    let message = one(&problems).message;
    assert!(message.chars().count() < 1024, "{}", message.len());
    assert!(message.ends_with(" more"), "{message}");
    let long = problem(Severity::Error, "web", "", &"é".repeat(5000));
    assert!(one(&[long]).message.chars().count() <= 1001);
}

#[test]
fn a_condition_is_written_once_and_not_again() {
    let verdict = one(&[problem(Severity::Error, "web", "", "wrong")]);
    let before = json!({});
    let wrong = difference(&observed("7", 3, false, &before), Some(&verdict), NOW).unwrap();
    assert!(wrong.news);
    assert_eq!(wrong.patch["metadata"]["resourceVersion"], "7");
    let after = patched(&before, &wrong.patch);
    assert_eq!(
        after,
        json!({"observedGeneration": 3, "conditions": [{
            "type": "Reconciled", "status": "False", "reason": "NoDestination", "message": "wrong",
            "lastTransitionTime": NOW, "observedGeneration": 3,
        }]})
    );
    let seen = observed("8", 3, true, &after);
    assert_eq!(
        difference(&seen, Some(&verdict), "2026-11-22T04:00:00Z"),
        None
    );

    // Another generation with the same problem: no news, and the transition stays when it was.
    let seen = observed("9", 4, true, &after);
    let next = difference(&seen, Some(&verdict), "2026-11-22T04:00:00Z").unwrap();
    assert!(!next.news);
    let condition = &next.patch["status"]["conditions"][0];
    assert_eq!(condition["observedGeneration"], 4);
    assert_eq!(condition["lastTransitionTime"], NOW);
}

#[test]
fn a_definition_that_drops_the_generation_of_conditions_makes_no_loop() {
    let verdict = one(&[problem(Severity::Error, "web", "", "wrong")]);
    let status = json!({"observedGeneration": "3", "conditions": [
        {"type": "Reconciled", "status": "False", "reason": "NoDestination", "message": "wrong"},
    ]});
    let seen = observed("8", 3, true, &status);
    assert_eq!(difference(&seen, Some(&verdict), NOW), None);
}

#[test]
fn what_others_say_stays() {
    let theirs = json!({"type": "PassedAnalysis", "status": "True"});
    let before = json!({"conditions": [theirs], "validationMessages": [{"level": "Info"}]});
    let verdict = one(&[problem(Severity::Error, "web", "", "wrong")]);
    let wrong = difference(&observed("7", 1, false, &before), Some(&verdict), NOW).unwrap();
    let after = patched(&before, &wrong.patch);
    assert_eq!(after["conditions"][0], theirs);
    assert_eq!(after["conditions"][1]["type"], "Reconciled");

    let clear = difference(&observed("8", 1, true, &after), None, NOW).unwrap();
    assert!(clear.news);
    let cleared = patched(&after, &clear.patch);
    assert_eq!(cleared["conditions"], json!([theirs]));
    assert_eq!(
        difference(&observed("9", 1, true, &cleared), None, NOW),
        None
    );

    // A condition of this type that Reef did not write is not taken away.
    let foreign = json!({"conditions": [{"type": "Reconciled", "status": "True"}]});
    assert_eq!(
        difference(&observed("7", 1, false, &foreign), None, NOW),
        None
    );
}

#[test]
fn the_last_problem_that_goes_leaves_nothing() {
    let verdict = one(&[problem(Severity::Error, "web", "", "wrong")]);
    let wrong = difference(&observed("7", 1, false, &json!({})), Some(&verdict), NOW).unwrap();
    let after = patched(&json!({}), &wrong.patch);
    let clear = difference(&observed("8", 1, true, &after), None, NOW).unwrap();
    assert_eq!(patched(&after, &clear.patch), json!({}));
}

#[test]
fn the_version_an_object_was_read_in_is_the_one_it_is_written_in() {
    assert_eq!(observed("7", 1, false, &json!({})).api, "v1beta1");
    // A status that is no such thing is none.
    let odd = observed("7", 1, false, &json!("fine"));
    assert!(odd.conditions().is_empty());
}

#[tokio::test]
async fn a_write_waits_to_be_seen_and_the_same_again_waits_longer_each_time() {
    let again = Duration::from_secs(5);
    let mut memory = Memory::new(again);
    let verdict = one(&[problem(Severity::Error, "web", "", "wrong")]);
    let at = |version: &str| observed(version, 1, true, &json!({}));
    let wanted = Some(&verdict);
    assert_eq!(
        memory.not_before(&key("web"), &at("1"), wanted),
        Some(None),
        "never tried"
    );
    let mut waits = Vec::new();
    for version in 1..20 {
        let seen = at(&version.to_string());
        memory.written(&key("web"), &seen, wanted);
        assert_eq!(
            memory.not_before(&key("web"), &seen, wanted),
            None,
            "not seen yet"
        );
        let later = at("later");
        let not_before = memory
            .not_before(&key("web"), &later, wanted)
            .flatten()
            .unwrap();
        waits.push(not_before.saturating_duration_since(Instant::now()));
    }
    assert!(waits[0] <= again && waits[1] > again, "{waits:?}");
    assert!(
        waits.iter().all(|wait| *wait <= Duration::from_secs(600)),
        "{waits:?}"
    );
    // Another thing to say does not wait for that.
    assert_eq!(
        memory.not_before(&key("web"), &at("later"), None),
        Some(None)
    );
    memory.right(&key("web"));
    assert_eq!(
        memory.not_before(&key("web"), &at("later"), wanted),
        Some(None)
    );
}
