//! The API server goes away and comes back: EF tests T1, T2, T3, T5, T16 and T38.

use std::time::Duration;

use anyhow::ensure;
use reef_e2e::call;
use reef_e2e::cluster::faults::signal;
use reef_e2e::cluster::tokens::Signer;
use reef_e2e::cluster::{ClusterOptions, REEF};
use reef_e2e::mesh::{MONITORING, PATIENCE, comes_true, now, reef_is_ready, wait};
use reef_e2e::namespace::isolated;
use reef_e2e::stream::{Attempt, Kind, node};

use crate::channel::{FORBIDDEN, PROBE, UNKNOWN, judge, own_node, probes, seconds, stranger};
use crate::objects::{TO_V2, WEB, pod, service, shop, slice};
use crate::support::{AUDIENCE, Fixture, lasting, metrics, sent, soaks};

/// Seconds since Reef last heard of a kind, the largest.
fn stalest() -> f64 {
    let all = metrics("reef_source_stale_seconds").unwrap_or_default();
    all.into_values().fold(0.0, f64::max)
}

/// How many streams ended because their connection was old.
fn aged() -> anyhow::Result<f64> {
    let ended = metrics("reef_xds_streams_ended_total")?;
    let of = |(labels, count): (&String, &f64)| labels.contains("aged").then_some(*count);
    Ok(ended.iter().filter_map(of).sum())
}

/// How often the API server was asked about a token.
pub(crate) fn reviews(fixture: &Fixture) -> anyhow::Result<usize> {
    let events = fixture.cluster.audit()?;
    let of_reef = events.iter().filter(|event| event.user.username == REEF);
    let asked = of_reef.filter(|event| event.object_ref.resource == "tokenreviews");
    Ok(asked.count())
}

