//! A large directory: how long until ready, how much memory, and what an edit of one file costs.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::channel::Channel;
use crate::process::Server;
use crate::record::Record;
use crate::scenario::Scenario;
use crate::sync::{connect_all, edits, megabytes, number};
use crate::tree;

/// Measures the directory.
pub(crate) async fn measure(
    scenario: &Scenario,
    run: u32,
    reef: &Path,
    record: &mut Record,
) -> Result<()> {
    let at = (scenario.name, run);
    let dir = tempfile::tempdir().context("making a folder for the mesh")?;
    let bytes = tree::write(dir.path(), scenario)?;
    record.note(at, "directory", "MB", number(bytes) / 1e6);
    let mut server = Server::start(reef, dir.path())?;
    record.note(at, "ready", "s", server.ready().await?.as_secs_f64());
    record.note(at, "start CPU", "s", server.cpu()?);
    server.quiet().await?;
    let memory = server.memory()?;
    record.note(at, "RSS ready", "MB", megabytes(memory.resident));
    record.note(at, "peak RSS ready", "MB", megabytes(memory.peak));
    let channel = (&Channel::Plaintext(server.grpc), scenario.proxies);
    let (mut clients, _) = connect_all(scenario, at, &server, channel, record).await?;
    edits(scenario, at, dir.path(), &server, &mut clients, record).await?;
    let memory = server.memory()?;
    record.note(at, "RSS after edits", "MB", megabytes(memory.resident));
    record.note(at, "peak RSS", "MB", megabytes(memory.peak));
    Ok(())
}
