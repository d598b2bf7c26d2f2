//! Tests of the decision who gets a sidecar, and of single values.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::quantity::Quantity;
use crate::{Decision, Place, Refusal, Settings, Skip, inject};

fn skip(pod: &Value, namespace: &str, labels: &[(&str, &str)]) -> Option<Skip> {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let labels: BTreeMap<String, String> = labels.iter().map(own).collect();
    let place = Place {
        namespace: Some(namespace),
        namespace_labels: Some(&labels),
        ..Place::default()
    };
    match inject(pod, &place, &Settings::default()).unwrap() {
        Decision::Inject(_) => None,
        Decision::Skip(skip) => Some(skip),
    }
}

fn pod(labels: Value, annotations: Value) -> Value {
    json!({
        "metadata": { "labels": labels, "annotations": annotations },
        "spec": { "containers": [{ "name": "app" }] },
    })
}

#[test]
fn a_namespaces_revision_decides_and_then_the_pods() {
    let plain = pod(json!({}), json!({}));
    let marked = pod(json!({ "istio.io/rev": "reef" }), json!({}));
    let ours = [("istio.io/rev", "reef")];
    assert_eq!(skip(&plain, "shop", &ours), None);
    assert_eq!(skip(&marked, "shop", &[]), None);
    assert_eq!(skip(&plain, "shop", &[]), Some(Skip::NotSelected));
    let others = [("istio.io/rev", "stable")];
    assert_eq!(skip(&marked, "shop", &others), Some(Skip::OtherRevision));
    let both = [("istio.io/rev", "reef"), ("istio-injection", "enabled")];
    assert_eq!(skip(&marked, "shop", &both), Some(Skip::OtherRevision));
    let off = [("istio-injection", "disabled")];
    assert_eq!(skip(&marked, "shop", &off), Some(Skip::NotWanted));
    assert_eq!(
        skip(&plain, "kube-system", &ours),
        Some(Skip::SystemNamespace)
    );
}

#[test]
fn a_pod_may_say_no_and_its_label_wins_over_its_annotation() {
    const INJECT: &str = "sidecar.istio.io/inject";
    let ours = [("istio.io/rev", "reef")];
    for (label, annotation, expected) in [
        (
            json!({ INJECT: "false" }),
            json!({ INJECT: "true" }),
            Some(Skip::NotWanted),
        ),
        (json!({ INJECT: "true" }), json!({ INJECT: "false" }), None),
        (json!({}), json!({ INJECT: "no" }), Some(Skip::NotWanted)),
        (json!({ INJECT: "Yes" }), json!({}), None),
        (json!({ INJECT: "" }), json!({}), None),
    ] {
        let pod = pod(label, annotation);
        assert_eq!(skip(&pod, "shop", &ours), expected, "{pod}");
    }
}

#[test]
fn what_is_no_pod_is_refused_by_its_field() {
    for (pod, field) in [
        (json!([]), "the pod"),
        (json!({ "metadata": {} }), "spec"),
        (json!({ "spec": { "containers": {} } }), "spec.containers"),
        (
            json!({ "spec": { "containers": [{ "image": "a" }] } }),
            "spec.containers",
        ),
        (json!({ "spec": { "volumes": ["x"] } }), "spec.volumes"),
        (
            json!({ "metadata": { "labels": { "a": 1 } }, "spec": {} }),
            "metadata.labels.a",
        ),
    ] {
        let refusal = inject(&pod, &Place::default(), &Settings::default()).unwrap_err();
        assert!(
            matches!(&refusal, Refusal::Malformed { field: f, .. } if f == field),
            "{refusal}"
        );
    }
}

#[test]
fn null_is_absent_as_everywhere_in_the_api() {
    let pod = json!({
        "metadata": { "annotations": null, "labels": null },
        "spec": { "containers": [{ "name": "app", "ports": null }], "initContainers": null, "volumes": null },
    });
    let Decision::Inject(injection) =
        inject(&pod, &Place::default(), &Settings::default()).unwrap()
    else {
        panic!("skipped");
    };
    let mut after = pod;
    json_patch::patch(&mut after, &injection.patch).unwrap();
    assert_eq!(after["spec"]["initContainers"].as_array().unwrap().len(), 3);
    assert_eq!(after["metadata"]["annotations"]["istio.io/rev"], "reef");
}

#[test]
fn amounts_are_those_of_the_api() {
    for good in [
        "0", "100m", "1.5Gi", ".5", "2.", "1e9", "1E-3", "12Ki", "5E",
    ] {
        assert!(good.parse::<Quantity>().is_ok(), "{good}");
    }
    for bad in [
        "", "m", ".", "1.2.3", "-1", "+1", "1 Gi", "1gi", "1e", "1e999", "1\n", "0x1", "1mm",
    ] {
        assert!(bad.parse::<Quantity>().is_err(), "{bad}");
    }
}
