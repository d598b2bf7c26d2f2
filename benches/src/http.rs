//! As much of HTTP/1.1 as writing objects needs: one connection, one request after the other.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A connection.
#[derive(Debug)]
pub(crate) struct Http {
    stream: BufReader<TcpStream>,
}

impl Http {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends a request and returns the answer's body; only a success is one.
    pub(crate) async fn send(
        &mut self,
        (method, path): (&str, &str),
        content_type: &str,
        body: &[u8],
    ) -> Result<Vec<u8>> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.stream.write_all(head.as_bytes()).await?;
        self.stream.write_all(body).await?;
        let status = self.line().await?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line().await?.to_ascii_lowercase();
            match line.split_once(':') {
                None => break,
                Some(("content-length", value)) => length = value.trim().parse()?,
                Some(("transfer-encoding", value)) => chunked = value.trim() == "chunked",
                Some(_) => {}
            }
        }
        let mut answer = Vec::new();
        if chunked {
            loop {
                let size = usize::from_str_radix(&self.line().await?, 16)?;
                self.read(size, &mut answer).await?;
                self.line().await?;
                if size == 0 {
                    break;
                }
            }
        } else {
            self.read(length, &mut answer).await?;
        }
        let code = status.split(' ').nth(1).unwrap_or_default();
        let text = String::from_utf8_lossy(&answer);
        ensure!(code.starts_with('2'), "{method} {path}: {status}: {text}");
        Ok(answer)
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let count = self.stream.read_line(&mut line).await?;
        ensure!(count > 0, "the server ended the connection");
        Ok(line.trim_end().to_owned())
    }

    async fn read(&mut self, size: usize, into: &mut Vec<u8>) -> Result<()> {
        let from = into.len();
        into.resize(from + size, 0);
        let rest = into.get_mut(from..).context("made for it")?;
        self.stream.read_exact(rest).await?;
        Ok(())
    }
}
