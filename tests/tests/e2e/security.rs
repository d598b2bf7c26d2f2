//! Security that Reef can't enforce yet closes what it protects, unless Reef is told otherwise.

use anyhow::{Result, ensure};
use reef_e2e::call::Protocol::{Banner, Http1, Tcp};
use reef_e2e::mesh::comes_true;
use reef_e2e::namespace::isolated;

use crate::support::{Fixture, READY, pod, service, slice};

const PORTS: &str = "{name: http, port: 8080}, {name: http-late, port: 8081}, \
    {name: tcp-x, port: 7000}, {name: tcp-y, port: 7001}";
const LISTEN: &str = "--http 8080 --http 8081 --tcp 7000 --banner 7001 --http 9999";

const POLICY: &str = "\
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec: {selector: {matchLabels: {app: cart}}, action: ALLOW, rules: [{to: [{operation: {paths: [/path]}}]}]}
";

const STRICT: &str = "\
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: cart, namespace: shop}
spec: {selector: {matchLabels: {app: cart}}, mtls: {mode: STRICT}, portLevelMtls: {7000: {mode: DISABLE}}}
";

/// A client, `cart` and `stock`, which nothing selects.
fn manifests(policy: &str) -> String {
    [
        pod("client", "10.244.1.10", ""),
        pod("cart-1", "10.244.1.11", LISTEN),
        pod("stock-1", "10.244.1.12", LISTEN),
        service("cart", "cart", PORTS, "clusterIP: 10.96.1.1"),
        slice("cart", PORTS, &[("cart-1", "10.244.1.11", READY)]),
        service("stock", "stock", PORTS, "clusterIP: 10.96.1.2"),
        slice("stock", PORTS, &[("stock-1", "10.244.1.12", READY)]),
        policy.to_owned(),
    ]
    .concat()
}

fn status(mesh: &Fixture, ip: &str, host: &str) -> Result<u16> {
    Ok(mesh.call("client", Http1, ip, host)?.status)
}

/// Every port of `stock` answers.
fn untouched(mesh: &Fixture) -> Result<()> {
    ensure!(status(mesh, "10.96.1.2:8080", "stock.shop:8080")? == 200);
    ensure!(mesh.call("client", Tcp, "10.96.1.2:7000", "")?.app == "stock-1");
    ensure!(mesh.call("client", Banner, "10.96.1.2:7001", "")?.app == "stock-1");
    ensure!(status(mesh, "10.244.1.12:9999", "10.244.1.12:9999")? == 200);
    Ok(())
}

#[test]
fn authorization_closes_every_port_unless_reef_is_told_to_let_it_through() {
    let name = "security::authorization_closes_every_port_unless_reef_is_told_to_let_it_through";
    isolated(name, |power| {
        let mut mesh = Fixture::of(power, &manifests(POLICY))?;
        let denied = mesh.call("client", Http1, "10.96.1.1:8080", "cart.shop:8080")?;
        assert_eq!((denied.status, denied.app.as_str()), (403, ""));
        // A server that speaks first is not heard either, and no port is left out.
        for (protocol, port) in [(Tcp, 7000), (Banner, 7001)] {
            let address = format!("10.96.1.1:{port}");
            assert!(
                mesh.call("client", protocol, &address, "").is_err(),
                "{port}"
            );
        }
        assert_eq!(status(&mesh, "10.244.1.11:9999", "10.244.1.11:9999")?, 403);
        untouched(&mesh)?;

        // What only watches closes nothing. Only new connections see a change: a kept one stays with the chain it
        // came in by, until Envoy has drained that.
        let tcp = |mesh: &Fixture| mesh.call("client", Tcp, "10.96.1.1:7000", "");
        mesh.edit("action: ALLOW", "action: AUDIT")?;
        assert!(comes_true(|| tcp(&mesh).is_ok()));
        mesh.edit("action: AUDIT", "action: DENY")?;
        assert!(comes_true(|| tcp(&mesh).is_err()));

        // Told so, Reef lets it through.
        mesh.mesh.kill_reef();
        mesh.mesh
            .set_reef_arguments(&["--unenforced-security", "allow"]);
        mesh.mesh.start_reef()?;
        assert!(comes_true(|| tcp(&mesh).is_ok()));
        let open = mesh.call("client", Http1, "10.96.1.1:8081", "cart.shop:8081")?;
        assert_eq!((open.status, open.app.as_str()), (200, "cart-1"));
        let open = mesh.call("client", Banner, "10.96.1.1:7001", "")?;
        assert_eq!(open.app, "cart-1");
        assert!(mesh.mesh.complaints()?.is_empty());
        Ok(())
    })
    .unwrap();
}

#[test]
fn strict_mtls_closes_the_ports_of_a_proxy_without_certificate() {
    let name = "security::strict_mtls_closes_the_ports_of_a_proxy_without_certificate";
    isolated(name, |power| {
        let mesh = Fixture::of(power, &manifests(STRICT))?;
        assert_eq!(status(&mesh, "10.96.1.1:8080", "cart.shop:8080")?, 403);
        assert!(mesh.call("client", Banner, "10.96.1.1:7001", "").is_err());
        // The port with a mode of its own is not among them.
        assert_eq!(
            mesh.call("client", Tcp, "10.96.1.1:7000", "")?.app,
            "cart-1"
        );
        untouched(&mesh)?;
        Ok(())
    })
    .unwrap();
}
