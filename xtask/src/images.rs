//! The two images, built with `buildah` and tried by `chroot`.
//!
//! `reef` has nothing but the static binary and CA certificates. `reef-init` sets a pod's iptables rules, so it has iptables
//! and the libraries that needs, out of Debian's packages, and no shell. Neither needs a daemon, a base image or a
//! registry. What is built is an archive that `podman load`, `ctr images import` and `kind load` take.

mod trial;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::packages;
use crate::repo::{stdout_of, target_folder};
use crate::stage::Stage;

/// Who runs in the image `reef`; the number distroless images have for nobody in particular.
pub(crate) const USER: &str = "65532:65532";
/// Where programs are, in both images.
const PATH: &str = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The Debian release `reef-init` is made of.
const DEBIAN: &str = "bookworm";
/// Authorities of the machine that builds, from the package `ca-certificates`.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// What Debian's alternatives would link: the nftables flavour, which kernels of today have.
const IPTABLES: [&str; 6] = [
    "iptables",
    "iptables-save",
    "iptables-restore",
    "ip6tables",
    "ip6tables-save",
    "ip6tables-restore",
];

/// Tries the root of the image `reef` around this binary, without an image: that needs no package.
///
/// # Errors
/// When it does not run.
pub(crate) fn try_root(stage: &mut Stage, binary: &Path) -> Result<()> {
    if !may(stage)? {
        return Ok(());
    }
    if !Path::new(CERTIFICATES).is_file() {
        stage.leave_out("there is no package ca-certificates");
        return Ok(());
    }
    let work = tempfile::tempdir_in(target_folder()?)?;
    let root = work.path().join("reef");
    reef_root(&root, binary)?;
    trial::reef(stage, &root)
}

/// Whether this user can do it at all.
fn may(stage: &mut Stage) -> Result<bool> {
    let user = stdout_of(Command::new("id").arg("-u"))?;
    let is_root = user.trim() == "0";
    if !is_root {
        stage.leave_out("only root can build and try images here");
    }
    Ok(is_root)
}

/// Builds both images around this binary and tries them.
///
/// # Errors
/// When a package can't be installed, or an image does not build or does not run.
pub(crate) fn build(stage: &mut Stage, binary: &Path) -> Result<()> {
    if !may(stage)? {
        return Ok(());
    }
    install()?;
    let folder = target_folder()?.join("images");
    std::fs::create_dir_all(&folder)?;
    let work = tempfile::tempdir_in(&folder)?;
    let reef = work.path().join("reef");
    reef_root(&reef, binary)?;
    let init = work.path().join("reef-init");
    init_root(stage, &init, binary)?;
    for (name, root, user) in [("reef", &reef, USER), ("reef-init", &init, "0:0")] {
        let image = Image { name, root, user };
        let archive = image.archive(stage, &folder, work.path())?;
        let size = std::fs::metadata(&archive)?.len();
        println!("{} ({size} bytes)", archive.display());
    }
    // What is tried is what is in the image, not what went in.
    let root = unpacked(stage, &folder, work.path(), "reef")?;
    trial::reef(stage, &root)?;
    let root = unpacked(stage, &folder, work.path(), "reef-init")?;
    trial::init(stage, &root)
}

/// Installs what is missing of the programs.
fn install() -> Result<()> {
    let mut missing: Vec<&str> = [
        ("buildah", "buildah"),
        ("mmdebstrap", "mmdebstrap"),
        ("make", "make"),
    ]
    .into_iter()
    .filter(|(program, _)| packages::find(program).is_none())
    .map(|(_, package)| package)
    .collect();
    if !Path::new(CERTIFICATES).is_file() {
        missing.push("ca-certificates");
    }
    if missing.is_empty() {
        return Ok(());
    }
    packages::apt_install(&missing)
}

/// One image to be made of a folder.
struct Image<'a> {
    name: &'a str,
    root: &'a Path,
    user: &'a str,
}

impl Image<'_> {
    /// Commits the folder as an image and returns its archive.
    fn archive(&self, stage: &mut Stage, folder: &Path, work: &Path) -> Result<PathBuf> {
        let version = env!("CARGO_PKG_VERSION");
        let reference = format!("localhost/{}:{version}", self.name);
        let container = stdout_of(buildah(work).args(["from", "scratch"]))?;
        let container = container.trim();
        // The owner of the files is root, whom the user of the image is not.
        stage.run(
            buildah(work)
                .args(["copy", "--quiet", "--chown", "0:0", container])
                .arg(self.root)
                .arg("/"),
        )?;
        let label = |key: &str, value: &str| format!("org.opencontainers.image.{key}={value}");
        stage.run(
            buildah(work)
                .args([
                    "config",
                    "--user",
                    self.user,
                    "--entrypoint",
                    r#"["/usr/local/bin/reef"]"#,
                ])
                .args(["--env", &format!("PATH={PATH}")])
                .args(["--label", &label("title", self.name)])
                .args(["--label", &label("version", version)])
                .args(["--label", &label("licenses", "Apache-2.0")])
                .arg(container),
        )?;
        let archive = folder.join(format!("{}-{version}.tar", self.name));
        if archive.exists() {
            std::fs::remove_file(&archive)?;
        }
        // A fixed time: the same files are the same image.
        stage.run(
            buildah(work)
                .args([
                    "commit",
                    "--quiet",
                    "--rm",
                    "--format",
                    "oci",
                    "--timestamp",
                    "0",
                    container,
                ])
                .arg(format!("oci-archive:{}:{reference}", archive.display())),
        )?;
        Ok(archive)
    }
}

