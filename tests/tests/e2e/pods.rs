//! Pods that come, go and are in several Services.

use anyhow::{Result, ensure};
use reef_e2e::call::Protocol::{Http1, Tcp};
use reef_e2e::call::{Answer, Call};
use reef_e2e::mesh::comes_true;
use reef_e2e::namespace::isolated;
use reef_e2e::traffic;

use crate::kinds::REGISTRY_ONLY;
use crate::support::{Fixture, READY, pod, service, slice};

const NOT_READY: &str = "ready: false, serving: false";
const DRAINING: &str = "ready: false, serving: true, terminating: true";

/// Calls from the client again and again while `play` runs; fails if one call was not answered by
/// one of `apps`.
pub(crate) fn under_traffic(
    mesh: &Fixture,
    call: &Call,
    apps: &[&str],
    play: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let socket = mesh.mesh.control_of("client")?;
    let good = |answer: &Answer| apps.contains(&answer.app.as_str());
    traffic::under(&socket, call, good, play)
}

#[test]
fn a_pod_added_to_a_headless_service_is_reached_and_no_call_fails() {
    let name = "pods::a_pod_added_to_a_headless_service_is_reached_and_no_call_fails";
    isolated(name, |power| {
        let port = "{name: tcp-x, port: 7000}";
        let manifests = [
            REGISTRY_ONLY.to_owned(),
            pod("client", "10.244.1.10", ""),
            pod("ledger-1", "10.244.1.11", "--tcp 7000"),
            pod("ledger-2", "10.244.1.12", "--tcp 7000"),
            service("ledger", "ledger", port, "clusterIP: None"),
            slice(
                "ledger",
                port,
                &[
                    ("ledger-1", "10.244.1.11", READY),
                    ("ledger-2", "10.244.1.12", NOT_READY),
                ],
            ),
        ];
        let mesh = Fixture::of(power, &manifests.concat())?;
        let second = || mesh.call("client", Tcp, "10.244.1.12:7000", "");
        // REGISTRY_ONLY: an address that is no endpoint leads nowhere.
        assert!(second().is_err(), "{:?}", second());
        let first = Call {
            protocol: Tcp,
            address: "10.244.1.11:7000".to_owned(),
            authority: String::new(),
            path: "hello".to_owned(),
        };
        under_traffic(&mesh, &first, &["ledger-1"], || {
            mesh.edit(NOT_READY, READY)?;
            let reached = || second().is_ok_and(|answer| answer.app == "ledger-2");
            ensure!(comes_true(reached), "{:?}", second());
            Ok(())
        })?;
        Ok(())
    })
    .unwrap();
}

#[test]
fn pods_not_ready_or_draining_get_no_new_call_and_none_fails_on_the_way() {
    let name = "pods::pods_not_ready_or_draining_get_no_new_call_and_none_fails_on_the_way";
    isolated(name, |power| {
        let port = "{name: http, port: 8080}";
        let manifests = [
            pod("client", "10.244.1.10", ""),
            pod("cart-1", "10.244.1.11", "--http 8080"),
            pod("cart-2", "10.244.1.12", "--http 8080"),
            pod("cart-3", "10.244.1.13", "--http 8080"),
            service("cart", "cart", port, "clusterIP: 10.96.1.1"),
            slice(
                "cart",
                port,
                &[
                    ("cart-1", "10.244.1.11", READY),
                    (
                        "cart-2",
                        "10.244.1.12",
                        "ready: true, serving: true, terminating: false",
                    ),
                    ("cart-3", "10.244.1.13", NOT_READY),
                ],
            ),
        ];
        let mesh = Fixture::of(power, &manifests.concat())?;
        let call = Call {
            protocol: Http1,
            address: "10.96.1.1:8080".to_owned(),
            authority: "cart.shop:8080".to_owned(),
            path: "/".to_owned(),
        };
        let seen = |app: &str| {
            (0..12).any(|_| mesh.mesh.call("client", &call).is_ok_and(|a| a.app == app))
        };
        assert!(seen("cart-1") && seen("cart-2") && !seen("cart-3"));
        under_traffic(&mesh, &call, &["cart-1", "cart-2"], || {
            mesh.edit("ready: true, serving: true, terminating: false", DRAINING)?;
            ensure!(comes_true(|| !seen("cart-2")), "still called");
            Ok(())
        })?;
        assert!(seen("cart-1") && !seen("cart-2") && !seen("cart-3"));
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_pod_may_be_in_two_services() {
    isolated("pods::a_pod_may_be_in_two_services", |power| {
        let (front, back) = (
            "{name: http, port: 80, targetPort: 8080}",
            "{name: http, port: 8080}",
        );
        let tcp = "{name: tcp-x, port: 7000}";
        let both = [("cart-1", "10.244.1.11", READY)];
        let manifests = [
            pod("client", "10.244.1.10", ""),
            pod("cart-1", "10.244.1.11", "--http 8080 --tcp 7000"),
            service("front", "cart", front, "clusterIP: 10.96.1.1"),
            slice("front", "{name: http, port: 8080}", &both),
            service(
                "back",
                "cart",
                &format!("{back}, {tcp}"),
                "clusterIP: 10.96.1.2",
            ),
            slice("back", &format!("{back}, {tcp}"), &both),
        ];
        let mesh = Fixture::of(power, &manifests.concat())?;
        for (address, host) in [
            ("10.96.1.1:80", "front.shop"),
            ("10.96.1.2:8080", "back.shop:8080"),
        ] {
            let answer = mesh.call("client", Http1, address, host)?;
            assert_eq!(
                (answer.status, answer.app.as_str()),
                (200, "cart-1"),
                "{host}"
            );
        }
        assert_eq!(
            mesh.call("client", Tcp, "10.96.1.2:7000", "")?.app,
            "cart-1"
        );
        Ok(())
    })
    .unwrap();
}
