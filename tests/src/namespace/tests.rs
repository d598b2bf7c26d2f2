//! Tests of the advice for machines that forbid namespaces.

use super::advice;

#[test]
fn the_command_names_exactly_the_settings_that_forbid() {
    let settings = tempfile::tempdir().unwrap();
    let write = |name: &str, value: &str| {
        let path = settings.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, value).unwrap();
    };
    assert!(advice("", settings.path(), false).contains("as root"));
    assert!(advice("", settings.path(), true).contains("--privileged"));
    let chroot = "unshare: cannot change root filesystem propagation: Invalid argument";
    assert!(advice(chroot, settings.path(), true).contains("mount --bind"));
    write("user/max_user_namespaces", "15000\n");
    write("user/max_net_namespaces", "0\n");
    write("kernel/unprivileged_userns_clone", "0\n");
    assert_eq!(
        advice("", settings.path(), false),
        "allow it: sudo sysctl -w user.max_net_namespaces=15000 \
         kernel.unprivileged_userns_clone=1"
    );
}
