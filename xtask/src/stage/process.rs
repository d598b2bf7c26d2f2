//! Commands of stages: their two outputs as one stream of lines, and an end to those that hang.

use std::io::{BufRead, BufReader, IsTerminal};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::now;

/// Runs a command, its output on our terminal.
///
/// # Errors
/// When it cannot be started or exits with another code than 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}

/// Runs a command and hands on each line it writes, to whichever output.
///
/// # Errors
/// When it cannot be started, exits with another code than 0, or is not done at the deadline.
pub(super) fn tee(
    command: &mut Command,
    deadline: Instant,
    mut each: impl FnMut(&str),
) -> Result<()> {
    let left = deadline.saturating_duration_since(now());
    if left.is_zero() {
        bail!("no time left for {command:?}");
    }
    let (read, write) = std::io::pipe().context("no pipe")?;
    // At a terminal it must stay in our group, so that Ctrl-C reaches it.
    let own_group = !std::io::stdin().is_terminal();
    if own_group {
        command.process_group(0);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(write.try_clone().context("no pipe")?)
        .stderr(write)
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    // The command holds the pipe's other ends, and would keep it open for ever.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let pid = child.id();
    let (done, wait) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let late = wait.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            let target = if own_group {
                format!("-{pid}")
            } else {
                pid.to_string()
            };
            run(Command::new("kill").args(["-KILL", "--", &target])).unwrap_or_default();
        }
        late
    });
    for line in BufReader::new(read).split(b'\n') {
        let line = line.context("cannot read the output")?;
        each(String::from_utf8_lossy(&line).trim_end_matches('\r'));
    }
    let status = child.wait().context("cannot wait")?;
    drop(done);
    if watch.join().unwrap_or(false) {
        bail!("{command:?}: ended after {} s, it hung", left.as_secs());
    }
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}
