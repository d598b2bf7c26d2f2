//! Proxies that come before the API server tells of their workload, and machines outside of the cluster, which are what their
//! WorkloadEntry says.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reef_e2e::mesh::{comes_true, now};
use reef_e2e::namespace::isolated;
use reef_e2e::net::PodNet;
use reef_e2e::stream::{Attempt, Kind, Stranger, node};

use crate::channel::{FORBIDDEN, PROBE, Wanted, judge, probes, stranger};
use crate::objects::{TO_V2, WEB, pod, shop};
use crate::outage::reviews;
use crate::support::{AUDIENCE, Fixture, SERVER};

/// How long a stream waits for its workload; only a change told well within it counts as told in time.
const WAITS: Duration = Duration::from_secs(10);

/// A machine from which streams are opened, and one with an Envoy.
const HOST: (&str, Ipv4Addr) = ("host-7", Ipv4Addr::new(10, 244, 1, 40));
const LEGACY: (&str, &str) = ("host-8", "10.244.1.41");

/// The account of machines.
const ACCOUNT: &str = "---
apiVersion: v1
kind: ServiceAccount
metadata: {name: machines, namespace: shop}
";

/// An entry of an address, which has a name of its own.
fn entry(name: &str, address: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\n\
         metadata: {{name: {name}, namespace: shop}}\n\
         spec: {{address: {address}, serviceAccount: machines, labels: {{app: legacy}}}}\n"
    )
}

/// A token of an account that is for no pod, unlike any other.
fn token(fixture: &Fixture, account: &str) -> Result<String> {
    fixture.cluster.token_for("shop", account, None, AUDIENCE)
}

/// A pod at the probe's address, of its account; its name is this and a number.
fn probe(name: &str, turn: u32) -> String {
    let own = format!("serviceAccountName: {name}");
    pod(&format!("{name}{turn}"), &PROBE.1.to_string(), "")
        .replace(&own, "serviceAccountName: probe")
}

/// Streams of workloads the API server does not tell of until they wait, and of some it never tells of. False if it was so slow
/// to be told that this says nothing.
fn wait_for_their_workload(
    fixture: &Fixture,
    strangers: &[Stranger; 2],
    turn: u32,
) -> Result<bool> {
    let cluster = &fixture.cluster;
    let [late, bare, vm] = ["late", "bare", "vm"].map(|name| format!("{name}{turn}"));
    let (late_pod, bare_pod) = (probe("late", turn), probe("bare", turn));
    // A kubelet tells of the address when the containers run, and this one's runs.
    let without_status = bare_pod.split("status:").next().unwrap_or_default();
    cluster.kubectl_with(&["apply", "-f", "-"], without_status)?;
    let bound = cluster.token_for("shop", "probe", Some(&bare), AUDIENCE)?;

    let at = |name: &str| node(name, &PROBE.1.to_string(), "shop");
    let machine = node(HOST.0, &HOST.1.to_string(), "shop");
    let ok: Wanted = ("OK", "");
    let attempts: [Vec<(Attempt, Wanted)>; 2] = [
        vec![
            (
                Attempt::new("late", &at(&late)).token(&token(fixture, "probe")?),
                ok,
            ),
            (
                Attempt::new("bare", &at(&bare))
                    .token(&bound)
                    .by(Kind::Sotw),
                ok,
            ),
            (
                Attempt::new("nobody", &at("nobody")).token(&token(fixture, "probe")?),
                FORBIDDEN,
            ),
        ],
        vec![
            (
                Attempt::new("machine", &machine).token(&token(fixture, "machines")?),
                ok,
            ),
            (
                Attempt::new("not its account", &machine).token(&token(fixture, "probe")?),
                FORBIDDEN,
            ),
        ],
    ];
    let before = reviews(fixture)?;
    std::thread::scope(|threads| {
        let opened = strangers.iter().zip(&attempts).map(|(stranger, attempts)| {
            threads.spawn(move || {
                let attempts: Vec<Attempt> = attempts
                    .iter()
                    .map(|(attempt, _)| attempt.clone())
                    .collect();
                stranger.open(&attempts)
            })
        });
        let opened: Vec<_> = opened.collect();
        // The first that waits; all others begin to wait later.
        let begun = comes_true(|| reviews(fixture).is_ok_and(|now| now > before));
        let begin = now();
        let all = comes_true(|| reviews(fixture).is_ok_and(|now| now >= before + 5));
        ensure!(
            begun && all,
            "tokens are not looked at\n{}",
            fixture.reef_tail()
        );
        cluster.apply(&[&late_pod, &bare_pod, &*entry(&vm, &HOST.1.to_string())].concat())?;
        let told_after = begin.elapsed();
        for (opened, wanted) in opened.into_iter().zip(&attempts) {
            let ends = opened.join().ok().context("it panicked")??;
            if told_after + Duration::from_secs(2) > WAITS {
                continue;
            }
            judge(&ends, wanted)?;
            if let Some(nobody) = ends.get("nobody") {
                ensure!(
                    u128::from(nobody.after) >= WAITS.as_millis(),
                    "did not wait: {nobody:?}"
                );
            }
        }
        cluster.delete(&[&late_pod, &bare_pod, &*entry(&vm, &HOST.1.to_string())].concat())?;
        Ok(told_after + Duration::from_secs(2) <= WAITS)
    })
}

