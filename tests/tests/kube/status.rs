//! Problems told to the users of a cluster by one leader: EF test T39, under the rights of the chart.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reef_e2e::call;
use reef_e2e::cluster::faults::signal;
use reef_e2e::cluster::{Cluster, ClusterOptions, REEF};
use reef_e2e::mesh::{MONITORING, comes_true, program, wait};
use reef_e2e::namespace::isolated;
use reef_e2e::net::Running;
use serde_json::Value;

use crate::channel::seconds;
use crate::objects::{WEB, shop, slice};
use crate::support::{Fixture, lasting, metrics, roles_with, sent};

/// The value that grants what status writing needs.
pub(crate) const STATUS: &str = "global.istiod.enableAnalysis=true";

/// How long a silent leader keeps its lease, and how much later another may have it.
const LEASE: Duration = Duration::from_secs(15);
const LATE: Duration = Duration::from_secs(2);

/// Where the second replica is.
const SECOND: &str = "127.0.0.1:15114";

/// A rule that the API server takes and Reef refuses, or one that is good.
pub(crate) fn rule(name: &str, retry_on: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
         metadata: {{name: {name}, namespace: shop}}\nspec:\n  hosts: [{name}.example]\n  http:\n  \
         - route: [{{destination: {{host: web}}}}]\n    retries: {{attempts: 2, retryOn: '{retry_on}'}}\n"
    )
}

pub(crate) fn rule_object(cluster: &Cluster, name: &str) -> Result<Value> {
    let text = cluster.kubectl(&[
        "get",
        "virtualservice",
        name,
        "-n",
        "shop",
        "-o",
        "json",
        "--show-managed-fields",
    ])?;
    Ok(serde_json::from_str(&text)?)
}

/// The condition Reef wrote; null if there is none.
fn condition(cluster: &Cluster, name: &str) -> Value {
    let object = rule_object(cluster, name).unwrap_or_default();
    ours(&object).cloned().unwrap_or_default()
}

/// Whether a rule has a condition of ours; `None` if the API server does not answer.
pub(crate) fn is_told(cluster: &Cluster, name: &str) -> Option<bool> {
    let object = rule_object(cluster, name).ok()?;
    Some(ours(&object).is_some())
}

fn ours(object: &Value) -> Option<&Value> {
    let mut all = object["status"]["conditions"].as_array()?.iter();
    all.find(|condition| condition["type"] == "Reconciled")
}

