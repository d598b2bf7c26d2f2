//! Which app answers which request, through two real Envoys under Reef.

use std::collections::BTreeSet;
use std::time::Duration;

use reef_e2e::call::Protocol::{Grpc, Http1, Http2, Tcp};
use reef_e2e::demo::edit::edit;
use reef_e2e::mesh::comes_true;
use reef_e2e::namespace::isolated;

use crate::support::{Fixture, UNKNOWN};

const REGISTRY_ONLY: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    outboundTrafficPolicy:
      mode: REGISTRY_ONLY
";

#[test]
fn every_protocol_reaches_the_app_it_names() {
    isolated(
        "demo_mesh::every_protocol_reaches_the_app_it_names",
        |power| {
            let mesh = Fixture::start(power, "", &[])?;
            // Of all tests this one, with the most Envoys, says how soon.
            let live_after = mesh.live_after;
            assert!(live_after <= Duration::from_secs(5), "{live_after:?}");
            let http1 = mesh.ask("web-1", Http1, "cart.shop", 8080)?;
            assert_eq!((http1.status, http1.app.as_str()), (200, "cart-1"));
            // Both ends are Envoys: the app sees what Envoy adds.
            assert!(http1.body.contains("x-request-id"), "{}", http1.body);
            let http2 = mesh.ask("cart-1", Http2, "prices.stock", 8081)?;
            assert_eq!((http2.status, http2.app.as_str()), (200, "prices-1"));
            assert!(http2.body.contains("HTTP/2.0"), "{}", http2.body);
            let grpc = mesh.ask("cart-1", Grpc, "checkout.shop", 9000)?;
            assert_eq!(grpc.app, "checkout-1");
            assert_eq!(grpc.grpc_status.as_deref(), Some("0"));
            assert_eq!(mesh.who("audit-1", Tcp, "queue.ops", 5672)?, "queue-1");
            // Headless: the caller chooses the pod.
            for (address, pod) in [("10.244.2.30", "ledger-1"), ("10.244.2.31", "ledger-2")] {
                assert_eq!(mesh.who("checkout-1", Tcp, address, 7000)?, pod);
            }
            let payments = mesh.who("web-1", Http1, "payments.example.com", 80)?;
            assert_eq!(payments, "payments.example.com");
            // Every ready endpoint gets its share, and no other.
            let mut seen = BTreeSet::new();
            for _ in 0..20 {
                seen.insert(mesh.who("web-1", Http1, "catalog.stock", 8080)?);
            }
            assert_eq!(seen, ["catalog-1", "catalog-2"].map(str::to_owned).into());
            Ok(())
        },
    )
    .unwrap();
}

#[test]
fn a_host_outside_the_scope_is_unknown_and_unknown_hosts_are_let_through() {
    let name = "demo_mesh::a_host_outside_the_scope_is_unknown_and_unknown_hosts_are_let_through";
    isolated(name, |power| {
        let mesh = Fixture::start(power, "", &["web-1", "cart-1", "audit-1"])?;
        // No listener knows the port, and nobody has the virtual address: the connection breaks.
        let outside = mesh.ask("web-1", Http1, "audit.ops", 8088);
        assert!(outside.is_err(), "{outside:?}");
        let unknown = UNKNOWN.to_string();
        let let_through = mesh.ask("web-1", Http1, &unknown, 80)?;
        assert_eq!(
            (let_through.status, let_through.app.as_str()),
            (200, "unknown")
        );
        Ok(())
    })
    .unwrap();
}

#[test]
fn registry_only_refuses_unknown_hosts_and_keeps_known_ones() {
    let name = "demo_mesh::registry_only_refuses_unknown_hosts_and_keeps_known_ones";
    isolated(name, |power| {
        let mesh = Fixture::start(power, REGISTRY_ONLY, &["web-1", "cart-1"])?;
        let unknown = mesh.ask("web-1", Http1, &UNKNOWN.to_string(), 80)?;
        assert_eq!((unknown.status, unknown.app.as_str()), (502, ""));
        // On a port no service has there is no HTTP to answer with.
        let tcp = mesh.ask("web-1", Tcp, &UNKNOWN.to_string(), 81);
        assert!(tcp.is_err(), "{tcp:?}");
        assert_eq!(mesh.who("web-1", Http1, "cart.shop", 8080)?, "cart-1");
        let payments = mesh.who("web-1", Http1, "payments.example.com", 80)?;
        assert_eq!(payments, "payments.example.com");
        Ok(())
    })
    .unwrap();
}

#[test]
fn an_edit_reaches_exactly_the_proxies_that_import_it() {
    let name = "demo_mesh::an_edit_reaches_exactly_the_proxies_that_import_it";
    isolated(name, |power| {
        let pods = [
            "web-1",
            "catalog-1",
            "catalog-2",
            "catalog-3",
            "prices-1",
            "audit-1",
        ];
        let fixture = Fixture::start(power, "", &pods)?;
        let file = fixture.config.join("stock-catalog.yaml");
        let moved = edit(&fixture.mesh, &file, "ready: false", "ready: true")?;
        let names: Vec<&str> = moved.received.keys().map(String::as_str).collect();
        // The namespace ops has no Sidecar, so it sees everything; the stock does not import it.
        assert_eq!(names, ["audit-1", "web-1"]);
        assert!(comes_true(|| {
            fixture
                .who("web-1", Http1, "catalog.stock", 8080)
                .is_ok_and(|app| app == "catalog-3")
        }));
        let file = fixture.config.join("scope-shop.yaml");
        let wider = "- \"stock/*\"\n        - \"ops/audit.ops.svc.cluster.local\"";
        let moved = edit(&fixture.mesh, &file, "- \"stock/*\"", wider)?;
        let names: Vec<&str> = moved.received.keys().map(String::as_str).collect();
        assert_eq!(names, ["web-1"]);
        assert_eq!(fixture.who("web-1", Http1, "audit.ops", 8088)?, "audit-1");
        assert_eq!(fixture.mesh.complaints()?, [""; 0]);
        Ok(())
    })
    .unwrap();
}