/// Loads an archive again and returns a folder with the files of its image.
fn unpacked(stage: &mut Stage, folder: &Path, work: &Path, name: &str) -> Result<PathBuf> {
    let archive = folder.join(format!("{name}-{}.tar", env!("CARGO_PKG_VERSION")));
    let source = format!("oci-archive:{}", archive.display());
    let container = stdout_of(buildah(work).args(["from", "--pull-never", &source]))
        .or_else(|_| stdout_of(buildah(work).args(["from", &source])))?;
    let mounted = stdout_of(buildah(work).args(["mount", container.trim()]))?;
    let root = work.join(format!("{name}-unpacked"));
    // A copy: what buildah mounts, it wants to unmount.
    stage.run(Command::new("cp").arg("-a").arg(mounted.trim()).arg(&root))?;
    stage.run(
        buildah(work)
            .args(["rm", container.trim()])
            .stdout(std::process::Stdio::null()),
    )?;
    Ok(root)
}

/// Prepares a call of buildah with a store of its own, which goes with the folder.
fn buildah(work: &Path) -> Command {
    let mut command = Command::new("buildah");
    command
        .args(["--storage-driver", "vfs", "--root"])
        .arg(work.join("store"));
    command.arg("--runroot").arg(work.join("run"));
    command
}

/// Puts the files of `reef` together.
fn reef_root(root: &Path, binary: &Path) -> Result<()> {
    place(binary, &root.join("usr/local/bin/reef"), 0o755)?;
    place(
        Path::new(CERTIFICATES),
        &root.join(CERTIFICATES.trim_start_matches('/')),
        0o644,
    )?;
    std::fs::write(
        root.join("etc/passwd"),
        "reef:x:65532:65532::/nonexistent:/nonexistent\n",
    )?;
    std::fs::write(root.join("etc/group"), "reef:x:65532:\n")?;
    // Where the chart mounts; and a folder of objects for those who run it without Kubernetes.
    std::fs::create_dir_all(root.join("etc/reef"))?;
    // Whoever builds may be one who lets nobody else read, which the user of the image is.
    for folder in [
        "",
        "usr",
        "usr/local",
        "usr/local/bin",
        "etc",
        "etc/ssl",
        "etc/ssl/certs",
        "etc/reef",
    ] {
        mode(&root.join(folder), 0o755)?;
    }
    for file in ["etc/passwd", "etc/group"] {
        mode(&root.join(file), 0o644)?;
    }
    Ok(())
}

/// Puts the files of `reef-init` together.
fn init_root(stage: &mut Stage, root: &Path, binary: &Path) -> Result<()> {
    let exclude = |folder: &str| format!("--dpkgopt=path-exclude=/usr/share/{folder}/*");
    // Unpacked only: what packages run when they are installed needs a shell in the image.
    stage.run(
        Command::new("mmdebstrap")
            .args([
                "--quiet",
                "--mode=root",
                "--variant=extract",
                "--include=iptables",
            ])
            .arg("--aptopt=APT::Install-Recommends \"false\"")
            .arg("--aptopt=Acquire::Languages \"none\"")
            .args(["doc", "man", "locale", "lintian", "bash-completion"].map(exclude))
            .arg(DEBIAN)
            .arg(root),
    )?;
    for folder in ["var/lib/apt", "var/cache", "var/log", "etc/apt"] {
        let path = root.join(folder);
        if path.exists() {
            std::fs::remove_dir_all(&path).with_context(|| format!("cannot clear {folder}"))?;
        }
    }
    // The machine's own; a container gets others.
    for file in ["etc/resolv.conf", "etc/hostname"] {
        std::fs::remove_file(root.join(file)).with_context(|| format!("cannot remove {file}"))?;
    }
    for program in IPTABLES {
        let link = root.join("usr/sbin").join(program);
        if !link.exists() {
            std::os::unix::fs::symlink("xtables-nft-multi", &link)?;
        }
    }
    place(binary, &root.join("usr/local/bin/reef"), 0o755)
}

/// Copies a file to where it belongs.
fn place(file: &Path, to: &Path, mode: u32) -> Result<()> {
    let folder = to.parent().context("a file in no folder")?;
    std::fs::create_dir_all(folder)?;
    std::fs::copy(file, to).with_context(|| format!("cannot copy {}", file.display()))?;
    self::mode(to, mode)?;
    if to.metadata()?.len() == 0 {
        bail!("{} is empty", file.display());
    }
    Ok(())
}

fn mode(path: &Path, mode: u32) -> Result<()> {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(path, permissions)
        .with_context(|| format!("cannot change {}", path.display()))
}
