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
        "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: t, namespace: a}\nspec: {}\n".to_owned(),
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
    // No directory, no kubeconfig, and this is no pod.
    assert_eq!(reef(&["serve"]).status.code(), Some(1));
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
    assert_eq!(
        bootstrap["admin"]["address"]["socket_address"]["port_value"],
        15000
    );
    let annotated = |more: &[&str]| -> (Value, Value) {
        let mut args = vec!["bootstrap", "--pod", "web-1", "--ip", "10.0.0.1"];
        let settings = "proxy.istio.io/config={proxyAdminPort: 15555, interceptionMode: TPROXY}";
        args.extend(["--annotation", settings]);
        args.extend(more);
        let written: Value = serde_json::from_slice(&reef(&args).stdout).unwrap();
        let port = &written["admin"]["address"]["socket_address"]["port_value"];
        let mode = &written["node"]["metadata"]["INTERCEPTION_MODE"];
        (port.clone(), mode.clone())
    };
    assert_eq!(annotated(&[]), (15555.into(), "TPROXY".into()));
    let options = ["--admin-port", "16000", "--interception", "none"];
    assert_eq!(annotated(&options), (16000.into(), "NONE".into()));
    let wrong = reef(&[
        "bootstrap",
        "--pod",
        "web-1",
        "--ip",
        "10.0.0.1",
        "--annotation",
        "proxy.istio.io/config=proxyAdminPort: [",
    ]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("proxy.istio.io/config"));
    for shell in ["bash", "zsh", "fish"] {
        let script = reef(&["completions", shell]).stdout;
        assert!(
            String::from_utf8_lossy(&script).contains("config-dir"),
            "{shell}"
        );
    }
}

#[test]
fn render_prints_what_a_proxy_would_hold() {
    let dir = directory(&[
        (
            "web.yaml",
            service("shop", "web", "10.96.0.1", &["10.1.0.1"]),
        ),
        (
            "bad.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: 7}\n".to_owned(),
        ),
    ]);
    let files = tempfile::tempdir().unwrap();
    let bootstrap = files.path().join("bootstrap.json");
    let written = reef(&[
        "bootstrap",
        "--pod",
        "web-1",
        "--namespace",
        "shop",
        "--ip",
        "10.1.0.1",
        "--file",
        bootstrap.to_str().unwrap(),
    ]);
    assert!(written.status.success());
    let node = files.path().join("node.yaml");
    std::fs::write(
        &node,
        "id: sidecar~10.1.0.1~web-1.shop~shop.svc.cluster.local\n",
    )
    .unwrap();
    for file in [&bootstrap, &node] {
        let output = reef(&[
            "render",
            dir.path().to_str().unwrap(),
            "--node",
            file.to_str().unwrap(),
            "-o",
            "json",
        ]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        assert!(errors.contains("error: ") && errors.contains("bad.yaml:1"));
        let rendered: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(rendered["configs"].as_array().unwrap().len(), 4);
        let text = rendered.to_string();
        for part in [
            "outbound|80||web.shop.svc.cluster.local",
            "inbound|80||",
            "virtualInbound",
            "10.1.0.1",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
    let yaml = reef(&[
        "render",
        dir.path().to_str().unwrap(),
        "--node",
        node.to_str().unwrap(),
        "--types",
        "cds",
    ]);
    let yaml = String::from_utf8_lossy(&yaml.stdout).into_owned();
    assert!(
        yaml.contains("node: sidecar~") && !yaml.contains("virtualInbound"),
        "{yaml}"
    );
    std::fs::write(&node, "id: nonsense\n").unwrap();
    let wrong = reef(&[
        "render",
        dir.path().to_str().unwrap(),
        "--node",
        node.to_str().unwrap(),
    ]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("node.yaml"));
}

#[test]
fn called_as_a_plugin_of_kubectl_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = dir.path().join("kubectl-reef");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_reef"), &plugin).unwrap();
    let help = Command::new(&plugin)
        .args(["why", "--help"])
        .output()
        .unwrap();
    assert!(help.status.success());
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.contains("Usage: kubectl reef why"), "{help}");
}

#[test]
fn kind_that_is_not_applied_is_told_once_however_many_there_are() {
    let filter = |name: &str| {
        format!(
            "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {{name: {name}, namespace: a}}\nspec: {{}}\n"
        )
    };
    let dir = directory(&[("a.yaml", filter("a")), ("b.yaml", filter("b"))]);
    let report = check(dir.path(), 2);
    let problems = report["problems"].as_array().unwrap();
    let told: Vec<&str> = problems
        .iter()
        .filter_map(|problem| problem["reason"].as_str())
        .filter(|reason| reason.contains("not yet applied"))
        .collect();
    assert_eq!(told, ["EnvoyFilter: 2 objects accepted, not yet applied"]);
}

#[test]
fn security_that_is_not_enforced_is_an_error_told_and_exit_code_2() {
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                  metadata: {name: p, namespace: shop}\nspec: {rules: [{to: [{operation: {methods: [GET]}}]}]}\n";
    let dir = directory(&[
        (
            "web.yaml",
            service("shop", "web", "10.96.0.1", &["10.1.0.1"]),
        ),
        ("policy.yaml", policy.to_owned()),
    ]);
    for (choice, outcome) in [("deny", "refused"), ("allow", "let through")] {
        let option = format!("--unenforced-security={choice}");
        let output = reef(&["check", "-o", "json", &option, dir.path().to_str().unwrap()]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(2), "{report}");
        let told = report["problems"]
            .as_array()
            .unwrap()
            .iter()
            .find(|problem| problem["code"] == "unenforced-security")
            .unwrap();
        assert_eq!(told["severity"], "error");
        assert!(told["reason"].as_str().unwrap().contains(outcome), "{told}");
        let place = told["file"].as_str().unwrap();
        assert!(
            place.ends_with("policy.yaml") && told["line"] == 1,
            "{told}"
        );
        assert!(
            told["object"]
                .as_str()
                .unwrap()
                .contains("AuthorizationPolicy shop/p")
        );
    }
}
