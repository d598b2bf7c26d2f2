//! `reef check` and the process itself, as a person runs them.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::mesh::{directory, service};

fn reef(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reef"))
        .args(args)
        .output()
        .unwrap()
}

fn check(dir: &Path, code: i32) -> Value {
    let output = reef(&["check", "-o", "json", dir.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_str(&told).unwrap()
}

#[test]
fn check_says_0_for_a_good_directory() {
    let dir = directory(&[(
        "web.yaml",
        service("shop", "web", "10.96.0.1", &["10.1.0.1"]),
    )]);
    let report = check(dir.path(), 0);
    assert_eq!(report["services"], 1);
    assert_eq!(report["problems"], serde_json::json!([]));
}

#[test]
fn check_says_1_and_where_for_an_error() {
    let text =
        "# a comment\napiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: 7}\n";
    let dir = directory(&[(
        "bad.yaml",
        format!("{}---\n{text}", service("shop", "web", "10.96.0.1", &[])),
    )]);
    let report = check(dir.path(), 1);
    let problem = &report["problems"][0];
    assert!(
        problem["file"].as_str().unwrap().ends_with("bad.yaml"),
        "{report}"
    );
    assert!(
        problem["line"].as_u64().unwrap() > 8,
        "the second document: {report}"
    );
    assert_eq!(report["services"], 1, "the good document counts");
}

#[test]
fn check_says_2_for_a_kind_that_is_not_applied() {
    let dir = directory(&[(
        "t.yaml",
        "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: t, namespace: a}\nspec: {}\n".to_owned(),
    )]);
    let report = check(dir.path(), 2);
    assert!(
        report["problems"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("not yet applied"),
        "{report}"
    );
}

#[test]
fn wrong_usage_is_64_and_a_missing_directory_1() {
    assert_eq!(reef(&["check"]).status.code(), Some(64));
    assert_eq!(reef(&["serve"]).status.code(), Some(64));
    assert_eq!(reef(&["check", "/nowhere/at/all"]).status.code(), Some(1));
    let open = reef(&["serve", "--config-dir", "/", "--grpc-addr", "0.0.0.0:0"]);
    assert_eq!(open.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&open.stderr).contains("--insecure-xds"));
}

#[test]
fn bootstrap_and_completions_are_printed() {
    let output = reef(&[
        "bootstrap",
        "--pod",
        "web-1",
        "--namespace",
        "shop",
        "--ip",
        "10.0.0.1",
    ]);
    let bootstrap: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        bootstrap["node"]["id"],
        "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local"
    );
    for shell in ["bash", "zsh", "fish"] {
        let script = reef(&["completions", shell]).stdout;
        assert!(
            String::from_utf8_lossy(&script).contains("config-dir"),
            "{shell}"
        );
    }
}