/// T1.
#[test]
fn an_outage_freezes_the_mesh_and_serves_new_proxies() {
    let name = "outage::an_outage_freezes_the_mesh_and_serves_new_proxies";
    isolated(name, |power| {
        // Its Pod is there before the outage, its proxy comes during it; so do the streams of the probe.
        let late = pod("web-9", "10.244.1.19", "--http 8080");
        let mut fixture = Fixture::prepare(power, ClusterOptions::default(), &shop())?;
        fixture.cluster.apply(&[late.clone(), probes()].concat())?;
        fixture.issue(&late)?;
        let of_probe = |fixture: &Fixture| {
            let token = fixture
                .cluster
                .token_for("shop", "probe", Some(PROBE.0), AUDIENCE);
            token.map(|token| move |name: &str| Attempt::new(name, &own_node()).token(&token))
        };
        let (good, next) = (of_probe(&fixture)?, of_probe(&fixture)?);
        let token = good("").token.unwrap_or_default();
        let forged = |claim: &'static str, signer: Signer| {
            let change = |claims: &mut serde_json::Value| claims[claim] = (seconds() - 3600).into();
            fixture.cluster.forge(&token, change, signer)
        };
        let old = forged("exp", Signer::Cluster)?;
        let foreign = forged("iat", Signer::Stranger)?;
        let wanted = [
            (good("good"), ("OK", "")),
            (good("good, too").by(Kind::Sotw), ("OK", "")),
            (Attempt::new("none", &own_node()), UNKNOWN),
            (Attempt::new("expired", &own_node()).token(&old), UNKNOWN),
            (Attempt::new("forged", &own_node()).token(&foreign), UNKNOWN),
            (
                Attempt {
                    node: node("web-1", "10.244.1.11", "shop"),
                    ..good("another node")
                },
                FORBIDDEN,
            ),
        ];

        fixture
            .mesh
            .set_reef_arguments(&["--max-server-conn-age", "6s"]);
        fixture.mesh.start_reef()?;
        fixture.start_pods(&shop())?;
        fixture.follows("client-1", WEB, &["web-1", "web-2"])?;
        let stranger = stranger(&fixture)?;
        let ages = |from: f64| comes_true(|| aged().is_ok_and(|now| now > from));
        ensure!(ages(0.0), "connections do not age");

        let both = ["web-1", "web-2"];
        fixture.under_traffic("client-1", WEB, &both, |fixture| {
            let before = sent()?;
            fixture.cluster.stop_api()?;
            std::thread::sleep(lasting(5, 300));
            fixture.cluster.kill_api();
            let noticed = comes_true(|| stalest() > 0.0);
            ensure!(noticed, "no kind is stale without an API server");
            // Looked at every second.
            std::thread::sleep(Duration::from_secs(2));
            let young = aged()?;
            std::thread::sleep(lasting(8, 300));
            let stale = stalest();
            ensure!(stale > lasting(3, 250).as_secs_f64(), "stale for {stale} s");
            ensure!(
                aged()? == young,
                "connections age while nobody can be asked"
            );
            ensure!(reef_is_ready(), "an outage is no reason to be not ready");
            call::page(MONITORING, "/healthz")?;
            ensure!(
                sent()? == before,
                "{before} and now {} resources sent",
                sent()?
            );
            // Nobody was asked about these tokens before; the keys that were read say whose they are.
            let attempts = wanted.clone().map(|(attempt, _)| attempt);
            judge(&stranger.open(&attempts)?, &wanted)?;
            fixture.start_pods(&late)
        })?;
        fixture.under_traffic("client-1", WEB, &both, |fixture| {
            let (before, young) = (sent()?, aged()?);
            fixture.cluster.start_api()?;
            ensure!(
                comes_true(|| stalest() == 0.0),
                "still stale for {} s\n{}",
                stalest(),
                fixture.reef_tail()
            );
            ensure!(ages(young), "connections do not age any more");
            ensure!(sent()? == before, "unchanged objects were pushed");
            let asked = reviews(fixture)?;
            let reviewed = comes_true(|| {
                let ends = stranger.open(&[next("next")]);
                ends.is_ok_and(|ends| ends["next"].code == "OK")
                    && reviews(fixture).is_ok_and(|now| now > asked)
            });
            ensure!(reviewed, "nobody is asked\n{}", fixture.reef_tail());
            Ok(())
        })?;
        fixture.cluster.apply(TO_V2)?;
        fixture.follows("client-1", WEB, &["web-2"])?;
        if soaks() {
            a_change_reaches_proxies_soon_after_the_recovery(&mut fixture)?;
        }
        Ok(())
    })
    .unwrap();
}

/// What is changed as soon as the API server is back is with the proxies within five seconds of being written: no back-off is
/// longer than three. By the clock, so only where tests run one by one and nothing else does.
fn a_change_reaches_proxies_soon_after_the_recovery(fixture: &mut Fixture) -> anyhow::Result<()> {
    // Connections that age at every moment would be what is measured.
    fixture.mesh.kill_reef();
    fixture.mesh.set_reef_arguments(&[]);
    fixture.mesh.start_reef()?;
    let all = fixture.mesh.proxies().len();
    for (version, turn) in [("v1", 1), ("v2", 2), ("v1", 3)] {
        let connected = || {
            fixture
                .mesh
                .reef_proxies()
                .is_ok_and(|now| now.len() == all)
        };
        ensure!(comes_true(connected), "{}", fixture.reef_tail());
        fixture.cluster.kill_api();
        // Until every kind waits as long as it ever does.
        std::thread::sleep(Duration::from_secs(20 * turn));
        fixture.cluster.start_api()?;
        fixture.cluster.apply(&TO_V2.replace("v2", version))?;
        let written = now();
        let app = version.replace('v', "web-");
        let mut last = Vec::new();
        let reached = wait(Duration::from_secs(5), || {
            let apps = fixture.answering("client-1", WEB.0, WEB.1);
            last = apps.unwrap_or_default();
            last == [app.as_str()]
        });
        ensure!(
            reached,
            "{last:?}, not {app} after {:?}\n{}",
            written.elapsed(),
            fixture.reef_tail()
        );
    }
    Ok(())
}

