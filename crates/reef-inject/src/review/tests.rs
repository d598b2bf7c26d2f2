//! Tests of reviews.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use reef_config::proxy_config::MeshProxyConfig;

use super::{Outcome, ReviewError, mutate, mutate_in_mesh, validate};
use crate::{MeshSays, Settings};

fn review(kind: Value, object: Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": kind,
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": { "username": "admin", "groups": ["system:authenticated"] },
            "object": object,
            "oldObject": null,
            "dryRun": false,
            "options": { "kind": "CreateOptions" },
        },
    })
}

fn pod_kind() -> Value {
    json!({ "group": "", "version": "v1", "kind": "Pod" })
}

fn ask(review: &Value) -> (Value, Outcome) {
    let answer = mutate(review.to_string().as_bytes(), &Settings::default()).unwrap();
    (
        serde_json::from_slice(&answer.body).unwrap(),
        answer.outcome,
    )
}

#[test]
fn a_pod_is_answered_with_a_patch_that_fits_it() {
    let mut pod = json!({ "metadata": { "generateName": "web-" }, "spec": { "containers": [{ "name": "app" }] } });
    let (answer, outcome) = ask(&review(pod_kind(), pod.clone()));
    assert_eq!(outcome, Outcome::Patched);
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    let response = &answer["response"];
    assert_eq!(response["uid"], "705ab4f5-6393-11e8-b7cc-42010a800002");
    assert_eq!(response["allowed"], true);
    assert_eq!(response["patchType"], "JSONPatch");
    let patch = STANDARD
        .decode(response["patch"].as_str().unwrap())
        .unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap();
    assert_eq!(pod["spec"]["initContainers"][2]["name"], "istio-proxy");
}

#[test]
fn what_needs_no_sidecar_passes_without_a_patch() {
    let skipped = json!({ "spec": { "hostNetwork": true } });
    let mut update = review(pod_kind(), json!({ "spec": {} }));
    update["request"]["operation"] = json!("UPDATE");
    let mut part = review(pod_kind(), json!({ "spec": {} }));
    part["request"]["subResource"] = json!("ephemeralcontainers");
    for review in [review(pod_kind(), skipped), update, part] {
        let (answer, outcome) = ask(&review);
        assert_eq!(outcome, Outcome::Passed);
        assert_eq!(answer["response"].as_object().unwrap().len(), 2, "{answer}");
        assert_eq!(answer["response"]["allowed"], true);
    }
}

