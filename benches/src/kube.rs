//! A large mesh in a real API server: what following it costs, and how soon proxies have what changes.

mod credentials;
mod objects;
mod rig;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::rig::Rig;
use crate::channel::Channel;
use crate::client::Client;
use crate::clock;
use crate::http::Http;
use crate::process::{Server, free_address};
use crate::record::Record;
use crate::scenario::{KUBE, KUBE_TLS, Scenario};
use crate::sync::{connect_all, megabytes, number, settled};

/// How long changes are written one after the other.
const LASTING: Duration = Duration::from_secs(60);

/// Between two of them: 100 a second.
const EVERY: Duration = Duration::from_millis(10);

/// Connections that write these changes side by side: a store that syncs its disk answers one of them forty times a second
/// on a busy machine.
const WRITERS: u32 = 16;

/// How often what differs little is measured.
const LISTS: u32 = 3;

/// Nobody waits longer for a change.
const PATIENCE: Duration = Duration::from_secs(20);

/// An address somebody was told of, and when.
type Reached = (String, Instant);

/// Proxies that have connected and not everything yet. Clients are on the machine they measure: were all at it at once, the
/// server would wait for theirs as often as they for it. Also far from how many handshakes one address may begin.
const AT_ONCE: usize = 64;

/// Where proxies come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Port {
    /// To the port on loopback, where streams need to prove nothing.
    Plaintext,
    /// To the encrypted port, each with a connection, a TLS session and a token of its own.
    Tls,
}

impl Port {
    fn scenario(self) -> &'static Scenario {
        match self {
            Self::Plaintext => &KUBE,
            Self::Tls => &KUBE_TLS,
        }
    }
}

/// Measures all of it with one API server, and for each run a server for each of the ports.
pub(crate) async fn measure(
    ports: &[Port],
    runs: u32,
    (reef, cluster): (&Path, &Path),
    shrink: usize,
    record: &mut Record,
) -> Result<()> {
    let work = tempfile::tempdir().context("making a folder for the cluster")?;
    let rig = Rig::start(cluster, work.path()).await?;
    let started = clock::now();
    let objects = rig.load(objects::all(&KUBE.shrunk(shrink))).await?;
    println!("{objects} objects in {:?}", started.elapsed());
    let each = (0..runs).flat_map(|run| ports.iter().map(move |port| (run, *port)));
    for (turn, (run, port)) in each.enumerate() {
        let scenario = &port.scenario().shrunk(shrink);
        let at = (scenario.name, run);
        let tokens = match port {
            Port::Plaintext => Vec::new(),
            Port::Tls => credentials::tokens(&rig, scenario).await?,
        };
        record.note(at, "objects", "", number(u64::try_from(objects)?));
        let mut lists = Vec::new();
        for _ in 0..LISTS {
            lists.push(rig.bare_list()?.as_secs_f64());
        }
        record.note(
            at,
            "bare lists",
            "s",
            lists.into_iter().fold(f64::MAX, f64::min),
        );
        let (mut server, secure) = serve(reef, &rig)?;
        record.note(at, "ready", "s", server.ready().await?.as_secs_f64());
        record.note(at, "CPU when ready", "s", server.cpu()?);
        server.quiet().await?;
        record.note(at, "CPU when quiet", "s", server.cpu()?);
        let memory = server.memory()?;
        record.note(at, "RSS", "MB", megabytes(memory.resident));
        record.note(at, "peak RSS", "MB", megabytes(memory.peak));

        let channel = match port {
            Port::Plaintext => Channel::Plaintext(server.grpc),
            Port::Tls => credentials::channel(&rig, secure, &tokens).await?,
        };
        let (cpu, reviews) = (rig.cpu()?, rig.reviews().await?);
        let (clients, total) =
            connect_all(scenario, at, &server, (&channel, AT_ONCE), record).await?;
        let what = "cold sync CPU of the API server";
        record.note(at, what, "s", rig.cpu()? - cpu);
        record.note(at, "token reviews", "", rig.reviews().await? - reviews);
        record.note(at, "resources", "", number(total.resources));
        let memory = server.memory()?;
        record.note(at, "RSS with proxies", "MB", megabytes(memory.resident));
        record.note(at, "peak RSS with proxies", "MB", megabytes(memory.peak));
        settled(at, &server, record).await?;

        let mut proxies = Proxies::listen(clients);
        let on = (&rig, &server);
        one_by_one(scenario, (at, turn), on, &mut proxies, record).await?;
        let lasting = (LASTING / u32::try_from(shrink)?).max(Duration::from_secs(5));
        many(scenario, (at, turn), on, lasting, &mut proxies, record).await?;
        let memory = server.memory()?;
        record.note(at, "RSS at the end", "MB", megabytes(memory.resident));
    }
    Ok(())
}

