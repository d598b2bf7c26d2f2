//! Pods of many shapes and what becomes of them: `tests/golden/<shape>/{pod,expected}.yaml`.
//!
//! `REEF_GOLDEN_UPDATE=1` rewrites what is expected. The same pods are given to a real API server by the tests
//! of the cluster.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::path::{Path, PathBuf};

use reef_inject::{Authority, Decision, Place, Settings, inject};
use serde_json::{Value, json};

fn shapes() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}

fn pod(shape: &Path) -> Value {
    let text = std::fs::read_to_string(shape.join("pod.yaml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

fn settings() -> Settings {
    Settings {
        authority: Authority::Inline(
            "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n".to_owned(),
        ),
        init_image: "reef-init:test".to_owned(),
        image_pull_secrets: vec!["mesh".to_owned(), "own".to_owned()],
        ..Settings::default()
    }
}

fn decide(pod: &Value) -> Result<Decision, reef_inject::Refusal> {
    let namespace = pod["metadata"]["namespace"].as_str();
    let place = Place {
        namespace,
        ..Place::default()
    };
    inject(pod, &place, &settings())
}

/// The pod after injection, if it is injected.
fn injected(pod: &Value) -> Option<Value> {
    let Ok(Decision::Inject(injection)) = decide(pod) else {
        return None;
    };
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &injection.patch).unwrap();
    Some(pod)
}

#[test]
fn every_shape_becomes_what_is_expected() {
    let update = std::env::var_os("REEF_GOLDEN_UPDATE").is_some_and(|value| value == "1");
    let shapes = shapes();
    assert!(shapes.len() >= 20, "{}", shapes.len());
    let mut wrong = String::new();
    for shape in shapes {
        let pod = pod(&shape);
        let became = match decide(&pod) {
            Ok(Decision::Inject(injection)) => json!({
                "warnings": injection.warnings,
                "injected": injected(&pod),
            }),
            Ok(Decision::Skip(skip)) => json!({ "skipped": skip.to_string() }),
            Err(refusal) => json!({ "refused": refusal.to_string() }),
        };
        let file = shape.join("expected.yaml");
        if update {
            std::fs::write(&file, serde_saphyr::to_string(&became).unwrap()).unwrap();
        }
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let expected: Value = serde_saphyr::from_str(&text).unwrap_or_default();
        if became != expected {
            wrong += &format!("{}: is {became}\n", shape.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}(REEF_GOLDEN_UPDATE=1 rewrites)");
}

#[test]
fn an_injected_pod_is_not_injected_again() {
    let mut count = 0;
    for shape in shapes() {
        if let Some(pod) = injected(&pod(&shape)) {
            let again = decide(&pod).unwrap();
            assert!(matches!(again, Decision::Skip(_)), "{}", shape.display());
            count += 1;
        }
    }
    assert!(count >= 15, "{count}");
}

/// Takes away what the status annotation says was added.
fn without_what_was_added(mut pod: Value) -> Value {
    let annotations = pod["metadata"]["annotations"].as_object_mut().unwrap();
    let status = annotations.remove("sidecar.istio.io/status").unwrap();
    let status: Value = serde_json::from_str(status.as_str().unwrap()).unwrap();
    annotations.remove("istio.io/rev");
    let spec = pod["spec"].as_object_mut().unwrap();
    for list in ["initContainers", "volumes"] {
        let items = spec[list].as_array_mut().unwrap();
        let added = status[list].as_array().unwrap();
        items.retain(|item| !added.contains(&item["name"]));
        if items.is_empty() {
            spec.remove(list);
        }
    }
    pod
}

/// Forgets how containers are probed by HTTP, and fields that injection may make.
fn comparable(mut pod: Value) -> Value {
    let spec = pod["spec"].as_object_mut().unwrap();
    spec.remove("imagePullSecrets");
    for list in ["containers", "initContainers"] {
        let items = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in items.into_iter().flatten() {
            for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
                let get = container
                    .get_mut(probe)
                    .and_then(|probe| probe.get_mut("httpGet")?.as_object_mut());
                if let Some(get) = get {
                    get.retain(|field, _| !["path", "port", "scheme"].contains(&field.as_str()));
                }
            }
        }
    }
    if pod["metadata"]["annotations"] == json!({}) {
        pod["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("annotations");
    }
    pod
}

#[test]
fn everything_the_pod_had_stays() {
    for shape in shapes() {
        let before = pod(&shape);
        if let Some(after) = injected(&before) {
            let after = comparable(without_what_was_added(after));
            assert_eq!(after, comparable(before), "{}", shape.display());
        }
    }
}

#[test]
fn only_reef_init_has_privileges() {
    for shape in shapes() {
        let Some(pod) = injected(&pod(&shape)) else {
            continue;
        };
        let tproxy = shape.ends_with("tproxy");
        for container in pod["spec"]["initContainers"].as_array().unwrap() {
            let name = container["name"].as_str().unwrap();
            if !["reef-init", "reef-bootstrap", "istio-proxy"].contains(&name) {
                continue;
            }
            let context = &container["securityContext"];
            let may = name == "reef-init" || (tproxy && name == "istio-proxy");
            assert_eq!(context["privileged"], false, "{name}");
            assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(context["capabilities"]["drop"], json!(["ALL"]), "{name}");
            assert_eq!(context["capabilities"]["add"].is_array(), may, "{name}");
            assert_eq!(context["runAsUser"] == 0, may, "{name}");
            assert_eq!(context["runAsNonRoot"], !may, "{name}");
        }
        let labels = &pod["metadata"]["labels"];
        assert_eq!(labels.get("security.istio.io/tlsMode"), None);
    }
}