/// T2 and T16.
#[test]
fn without_an_api_server_nothing_is_served_and_a_restart_sends_nothing_again() {
    let name = "outage::without_an_api_server_nothing_is_served_and_a_restart_sends_nothing_again";
    isolated(name, |power| {
        // In plaintext, so that Envoys can ask before Reef has its certificate.
        let fixture = Fixture::prepare(power, ClusterOptions::default(), &shop())?;
        let mut fixture = fixture.in_plaintext();
        fixture.cluster.kill_api();
        fixture.mesh.spawn_reef()?;
        let alive = || call::page(MONITORING, "/healthz").is_ok();
        ensure!(comes_true(alive), "{}", fixture.reef_tail());
        for pod in reef_e2e::manifest::Manifests::parse(&shop())?.pods() {
            fixture.mesh.start_pod(&pod)?;
        }
        let asked = |fixture: &Fixture| {
            let stat = "cluster.reef-xds.upstream_rq_total";
            fixture
                .mesh
                .envoy_stat("client-1", stat)
                .unwrap_or_default()
                > 0
        };
        ensure!(comes_true(|| asked(&fixture)), "no Envoy asks");
        // Long enough for anything that would be sent to be sent.
        std::thread::sleep(lasting(5, 120));
        ensure!(!reef_is_ready(), "ready without an API server");
        ensure!(alive(), "liveness depends on the API server");
        for proxy in fixture.mesh.proxies() {
            for stat in [
                "listener_manager.lds.update_success",
                "cluster_manager.cds.update_success",
            ] {
                let count = fixture.mesh.envoy_stat(&proxy, stat)?;
                ensure!(count == 0, "{proxy}: {stat} = {count}");
            }
        }
        fixture.cluster.start_api()?;
        fixture.mesh.wait_reef(PATIENCE)?;
        fixture.mesh.wait_ready(PATIENCE)?;
        fixture.follows("client-1", WEB, &["web-1", "web-2"])?;

        let before = fixture.mesh.proxies().len();
        fixture.under_traffic("client-1", WEB, &["web-1", "web-2"], |fixture| {
            fixture.mesh.kill_reef();
            fixture.mesh.start_reef()?;
            let back = comes_true(|| {
                let connected = fixture.mesh.reef_proxies();
                connected.is_ok_and(|connected| connected.len() == before)
            });
            ensure!(back, "not every proxy came back\n{}", fixture.reef_tail());
            std::thread::sleep(Duration::from_secs(1));
            ensure!(sent()? == 0.0, "{} resources were sent again", sent()?);
            Ok(())
        })?;
        fixture.cluster.apply(TO_V2)?;
        fixture.follows("client-1", WEB, &["web-2"])
    })
    .unwrap();
}

/// T38 in short: Reef ends while it pushes, and whoever comes after it knows what was changed meanwhile.
#[test]
fn an_end_in_the_middle_of_pushes_loses_nothing() {
    let name = "outage::an_end_in_the_middle_of_pushes_loses_nothing";
    isolated(name, |power| {
        let mut fixture = Fixture::start(power, &shop())?;
        fixture.follows("client-1", WEB, &["web-1", "web-2"])?;
        for (signal_name, drain) in [("TERM", lasting(8, 40)), ("KILL", Duration::ZERO)] {
            fixture.under_traffic("client-1", WEB, &["web-1", "web-2"], |fixture| {
                let pid = fixture.mesh.reef_pid();
                let pid = pid.ok_or_else(|| anyhow::anyhow!("Reef does not run"))?;
                let end = |fixture: &mut Fixture| -> anyhow::Result<()> {
                    signal(pid, signal_name)?;
                    // At once, and long before it ends.
                    let unready =
                        wait((drain / 2).max(Duration::from_secs(4)), || !reef_is_ready());
                    ensure!(unready, "ready after SIG{signal_name}");
                    fixture.cluster.apply(TO_V2)?;
                    let ended = wait(drain + Duration::from_secs(20), || {
                        fixture.mesh.reef_ended()
                    });
                    ensure!(ended, "still there after its drain duration");
                    Ok(())
                };
                // Changes are under way when it is told.
                for pods in [&[("web-1", "10.244.1.11")][..], &[("web-2", "10.244.1.12")]] {
                    fixture.cluster.apply(&slice("web", pods))?;
                }
                end(fixture)?;
                fixture.cluster.apply(&shop())?;
                fixture.mesh.start_reef()?;
                fixture.follows("client-1", WEB, &["web-2"])?;
                let complaints = fixture.mesh.complaints()?;
                ensure!(complaints.is_empty(), "{complaints:?}");
                // The rule alone: a route to a subset that is gone before it would answer with errors.
                let rule = TO_V2.split("---\n").nth(2).unwrap_or_default();
                fixture.cluster.delete(rule)?;
                fixture.follows("client-1", WEB, &["web-1", "web-2"])
            })?;
        }
        Ok(())
    })
    .unwrap();
}

