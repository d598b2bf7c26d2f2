//! Follows a cluster and says what it costs: `cargo run --release -p reef-kube --example follow -- KUBECONFIG [SECONDS]`.

#![expect(clippy::print_stdout, reason = "what a measurement is for")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use reef_config::{Change, Kind};
use reef_kube::{Cluster, ClusterOptions, KubeOptions, KubeSource};
use reef_source::Source as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let kubeconfig = args.next().map(PathBuf::from);
    let seconds = args.next().map_or(Ok(0), |text| text.parse())?;
    let began = Instant::now();
    let options = ClusterOptions {
        kubeconfig,
        context: None,
    };
    let source = KubeSource::new(Cluster::connect(&options).await?, KubeOptions::default());
    let states = source.states();
    let (emit, mut batches) = mpsc::channel(4);
    let mut tasks = JoinSet::new();
    tasks.spawn(source.run(emit));
    let Some(first) = batches.recv().await else {
        return Err("the source ended".into());
    };
    let took = began.elapsed();
    println!("first list after {took:?}; {}", cost()?);
    let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
    for change in &first.changes {
        match change {
            Change::Apply(object) => *kinds.entry(object.key.kind).or_default() += 1,
            Change::Problems { problems, .. } => problems.iter().for_each(|p| println!("{p}")),
            Change::MeshConfig(_) | Change::Delete(_) => {}
        }
    }
    println!("{kinds:?}");
    let end = Instant::now() + Duration::from_secs(seconds);
    while let Ok(Some(batch)) = timeout_at(end, batches.recv()).await {
        println!("{:?} {} changes", began.elapsed(), batch.changes.len());
        for change in batch.changes.iter().take(5) {
            match change {
                Change::Apply(object) => println!("  + {}", object.key),
                Change::Delete(key) => println!("  - {key}"),
                other => println!("  {other:?}"),
            }
        }
    }
    drop(first);
    for (kind, status) in &states.borrow().kinds {
        println!("{kind}: {} ({} objects)", status.state, status.objects);
    }
    println!("at the end {}", cost()?);
    Ok(())
}

/// CPU time and memory of this process.
fn cost() -> Result<String, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok());
    let cpu = ticks(13).unwrap_or_default() + ticks(14).unwrap_or_default();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let memory = status
        .lines()
        .filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM"));
    let memory: Vec<String> = memory
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    Ok(format!("{} ms of CPU, {}", cpu * 10, memory.join(", ")))
}