fn events(cluster: &Cluster) -> Result<Vec<Value>> {
    let text = cluster.kubectl(&["get", "events", "-n", "shop", "-o", "json"])?;
    let list: Value = serde_json::from_str(&text)?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

fn fixture(power: reef_e2e::namespace::Power) -> Result<Fixture> {
    let mut fixture = Fixture::prepare(power, ClusterOptions::default(), &shop())?;
    fixture.roles = roles_with(&fixture.cluster, &[STATUS])?;
    fixture.cluster.apply(&fixture.roles)?;
    fixture.mesh.set_reef_arguments(&["--status"]);
    fixture.mesh.start_reef()?;
    Ok(fixture)
}

fn holder(cluster: &Cluster) -> String {
    let lease = ["get", "lease", "reef-leader", "-n", "reef-system"];
    let only = ["-o", "jsonpath={.spec.holderIdentity}"];
    cluster
        .kubectl(&[&lease[..], &only].concat())
        .unwrap_or_default()
}

#[test]
fn a_problem_shows_on_its_object_and_as_an_event_until_it_goes() {
    let name = "status::a_problem_shows_on_its_object_and_as_an_event_until_it_goes";
    isolated(name, |power| {
        let mut fixture = fixture(power)?;
        fixture.start_pods(&shop())?;
        fixture.follows("client-1", WEB, &["web-1", "web-2"])?;
        fixture.cluster.apply(&rule("bad", "whenever"))?;
        fixture.cluster.apply(&rule("good", "5xx"))?;
        let cluster = &fixture.cluster;
        let told = comes_true(|| condition(cluster, "bad")["status"] == "False");
        ensure!(told, "no condition\n{}", fixture.reef_tail());
        let object = rule_object(cluster, "bad")?;
        let found = condition(cluster, "bad");
        ensure!(found["reason"] == "IST0106", "{found}");
        let message = found["message"].as_str().unwrap_or_default();
        ensure!(message.contains("retryOn"), "{found}");
        ensure!(
            found["observedGeneration"] == object["metadata"]["generation"],
            "{object}"
        );
        ensure!(
            object["status"]["observedGeneration"] == 1,
            "{}",
            object["status"]
        );
        ensure!(is_told(cluster, "good") == Some(false), "good, and told");

        // What a person sees.
        let yaml = cluster.kubectl(&["get", "vs", "bad", "-n", "shop", "-o", "yaml"])?;
        ensure!(yaml.contains("type: Reconciled"), "{yaml}");
        let told = comes_true(|| events(cluster).is_ok_and(|e| e.len() == 1));
        ensure!(told, "{:?}\n{}", events(cluster), fixture.reef_tail());
        let table = cluster.kubectl(&["get", "events", "-n", "shop"])?;
        ensure!(
            table.contains("IST0106") && table.contains("virtualservice/bad"),
            "{table}"
        );
        let described = cluster.kubectl(&["describe", "vs", "bad", "-n", "shop"])?;
        let events_part = described.rsplit("Events:").next().unwrap_or_default();
        ensure!(events_part.contains("IST0106"), "{described}");

        // Wrong in another way: the generation is told. What Reef wrote it saw, and neither pushed nor wrote again.
        let before = sent()?;
        cluster.apply(&rule("bad", "sometimes"))?;
        let told = comes_true(|| condition(cluster, "bad")["observedGeneration"] == 2);
        ensure!(told, "{}", condition(cluster, "bad"));
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        let written = rule_object(cluster, "bad")?;
        std::thread::sleep(Duration::from_secs(5));
        let later = rule_object(cluster, "bad")?;
        ensure!(version(&later) == version(&written), "{later}");
        let written = metrics("reef_status_update_total")?;
        ensure!(written.values().sum::<f64>() == 2.0, "{written:?}");
        ensure!(sent()? == before, "{} resources sent", sent()? - before);
        let leads = metrics("leader_election_master_status")?;
        ensure!(leads.get("name=\"reef-leader\"") == Some(&1.0), "{leads:?}");

        // Mended, and nothing is left.
        let becomes = |retries: &str, wanted: bool| {
            cluster.apply(&rule("bad", retries))?;
            let done = comes_true(|| is_told(cluster, "bad") == Some(wanted));
            ensure!(done, "{retries}: not {wanted}\n{}", fixture.reef_tail());
            anyhow::Ok(())
        };
        becomes("5xx", false)?;
        let object = rule_object(cluster, "bad")?;
        let status = &object["status"];
        ensure!(
            status.is_null() || status.as_object().is_some_and(serde_json::Map::is_empty),
            "{status}"
        );
        // Broken twice more: now the good version is in effect, which is another message, and the second time it counts.
        becomes("whenever", true)?;
        becomes("5xx", false)?;
        becomes("whenever", true)?;
        let counted = comes_true(|| {
            let all = events(cluster).unwrap_or_default();
            let warnings = all.iter().filter(|event| event["type"] == "Warning");
            warnings.filter(|event| event["count"] == 2).count() == 1
        });
        ensure!(counted, "{:?}\n{}", events(cluster)?, fixture.reef_tail());
        Ok(())
    })
    .unwrap();
}

/// The second replica, of another pod's name.
fn second(fixture: &Fixture) -> Result<Running> {
    let mut command = Command::new(program("reef", "REEF_BIN")?);
    command
        .args(["serve", "--status", "--kubeconfig"])
        .arg(fixture.cluster.kubeconfig_for(REEF))
        .args(["--grpc-addr", "127.0.0.1:15110"])
        .args(["--secure-grpc-addr", "127.0.0.1:15112"])
        .args(["--http-addr", "127.0.0.1:18080"])
        .args(["--monitoring-addr", SECOND])
        .env("POD_NAME", "reef-b");
    Running::start(&mut command, fixture.work().join("second.log"))
}

/// A metric of one replica, all its series together.
fn metric(address: &str, name: &str) -> f64 {
    let page = call::page(address, "/metrics").unwrap_or_default();
    let lines = page.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with([' ', '{']))
    });
    lines
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