/// Starts a server; returns its encrypted port, too.
fn serve(reef: &Path, rig: &Rig) -> Result<(Server, SocketAddr)> {
    let mut arguments = vec![
        OsString::from("--kubeconfig"),
        rig.kubeconfig.clone().into_os_string(),
    ];
    let secure = free_address()?;
    for (option, address) in [
        ("--secure-grpc-addr", secure),
        ("--https-addr", free_address()?),
    ] {
        arguments.extend([option.into(), address.to_string().into()]);
    }
    Ok((Server::start_with(reef, &arguments)?, secure))
}

/// Proxies that tell which addresses they were told.
#[derive(Debug)]
struct Proxies {
    reached: mpsc::Receiver<Reached>,
    _tasks: JoinSet<()>,
}

impl Proxies {
    fn listen(clients: Vec<Client>) -> Self {
        // Some tens a change, which are taken at once.
        let (tell, reached) = mpsc::channel(1024);
        let mut tasks = JoinSet::new();
        for mut client in clients {
            let tell = tell.clone();
            tasks.spawn(async move {
                // Ends with its stream, and then the change that is waited for does not come.
                while let Ok(addresses) = client.addresses().await {
                    let now = clock::now();
                    for address in addresses {
                        if tell.send((address, now)).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
        Self {
            reached,
            _tasks: tasks,
        }
    }

    async fn next(&mut self) -> Result<Reached> {
        let next = timeout(PATIENCE, self.reached.recv()).await;
        next.context("a change does not come")?
            .context("no proxy is left")
    }
}

/// How many proxies see a service.
fn interested(scenario: &Scenario, service: usize) -> usize {
    let namespace = service % scenario.namespaces;
    (0..scenario.proxies)
        .filter(|proxy| proxy % scenario.namespaces == namespace)
        .count()
}

/// Changes one slice at a time by the API, from before the request on.
async fn one_by_one(
    scenario: &Scenario,
    (at, turn): ((&'static str, u32), usize),
    (rig, server): (&Rig, &Server),
    proxies: &mut Proxies,
    record: &mut Record,
) -> Result<()> {
    let mut api = Http::connect(rig.api).await?;
    server.quiet().await?;
    let cpu = server.cpu()?;
    let (mut whole, mut after) = (Vec::new(), Vec::new());
    for edit in 1..=scenario.edits {
        let service = edit * 7 % scenario.services;
        let path = format!(
            "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices/s{service}-a",
            scenario.namespace(service)
        );
        // No two turns write the same, and no other change is mistaken for it.
        let version = edit + 1_000_000 * (1 + turn);
        let patch =
            json!({"endpoints": objects::endpoints(scenario, service, version)}).to_string();
        let wanted = objects::moved(version);
        let started = clock::now();
        let kind = "application/merge-patch+json";
        api.send(("PATCH", &path), kind, patch.as_bytes()).await?;
        let written = clock::now();
        let mut missing = interested(scenario, service);
        while missing > 0 {
            let (address, when) = proxies.next().await?;
            if address == wanted {
                missing -= 1;
                whole.push(when.duration_since(started).as_secs_f64() * 1e3);
                after.push(when.saturating_duration_since(written).as_secs_f64() * 1e3);
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let edits = number(u64::try_from(scenario.edits)?);
    record.note(
        at,
        "CPU of a change",
        "ms",
        (server.cpu()? - cpu) * 1e3 / edits,
    );
    parts(at, "change, from the request", whole, record);
    parts(at, "change, from the answer", after, record);
    Ok(())
}

/// Changes a hundred slices a second for a while, past the API server, whose cost is not what is measured. Each change
/// has a time at which it is to be written, and latencies count from there, however late the store takes it.
async fn many(
    scenario: &Scenario,
    (at, turn): ((&'static str, u32), usize),
    (rig, server): (&Rig, &Server),
    lasting: Duration,
    proxies: &mut Proxies,
    record: &mut Record,
) -> Result<()> {
    server.quiet().await?;
    let (cpu, began) = (server.cpu()?, clock::now());
    let (tell, mut told) = mpsc::channel(1024);
    let base = 10_000 * (1 + turn);
    let mut writers = JoinSet::new();
    for first in 1..=WRITERS {
        let (of, tell, mut etcd) = (scenario.clone(), tell.clone(), rig.store().await?);
        writers.spawn(async move {
            let (mut expected, mut written) = (0, Vec::new());
            for number in (first..).step_by(usize::try_from(WRITERS)?) {
                if EVERY * number > lasting {
                    break;
                }
                let due = began + EVERY * number;
                tokio::time::sleep_until(due.into()).await;
                let change = usize::try_from(number)?;
                let service = (change * 3) % of.services;
                let stored = objects::slice(&of, service, base + change);
                expected += interested(&of, service);
                tell.send((objects::moved(base + change), due)).await?;
                rig::put(&mut etcd, &stored).await?;
                written.push(clock::now().duration_since(due).as_secs_f64() * 1e3);
            }
            anyhow::Ok((expected, written))
        });
    }
    let mut sent = BTreeMap::new();
    let (mut latencies, mut written) = (Vec::new(), Vec::new());
    let mut expected = 0;
    let mut took = None;
    while took.is_none() || latencies.len() < expected {
        tokio::select! {
            biased;
            Some((address, when)) = told.recv() => { sent.insert(address, when); }
            reached = proxies.next() => {
                let (address, when) = reached?;
                if let Some(since) = sent.get(&address) {
                    latencies.push(when.duration_since(*since).as_secs_f64() * 1e3);
                }
            }
            Some(ended) = writers.join_next() => {
                let (by_this, when) = ended??;
                expected += by_this;
                written.extend(when);
                if writers.is_empty() {
                    took = Some(began.elapsed());
                }
            }
        }
    }
    let took = took.context("the writers ended")?.as_secs_f64();
    let changes = number(u64::try_from(written.len())?);
    record.note(at, "many changes", "/s", changes / took);
    record.note(
        at,
        "many changes: share of a core",
        "%",
        (server.cpu()? - cpu) / took * 1e2,
    );
    record.note(
        at,
        "many changes: CPU of each",
        "ms",
        (server.cpu()? - cpu) / changes * 1e3,
    );
    parts(at, "many changes, until written", written, record);
    parts(at, "many changes", latencies, record);
    Ok(())
}

fn parts(at: (&'static str, u32), what: &str, mut values: Vec<f64>, record: &mut Record) {
    values.sort_by(f64::total_cmp);
    for (part, name) in [(50, "p50"), (99, "p99"), (100, "max")] {
        let place = (values.len() * part).div_ceil(100).saturating_sub(1);
        let value = values.get(place).copied().unwrap_or_default();
        record.note(at, &format!("{what}: {name}"), "ms", value);
    }
}
