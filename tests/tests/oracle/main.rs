//! Simulation against real Envoys: random meshes through the real pipeline, random requests.
//!
//! `REEF_SEED` repeats a run, `REEF_ORACLE_REQUESTS` says how many requests (10,000), `REEF_ORACLE_FIRST` with
//! which mesh to begin, and `REEF_ORACLE_KEEP` names a folder for the files of the first mesh that went wrong.

#![expect(
    clippy::print_stdout,
    reason = "the seed and the counts are for people"
)]

mod actions;
mod app;
mod ask;
mod compare;
mod dice;
mod mesh;
mod proxy;
mod questions;
mod rules;
mod sidecar;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reef_e2e::mesh::{now, program, wait};
use reef_e2e::namespace::isolated;
use reef_simulate::{Config, Direction, Outcome, Request, simulate};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::app::Log;
use crate::ask::{Client, Told};
use crate::dice::Dice;
use crate::mesh::SOCKET;
use crate::questions::ID;

/// How many requests a mesh gets.
const EACH: usize = 250;
/// How many clients ask at once.
const CLIENTS: usize = 12;

/// What must occur, one time of a hundred requests each.
const KINDS: [&str; 61] = [
    "uri_exact",
    "uri_prefix",
    "uri_regex",
    "uri_ignoring_case",
    "header_exact",
    "header_prefix",
    "header_regex",
    "header_present",
    "without_headers",
    "method",
    "authority",
    "scheme",
    "query_exact",
    "query_regex",
    "query_present",
    "port",
    "source_labels",
    "source_namespace",
    "gateways",
    "match_none",
    "single",
    "weighted",
    "weight_zero",
    "headers",
    "headers_of_destination",
    "headers_of_weighted_destination",
    "rewrite_uri",
    "rewrite_uri_regex",
    "rewrite_authority",
    "redirect_uri",
    "redirect_uri_with_query",
    "redirect_authority",
    "redirect_scheme",
    "redirect_port",
    "redirect_derived_port",
    "direct_response",
    "timeout",
    "retries",
    "retries_off",
    "fault_abort",
    "fault_abort_of_grpc",
    "fault_delay",
    "mirror",
    "mirrors",
    "cors",
    "delegate",
    "delegate_narrower",
    "vs_exact",
    "vs_short_name",
    "vs_oldest",
    "vs_several_hosts",
    "vs_wildcard",
    "vs_exact_beats_wildcard",
    "vs_longest_wildcard",
    "vs_unregistered_host",
    "rule_of_tcp_or_tls",
    "inbound",
    "inbound_of_sidecar",
    "own_socket",
    "near_first",
    "by_locality",
];

/// Where the counts are left; what a namespace prints is lost when all is well.
const COUNTS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/oracle-counts.txt");

#[test]
fn real_envoys_do_what_simulation_says() {
    isolated("real_envoys_do_what_simulation_says", |_| run()).unwrap();
    if reef_e2e::namespace::inside().is_none() {
        println!("{}", std::fs::read_to_string(COUNTS).unwrap());
    }
}

