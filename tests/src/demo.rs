//! The demo: a mesh of real Envoys on this machine, driven by Reef, shown to a person.
//!
//! This file is the outer half: it makes the namespace, relays the admin page out of it and ends
//! it, on Ctrl-C too. The inner half, which shows things, is `story`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program reports on its terminal"
)]

pub mod edit;
mod story;
mod table;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::namespace::{self, Lifeline};

/// Where the halves meet: logs, sockets, and the copy of the manifests that the demo edits.
const WORK: &str = "REEF_DEMO_WORK";
/// Below it: exists as soon as the mesh stays up only because of `--keep`.
const KEPT: &str = "kept";
/// The manifests, in the repository.
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/demo");

/// Runs the demo, or its inner half.
///
/// # Errors
/// When the machine forbids namespaces, a part does not start, or a request goes wrong.
pub fn main(args: &[String]) -> Result<()> {
    let keep = match args {
        [] => false,
        [flag] if flag == "--keep" => true,
        _ => bail!("usage: cargo xtask demo [--keep]"),
    };
    match namespace::inside() {
        Some(power) => {
            let work = PathBuf::from(std::env::var_os(WORK).context("no work folder")?);
            story::tell(power, &work, keep)
        }
        None => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(outside(keep)),
    }
}

async fn outside(keep: bool) -> Result<()> {
    let work = tempfile::Builder::new().prefix("reef-demo-").tempdir()?;
    let config = work.path().join("config");
    std::fs::create_dir(&config)?;
    for entry in std::fs::read_dir(EXAMPLE).context("cannot read the example")? {
        let path = entry?.path();
        let name = path.file_name().context("a file without a name")?;
        std::fs::copy(&path, config.join(name))?;
    }
    let mut command = namespace::command(std::env::current_exe()?)?;
    if keep {
        command.arg("--keep");
    }
    // A group of its own, so that Ctrl-C reaches only us and the end has an order.
    let mut child = command.env(WORK, work.path()).process_group(0).spawn()?;
    let mut lifeline = Lifeline::of(&mut child);
    let mut relays = JoinSet::new();
    if keep {
        let listener = TcpListener::bind("127.0.0.1:15014").await;
        let listener = match listener {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind("127.0.0.1:0").await?,
        };
        let url = format!("http://{}/debug/", listener.local_addr()?);
        std::fs::write(work.path().join("admin.url"), url)?;
        relays.spawn(relay_out(listener, work.path().join("admin.sock")));
    }
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut ended = tokio::task::spawn_blocking(move || child.wait());
    let status = tokio::select! {
        status = &mut ended => Some(status??),
        _ = tokio::signal::ctrl_c() => None,
        _ = terminate.recv() => None,
    };
    if status.is_none() {
        stop(&mut lifeline, ended).await?;
    }
    // Ending a mesh that was to be kept until now is no failure.
    let done = match status {
        Some(status) => status.success(),
        None => work.path().join(KEPT).exists(),
    };
    work.close().context("cannot remove the work folder")?;
    if !done {
        bail!("the demo ended early; everything it made is gone");
    }
    if status.is_none() {
        eprintln!("everything the demo made is gone");
    }
    Ok(())
}

async fn stop(
    lifeline: &mut Lifeline,
    ended: tokio::task::JoinHandle<std::io::Result<std::process::ExitStatus>>,
) -> Result<std::process::ExitStatus> {
    eprintln!("\nstopping");
    lifeline.cut();
    let ended = tokio::time::timeout(Duration::from_secs(10), ended);
    Ok(ended.await.context("the mesh did not stop")???)
}

/// Outer half of the way to the admin page: a port out here → a socket file.
async fn relay_out(listener: TcpListener, socket: PathBuf) {
    let mut open = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        let socket = socket.clone();
        open.spawn(async move {
            if let Ok(mut far) = UnixStream::connect(&socket).await {
                tokio::io::copy_bidirectional(&mut near, &mut far)
                    .await
                    .map(drop)
                    .unwrap_or_default();
            }
        });
        while open.try_join_next().is_some() {}
    }
}

/// Inner half: the socket file → Reef's port in here. Ends only with an error.
async fn relay_in(socket: &Path, address: &'static str) -> Result<()> {
    let listener = UnixListener::bind(socket)?;
    let mut open = JoinSet::new();
    loop {
        let (mut near, _) = listener.accept().await?;
        open.spawn(async move {
            if let Ok(mut far) = TcpStream::connect(address).await {
                tokio::io::copy_bidirectional(&mut near, &mut far)
                    .await
                    .map(drop)
                    .unwrap_or_default();
            }
        });
        while open.try_join_next().is_some() {}
    }
}
