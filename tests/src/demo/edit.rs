//! One edit of one file, and what it moved: who was pushed, how many bytes, how long.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::mesh::{Mesh, PATIENCE, comes_true, now};

/// What an edit moved.
#[derive(Debug)]
pub struct Moved {
    /// Bytes that each pushed proxy received, acknowledgements of TCP aside.
    pub received: BTreeMap<String, u64>,
    /// From the write of the file to the last acknowledgement.
    pub took: Duration,
}

/// Nonces of one proxy, by type: last sent and last acknowledged.
type Nonces = BTreeMap<String, (String, String)>;

/// Replaces a text in a file the way editors do, and waits until all that follows is acknowledged.
///
/// # Errors
/// When the text is not there, or nothing is pushed.
pub fn edit(mesh: &Mesh, file: &Path, from: &str, to: &str) -> Result<Moved> {
    let text = std::fs::read_to_string(file)?;
    if !text.contains(from) {
        bail!("{}: does not contain {from:?}", file.display());
    }
    let edited = file.with_extension("yaml.new");
    std::fs::write(&edited, text.replace(from, to))?;
    let proxies = mesh.proxies();
    let mut before = BTreeMap::new();
    for proxy in &proxies {
        before.insert(proxy.clone(), mesh.received_bytes(proxy)?);
    }
    let nonces_before = nonces(mesh)?;
    let begin = now();
    std::fs::rename(&edited, file)?;
    let last = last_acknowledged(mesh, &nonces_before)?;
    let took = last.duration_since(begin);
    let nonces_after = nonces(mesh)?;
    let mut received = BTreeMap::new();
    for proxy in proxies {
        let pushed = nonces_after.get(&proxy) != nonces_before.get(&proxy);
        if pushed {
            let old = before.get(&proxy).copied().unwrap_or_default();
            let new = mesh.received_bytes(&proxy)?;
            received.insert(proxy, new.saturating_sub(old));
        }
    }
    Ok(Moved { received, took })
}

/// Waits until something was sent and all of it acknowledged, and it stays so for half a second.
fn last_acknowledged(mesh: &Mesh, before: &BTreeMap<String, Nonces>) -> Result<Instant> {
    let begin = now();
    let mut settled: Option<(Instant, BTreeMap<String, Nonces>)> = None;
    loop {
        let state = nonces(mesh)?;
        let all_acknowledged = state
            .values()
            .flatten()
            .all(|(_, (sent, acked))| sent == acked);
        if all_acknowledged && state != *before {
            match &settled {
                Some((since, then)) if *then == state => {
                    if since.elapsed() > Duration::from_millis(500) {
                        return Ok(*since);
                    }
                }
                _ => settled = Some((now(), state)),
            }
        } else {
            settled = None;
        }
        if begin.elapsed() > PATIENCE {
            bail!("nothing was pushed and acknowledged");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn nonces(mesh: &Mesh) -> Result<BTreeMap<String, Nonces>> {
    let mut found = BTreeMap::new();
    for proxy in mesh.reef_proxies()? {
        let id = proxy["id"].as_str().context("a proxy without an id")?;
        let types = proxy["types"].as_object().into_iter().flatten();
        let of_proxy = types
            .map(|(kind, state)| {
                let text = |key: &str| state[key].as_str().unwrap_or_default().to_owned();
                (kind.clone(), (text("sent"), text("acked")))
            })
            .collect();
        found.insert(pod_of(id), of_proxy);
    }
    Ok(found)
}

/// Name of the pod in a node id, `sidecar~ip~pod.namespace~domain`.
pub(super) fn pod_of(id: &str) -> String {
    let part = id.split('~').nth(2).unwrap_or(id);
    part.rsplit_once('.')
        .map_or(part, |(pod, _)| pod)
        .to_owned()
}

/// Waits until Reef shows every proxy of the mesh as connected.
pub(super) fn all_connected(mesh: &Mesh) -> bool {
    let wanted = mesh.proxies().len();
    comes_true(|| {
        mesh.reef_proxies()
            .is_ok_and(|proxies: Vec<Value>| proxies.len() >= wanted)
    })
}