fn number(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

fn run() -> Result<()> {
    let wanted = number("REEF_ORACLE_REQUESTS").unwrap_or(10_000);
    let seed = std::env::var("REEF_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| RandomState::new().hash_one(0_u8));
    println!("REEF_SEED={seed}");
    let reef = program("reef", "REEF_BIN")?;
    let envoy: PathBuf = std::env::var_os("ENVOY_BIN")
        .context("ENVOY_BIN is not set; `cargo xtask envoy` fetches Envoy and prints its path")?
        .into();
    proxy::network()?;
    let work = tempfile::tempdir()?;
    let meshes = wanted.div_ceil(EACH);
    let first = number("REEF_ORACLE_FIRST").unwrap_or(0);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let log = Log::default();
    let mut servers = JoinSet::new();
    runtime.block_on(app::start(&log, &mut servers))?;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut asked = 0;
    let mut took = Duration::ZERO;
    let mut wrong = Vec::new();
    std::thread::scope(|scope| -> Result<()> {
        // The next mesh is rendered while one is asked.
        let (sender, rendered) = sync_channel(1);
        let folder = work.path();
        scope.spawn(move || {
            for index in first..first + 2 * meshes {
                let one = Case::prepare(&reef, folder, seed, index);
                if sender.send(one).is_err() {
                    return;
                }
            }
        });
        for case in rendered {
            let case = case?;
            let begin = now();
            let running = proxy::Envoy::start(&envoy, &case.folder, &case.dump)
                .with_context(|| format!("REEF_SEED={seed}, mesh {}", case.index))?;
            let requests: Vec<Request> = case.requests.clone();
            let told = runtime.block_on(ask_all(&requests))?;
            let count = requests.len();
            asked += count;
            let failed = case.judge(&requests, &told, &log, &mut counts)?;
            if !failed.is_empty() {
                println!(
                    "mesh {} of REEF_SEED={seed}: {} of {count} differ; {}",
                    case.index,
                    failed.len(),
                    running.said()
                );
                keep(&case.folder, wrong.is_empty())?;
            }
            took += begin.elapsed();
            wrong.extend(failed);
            log.lock().clear();
            std::fs::remove_dir_all(&case.folder)?;
            // What was rare is given more meshes to occur in.
            let enough = asked >= wanted && rare(&counts, wanted).is_empty();
            if enough || wrong.len() > 60 {
                break;
            }
        }
        Ok(())
    })?;
    let mut page = format!(
        "REEF_SEED={seed}: {} of {asked} requests went as simulated, in {took:?}\n",
        asked - wrong.len()
    );
    for (name, count) in &counts {
        page.push_str(&format!("{count:6} {name}\n"));
    }
    println!("{page}");
    std::fs::write(COUNTS, &page)?;
    let shown: Vec<&String> = wrong.iter().take(25).collect();
    ensure!(
        wrong.is_empty(),
        "REEF_SEED={seed}: {} of {asked} differ:\n{}",
        wrong.len(),
        shown
            .iter()
            .map(|one| format!("{one}\n\n"))
            .collect::<String>()
    );
    ensure!(
        !counts.contains_key("never"),
        "REEF_SEED={seed}: a hidden rule was followed"
    );
    let rare = rare(&counts, wanted);
    ensure!(rare.is_empty(), "REEF_SEED={seed}: too few of {rare:?}");
    Ok(())
}

/// What occurred less often than it must.
fn rare(counts: &BTreeMap<String, usize>, wanted: usize) -> Vec<&'static str> {
    let seldom = |name: &&str| counts.get(*name).copied().unwrap_or(0) < wanted / 100;
    KINDS.into_iter().filter(seldom).collect()
}

fn keep(folder: &Path, first: bool) -> Result<()> {
    let Some(to) = std::env::var_os("REEF_ORACLE_KEEP").filter(|_| first) else {
        return Ok(());
    };
    reef_e2e::namespace::run(
        std::process::Command::new("cp")
            .arg("-r")
            .arg(folder)
            .arg(to),
    )
}

/// A mesh, its configuration, and the requests to it.
struct Case {
    index: usize,
    folder: PathBuf,
    dump: Value,
    config: Config,
    requests: Vec<Request>,
}

impl Case {
    fn prepare(reef: &Path, work: &Path, seed: u64, index: usize) -> Result<Self> {
        let salt = u64::try_from(index).unwrap_or(0).wrapping_mul(0x1000_0001);
        let mut dice = Dice::new(seed.wrapping_add(salt));
        let mesh = mesh::draw(&mut dice);
        let folder = work.join(format!("mesh-{index}"));
        std::fs::create_dir(&folder)?;
        let (dump, problems) = proxy::render(reef, &folder, &mesh)
            .with_context(|| format!("REEF_SEED={seed}, mesh {index}"))?;
        std::fs::write(
            folder.join("dump.json"),
            serde_json::to_string_pretty(&dump)?,
        )?;
        std::fs::write(folder.join("problems.txt"), problems)?;
        let mut config = Config::default();
        config.add_document(&dump)?;
        let requests = (0..EACH)
            .map(|id| questions::draw(&mut dice, &mesh, id))
            .collect();
        Ok(Self {
            index,
            folder,
            dump,
            config,
            requests,
        })
    }

    /// Which of what is no rule's doing took part.
    fn of_place(&self, request: &Request, outcome: &Outcome) -> Vec<&'static str> {
        let mut tags = Vec::new();
        if request.direction == Direction::Inbound {
            tags.push("inbound");
            let name = outcome.cluster.as_deref().unwrap_or_default();
            let cluster = self.config.clusters.get(name);
            let own = cluster.is_some_and(|it| it.load_assignment.is_some());
            tags.extend(own.then_some("inbound_of_sidecar"));
        } else if request.port == SOCKET && request.to.is_some_and(|ip| ip.is_loopback()) {
            tags.push("own_socket");
        }
        let name = outcome.cluster.as_deref().unwrap_or_default();
        let all = self.config.endpoints.get(name);
        let mut all = all.iter().flat_map(|it| &it.endpoints);
        if all.clone().any(|one| one.priority > 0) {
            tags.push("near_first");
        }
        if all.any(|one| one.load_balancing_weight.is_some_and(|weight| weight >= 20)) {
            tags.push("by_locality");
        }
        tags
    }

    fn judge(
        &self,
        requests: &[Request],
        told: &[Result<Told, String>],
        log: &Log,
        counts: &mut BTreeMap<String, usize>,
    ) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        for (request, told) in requests.iter().zip(told) {
            let answer = simulate(&self.config, request);
            let id = request.headers.first(ID).unwrap_or_default();
            let seen = || log.lock().get(id).cloned().unwrap_or_default();
            let found = told.as_ref().map_err(Clone::clone).and_then(|told| {
                let outcome = compare::find(request, &answer, told, &seen())?;
                // Copies are sent when the answer is there already.
                let right = || compare::mirrored(&self.config, outcome, &seen()).is_ok();
                wait(Duration::from_secs(20), right);
                compare::mirrored(&self.config, outcome, &seen())?;
                Ok(outcome)
            });
            match found {
                Ok(outcome) => {
                    let name = outcome.route.as_deref().unwrap_or("no_route");
                    let mut tags: Vec<&str> = name.split(['+', '.', '-']).collect();
                    let rule = |object: &String| object.starts_with("VirtualService ");
                    if outcome.route.is_none() && outcome.objects.iter().any(rule) {
                        tags.push("rule_of_tcp_or_tls");
                    }
                    tags.extend(self.of_place(request, outcome));
                    tags.sort_unstable();
                    tags.dedup();
                    for tag in tags {
                        *counts.entry(tag.to_owned()).or_default() += 1;
                    }
                }
                Err(why) => {
                    let asked = serde_json::to_string(request)?;
                    let short: Vec<_> = answer
                        .outcomes
                        .iter()
                        .map(|one| (&one.route, &one.cluster, one.fate, one.status, &one.notes))
                        .collect();
                    wrong.push(format!(
                        "mesh {}: {asked}\nlistener {:?}, chain {:?}, outcomes {short:?}\n{why}",
                        self.index, answer.listener, answer.chain
                    ));
                }
            }
        }
        Ok(wrong)
    }
}

/// Asks all, several at once; answers in the order of the questions.
async fn ask_all(requests: &[Request]) -> Result<Vec<Result<Told, String>>> {
    let all: Arc<[Request]> = requests.into();
    let mut workers = JoinSet::new();
    for worker in 0..CLIENTS {
        let all = Arc::clone(&all);
        workers.spawn(async move {
            let mut client = Client::default();
            let mut told = Vec::new();
            let mine = all.iter().enumerate().skip(worker).step_by(CLIENTS);
            for (index, request) in mine {
                let answer = client.ask(request).await;
                told.push((index, answer.map_err(|error| format!("{error:#}"))));
            }
            told
        });
    }
    let mut told = workers.join_all().await.concat();
    told.sort_by_key(|(index, _)| *index);
    Ok(told.into_iter().map(|(_, one)| one).collect())
}
