//! A real `reef serve`, and what the kernel says about it.

use std::ffi::OsString;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::clock;

/// How long to wait for a server to become ready.
const PATIENCE: Duration = Duration::from_secs(120);

/// Clock ticks per second of `/proc/<pid>/stat`: 100 on every Linux architecture Reef runs on.
const TICKS: f64 = 100.0;

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Where it serves ADS.
    pub(crate) grpc: SocketAddr,
    http: SocketAddr,
    started: Instant,
}

/// Memory in kilobytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident: u64,
    /// The most that was ever resident.
    pub(crate) peak: u64,
}

impl Server {
    /// Starts `reef serve` on a directory.
    pub(crate) fn start(reef: &Path, dir: &Path) -> Result<Self> {
        Self::start_with(reef, &["--config-dir".into(), dir.into()])
    }

    /// Starts `reef serve` with these arguments.
    pub(crate) fn start_with(reef: &Path, arguments: &[OsString]) -> Result<Self> {
        let (grpc, http, monitoring) = (free_address()?, free_address()?, free_address()?);
        let child = Command::new(reef)
            .arg("serve")
            .args(arguments)
            .args(["--grpc-addr", &grpc.to_string()])
            .args(["--http-addr", &http.to_string()])
            .args(["--monitoring-addr", &monitoring.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", reef.display()))?;
        Ok(Self {
            child,
            grpc,
            http,
            started: clock::now(),
        })
    }

    /// Waits until `/ready` says so; returns how long it took since the start.
    pub(crate) async fn ready(&mut self) -> Result<Duration> {
        loop {
            if self.asks_ready().await.unwrap_or(false) {
                return Ok(self.started.elapsed());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended: {status}");
            }
            if self.started.elapsed() > PATIENCE {
                bail!("the server is not ready after {PATIENCE:?}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn asks_ready(&self) -> Result<bool> {
        let mut stream = TcpStream::connect(self.http).await?;
        stream
            .write_all(b"GET /ready HTTP/1.1\r\nhost: reef\r\nconnection: close\r\n\r\n")
            .await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(answer.starts_with(b"HTTP/1.1 200"))
    }

    /// CPU seconds used so far, user and system.
    pub(crate) fn cpu(&self) -> Result<f64> {
        cpu(self.child.id())
    }

    /// Its memory.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| -> Result<u64> {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .context("no such field")?;
            Ok(line.trim().trim_end_matches(" kB").parse()?)
        };
        Ok(Memory {
            resident: field("VmRSS:")?,
            peak: field("VmHWM:")?,
        })
    }

    /// Waits until it used no CPU for a quarter of a second.
    pub(crate) async fn quiet(&self) -> Result<()> {
        let mut last = self.cpu()?;
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let now = self.cpu()?;
            if (now - last).abs() < 0.005 {
                return Ok(());
            }
            last = now;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// CPU seconds a process used so far, user and system.
pub(crate) fn cpu(process: u32) -> Result<f64> {
    // Fields 14 and 15 of the whole line.
    let (user, system): (f64, f64) = (stat(process, 14)?, stat(process, 15)?);
    Ok((user + system) / TICKS)
}

/// The process of this name that `parent` started.
pub(crate) fn child_of(parent: u32, name: &str) -> Result<u32> {
    for entry in fs::read_dir("/proc")? {
        let process = entry?.file_name().to_string_lossy().parse();
        let Ok(process) = process else { continue };
        // What ended meanwhile is not it.
        let comm = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
        if comm.trim_end() == name && stat::<u32>(process, 4)? == parent {
            return Ok(process);
        }
    }
    bail!("no {name} was started")
}

/// A field of `/proc/<pid>/stat`, counted as its manual does.
fn stat<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    process: u32,
    field: usize,
) -> Result<T> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = text.rsplit_once(')').context("no command name in stat")?;
    // The first two are before and in the parenthesis.
    let value = fields.split_whitespace().nth(field - 3);
    Ok(value.context("stat is too short")?.parse()?)
}

/// A port nobody uses at the moment.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