#[test]
fn what_cannot_be_injected_is_denied_with_its_reason() {
    let hostile = json!({
        "metadata": { "annotations": { "status.sidecar.istio.io/port": "1\n2" } },
        "spec": { "containers": [] },
    });
    let deployment = json!({ "group": "apps", "version": "v1", "kind": "Deployment" });
    let deep: Value = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let deep = json!({ "spec": { "containers": deep } });
    for (review, reason) in [
        (review(pod_kind(), hostile), "status.sidecar.istio.io/port"),
        (
            review(deployment, json!({})),
            "apps/v1 Deployment is not v1 Pod",
        ),
        (review(pod_kind(), json!("pod")), "the pod is not an object"),
        (review(pod_kind(), deep), "spec.containers"),
    ] {
        let (answer, outcome) = ask(&review);
        assert_eq!(outcome, Outcome::Denied);
        let status = &answer["response"]["status"];
        assert_eq!(answer["response"]["allowed"], false);
        assert_eq!(status["code"], 422);
        let message = status["message"].as_str().unwrap();
        assert!(message.contains(reason), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
    // Deeper than any parser here goes: told, not followed.
    let nested = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let body = review(pod_kind(), json!("HERE"))
        .to_string()
        .replace("\"HERE\"", &nested);
    let answer = mutate(body.as_bytes(), &Settings::default()).unwrap();
    assert_eq!(answer.outcome, Outcome::Denied);
}

#[test]
fn a_body_that_is_no_review_is_an_error() {
    let settings = Settings::default();
    let mut old = review(pod_kind(), json!({}));
    old["apiVersion"] = json!("admission.k8s.io/v1beta1");
    let mut nameless = review(pod_kind(), json!({}));
    nameless["request"]["uid"] = json!("");
    let is = |body: &str| mutate(body.as_bytes(), &settings).unwrap_err();
    assert!(matches!(is(""), ReviewError::Syntax(_)));
    assert!(matches!(
        is("kind: AdmissionReview"),
        ReviewError::Syntax(_)
    ));
    assert!(matches!(is("{}"), ReviewError::WrongKind(_)));
    assert!(matches!(is(&old.to_string()), ReviewError::WrongKind(_)));
    assert!(matches!(
        is(r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#),
        ReviewError::NoRequest
    ));
    assert!(matches!(is(&nameless.to_string()), ReviewError::NoRequest));
    assert!(mutate(b"\xff\xfe{}", &settings).is_err());
}

fn check(object: Value) -> (Value, Outcome) {
    let kind = json!({ "group": "networking.istio.io", "version": "v1", "kind": "VirtualService" });
    let answer = validate(review(kind, object).to_string().as_bytes()).unwrap();
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
    (body["response"].take(), answer.outcome)
}

fn virtual_service(http: Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": { "generateName": "v-" },
        "spec": { "hosts": ["web"], "http": http },
    })
}

#[test]
fn objects_are_validated_by_the_rules_of_reef_check() {
    let good = json!([{ "route": [{ "destination": { "host": "web" } }] }]);
    let (response, outcome) = check(virtual_service(good));
    assert_eq!(outcome, Outcome::Passed, "{response}");
    let bad = json!([{ "route": [{ "destination": { "host": "" } }] }]);
    let (response, outcome) = check(virtual_service(bad));
    assert_eq!(outcome, Outcome::Denied, "{response}");
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("spec.http[0].route[0]"), "{message}");
    let unknown = json!([{ "route": [{ "destination": { "host": "web" } }], "wat": 1 }]);
    let (response, outcome) = check(virtual_service(unknown));
    assert_eq!(outcome, Outcome::Passed);
    assert!(
        response["warnings"][0]
            .as_str()
            .unwrap()
            .contains("spec.http[0].wat"),
        "{response}"
    );
    // Kinds that nobody here reads pass.
    let (_, outcome) = check(
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "x" } }),
    );
    assert_eq!(outcome, Outcome::Passed);
}

#[test]
fn deleting_is_never_denied() {
    let mut gone = review(pod_kind(), json!(null));
    gone["request"]["operation"] = json!("DELETE");
    let answer = validate(gone.to_string().as_bytes()).unwrap();
    assert_eq!(answer.outcome, Outcome::Passed);
}

#[test]
fn settings_of_the_mesh_lie_around_the_annotation_of_the_pod() {
    let threads = |number: i32| MeshProxyConfig {
        concurrency: Some(number),
        ..MeshProxyConfig::default()
    };
    let args = |annotation: Option<&str>, over: MeshProxyConfig| {
        let mut metadata = json!({ "name": "web", "labels": { "app": "web" } });
        if let Some(text) = annotation {
            metadata["annotations"] = json!({ "proxy.istio.io/config": text });
        }
        let pod = json!({ "metadata": metadata, "spec": { "containers": [{ "name": "app" }] } });
        let body = review(pod_kind(), pod.clone()).to_string();
        let mut under = threads(3);
        under.proxy_admin_port = Some(15099);
        let answer = mutate_in_mesh(
            body.as_bytes(),
            &Settings::default(),
            |namespace, labels| {
                assert_eq!((namespace, labels["app"].as_str()), ("shop", "web"));
                Some(MeshSays { under, over })
            },
        );
        let answer: Value = serde_json::from_slice(&answer.unwrap().body).unwrap();
        let patch = answer["response"]["patch"].as_str().unwrap();
        let patch = STANDARD.decode(patch).unwrap();
        let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
        let mut pod = pod;
        json_patch::patch(&mut pod, &patch).unwrap();
        let containers = pod["spec"]["initContainers"].as_array().unwrap().iter();
        let all = containers.flat_map(|one| one["args"].as_array().cloned().unwrap_or_default());
        let all: Vec<String> = all
            .filter_map(|arg| arg.as_str().map(str::to_owned))
            .collect();
        all.join(" ")
    };
    let plain = args(None, MeshProxyConfig::default());
    assert!(plain.contains("--concurrency 3"), "{plain}");
    assert!(plain.contains("--admin-port 15099"), "{plain}");
    let annotated = args(Some("concurrency: 4"), MeshProxyConfig::default());
    assert!(annotated.contains("--concurrency 4"), "{annotated}");
    let selected = args(Some("concurrency: 4"), threads(5));
    assert!(selected.contains("--concurrency 5"), "{selected}");
}
