//! A network, mount and process namespace of our own, by util-linux's `unshare`.
//!
//! A process cannot enter one without unsafe code, so it starts itself again inside. Everything
//! made there — processes, interfaces, rules, mounts — is gone when the first process inside ends,
//! however it ends; that is all the cleaning up there is.

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// Set inside; its value says whose power we have there.
const INSIDE: &str = "REEF_E2E_INSIDE";

/// Who we are inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// The machine's root: other users exist.
    Root,
    /// Root of a user namespace: our own user is the only one.
    User,
}

impl Power {
    fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::User => "user",
        }
    }
}

/// Tells whether this process is inside already, and with which power.
pub fn inside() -> Option<Power> {
    match std::env::var(INSIDE).ok()?.as_str() {
        "root" => Some(Power::Root),
        "user" => Some(Power::User),
        _ => None,
    }
}

/// Prepares a command that runs a program inside. Its end of standard input is a lifeline: when
/// it closes, everything inside ends.
///
/// # Errors
/// When this machine forbids such namespaces; the text has the command that allows them.
pub fn command(program: impl AsRef<OsStr>) -> Result<Command> {
    let id = Command::new("id")
        .arg("-u")
        .output()
        .context("cannot run id")?;
    let is_root = String::from_utf8_lossy(&id.stdout).trim() == "0";
    // Root of a container may lack the right to make namespaces, but not to make one of users.
    let ways: &[Power] = match is_root && !wants_user_namespace() {
        true => &[Power::Root, Power::User],
        false => &[Power::User],
    };
    let mut refusals = Vec::new();
    for power in ways {
        match probe(*power)? {
            None => {
                let mut command = Command::new("unshare");
                command
                    .args(flags(*power))
                    .arg("--")
                    .arg(program)
                    .env(INSIDE, power.name())
                    .stdin(Stdio::piped());
                return Ok(command);
            }
            Some(refusal) => refusals.push(refusal),
        }
    }
    let refusals = refusals.join("; ");
    bail!(
        "this machine does not let us make network namespaces ({refusals}); {}",
        advice(&refusals, Path::new("/proc/sys"), is_root)
    )
}

fn flags(power: Power) -> Vec<&'static str> {
    let mut flags = vec!["--net", "--mount", "--pid", "--fork", "--kill-child"];
    if power == Power::User {
        flags.extend(["--user", "--map-root-user"]);
    }
    flags
}

/// Tries it; returns what was said against it.
fn probe(power: Power) -> Result<Option<String>> {
    let probe = Command::new("unshare")
        .args(flags(power))
        .args(["--", "sh", "-c"])
        .arg("mount -t tmpfs none /run && ip link set lo up && ip link add reef0 type bridge")
        .stdin(Stdio::null())
        .output()
        .context("cannot run unshare (Debian package util-linux)")?;
    if probe.status.success() {
        return Ok(None);
    }
    let stderr = String::from_utf8_lossy(&probe.stderr);
    Ok(Some(stderr.trim().to_owned()))
}

/// The command that allows it, as far as what was said and the kernel's settings (`/proc/sys`) tell
/// what forbids it.
fn advice(refusals: &str, settings: &Path, is_root: bool) -> String {
    let wanted = [
        ("user/max_user_namespaces", "0", "15000"),
        ("user/max_net_namespaces", "0", "15000"),
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
    ];
    let mut changes = String::new();
    for (name, bad, good) in wanted {
        let now = std::fs::read_to_string(settings.join(name)).unwrap_or_default();
        if now.trim() == bad {
            changes.push_str(&format!(" {}={good}", name.replace('/', ".")));
        }
    }
    if refusals.contains("propagation") {
        return "the root of a chroot must be a mount: `mount --bind DIR DIR` before \
                `chroot DIR`"
            .to_owned();
    }
    match (changes.as_str(), is_root) {
        ("", true) => "this root may not: start its container with `docker run --privileged`, or \
                       run on the machine itself"
            .to_owned(),
        ("", false) => "run it as root: sudo -E cargo xtask demo".to_owned(),
        (changes, _) => format!("allow it: sudo sysctl -w{changes}"),
    }
}

/// Even as root, for testing what others get.
fn wants_user_namespace() -> bool {
    std::env::var_os("REEF_E2E_USER_NAMESPACE").is_some()
}

/// Makes the namespace usable and ends this process when the one outside is gone. Call first.
///
/// # Errors
/// When mounting or the loopback interface fails.
pub fn settle() -> Result<()> {
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        std::io::stdin().read_to_end(&mut rest).unwrap_or_default();
        std::process::exit(1);
    });
    // `ip netns` keeps its names in /run/netns, iptables its lock in /run.
    shell("mount -t tmpfs -o mode=755 none /run && mkdir /run/netns && ip link set lo up")
}

/// Runs the body of a test in a namespace of its own. `test`: full name of the calling test.
///
/// # Errors
/// What the body ended with, or that the machine forbids it: such a test fails, it never skips.
pub fn isolated(test: &str, body: impl FnOnce(Power) -> Result<()>) -> Result<()> {
    if let Some(power) = inside() {
        settle()?;
        return body(power);
    }
    let mut child = command(std::env::current_exe()?)?
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let _lifeline = Lifeline::of(&mut child);
    let output = child.wait_with_output()?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    // The line of libtest says that the test was found by its name, and ran.
    if !output.status.success() || !stdout.contains("1 passed") {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{test} failed inside its namespace:\n{stdout}\n{stderr}");
    }
    Ok(())
}

/// The write end of a child's standard input, kept open.
#[derive(Debug)]
pub struct Lifeline(Option<std::process::ChildStdin>);

impl Lifeline {
    /// Takes it from the child, so that waiting for the child does not close it.
    pub fn of(child: &mut Child) -> Self {
        Self(child.stdin.take())
    }

    /// Ends everything inside.
    pub fn cut(&mut self) {
        self.0 = None;
    }
}

/// Runs a line of shell.
///
/// # Errors
/// When it fails, with what it said.
pub fn shell(line: &str) -> Result<()> {
    run(Command::new("sh").args(["-ec", line]))
}

/// Runs a command to its end.
///
/// # Errors
/// When it fails, with what it said.
pub fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} failed: {}", stderr.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
