//! The root, the user and the capabilities of a container.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::text;
use crate::net::PodNet;

/// Makes a root of its own, then becomes the container. `$1` is the options of `setpriv`; what follows is its command.
const SCRIPT: &str = r#"
root=/run/container
mkdir -p $root
mount -t tmpfs -o mode=755 none $root
for dir in usr bin sbin lib lib64; do
  if [ -L /$dir ]; then ln -s "$(readlink /$dir)" $root/$dir
  elif [ -d /$dir ]; then mkdir $root/$dir && mount --rbind /$dir $root/$dir; fi
done
for dir in dev proc sys etc/alternatives; do
  mkdir -p $root/$dir && mount --rbind /$dir $root/$dir
done
mkdir -p $root/tmp $root/run $root/image
chmod 1777 $root/tmp
for file in passwd group protocols services; do
  [ ! -f /etc/$file ] || cp /etc/$file $root/etc/$file
done
"#;

/// Where programs of a container are: those of its image first.
pub(super) const PATH: &str = "/image:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One container.
#[derive(Debug)]
pub(super) struct Container<'a> {
    pub(super) net: &'a PodNet,
    pub(super) security: &'a Value,
    /// Programs of the image by name.
    pub(super) programs: &'a BTreeMap<String, PathBuf>,
    /// Addresses by host name.
    pub(super) hosts: &'a BTreeMap<String, Ipv4Addr>,
    /// Folder, place in the container, read only.
    pub(super) mounts: &'a [(PathBuf, String, bool)],
    pub(super) environment: &'a BTreeMap<String, String>,
    pub(super) line: &'a [String],
}

/// Lets every user write into a folder.
pub(super) fn for_everybody(folder: &Path) -> Result<()> {
    Ok(std::fs::set_permissions(
        folder,
        Permissions::from_mode(0o777),
    )?)
}

/// Gives the files of a volume the mode and the group they are asked to have.
pub(super) fn protect(folder: &Path, mode: Option<u64>, group: Option<u64>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(mode) = mode {
            let mode = Permissions::from_mode(u32::try_from(mode)?);
            std::fs::set_permissions(&path, mode)?;
        }
        if let Some(group) = group {
            std::os::unix::fs::chown(&path, None, Some(u32::try_from(group)?))?;
        }
    }
    Ok(())
}

/// The command that runs a container.
pub(super) fn command(container: &Container<'_>) -> Result<Command> {
    let mut script = SCRIPT.to_owned();
    for (name, path) in container.programs {
        let path = quoted(&path.to_string_lossy());
        let at = quoted(&format!("/run/container/image/{name}"));
        script += &format!("touch {at}\nmount --bind {path} {at}\n");
    }
    for (host, address) in container.hosts {
        let line = quoted(&format!("{address} {host}"));
        script += &format!("echo {line} >> /run/container/etc/hosts\n");
    }
    if !container.hosts.is_empty() {
        script += "echo 'hosts: files' > /run/container/etc/nsswitch.conf\n";
    }
    for (folder, at, read_only) in container.mounts {
        let folder = quoted(&folder.to_string_lossy());
        let at = quoted(&format!("/run/container{at}"));
        script += &format!("mkdir -p {at}\nmount --bind {folder} {at}\n");
        if *read_only {
            script += &format!("mount -o remount,bind,ro {at}\n");
        }
    }
    let security = container.security;
    if security["readOnlyRootFilesystem"] == true {
        script += "mount -o remount,ro /run/container\n";
    }
    script += "exec chroot /run/container setpriv \"$@\"\n";
    let mut command = container.net.command("unshare");
    command.args(["--mount", "--propagation", "private", "--", "sh", "-ec"]);
    command.arg(script).arg("sh");
    command.args(privileges(security)?);
    command.args(["env", "-i", &format!("PATH={PATH}")]);
    for (name, value) in container.environment {
        command.arg(format!("{name}={value}"));
    }
    command.args(container.line);
    Ok(command)
}

/// Options of `setpriv` for a security context; without one it is the user of most images, root.
fn privileges(security: &Value) -> Result<Vec<String>> {
    let id = |field: &str| security[field].as_u64().unwrap_or(0).to_string();
    let mut options = vec![
        format!("--reuid={}", id("runAsUser")),
        format!("--regid={}", id("runAsGroup")),
        "--clear-groups".to_owned(),
    ];
    if security["allowPrivilegeEscalation"] == false {
        options.push("--no-new-privs".to_owned());
    }
    if text::items(&security["capabilities"]["drop"]).any(|name| name == "ALL") {
        let added = text::items(&security["capabilities"]["add"]).map(|name| {
            let name = name.as_str().context("a capability that is no text")?;
            Ok(format!(",+{}", name.to_lowercase()))
        });
        let added: Result<String> = added.collect();
        options.push(format!("--bounding-set=-all{}", added?));
        options.push("--inh-caps=-all".to_owned());
    }
    Ok(options)
}

/// A word of shell that is exactly this text.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
