//! What can be told without a build.

use super::*;

#[test]
fn versions_of_go_are_read() {
    assert_eq!(
        go::version("go version go1.26.8 linux/amd64"),
        Some((1, 26))
    );
    assert_eq!(
        go::version("go version go1.27rc1 linux/amd64"),
        Some((1, 27))
    );
    assert_eq!(go::version("go version devel"), None);
}

#[test]
fn the_module_builds_the_versions_we_look_for() {
    let module = std::fs::read_to_string(root().join("tests/kube-tools/go.mod")).unwrap();
    assert!(module.contains(&format!("k8s.io/kubernetes v{KUBE}\n")));
    assert!(module.contains(&format!("go.etcd.io/etcd/server/v3 v{ETCD}\n")));
}

#[test]
fn another_module_is_another_key() {
    let key = key().unwrap();
    assert!(key.starts_with("kube 1.") && key.contains("go.etcd.io/etcd/server/v3"));
}

#[test]
fn the_server_is_told_its_version() {
    let built = command(Path::new("go"), TOOLS[1], Path::new("/tmp/x"));
    let arguments: Vec<String> = built
        .get_args()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let flags = &arguments[3];
    assert!(
        flags.contains("gitVersion=v1.36.3 ") && flags.ends_with("gitMinor=36"),
        "{flags}"
    );
    assert_eq!(arguments.last().unwrap(), "./kube-apiserver");
}
