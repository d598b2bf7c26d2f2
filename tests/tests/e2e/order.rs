//! What real Envoys do while their configuration changes: items 15 and 16 of the protocol's own list of tests.

use std::time::Duration;

use anyhow::{Result, ensure};
use reef_e2e::call::Call;
use reef_e2e::call::Protocol::Http1;
use reef_e2e::mesh::comes_true;
use reef_e2e::namespace::isolated;

use crate::pods::under_traffic;
use crate::support::{Fixture, READY, pod, service, slice};

const CONFIG_MAP: &str = "\
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: \"connectTimeout: 5s\"}
";
const SIDECAR: &str = "\
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec: {egress: [{hosts: [\"./*\"]}]}
";
/// Port of the service, and of its endpoints.
const PORT: &str = "{name: http, port: 8080}";
const AT: &str = "{name: http, port: 8080, protocol: TCP}";

/// A client, a service with two pods that listen on two ports each, and one the client does not call.
fn manifests() -> String {
    [
        CONFIG_MAP.to_owned(),
        SIDECAR.to_owned(),
        pod("client", "10.244.1.10", ""),
        pod("cart-1", "10.244.1.11", "--http 8080 --http 8081"),
        pod("cart-2", "10.244.1.12", "--http 8080 --http 8081"),
        service("cart", "cart", PORT, "clusterIP: 10.96.1.1"),
        slice(
            "cart",
            AT,
            &[
                ("cart-1", "10.244.1.11", READY),
                ("cart-2", "10.244.1.12", READY),
            ],
        ),
        service("spare", "spare", PORT, "clusterIP: 10.96.1.2"),
    ]
    .concat()
}

/// What of the manifests changes every cluster.
fn timeout(seconds: u64) -> String {
    format!("connectTimeout: {seconds}s")
}

fn cart() -> Call {
    Call {
        protocol: Http1,
        address: "10.96.1.1:8080".to_owned(),
        authority: "cart:8080".to_owned(),
        path: "/".to_owned(),
    }
}

/// Waits until a page of the client's Envoy has a text, or has it no longer.
fn shows(mesh: &Fixture, path: &str, text: &str, present: bool) -> Result<()> {
    let page = || mesh.mesh.envoy_admin("client", path);
    let right = || page().is_ok_and(|page| page.contains(text) == present);
    ensure!(
        comes_true(right),
        "{path}: {text} is not {}:\n{}",
        if present { "there" } else { "gone" },
        page()?
    );
    Ok(())
}

/// Where the client's Envoy shows its clusters and their endpoints, and the clusters' settings.
const CLUSTERS: &str = "/clusters";
const SETTINGS: &str = "/config_dump?resource=dynamic_active_clusters";

#[test]
fn reef_15_no_call_fails_while_clusters_ports_and_scopes_change() {
    let name = "order::reef_15_no_call_fails_while_clusters_ports_and_scopes_change";
    isolated(name, |power| {
        let mut mesh = Fixture::of(power, &manifests())?;
        under_traffic(&mesh, &cart(), &["cart-1", "cart-2"], || {
            for round in 0..3 {
                // Every cluster is replaced by another of its name.
                mesh.edit(&timeout(5 + round), &timeout(6 + round))?;
                shows(&mesh, SETTINGS, &format!("\"{}s\"", 6 + round), true)?;
                mesh.edit("./*", "./cart.shop.svc.cluster.local")?;
                shows(&mesh, CLUSTERS, "||spare.", false)?;
                mesh.edit("8080, protocol", "8081, protocol")?;
                shows(&mesh, CLUSTERS, "10.244.1.11:8081", true)?;
                mesh.edit("./cart.shop.svc.cluster.local", "./*")?;
                shows(&mesh, CLUSTERS, "||spare.", true)?;
                mesh.edit("8081, protocol", "8080, protocol")?;
                shows(&mesh, CLUSTERS, "10.244.1.11:8080", true)?;
            }
            Ok(())
        })?;
        mesh.settled()
    })
    .unwrap();
}

#[test]
fn reef_16_reef_killed_while_clusters_warm_leaves_nothing_warming() {
    let name = "order::reef_16_reef_killed_while_clusters_warm_leaves_nothing_warming";
    isolated(name, |power| {
        let mut mesh = Fixture::of(power, &manifests())?;
        for round in 0..5 {
            mesh.edit(&timeout(5 + round), &timeout(6 + round))?;
            // Somewhere between the edit and the last ACK of what it caused.
            std::thread::sleep(Duration::from_millis(40 * round));
            mesh.mesh.kill_reef();
            mesh.mesh.start_reef()?;
            let back = comes_true(|| {
                let connected = mesh.mesh.reef_proxies();
                connected.is_ok_and(|connected| connected.len() == mesh.mesh.proxies().len())
            });
            ensure!(back, "round {round}: not every proxy came back");
            mesh.settled()?;
            shows(&mesh, SETTINGS, &format!("\"{}s\"", 6 + round), true)?;
            let answer = mesh.mesh.call("client", &cart())?;
            assert!(answer.app.starts_with("cart-"), "{answer:?}");
        }
        Ok(())
    })
    .unwrap();
}
