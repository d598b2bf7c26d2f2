//! The API server goes away and comes back: EF tests T1, T2, T5 and T16.

use std::time::Duration;

use anyhow::ensure;
use reef_e2e::call;
use reef_e2e::cluster::ClusterOptions;
use reef_e2e::cluster::faults::signal;
use reef_e2e::mesh::{MONITORING, reef_is_ready, wait};
use reef_e2e::namespace::isolated;

use crate::objects::{TO_V2, WEB, pod, service, shop, slice};
use crate::support::{Fixture, lasting, metrics, sent};

/// Seconds since Reef last heard of a kind, the largest.
fn stalest() -> f64 {
    let all = metrics("reef_source_stale_seconds").unwrap_or_default();
    all.into_values().fold(0.0, f64::max)
}

/// T1.
#[test]
fn an_outage_freezes_the_mesh_and_serves_new_proxies() {
    let name = "outage::an_outage_freezes_the_mesh_and_serves_new_proxies";
    isolated(name, |power| {
        // Its Pod is there before the outage, its proxy comes during it.
        let late = pod("web-9", "10.244.1.19", "--http 8080");
        let mut fixture = Fixture::prepare(power, ClusterOptions::default(), &shop())?;
        fixture.cluster.apply(&late)?;
        fixture.mesh.start_reef()?;
        fixture.start_pods(&shop())?;
        fixture.follows("client-1", WEB, &["web-1", "web-2"])?;

        let both = ["web-1", "web-2"];
        fixture.under_traffic("client-1", WEB, &both, |fixture| {
            let before = sent()?;
            fixture.cluster.stop_api()?;
            std::thread::sleep(lasting(5, 300));
            fixture.cluster.kill_api();
            let noticed = wait(Duration::from_secs(10), || stalest() > 0.0);
            ensure!(noticed, "no kind is stale without an API server");
            std::thread::sleep(lasting(5, 300));
            let stale = stalest();
            ensure!(stale > lasting(3, 250).as_secs_f64(), "stale for {stale} s");
            ensure!(reef_is_ready(), "an outage is no reason to be not ready");
            call::page(MONITORING, "/healthz")?;
            ensure!(
                sent()? == before,
                "{before} and now {} resources sent",
                sent()?
            );
            fixture.start_pods(&late)
        })?;
        fixture.under_traffic("client-1", WEB, &both, |fixture| {
            let before = sent()?;
            fixture.cluster.start_api()?;
            ensure!(
                wait(Duration::from_secs(40), || stalest() == 0.0),
                "still stale for {} s\n{}",
                stalest(),
                fixture.reef_tail()
            );
            ensure!(sent()? == before, "unchanged objects were pushed");
            Ok(())
        })?;
        fixture.cluster.apply(TO_V2)?;
        fixture.follows("client-1", WEB, &["web-2"])
    })
    .unwrap();
}

/// T2 and T16.
#[test]
fn without_an_api_server_nothing_is_served_and_a_restart_sends_nothing_again() {
    let name = "outage::without_an_api_server_nothing_is_served_and_a_restart_sends_nothing_again";
    isolated(name, |power| {
        let mut fixture = Fixture::prepare(power, ClusterOptions::default(), &shop())?;
        fixture.cluster.kill_api();
        fixture.mesh.spawn_reef()?;
        let alive = || call::page(MONITORING, "/healthz").is_ok();
        ensure!(
            wait(Duration::from_secs(10), alive),
            "{}",
            fixture.reef_tail()
        );
        for pod in reef_e2e::manifest::Manifests::parse(&shop())?.pods() {
            fixture.mesh.start_pod(&pod)?;
        }
        // Long enough for Envoys to ask, and for anything that would be sent to be sent.
        std::thread::sleep(lasting(5, 120));
        ensure!(!reef_is_ready(), "ready without an API server");
        ensure!(alive(), "liveness depends on the API server");
        let asked = fixture
            .mesh
            .envoy_stat("client-1", "cluster.reef-xds.upstream_rq_total")?;
        ensure!(asked > 0, "no Envoy asked yet");
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
        fixture.mesh.wait_reef(Duration::from_secs(30))?;
        fixture.mesh.wait_ready(Duration::from_secs(60))?;
        fixture.follows("client-1", WEB, &["web-1", "web-2"])?;

        let before = fixture.mesh.proxies().len();
        fixture.under_traffic("client-1", WEB, &["web-1", "web-2"], |fixture| {
            fixture.mesh.kill_reef();
            fixture.mesh.start_reef()?;
            let back = wait(Duration::from_secs(60), || {
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

/// T5: what was deleted while Reef could not see it is gone afterwards, and nothing else.
#[test]
fn what_was_deleted_meanwhile_is_gone_and_nothing_else() {
    let name = "outage::what_was_deleted_meanwhile_is_gone_and_nothing_else";
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
            reef("STOP")?;
            fixture.cluster.delete(&old)?;
            // The deletes are forgotten: only a new list can tell.
            fixture.cluster.compact()?;
            fixture.cluster.restart_api()?;
            reef("CONT")?;
            let clusters = || fixture.mesh.envoy_admin("client-1", "/clusters");
            let gone = wait(Duration::from_secs(60), || {
                clusters().is_ok_and(|text| !text.contains("old.shop.svc"))
            });
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