fn leads(address: &str) -> bool {
    metric(address, "leader_election_master_status") == 1.0
}

/// T39.
#[test]
fn a_frozen_or_killed_leader_is_followed_by_another_and_writes_no_more() {
    let name = "status::a_frozen_or_killed_leader_is_followed_by_another_and_writes_no_more";
    isolated(name, |power| {
        let mut fixture = fixture(power)?;
        fixture.start_pods(&shop())?;
        fixture.cluster.apply(&rule("one", "whenever"))?;
        let told = comes_true(|| condition(&fixture.cluster, "one")["status"] == "False");
        ensure!(told, "no condition\n{}", fixture.reef_tail());
        let mut second = second(&fixture)?;
        let ready = comes_true(|| second.ended() || call::page(SECOND, "/ready").is_ok());
        ensure!(ready && !second.ended(), "{}", second.tail());
        ensure!(!leads(SECOND), "two lead");
        let one = rule_object(&fixture.cluster, "one")?;
        let first = fixture.mesh.reef_pid().context("Reef does not run")?;

        let both = ["web-1", "web-2"];
        fixture.under_traffic("client-1", WEB, &both, |fixture| {
            let cluster = &fixture.cluster;
            // Frozen, for longer than it may lead.
            signal(first, "STOP")?;
            let frozen = seconds();
            follows(cluster, frozen, SECOND, "the second")?;
            ensure!(holder(cluster).starts_with("reef-b"), "{}", holder(cluster));
            cluster.apply(&rule("two", "whenever"))?;
            let told = comes_true(|| condition(cluster, "two")["status"] == "False");
            ensure!(told, "the second writes nothing\n{}", second.tail());
            std::thread::sleep(lasting(3, 30));
            // Right already, and left alone.
            let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
            let later = rule_object(cluster, "one")?;
            ensure!(version(&later) == version(&one), "{later}");

            signal(first, "CONT")?;
            let stopped = wait(LEASE, || {
                call::page(MONITORING, "/ready").is_ok() && !leads(MONITORING)
            });
            ensure!(stopped, "two lead\n{}", fixture.reef_tail());
            let before = metric(MONITORING, "reef_status_update_total");
            cluster.apply(&rule("three", "whenever"))?;
            let told = comes_true(|| condition(cluster, "three")["status"] == "False");
            ensure!(told, "nobody writes\n{}", second.tail());
            let after = metric(MONITORING, "reef_status_update_total");
            ensure!(before == after, "{before} and {after} writes");
            let of_three = events(cluster)?;
            let of_three = of_three
                .iter()
                .filter(|event| event["involvedObject"]["name"] == "three");
            for event in of_three {
                ensure!(event["reportingInstance"] == "reef-b", "{event}");
            }

            // Killed: nothing is given back.
            second.kill();
            let killed = seconds();
            follows(cluster, killed, MONITORING, "the first")?;
            cluster.apply(&rule("four", "whenever"))?;
            let told = comes_true(|| condition(cluster, "four")["status"] == "False");
            ensure!(
                told,
                "the first writes nothing again\n{}",
                fixture.reef_tail()
            );
            let later = rule_object(cluster, "one")?;
            ensure!(version(&later) == version(&one), "{later}");
            Ok(())
        })
    })
    .unwrap();
}

/// A rule for the proxies of its namespace only, whose traffic goes to this host.
fn route_to(host: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
         metadata: {{name: lost, namespace: shop}}\nspec:\n  hosts: [web]\n  exportTo: ['.']\n  \
         http: [{{route: [{{destination: {{host: {host}}}}}]}}]\n"
    )
}

/// How many checks a replica made.
fn checks(address: &str) -> f64 {
    metric(address, "reef_status_check_runs_total")
}

