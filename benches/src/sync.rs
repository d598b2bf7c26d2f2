//! Cold sync: all proxies of a scenario connect at once to a fresh server.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use prost_types::{Struct, Value, value::Kind};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use xds_api::envoy::config::core::v3::Node;

use crate::channel::Channel;
use crate::client::{Client, Counts};
use crate::clock;
use crate::process::Server;
use crate::record::Record;
use crate::scenario::Scenario;
use crate::tree;

/// How long proxies have had everything when memory is settled.
const SETTLING: Duration = Duration::from_secs(30);

/// Measures one cold sync and the edits after it.
pub(crate) async fn measure(
    scenario: &Scenario,
    run: u32,
    reef: &Path,
    record: &mut Record,
) -> Result<()> {
    let at = (scenario.name, run);
    let dir = tempfile::tempdir().context("making a folder for the mesh")?;
    tree::write(dir.path(), scenario)?;
    let mut server = Server::start(reef, dir.path())?;
    record.note(at, "ready", "s", server.ready().await?.as_secs_f64());
    server.quiet().await?;
    record.note(at, "start CPU", "s", server.cpu()?);
    record.note(
        at,
        "RSS before proxies",
        "MB",
        megabytes(server.memory()?.resident),
    );

    let channel = (&Channel::Plaintext(server.grpc), scenario.proxies);
    let (mut clients, total) = connect_all(scenario, at, &server, channel, record).await?;
    server.quiet().await?;
    let memory = server.memory()?;
    record.note(at, "RSS after sync", "MB", megabytes(memory.resident));
    record.note(at, "peak RSS", "MB", megabytes(memory.peak));
    settled(at, &server, record).await?;
    record.note(at, "resources", "", number(total.resources));
    record.note(at, "bytes", "MB", number(total.bytes) / 1e6);
    record.note(at, "responses", "", number(total.responses));
    edits(scenario, at, dir.path(), &server, &mut clients, record).await
}

