//! Tests of `reef inject`.

use std::fs;

use clap::Parser as _;
use serde_json::{Value, json};

use super::run;
use crate::cli::{Cli, Command};

/// What is printed, what is noted, and the error.
fn inject(manifests: &str, options: &[&str]) -> (Vec<Value>, String, Option<String>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pods.yaml");
    fs::write(&file, manifests).unwrap();
    let ca = dir.path().join("ca.pem");
    fs::write(&ca, "-----BEGIN CERTIFICATE-----\nMA==\n").unwrap();
    let mut line = vec!["reef", "inject", "-f", file.to_str().unwrap()];
    line.extend(["--ca-file", ca.to_str().unwrap()]);
    line.extend(options);
    let Command::Inject(args) = Cli::parse_from(line).command else {
        panic!("another command");
    };
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let error = run(&args, &mut out, &mut notes).err();
    let text = String::from_utf8(out).unwrap();
    let objects = serde_saphyr::from_multiple(&text).unwrap();
    let error = error.map(|error| format!("{error:#}"));
    (objects, String::from_utf8(notes).unwrap(), error)
}

fn init_containers(template: &Value) -> Vec<&str> {
    let list = template["spec"]["initContainers"].as_array();
    list.into_iter()
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect()
}

const INJECTED: [&str; 3] = ["reef-init", "reef-bootstrap", "istio-proxy"];

#[test]
fn every_kind_of_workload_gets_its_sidecar_and_the_rest_stays() {
    let template =
        "template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: a}]}}";
    let workload = |version: &str, kind: &str| {
        format!(
            "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: web, namespace: shop}}\nspec: {{{template}}}\n---\n"
        )
    };
    let manifests = [
        workload("apps/v1", "Deployment"),
        workload("apps/v1", "StatefulSet"),
        workload("apps/v1", "DaemonSet"),
        workload("batch/v1", "Job"),
        format!(
            "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: tick}}\nspec: {{schedule: '* * * * *', \
             jobTemplate: {{spec: {{{template}}}}}}}\n---\n"
        ),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c} # kept\ndata: {on: 'yes'}\n---\n".to_owned(),
        r#"{"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "env": [{"name": "N", "value": "on"}]}]}},
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "h"}, "spec": {"hostNetwork": true, "containers": []}}]}"#
            .to_owned(),
    ]
    .concat();
    let (objects, notes, error) = inject(&manifests, &[]);
    assert_eq!(error, None);
    assert_eq!(objects.len(), 7);
    for workload in &objects[..4] {
        assert_eq!(init_containers(&workload["spec"]["template"]), INJECTED);
        let bootstrap = &workload["spec"]["template"]["spec"]["initContainers"][1]["args"];
        let args = bootstrap.as_array().unwrap();
        let at = args
            .iter()
            .position(|arg| arg == "--workload-name")
            .unwrap();
        assert_eq!(args[at + 1], "web");
    }
    let cron = &objects[4]["spec"]["jobTemplate"]["spec"]["template"];
    assert_eq!(init_containers(cron), INJECTED);
    assert_eq!(objects[5]["data"], json!({ "on": "yes" }));
    let items = &objects[6]["items"];
    assert_eq!(init_containers(&items[0]), INJECTED);
    // What YAML of another version would take for a boolean is still text.
    assert_eq!(items[0]["spec"]["containers"][0]["env"][0]["value"], "on");
    assert!(init_containers(&items[1]).is_empty());
    assert!(notes.contains("Deployment shop/web: injected\n"), "{notes}");
    assert!(
        notes.contains("Pod default/h: left alone: it uses the network"),
        "{notes}"
    );
    assert!(!notes.contains("ConfigMap"), "{notes}");
}

#[test]
fn a_pod_that_cannot_be_injected_ends_the_command_and_nothing_is_printed() {
    let manifests = "apiVersion: v1\nkind: Pod\nmetadata: {name: ok}\nspec: {containers: []}\n---\n\
                     apiVersion: v1\nkind: Pod\nmetadata:\n  name: bad\n  annotations: {status.sidecar.istio.io/port: x}\n\
                     spec: {containers: []}\n";
    let (objects, _, error) = inject(manifests, &[]);
    assert!(objects.is_empty());
    let error = error.unwrap();
    assert!(
        error.contains("pods.yaml:6: Pod default/bad: annotation status.sidecar"),
        "{error}"
    );
}

#[test]
fn settings_come_from_a_file_and_options_win() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("inject.yaml");
    fs::write(
        &file,
        "injection:\n  proxyImage: one\n  initImage: two\n  clusterName: east\n  imagePullPolicy: ''\nother: {}\n",
    )
    .unwrap();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a}]}\n";
    let config = [
        "--inject-config",
        file.to_str().unwrap(),
        "--init-image",
        "three",
    ];
    let (objects, _, error) = inject(pod, &config);
    assert_eq!(error, None);
    let containers = &objects[0]["spec"]["initContainers"];
    assert_eq!(containers[0]["image"], "three");
    assert_eq!(containers[2]["image"], "one");
    assert!(
        containers[1]["args"]
            .as_array()
            .unwrap()
            .contains(&json!("east"))
    );
    for wrong in [
        "proxyImagee: x\n",
        "discoveryAddress: nowhere\n",
        "proxyImage: ''\n",
    ] {
        fs::write(&file, format!("injection: {{{wrong}}}")).unwrap();
        assert!(inject(pod, &config).2.is_some(), "{wrong}");
    }
}
