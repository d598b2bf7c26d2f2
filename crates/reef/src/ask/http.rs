//! One blocking HTTP/1.1 GET; enough for a program that asks once and prints.

use std::io::{Error, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for each read; a config dump of a very large proxy takes a few seconds.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Most bytes read; above it the answer is not one for a terminal.
const MAX_BODY_BYTES: u64 = 1 << 30;

/// Asks for `path`, with a token if there is one, and returns the status code and the body.
pub(super) fn get(
    addr: SocketAddr,
    path: &str,
    token: Option<&str>,
) -> std::io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    // HTTP/1.0: the server closes after the body and never sends it in chunks.
    let credential = match token {
        Some(token) => format!("Authorization: Bearer {token}\r\n"),
        None => String::new(),
    };
    let request = format!(
        "GET {path} HTTP/1.0\r\nHost: {addr}\r\nAccept: application/json\r\n{credential}\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_BODY_BYTES).read_to_end(&mut answer)?;
    parse(&answer)
}

/// Splits an answer into status and body.
pub(super) fn parse(answer: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
    let wrong = |what: &str| Error::new(ErrorKind::InvalidData, what.to_owned());
    let end = answer
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .ok_or_else(|| wrong("the answer is not HTTP"))?;
    let (head, body) = (&answer[..end], &answer[end + 4..]);
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let status = std::str::from_utf8(line)
        .ok()
        .filter(|line| line.starts_with("HTTP/1."))
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| wrong("the answer is not HTTP"))?;
    Ok((status, body.to_vec()))
}

/// Percent-encodes everything that is not unreserved in a query.
pub(crate) fn encode(text: &str) -> String {
    use std::fmt::Write as _;

    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ok = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