/// Nobody is connected to the leader: proxies are at another replica, or nowhere.
#[test]
fn the_leader_tells_of_rules_that_only_proxies_elsewhere_refuse() {
    let name = "status::the_leader_tells_of_rules_that_only_proxies_elsewhere_refuse";
    isolated(name, |power| {
        // The second replica leads; the proxies come to the first.
        let mut fixture = Fixture::prepare(power, ClusterOptions::default(), &shop())?;
        fixture.roles = roles_with(&fixture.cluster, &[STATUS])?;
        fixture.cluster.apply(&fixture.roles)?;
        let mut leader = second(&fixture)?;
        let led = comes_true(|| leader.ended() || leads(SECOND));
        ensure!(led && !leader.ended(), "{}", leader.tail());
        fixture.mesh.set_reef_arguments(&["--status"]);
        fixture.mesh.start_reef()?;
        fixture.start_pods(&shop())?;
        fixture.follows("client-1", WEB, &["web-1", "web-2"])?;
        let connected = |address| metric(address, "pilot_xds");
        ensure!(
            connected(SECOND) == 0.0 && connected(MONITORING) == 3.0,
            "not where they are to be"
        );
        ensure!(leads(SECOND) && !leads(MONITORING), "another leads");
        ensure!(comes_true(|| checks(SECOND) > 0.0), "{}", leader.tail());

        // A pod less behind the service is no reason to check again.
        let quiet = wait_quiet(SECOND)?;
        fixture
            .cluster
            .apply(&slice("web", &[("web-1", "10.244.1.11")]))?;
        fixture.follows("client-1", WEB, &["web-1"])?;
        std::thread::sleep(Duration::from_secs(15));
        let after = checks(SECOND);
        ensure!(after == quiet, "{quiet} and {after} checks");

        let cluster = &fixture.cluster;
        cluster.apply(&route_to("nowhere"))?;
        let told = comes_true(|| condition(cluster, "lost")["reason"] == "IST0101");
        ensure!(told, "no condition\n{}", leader.tail());
        let found = condition(cluster, "lost");
        let message = found["message"].as_str().unwrap_or_default();
        ensure!(message.contains("nowhere"), "{found}");
        let told = comes_true(|| {
            let all = events(cluster).unwrap_or_default();
            all.iter().any(|event| {
                event["reportingInstance"] == "reef-b"
                    && event["reason"] == "IST0101"
                    && event["involvedObject"]["name"] == "lost"
            })
        });
        ensure!(told, "{:?}\n{}", events(cluster)?, leader.tail());

        // Mended.
        let before = checks(SECOND);
        cluster.apply(&route_to("web"))?;
        let gone = comes_true(|| is_told(cluster, "lost") == Some(false));
        ensure!(gone, "it stays\n{}", leader.tail());
        ensure!(checks(SECOND) > before, "without a check");
        ensure!(checks(MONITORING) == 0.0, "who does not lead checks");
        ensure!(leads(SECOND), "another leads");
        leader.kill();
        Ok(())
    })
    .unwrap();
}

/// Waits until no check was made for longer than changes wait for one; how many there were.
fn wait_quiet(address: &str) -> Result<f64> {
    for _ in 0..10 {
        let before = checks(address);
        std::thread::sleep(Duration::from_secs(15));
        if checks(address) == before {
            return Ok(before);
        }
    }
    bail!("checks without end")
}

/// Waits until a replica leads; it must have taken the lease, by its own clock, as soon after the other could lead no more
/// as the lease allows.
fn follows(cluster: &Cluster, since: u64, address: &str, who: &str) -> Result<()> {
    ensure!(comes_true(|| leads(address)), "{who} does not lead");
    let lease = ["get", "lease", "reef-leader", "-n", "reef-system"];
    let taken = cluster.kubectl(&[&lease[..], &["-o", "jsonpath={.spec.acquireTime}"]].concat())?;
    let told = Command::new("date").args(["+%s", "-d", &taken]).output()?;
    let told: u64 = String::from_utf8(told.stdout)?.trim().parse()?;
    let after = told.saturating_sub(since);
    // Both are whole seconds.
    let limit = (LEASE + LATE).as_secs() + 1;
    ensure!(after <= limit, "{who} led after {after} s: {taken}");
    Ok(())
}
