//! `reef diff`, as a person runs it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::mesh::{directory, node, pod, service, sidecar, write};

fn diff(old: &Path, new: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reef"))
        .arg("diff")
        .args([old, new])
        .args(more)
        .output()
        .unwrap()
}

fn json(old: &Path, new: &Path, code: i32) -> Value {
    let output = diff(old, new, &["-o", "json"]);
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{told}{errors}");
    serde_json::from_str(&told).unwrap()
}

/// Two pods of a namespace that sees only itself, one of another that sees everything.
fn mesh(endpoint: &str) -> Vec<(&'static str, String)> {
    vec![
        (
            "web.yaml",
            service("shop", "web", "10.96.0.1", &[endpoint, "10.1.0.2"]),
        ),
        ("db.yaml", service("data", "db", "10.96.0.2", &["10.1.0.9"])),
        ("sidecar.yaml", sidecar("shop", &["./*"])),
        (
            "pods.yaml",
            [
                pod("shop", "a", "10.2.0.1", "app: a"),
                pod("shop", "b", "10.2.0.2", "app: a"),
                pod("data", "c", "10.2.0.3", "app: c"),
            ]
            .join("---\n"),
        ),
    ]
}

#[test]
fn nothing_changes_between_equal_directories() {
    let (old, new) = (directory(&mesh("10.1.0.1")), directory(&mesh("10.1.0.1")));
    // Where an object stands, and how it is written, is no change.
    std::fs::rename(new.path().join("db.yaml"), new.path().join("other.yaml")).unwrap();
    let found = json(old.path(), new.path(), 0);
    assert_eq!(found["changed"], false);
    assert_eq!((&found["proxies"], &found["bytes"]), (&3.into(), &0.into()));
    let text = diff(old.path(), new.path(), &[]);
    assert_eq!(
        String::from_utf8_lossy(&text.stdout),
        "nothing changes for 3 proxies\n"
    );
}

#[test]
fn one_endpoint_is_one_load_assignment_for_each_class_that_sees_it() {
    let (old, new) = (directory(&mesh("10.1.0.1")), directory(&mesh("10.1.0.7")));
    let found = json(old.path(), new.path(), 1);
    assert_eq!(found["proxiesChanged"], 3);
    let classes = found["classes"].as_array().unwrap();
    let of: Vec<String> = classes
        .iter()
        .map(|class| class["proxies"].to_string())
        .collect();
    assert_eq!(of, ["[\"a.shop\",\"b.shop\"]", "[\"c.data\"]"]);
    for class in classes {
        let resources = class["resources"].as_array().unwrap();
        assert_eq!(resources.len(), 1, "{class}");
        let one = &resources[0];
        assert_eq!(one["type"], "EDS");
        assert_eq!(one["name"], "outbound|80||web.shop.svc.cluster.local");
        assert_eq!(one["change"], "changed");
        assert_eq!(one["effect"]["drains"], false);
        let paths: Vec<&str> = one["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| field["path"].as_str().unwrap())
            .collect();
        assert!(
            paths.iter().any(|path| path.ends_with("[10.1.0.7:80]")),
            "{paths:?}"
        );
        assert_eq!(class["bytes"], one["bytes"]);
    }
    let all = found["bytes"].as_u64().unwrap();
    let each = |at: usize| classes[at]["bytes"].as_u64().unwrap();
    assert_eq!(all, 2 * each(0) + each(1));
}

#[test]
fn a_service_that_goes_takes_its_cluster_where_it_was_seen() {
    let (old, new) = (directory(&mesh("10.1.0.1")), directory(&mesh("10.1.0.1")));
    std::fs::remove_file(new.path().join("db.yaml")).unwrap();
    let output = diff(old.path(), new.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("1 of 3 proxies change"), "{text}");
    assert!(text.contains("\nc.data (1 proxies"), "{text}");
    let line = text
        .lines()
        .find(|line| line.contains("- CDS outbound|80||db.data"))
        .unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("503"), "{line}");
    assert!(
        !text.contains("a.shop"),
        "a Sidecar keeps it from them: {text}"
    );
}

#[test]
fn pods_that_come_and_go_are_named_and_count_as_a_change() {
    let (old, new) = (directory(&mesh("10.1.0.1")), directory(&mesh("10.1.0.1")));
    write(
        new.path(),
        "more.yaml",
        &pod("shop", "d", "10.2.0.4", "app: a"),
    );
    let found = json(old.path(), new.path(), 1);
    assert_eq!(found["addedProxies"], serde_json::json!(["d.shop"]));
    assert_eq!(found["proxiesChanged"], 0);
    let back = json(new.path(), old.path(), 1);
    assert_eq!(back["removedProxies"], serde_json::json!(["d.shop"]));
}

#[test]
fn a_node_file_is_a_proxy_too() {
    let (old, new) = (directory(&mesh("10.1.0.1")), directory(&mesh("10.1.0.7")));
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("node.yaml");
    std::fs::write(&file, format!("id: {}\n", node("vm-1", "shop"))).unwrap();
    let output = diff(
        old.path(),
        new.path(),
        &["-o", "json", "--node", file.to_str().unwrap()],
    );
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["proxies"], 4);
    assert!(found["classes"].to_string().contains("vm-1.shop"));
}

#[test]
fn bad_input_is_2_whatever_else_is_found() {
    let (old, new) = (directory(&mesh("10.1.0.1")), directory(&mesh("10.1.0.1")));
    let missing = diff(old.path(), Path::new("/no/such/dir"), &[]);
    assert_eq!(missing.status.code(), Some(2));
    let no_node = diff(old.path(), new.path(), &["--node", "/no/such/file"]);
    assert_eq!(no_node.status.code(), Some(2));
    write(
        new.path(),
        "bad.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: 7}\n",
    );
    let broken = diff(old.path(), new.path(), &[]);
    assert_eq!(broken.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&broken.stderr);
    assert!(errors.contains("new directory:"), "{errors}");
    assert!(errors.contains("bad.yaml"), "{errors}");
    let usage = Command::new(env!("CARGO_BIN_EXE_reef"))
        .args(["diff", "only-one"])
        .output()
        .unwrap();
    assert_eq!(usage.status.code(), Some(64));
}
