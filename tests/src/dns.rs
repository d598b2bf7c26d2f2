//! A name server for a mesh on this machine: a few names, each with one IPv4 address, which a test
//! may change. Only what a resolver needs; anything else is refused.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use parking_lot::Mutex;

use crate::namespace::shell;
use crate::net::HOST;

/// Seconds for which an answer may be kept: the least there is.
const TTL_SECONDS: u32 = 1;

/// A running name server. It serves until the process ends.
#[derive(Debug, Clone)]
pub struct NameServer {
    names: Arc<Mutex<BTreeMap<String, Ipv4Addr>>>,
}

impl NameServer {
    /// Starts it where pods reach it, and makes it the name server of everything in this mount
    /// namespace. `work`: a folder for its `resolv.conf`.
    ///
    /// # Errors
    /// When the port is taken or the file cannot be mounted.
    pub fn start(work: &Path) -> Result<Self> {
        let socket = UdpSocket::bind((HOST, 53)).context("cannot open the name server's port")?;
        let file = work.join("resolv.conf");
        std::fs::write(&file, format!("nameserver {HOST}\noptions ndots:1\n"))?;
        shell(&format!(
            "target=$(readlink -m /etc/resolv.conf); [ -e \"$target\" ] || {{ \
             mkdir -p \"${{target%/*}}\"; touch \"$target\"; }}; \
             mount --bind '{}' \"$target\"",
            file.display()
        ))?;
        let server = Self {
            names: Arc::default(),
        };
        let here = server.clone();
        std::thread::spawn(move || here.serve(&socket));
        Ok(server)
    }

    /// Gives a name an address from now on.
    pub fn set(&self, name: &str, address: Ipv4Addr) {
        self.names.lock().insert(name.to_ascii_lowercase(), address);
    }

    fn serve(&self, socket: &UdpSocket) {
        let mut buffer = [0_u8; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let query = buffer.get(..length).unwrap_or_default();
            if let Some(answer) = self.answer(query) {
                socket.send_to(&answer, from).unwrap_or_default();
            }
        }
    }

    /// Answers one query; `None` if it is none.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let (name, end) = question(query)?;
        let kind = query.get(end..end.checked_add(2)?)?;
        let address = self.names.lock().get(&name).copied();
        let is_a = kind == [0, 1];
        let mut answer = query.get(..2)?.to_vec();
        // A response, recursion available; 3: no such name.
        answer.extend([0x81, if address.is_some() { 0x80 } else { 0x83 }]);
        let count = u8::from(is_a && address.is_some());
        answer.extend([0, 1, 0, count, 0, 0, 0, 0]);
        answer.extend(query.get(12..end.checked_add(4)?)?);
        if let Some(address) = address.filter(|_| is_a) {
            // The name: where it stands in the question.
            answer.extend([0xc0, 12, 0, 1, 0, 1]);
            answer.extend(TTL_SECONDS.to_be_bytes());
            answer.extend([0, 4]);
            answer.extend(address.octets());
        }
        Some(answer)
    }
}

/// Reads the first question: its name, and where the name ends.
fn question(query: &[u8]) -> Option<(String, usize)> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join(".").to_ascii_lowercase(), at));
        }
        let label = query.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).into_owned());
        at += length;
    }
}
