//! Proxies that go from one replica to another, or to a successor: nothing they have is sent again, nothing is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use reef::serve::{Settings, start};
use reef_testkit::{Answer, Code, DeltaClient, Status};
use reef_xds::ResourceType;
use tokio::time::Instant;

use crate::draining::{Process, connected};
use crate::mesh::{PATIENCE, QUIET, connect, directory, node, serve, service, settings, write};

type Held = BTreeMap<ResourceType, BTreeMap<String, String>>;

/// Resources and removals in responses.
fn told(answers: &[Answer]) -> Vec<&str> {
    let names = answers
        .iter()
        .flat_map(|one| one.names.iter().chain(&one.removed));
    names.map(String::as_str).collect()
}

/// Reads to the end of a stream.
async fn ended(client: &mut DeltaClient) -> Status {
    loop {
        match client.next(PATIENCE).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream stayed open"),
            Err(status) => return status,
        }
    }
}

fn web(version: usize) -> String {
    service(
        "shop",
        "web",
        "10.96.0.1",
        &[&format!("10.1.{}.{}", version / 250, version % 250 + 1)],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_of_age_moves_its_proxy_to_another_replica_that_sends_nothing_again() {
    let dir = directory(&[
        ("web.yaml", web(1)),
        ("db.yaml", service("shop", "db", "10.96.0.2", &["10.1.9.2"])),
    ]);
    let old = start(Settings {
        max_server_conn_age: Some(Duration::from_secs(3)),
        ..settings(dir.path())
    })
    .await
    .unwrap();
    let other = serve(dir.path()).await;
    let mut client = connect(&old, &node("web-1", "shop")).await;
    let held: Held = client.held().clone();
    assert!(
        held.values().map(BTreeMap::len).sum::<usize>() > 4,
        "{held:?}"
    );
    let status = ended(&mut client).await;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("maximum age"), "{status}");

    // The other replica has the same to say, so it says nothing until something changes.
    let _ready = connect(&other, &node("web-2", "shop")).await;
    let mut client =
        DeltaClient::reconnect(other.grpc_addr(), &node("web-1", "shop"), held.clone())
            .await
            .unwrap();
    let answers = client.settle(QUIET).await.unwrap();
    assert_eq!(told(&answers), [""; 0]);
    write(dir.path(), "web.yaml", &web(2));
    let answer = client.next(PATIENCE).await.unwrap().unwrap();
    assert_eq!(answer.names, ["outbound|80||web.shop.svc.cluster.local"]);
    // And back to the first, which has read the change itself.
    let held = client.held().clone();
    drop(client);
    let mut client = DeltaClient::reconnect(old.grpc_addr(), &node("web-1", "shop"), held)
        .await
        .unwrap();
    let answers = client.settle(QUIET).await.unwrap();
    assert_eq!(told(&answers), [""; 0]);
}

/// T16 and T38 in short: the end of the process, by either signal, in the middle of pushes.
async fn successor_finishes_what_the_end_interrupted(signal: &str) {
    let dir = directory(&[
        ("web.yaml", web(0)),
        ("db.yaml", service("shop", "db", "10.96.0.2", &["10.1.9.2"])),
    ]);
    let mut process = Process::start(dir.path(), &["--drain-duration", "2s"]);
    let mut clients = Vec::new();
    for i in 0..20 {
        clients.push(connected(&process, &format!("web-{i}")).await);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (i, mut client) in clients.into_iter().enumerate() {
        tasks.spawn(async move {
            let status = ended(&mut client).await;
            (i, status, client.held().clone())
        });
    }
    for version in 1..30 {
        write(dir.path(), "web.yaml", &web(version));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let start = Instant::now();
    process.signal(signal);
    // The last change comes after the signal: the old process need not tell it, the new one has to.
    write(dir.path(), "web.yaml", &web(99));
    let mut left = Vec::new();
    while let Some(end) = tasks.join_next().await {
        left.push(end.unwrap());
    }
    let code = process.ended(Duration::from_secs(6)).await;
    if signal == "TERM" {
        assert_eq!(code, Some(0));
        assert!(start.elapsed() < Duration::from_secs(5), "within its grace");
        // A message cut in the middle would be another status.
        for (_, status, _) in &left {
            assert_eq!(status.code(), Code::Unavailable, "{status}");
        }
    }

    let successor = Process::start(dir.path(), &[]);
    let fresh = connected(&successor, "fresh").await;
    for (i, _, held) in left {
        let name = node(&format!("web-{i}"), "shop");
        let behind: usize = held
            .iter()
            .flat_map(|(ty, names)| names.iter().map(move |(name, version)| (ty, name, version)))
            .filter(|(ty, name, version)| fresh.held()[ty].get(*name) != Some(*version))
            .count();
        let mut client = DeltaClient::reconnect(successor.grpc, &name, held)
            .await
            .unwrap();
        let answers = client.settle(QUIET).await.unwrap();
        let sent = told(&answers);
        assert_eq!(sent.len(), behind, "{name} was sent {sent:?}");
        assert_eq!(client.held(), fresh.held(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn successor_finishes_what_sigterm_interrupted() {
    successor_finishes_what_the_end_interrupted("TERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn successor_finishes_what_sigkill_interrupted() {
    successor_finishes_what_the_end_interrupted("KILL").await;
}

/// T15 in short: all come back at once.
#[tokio::test(flavor = "multi_thread")]
async fn storm_of_reconnects_is_sent_nothing() {
    const PROXIES: usize = 300;
    let dir = directory(&[
        ("web.yaml", web(1)),
        ("db.yaml", service("shop", "db", "10.96.0.2", &["10.1.9.2"])),
    ]);
    let server = serve(dir.path()).await;
    let first = connect(&server, &node("web-0", "shop")).await;
    let held: Held = first.held().clone();
    let addr = server.grpc_addr();
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..PROXIES {
        let held = held.clone();
        tasks.spawn(async move {
            let name = node(&format!("web-{i}"), "shop");
            let mut client = DeltaClient::reconnect(addr, &name, held).await?;
            client.settle(Duration::from_secs(2)).await
        });
    }
    let mut back = 0;
    while let Some(answers) = tasks.join_next().await {
        assert_eq!(told(&answers.unwrap().unwrap()), [""; 0]);
        back += 1;
    }
    assert_eq!(back, PROXIES);
    // They are served all the same.
    let mut last = DeltaClient::reconnect(addr, &node("web-0", "shop"), held)
        .await
        .unwrap();
    last.settle(QUIET).await.unwrap();
    write(dir.path(), "web.yaml", &web(2));
    let answer = last.next(PATIENCE).await.unwrap().unwrap();
    assert_eq!(answer.names, ["outbound|80||web.shop.svc.cluster.local"]);
}
