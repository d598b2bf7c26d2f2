//! Reef is killed and started again under traffic.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::ensure;
use reef_e2e::call::Protocol::Http1;
use reef_e2e::mesh::wait;
use reef_e2e::namespace::isolated;

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
        let stop = AtomicBool::new(false);
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
        let (asked, failed, before, after) = std::thread::scope(|scope| {
            let traffic = scope.spawn(|| {
                let (mut asked, mut failed) = (0_u32, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    asked += 1;
                    match reef_e2e::control::ask(&socket, &call) {
                        Ok(answer) if answer.status == 200 && answer.app == "cart-1" => {}
                        other => failed.push(format!("{other:?}")),
                    }
                }
                (asked, failed)
            });
            let play = || -> anyhow::Result<_> {
                let before = counts(&fixture)?;
                fixture.mesh.kill_reef();
                std::thread::sleep(Duration::from_millis(500));
                fixture.mesh.start_reef()?;
                let back = wait(Duration::from_secs(40), || {
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
                Ok((before, counts(&fixture)?, sent))
            };
            let played = { play }();
            stop.store(true, Ordering::Relaxed);
            let (asked, failed) = traffic.join().unwrap();
            let (before, after, sent) = played?;
            ensure!(sent.is_empty(), "sent again: {sent:?}");
            Ok((asked, failed, before, after))
        })?;
        assert!(asked > 100, "only {asked} requests");
        assert_eq!(failed, [""; 0]);
        assert_eq!(before, after, "Envoy applied updates");
        Ok(())
    })
    .unwrap();
}