/// A machine with an Envoy: served as its entry says, refused without one.
fn a_machine_is_what_its_entry_says(fixture: &mut Fixture) -> Result<()> {
    let (name, address) = LEGACY;
    let entry = entry("legacy", address);
    // Only who has the label of the entry is routed to the second version; the machine says something else of itself.
    let rule = TO_V2.replace(
        "http: [{route",
        "http: [{match: [{sourceLabels: {app: legacy}}], route",
    );
    let rule = rule.replace(
        "subset: v2}}]}]",
        "subset: v2}}]}, {route: [{destination: {host: web}}]}]",
    );
    fixture.cluster.apply(&[&entry, &*rule].concat())?;
    let machine = pod(name, address, "");
    fixture.tokens.put(name, &token(fixture, "machines")?)?;
    fixture.start_pods(&machine)?;
    fixture.follows(name, WEB, &["web-2"])?;
    let both = ["web-1", "web-2"];
    fixture.follows("client-1", WEB, &both)?;

    let connected = |fixture: &Fixture| {
        let proxies = fixture.mesh.reef_proxies().unwrap_or_default();
        let is_it = proxies
            .iter()
            .any(|proxy| proxy["id"].as_str().is_some_and(|id| id.contains(name)));
        (proxies.len(), is_it)
    };
    ensure!(connected(fixture) == (4, true), "{:?}", connected(fixture));
    fixture.cluster.delete(&entry)?;
    fixture.mesh.kill_reef();
    fixture.mesh.start_reef()?;
    // In the words of the log; the machine reads no more than that it may not be served.
    let refused = |fixture: &Fixture| {
        let log = fixture.mesh.reef_log().unwrap_or_default();
        let says = |line: &str| {
            line.contains("stream refused")
                && line.contains(name)
                && line.contains("names no workload")
        };
        log.lines().any(says)
    };
    ensure!(
        comes_true(|| refused(fixture) && connected(fixture) == (3, false)),
        "served without an entry: {:?}\n{}",
        connected(fixture),
        fixture.reef_tail()
    );
    // It goes on with what it has.
    fixture.follows(name, WEB, &["web-2"])?;
    fixture.cluster.apply(&entry)?;
    ensure!(
        comes_true(|| connected(fixture) == (4, true)),
        "it does not come back: {:?}\n{}",
        connected(fixture),
        fixture.reef_tail()
    );
    let rule = rule.split("---\n").nth(2).unwrap_or_default();
    fixture.cluster.delete(rule)?;
    fixture.follows(name, WEB, &both)
}

#[test]
fn a_proxy_waits_for_its_workload_and_a_machine_is_what_its_entry_says() {
    let name = "machines::a_proxy_waits_for_its_workload_and_a_machine_is_what_its_entry_says";
    isolated(name, |power| {
        let mut fixture = Fixture::start(power, &shop())?;
        fixture
            .cluster
            .apply(&[probes(), ACCOUNT.to_owned()].concat())?;
        let machine = Stranger {
            net: PodNet::make(HOST.0, HOST.1)?,
            ca_file: fixture.authority(),
            server_name: SERVER.to_owned(),
        };
        let strangers = [stranger(&fixture)?, machine];
        let mut told = false;
        for turn in 0..5 {
            told = told || wait_for_their_workload(&fixture, &strangers, turn)?;
        }
        ensure!(told, "the API server was never told in time");
        a_machine_is_what_its_entry_says(&mut fixture)
    })
    .unwrap();
}