/// Notes how much memory is left when proxies have had everything for a while: bytes that all of them have are given back
/// within sixteen seconds (decision 007), and the allocator's pages after that.
pub(crate) async fn settled(
    at: (&'static str, u32),
    server: &Server,
    record: &mut Record,
) -> Result<()> {
    tokio::time::sleep(SETTLING).await;
    let resident = server.memory()?.resident;
    record.note(at, "RSS settled", "MB", megabytes(resident));
    Ok(())
}

/// Connects all proxies, at most `at_once` of which have not everything yet, and waits until each has it.
pub(crate) async fn connect_all(
    scenario: &Scenario,
    at: (&'static str, u32),
    server: &Server,
    (channel, at_once): (&Channel, usize),
    record: &mut Record,
) -> Result<(Vec<Client>, Counts)> {
    let before = server.cpu()?;
    let started = clock::now();
    let turns = Arc::new(Semaphore::new(at_once));
    let mut tasks = JoinSet::new();
    for proxy in 0..scenario.proxies {
        let (turns, channel, node) = (Arc::clone(&turns), channel.clone(), node(scenario, proxy));
        tasks.spawn(async move {
            let _turn = turns.acquire().await?;
            let mut client = Client::connect(&channel, proxy, node).await?;
            client.sync().await?;
            anyhow::Ok((proxy, client))
        });
    }
    let mut clients = Vec::with_capacity(scenario.proxies);
    while let Some(done) = tasks.join_next().await {
        clients.push(done??);
    }
    record.note(at, "cold sync", "s", started.elapsed().as_secs_f64());
    server.quiet().await?;
    record.note(at, "cold sync CPU", "s", server.cpu()? - before);
    clients.sort_by_key(|(proxy, _)| *proxy);
    let mut total = Counts::default();
    for (_, client) in &clients {
        total.responses += client.counts.responses;
        total.resources += client.counts.resources;
        total.bytes += client.counts.bytes;
    }
    Ok((
        clients.into_iter().map(|(_, client)| client).collect(),
        total,
    ))
}

/// Edits one file again and again; each time waits until all proxies that import it have it.
pub(crate) async fn edits(
    scenario: &Scenario,
    at: (&'static str, u32),
    dir: &Path,
    server: &Server,
    clients: &mut Vec<Client>,
    record: &mut Record,
) -> Result<()> {
    let edited = tree::edited(scenario);
    // Entries are imported by all, a service only by its namespace.
    let imports =
        |proxy: usize| scenario.service_entries > 0 || proxy.is_multiple_of(scenario.namespaces);
    let (mut importing, mut others) = (Vec::new(), Vec::new());
    for (proxy, client) in std::mem::take(clients).into_iter().enumerate() {
        if imports(proxy) {
            importing.push(client)
        } else {
            others.push(client)
        }
    }
    let sum = |clients: &[Client]| {
        clients
            .iter()
            .map(|client| client.counts.bytes)
            .sum::<u64>()
    };
    let resources = |clients: &[Client]| {
        clients
            .iter()
            .map(|client| client.counts.resources)
            .sum::<u64>()
    };
    let (bytes, count) = (sum(&importing), resources(&importing));
    let cpu = server.cpu()?;
    let mut latencies = Vec::new();
    for edit in 1..=scenario.edits {
        let started = clock::now();
        let host = tree::edit(dir, scenario, edited, edit)?;
        let mut tasks = JoinSet::new();
        for mut client in std::mem::take(&mut importing) {
            let host = host.clone();
            tasks.spawn(async move {
                client.endpoints_of(&host).await?;
                anyhow::Ok((client, started.elapsed()))
            });
        }
        while let Some(done) = tasks.join_next().await {
            let (client, latency) = done??;
            importing.push(client);
            latencies.push(latency.as_secs_f64() * 1e3);
        }
        server.quiet().await?;
    }
    let edits = f64::from(u32::try_from(scenario.edits)?);
    record.note(at, "edit CPU, each", "s", (server.cpu()? - cpu) / edits);
    latencies.sort_by(f64::total_cmp);
    for (metric, part) in [("edit p50", 50), ("edit p99", 99), ("edit max", 100)] {
        let place = (latencies.len() * part).div_ceil(100).saturating_sub(1);
        record.note(
            at,
            metric,
            "ms",
            latencies.get(place).copied().unwrap_or_default(),
        );
    }
    record.note(
        at,
        "proxies reached by an edit",
        "",
        number(u64::try_from(importing.len())?),
    );
    record.note(
        at,
        "edit bytes, each",
        "",
        number(sum(&importing) - bytes) / edits,
    );
    record.note(
        at,
        "edit resources, each",
        "",
        number(resources(&importing) - count) / edits,
    );
    record.note(
        at,
        "other proxies told anything",
        "",
        number(told(&mut others).await?),
    );
    importing.append(&mut others);
    *clients = importing;
    Ok(())
}

/// How many of these clients have been sent something they have not read yet.
async fn told(clients: &mut Vec<Client>) -> Result<u64> {
    let mut tasks = JoinSet::new();
    for mut client in std::mem::take(clients) {
        tasks.spawn(async move {
            let told = client.has_news().await?;
            anyhow::Ok((client, told))
        });
    }
    let mut count = 0;
    while let Some(done) = tasks.join_next().await {
        let (client, told) = done??;
        clients.push(client);
        count += u64::from(told);
    }
    Ok(count)
}

/// The node of a proxy, as Istio's agent and `reef bootstrap` write it.
fn node(scenario: &Scenario, proxy: usize) -> Node {
    let ns = scenario.namespace(proxy);
    let text = |text: &str| Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    };
    let labels = Struct {
        fields: [("app".to_owned(), text(&format!("s{proxy}")))].into(),
    };
    let fields = [
        ("NAMESPACE".to_owned(), text(&ns)),
        ("WORKLOAD_CERT".to_owned(), text("none")),
        ("SERVICE_ACCOUNT".to_owned(), text("default")),
        ("CLUSTER_ID".to_owned(), text("Kubernetes")),
        (
            "LABELS".to_owned(),
            Value {
                kind: Some(Kind::StructValue(labels)),
            },
        ),
    ];
    Node {
        id: format!(
            "sidecar~10.200.{}.{}~p{proxy}.{ns}~{ns}.svc.cluster.local",
            proxy / 250,
            proxy % 250 + 1
        ),
        cluster: format!("s{proxy}.{ns}"),
        metadata: Some(Struct {
            fields: fields.into(),
        }),
        user_agent_name: "envoy".to_owned(),
        ..Node::default()
    }
}

/// Kilobytes in megabytes.
pub(crate) fn megabytes(kilobytes: u64) -> f64 {
    number(kilobytes) / 1024.0
}

/// A count as a number; exact up to four thousand million, above it the highest such.
pub(crate) fn number(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