/// How often each kind was listed again, by the labels of the count.
fn relists() -> anyhow::Result<std::collections::BTreeMap<String, f64>> {
    metrics("reef_source_relists_total")
}

/// T3 and T5: history is forgotten. Nothing is sent if nothing changed; what was deleted while Reef could not see it is
/// gone afterwards, and nothing else.
#[test]
fn forgotten_history_costs_one_list_and_what_was_deleted_is_gone() {
    let name = "outage::forgotten_history_costs_one_list_and_what_was_deleted_is_gone";
    isolated(name, |power| {
        let old = [
            service("old", "10.96.1.2"),
            slice("old", &[("web-1", "10.244.1.11")]),
        ]
        .concat();
        let all = [shop(), old.clone()].concat();
        let mut fixture = Fixture::start(power, &all)?;
        fixture.follows("client-1", WEB, &["web-1", "web-2"])?;
        fixture.follows("client-1", ("10.96.1.2:80", "old.shop"), &["web-1"])?;
        let reef = fixture.mesh.reef_pid();
        fixture.under_traffic("client-1", WEB, &["web-1", "web-2"], |fixture| {
            let reef = reef.map(|pid| move |name: &str| signal(pid, name));
            let reef = reef.ok_or_else(|| anyhow::anyhow!("Reef does not run"))?;
            let all = || -> anyhow::Result<f64> { Ok(relists()?.values().sum()) };
            let (before, listed) = (sent()?, all()?);
            reef("STOP")?;
            // An object that means nothing to anybody makes the versions that Reef knows old ones.
            let how = ["annotate", "service", "old", "-n", "shop", "turn=1"];
            fixture.cluster.kubectl(&how)?;
            fixture.cluster.compact()?;
            fixture.cluster.restart_api()?;
            reef("CONT")?;
            let again = comes_true(|| all().is_ok_and(|now| now > listed) && stalest() == 0.0);
            ensure!(again, "nothing was listed again\n{}", fixture.reef_tail());
            std::thread::sleep(Duration::from_secs(1));
            let often: Vec<_> = relists()?.into_iter().filter(|(_, n)| *n > 1.0).collect();
            ensure!(often.is_empty(), "listed more than once: {often:?}");
            ensure!(sent()? == before, "unchanged objects were sent");

            reef("STOP")?;
            fixture.cluster.delete(&old)?;
            // The deletes are forgotten: only a new list can tell.
            fixture.cluster.compact()?;
            fixture.cluster.restart_api()?;
            reef("CONT")?;
            let clusters = || fixture.mesh.envoy_admin("client-1", "/clusters");
            let gone = comes_true(|| clusters().is_ok_and(|text| !text.contains("old.shop.svc")));
            ensure!(gone, "the deleted Service stays\n{}", fixture.reef_tail());
            ensure!(
                clusters()?.contains("web.shop.svc"),
                "the other went with it"
            );
            Ok(())
        })
    })
    .unwrap();
}
