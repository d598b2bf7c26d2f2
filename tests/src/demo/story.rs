//! The inner half of the demo: start, ask, show, edit, show again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use super::edit::{self, Moved, all_connected, pod_of};
use super::table;
use crate::call::{Call, Protocol};
use crate::manifest::Manifests;
use crate::mesh::{MONITORING, Mesh};
use crate::namespace::{Power, settle};

/// A request of the demo: from, protocol, host, port, and who may answer.
type Ask = (
    &'static str,
    Protocol,
    &'static str,
    u16,
    &'static [&'static str],
);

const ASKS: [Ask; 8] = [
    ("web-1", Protocol::Http1, "cart.shop", 8080, &["cart-1"]),
    (
        "web-1",
        Protocol::Http1,
        "catalog.stock",
        8080,
        &["catalog-1", "catalog-2"],
    ),
    (
        "web-1",
        Protocol::Http1,
        "payments.example.com",
        80,
        &["payments.example.com"],
    ),
    (
        "cart-1",
        Protocol::Http2,
        "prices.stock",
        8081,
        &["prices-1"],
    ),
    (
        "cart-1",
        Protocol::Grpc,
        "checkout.shop",
        9000,
        &["checkout-1"],
    ),
    (
        "checkout-1",
        Protocol::Tcp,
        "10.244.2.31",
        7000,
        &["ledger-2"],
    ),
    ("audit-1", Protocol::Tcp, "queue.ops", 5672, &["queue-1"]),
    // No app may answer: it is outside the scope of the shop.
    ("web-1", Protocol::Http1, "audit.ops", 8088, &[]),
];

/// Right answers and all answers, per pod that asked.
type Score = BTreeMap<&'static str, (u32, u32)>;

/// Shows the demo.
pub(super) fn tell(power: Power, work: &Path, keep: bool) -> Result<()> {
    settle()?;
    let config = work.join("config");
    let manifests = Manifests::read(&config)?;
    println!("Reef serves the manifests of deploy/examples/demo");
    let mut mesh = Mesh::start(power, work, &config)?;
    let pods = manifests.pods();
    for pod in &pods {
        println!("  pod {}/{} at {}", pod.namespace, pod.name, pod.ip);
        mesh.start_pod(pod)?;
    }
    for outside in manifests.outside() {
        println!("  outside the mesh: {} at {}", outside.host, outside.ip);
        mesh.start_outside(&outside.host, outside.ip, &outside.ports)?;
    }
    let took = mesh.wait_ready(Duration::from_secs(30))?;
    println!(
        "{} Envoys ready, the last one {} ms after its start\n",
        pods.len(),
        took.as_millis()
    );
    println!("Requests, each from the app through its own Envoy and the other's:");
    let mut score = Score::new();
    for ask in &ASKS {
        request(&mesh, &manifests, ask, &mut score);
    }
    println!("\nWhat each proxy holds:");
    holdings(&mesh, &score)?;
    edits(&mesh, &manifests, &config, &mut score)?;
    let complaints = mesh.complaints()?;
    println!(
        "\nRejected or still warming: {}",
        if complaints.is_empty() {
            "nothing".to_owned()
        } else {
            complaints.join("; ")
        }
    );
    let wrong: u32 = score.values().map(|(right, all)| all - right).sum();
    if wrong > 0 || !complaints.is_empty() {
        bail!("{wrong} request(s) went wrong\n{}", complaints.join("\n"));
    }
    if keep {
        let url = std::fs::read_to_string(work.join("admin.url"))?;
        std::fs::write(work.join(super::KEPT), "")?;
        println!("\nThe mesh stays up until Ctrl-C here, which takes all of it down.");
        println!("  admin:  {url}");
        println!("  files:  {} (edit one and look again)", config.display());
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(super::relay_in(&work.join("admin.sock"), MONITORING))?;
    }
    println!("Done; everything is being taken down.");
    Ok(())
}

/// Makes one request and prints a line about it.
fn request(mesh: &Mesh, manifests: &Manifests, ask: &Ask, score: &mut Score) {
    let (from, protocol, host, port, wanted) = *ask;
    let address = manifests
        .address_of(host)
        .unwrap_or_else(|_| host.to_owned());
    let answer = mesh.call(
        from,
        &Call {
            protocol,
            address: format!("{address}:{port}"),
            authority: format!("{host}:{port}"),
            path: "/hello".to_owned(),
        },
    );
    let (app, seen) = match &answer {
        Ok(answer) if !answer.app.is_empty() => (answer.app.as_str(), format!("{}", answer.status)),
        Ok(answer) => ("", format!("{}, from Envoy itself", answer.status)),
        Err(error) => ("", format!("{error:#}")),
    };
    let right = if wanted.is_empty() {
        app.is_empty()
    } else {
        wanted.contains(&app)
    };
    let mark = if right { "ok   " } else { "WRONG" };
    let kind = format!("{protocol:?}").to_uppercase();
    let who = if app.is_empty() { "no app" } else { app };
    println!("  {mark} {from} → {kind} {host}:{port}: {who} ({seen})");
    let entry = score.entry(from).or_default();
    entry.0 += u32::from(right);
    entry.1 += 1;
}

fn holdings(mesh: &Mesh, score: &Score) -> Result<()> {
    all_connected(mesh);
    let mut rows = Vec::new();
    for proxy in mesh.reef_proxies()? {
        let pod = pod_of(proxy["id"].as_str().unwrap_or_default());
        let memory = mesh.envoy_stat(&pod, "server.memory_physical_size")?;
        let requests = score
            .get(pod.as_str())
            .map_or_else(|| "-".to_owned(), |(right, all)| format!("{right}/{all}"));
        rows.push([
            pod.clone(),
            format!("{} of {}", proxy["services"], proxy["mesh_services"]),
            table::bytes(mesh.received_bytes(&pod)?),
            table::bytes(memory),
            requests,
        ]);
    }
    rows.sort();
    table::print(
        ["proxy", "services", "config", "Envoy memory", "requests"],
        &rows,
    );
    Ok(())
}

fn edits(mesh: &Mesh, manifests: &Manifests, config: &Path, score: &mut Score) -> Result<()> {
    println!("\nEdit 1: stock-catalog.yaml, the third pod of catalog becomes ready");
    let file = config.join("stock-catalog.yaml");
    report(
        mesh,
        &edit::edit(mesh, &file, "ready: false", "ready: true")?,
    );
    let all = &["catalog-1", "catalog-2", "catalog-3"];
    for _ in 0..3 {
        let ask = (
            "web-1",
            Protocol::Http1,
            "catalog.stock",
            8080,
            all.as_slice(),
        );
        request(mesh, manifests, &ask, score);
    }
    println!("\nEdit 2: scope-shop.yaml, the shop may see ops/audit");
    let file = config.join("scope-shop.yaml");
    let wider = "- \"stock/*\"\n        - \"ops/audit.ops.svc.cluster.local\"";
    report(mesh, &edit::edit(mesh, &file, "- \"stock/*\"", wider)?);
    let ask = (
        "web-1",
        Protocol::Http1,
        "audit.ops",
        8088,
        ["audit-1"].as_slice(),
    );
    request(mesh, manifests, &ask, score);
    Ok(())
}

fn report(mesh: &Mesh, moved: &Moved) {
    let names: Vec<&str> = moved.received.keys().map(String::as_str).collect();
    println!(
        "  pushed: {} of {} proxies ({}), {} in all, last ACK after {} ms",
        names.len(),
        mesh.proxies().len(),
        names.join(", "),
        table::bytes(moved.received.values().sum()),
        moved.took.as_millis()
    );
}
