//! Reef is killed and started again under traffic.

use std::time::Duration;

use anyhow::ensure;
use reef_e2e::call::Answer;
use reef_e2e::call::Protocol::Http1;
use reef_e2e::mesh::comes_true;
use reef_e2e::namespace::isolated;
use reef_e2e::traffic;

use crate::support::Fixture;

#[test]
fn a_killed_reef_fails_no_request_and_sends_nothing_again() {
    let name = "restart::a_killed_reef_fails_no_request_and_sends_nothing_again";
    isolated(name, |power| {
        let mut fixture =
            Fixture::start(power, "", &["web-1", "cart-1", "catalog-1", "catalog-2"])?;
        let call = reef_e2e::call::Call {
            protocol: Http1,
            address: format!("{}:8080", fixture.manifests.address_of("cart.shop")?),
            authority: "cart.shop:8080".to_owned(),
            path: "/".to_owned(),
        };
        let socket = fixture.mesh.control_of("web-1")?;
        let proxies = fixture.mesh.proxies();
        let counts = |fixture: &Fixture| -> anyhow::Result<Vec<u64>> {
            let mut found = Vec::new();
            for proxy in &proxies {
                for stat in [
                    "cluster_manager.cds.update_success",
                    "listener_manager.lds.update_success",
                ] {
                    found.push(fixture.mesh.envoy_stat(proxy, stat)?);
                }
            }
            Ok(found)
        };
        let good = |answer: &Answer| answer.status == 200 && answer.app == "cart-1";
        let (before, after) = traffic::under(&socket, &call, good, || {
            let before = counts(&fixture)?;
            fixture.mesh.kill_reef();
            std::thread::sleep(Duration::from_millis(500));
            fixture.mesh.start_reef()?;
            let back = comes_true(|| {
                let connected = fixture.mesh.reef_proxies();
                connected.is_ok_and(|connected| connected.len() == proxies.len())
            });
            ensure!(back, "not every proxy came back");
            std::thread::sleep(Duration::from_secs(1));
            // What Reef itself says it sent since its start.
            let mut sent = Vec::new();
            for proxy in fixture.mesh.reef_proxies()? {
                for (kind, state) in proxy["types"].as_object().into_iter().flatten() {
                    if state["bytes"].as_u64() != Some(0) {
                        sent.push(format!("{}: {kind}: {}", proxy["id"], state["bytes"]));
                    }
                }
            }
            ensure!(sent.is_empty(), "sent again: {sent:?}");
            Ok((before, counts(&fixture)?))
        })?;
        assert_eq!(before, after, "Envoy applied updates");
        Ok(())
    })
    .unwrap();
}

/// The Envoy is told to go first, so it moves without an error on its connection, and is sent nothing again.
#[test]
fn a_connection_of_age_is_left_for_another_without_a_resource() {
    let name = "restart::a_connection_of_age_is_left_for_another_without_a_resource";
    isolated(name, |power| {
        let mut fixture = Fixture::start(power, "", &["web-1"])?;
        let stats = |fixture: &Fixture, names: [&str; 2]| -> anyhow::Result<Vec<u64>> {
            let all = names.map(|name| fixture.mesh.envoy_stat("web-1", name));
            all.into_iter().collect()
        };
        let applied = [
            "cluster_manager.cds.update_success",
            "listener_manager.lds.update_success",
        ];
        let before = stats(&fixture, applied)?;
        fixture.mesh.kill_reef();
        fixture
            .mesh
            .set_reef_arguments(&["--max-server-conn-age", "4s"]);
        fixture.mesh.start_reef()?;
        let connected = |fixture: &Fixture| {
            comes_true(|| {
                let proxies = fixture.mesh.reef_proxies();
                proxies.is_ok_and(|proxies| proxies.len() == 1)
            })
        };
        ensure!(connected(&fixture), "the Envoy did not come back");
        // How often it was told to go, and how often a connection was lost under a stream.
        let ends = [
            "cluster.reef-xds.upstream_cx_close_notify",
            "cluster.reef-xds.upstream_cx_destroy_remote_with_active_rq",
        ];
        let then = stats(&fixture, ends)?;
        let moved = comes_true(|| stats(&fixture, ends).is_ok_and(|now| now[0] >= then[0] + 2));
        ensure!(moved, "the Envoy was never told to go");
        ensure!(connected(&fixture), "the Envoy did not come back");
        assert_eq!(stats(&fixture, ends)?[1], then[1], "a stream was cut");
        assert_eq!(stats(&fixture, applied)?, before, "Envoy applied updates");
        let pushed = reef_e2e::call::page(reef_e2e::mesh::MONITORING, "/metrics")?;
        let again = pushed
            .lines()
            .find(|line| line.starts_with("reef_xds_pushed_resources_total{"));
        assert_eq!(again, None, "sent again");
        assert!(pushed.contains("reef_xds_streams_ended_total{reason=\"aged\"}"));
        Ok(())
    })
    .unwrap();
}
