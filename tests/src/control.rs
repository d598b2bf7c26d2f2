//! The socket by which a test makes an app call others: one JSON line there, one back.
//!
//! A Unix socket, because the app's network is a namespace of its own, full of redirections.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::task::JoinSet;

use crate::call::{self, Answer, Call};

#[derive(Debug, Serialize, Deserialize)]
enum Reply {
    Answer(Answer),
    Error(String),
}

/// Answers calls until the socket fails.
///
/// # Errors
/// When the socket cannot be opened or read.
pub async fn serve(path: PathBuf) -> Result<()> {
    let listener = UnixListener::bind(&path)?;
    let mut open = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        open.spawn(async move { connection(stream).await.is_ok() });
        while open.try_join_next().is_some() {}
    }
}

async fn connection(stream: tokio::net::UnixStream) -> Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = tokio::io::BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let call: Call = serde_json::from_str(&line)?;
        let reply = match call::perform(&call).await {
            Ok(answer) => Reply::Answer(answer),
            Err(error) => Reply::Error(format!("{error:#}")),
        };
        let mut text = serde_json::to_string(&reply)?;
        text.push('\n');
        write.write_all(text.as_bytes()).await?;
    }
    Ok(())
}

/// Makes the app behind a socket perform a call.
///
/// # Errors
/// What the call ended with, or that the app itself cannot be reached.
pub fn ask(socket: &Path, call: &Call) -> Result<Answer> {
    let mut stream = UnixStream::connect(socket)
        .with_context(|| format!("cannot reach the app at {}", socket.display()))?;
    let mut text = serde_json::to_string(call)?;
    text.push('\n');
    stream.write_all(text.as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    match serde_json::from_str(&line).context("the app went away")? {
        Reply::Answer(answer) => Ok(answer),
        Reply::Error(error) => Err(anyhow!(error)),
    }
}
