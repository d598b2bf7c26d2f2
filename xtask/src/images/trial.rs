//! What an image must be able to do, tried in its own root folder.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::USER;
use crate::repo::stdout_of;
use crate::stage::Stage;

/// How often a starting server is asked, a tenth of a second apart.
const ATTEMPTS: u32 = 200;

/// `reef`: says its version and serves, as the user of the image.
pub(super) fn reef(stage: &mut Stage, root: &Path) -> Result<()> {
    let files: Vec<_> = std::fs::read_dir(root)?.collect::<Result<_, _>>()?;
    let mut names: Vec<_> = files.iter().map(|file| file.file_name()).collect();
    names.sort();
    ensure!(names == ["etc", "usr"], "the image has {names:?}");
    let version = stdout_of(inside(root, USER).arg("version"))?;
    ensure!(
        version.contains(env!("CARGO_PKG_VERSION")),
        "it says {version:?}"
    );
    stage.passed();
    let (grpc, http, monitoring) = (free_port()?, free_port()?, free_port()?);
    let mut command = inside(root, USER);
    command
        .args(["serve", "--config-dir", "/etc/reef"])
        .arg(format!("--grpc-addr=127.0.0.1:{grpc}"))
        .arg(format!("--http-addr=127.0.0.1:{http}"))
        .arg(format!("--monitoring-addr=127.0.0.1:{monitoring}"));
    let mut server = Running(command.stderr(Stdio::inherit()).spawn()?);
    server.answers(http, "/ready", "200")?;
    server.answers(monitoring, "/metrics", "pilot_info")?;
    let owner = std::fs::read_to_string(format!("/proc/{}/status", server.0.id()))?;
    ensure!(
        owner.contains("\nUid:\t65532\t65532\t65532\t65532\n"),
        "it runs as another user"
    );
    stage.passed();
    Ok(())
}

/// `reef-init`: has the binary and an iptables that starts.
pub(super) fn init(stage: &mut Stage, root: &Path) -> Result<()> {
    let version = stdout_of(inside(root, "0:0").arg("version"))?;
    ensure!(
        version.contains(env!("CARGO_PKG_VERSION")),
        "it says {version:?}"
    );
    for program in super::IPTABLES {
        let about = stdout_of(
            Command::new("chroot")
                .arg(root)
                .arg(format!("/usr/sbin/{program}"))
                .arg("--version"),
        )?;
        ensure!(about.contains("nf_tables"), "{program} says {about:?}");
    }
    ensure!(!root.join("bin/sh").exists(), "there is a shell in it");
    stage.passed();
    // In a network namespace of its own, where rules hurt nobody.
    let script = "chroot \"$1\" reef intercept install && chroot \"$1\" iptables-save -t nat";
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-ec", script, "sh"]).arg(root);
    let rules = stdout_of(command.env("PATH", super::PATH))?;
    ensure!(
        rules.contains("15001") && rules.contains("15006"),
        "the rules are {rules}"
    );
    stage.passed();
    Ok(())
}

/// Prepares a run of the image's entry point.
fn inside(root: &Path, user: &str) -> Command {
    let mut command = Command::new("chroot");
    command
        .arg("--userspec")
        .arg(user)
        .arg("--groups=")
        .arg(root)
        .arg("/usr/local/bin/reef");
    // As a container has it: nothing of ours.
    command.env_clear().env("PATH", super::PATH);
    command
}

/// A server that ends with us.
struct Running(Child);

impl Running {
    /// Waits until a page has this in its answer.
    fn answers(&mut self, port: u16, path: &str, wanted: &str) -> Result<()> {
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            if let Some(status) = self.0.try_wait()? {
                bail!("reef serve ended: {status}");
            }
            last = ask(port, path).unwrap_or_else(|error| format!("{error:#}"));
            if last.contains(wanted) {
                return Ok(());
            }
            sleep(Duration::from_millis(100));
        }
        bail!("{path} never had {wanted:?}: {last}")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

/// One request of HTTP/1.1 and the whole answer.
fn ask(port: u16, path: &str) -> Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A port that nobody listened on a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}
