//! Two networks that can't reach each other, and gateways between them.
//!
//! Proxies of the demo have no certificates, so what goes through the gateway here is plain text: these tests show where
//! connections go. That they are mesh TLS where there are certificates is shown by the configuration, in the golden cases.

use std::time::Duration;

use anyhow::Result;
use reef_e2e::call::Protocol::Http1;
use reef_e2e::mesh::wait;
use reef_e2e::namespace::isolated;

use crate::support::{Fixture, pod};

/// The service, whose only endpoint is in another network: its address leads nowhere from here.
const FAR: &str = "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: far, namespace: shop}
spec:
  hosts: [far.example.com]
  addresses: [10.96.7.7]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 8080, name: http, protocol: HTTP}]
  endpoints: [{address: 10.99.0.11, network: net-b, labels: {security.istio.io/tlsMode: istio}}]
";

/// The way to it, as a directory says it.
const NETWORKS: &str = "---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    connectTimeout: 1s
  meshNetworks: |
    networks:
      net-b: {gateways: [{address: 10.244.1.21, port: 15443}]}
";

/// Gateways that relay to one app each, and a client. The port of the apps is no port of a service: the proxies beside the
/// gateways would route by the name in requests, to the gateways.
fn manifests() -> String {
    [
        pod("client", "10.244.1.10", ""),
        pod("gate-1", "10.244.1.21", "--relay 15443=10.244.1.11:9090"),
        pod("gate-2", "10.244.1.22", "--relay 15444=10.244.1.12:9090"),
        pod("far-1", "10.244.1.11", "--http 9090"),
        pod("far-2", "10.244.1.12", "--http 9090"),
        FAR.to_owned(),
        NETWORKS.to_owned(),
    ]
    .concat()
}

#[test]
fn another_network_is_entered_through_its_gateway() {
    let name = "networks::another_network_is_entered_through_its_gateway";
    isolated(name, |power| {
        let mesh = Fixture::of(power, &manifests())?;
        let ask = || -> Result<(u16, String)> {
            let answer = mesh.call("client", Http1, "10.96.7.7:8080", "far.example.com:8080")?;
            Ok((answer.status, answer.app))
        };
        let soon = |wanted: (u16, &str)| {
            let is = || ask().is_ok_and(|(status, app)| (status, app.as_str()) == wanted);
            assert!(wait(Duration::from_secs(10), is), "{wanted:?}: {:?}", ask());
        };
        soon((200, "far-1"));

        // The gateway moves, and everybody follows.
        mesh.edit(
            "address: 10.244.1.21, port: 15443",
            "address: 10.244.1.22, port: 15444",
        )?;
        soon((200, "far-2"));

        // Both: each takes its share.
        let both = "{address: 10.244.1.22, port: 15444}, {address: 10.244.1.21, port: 15443}";
        mesh.edit("{address: 10.244.1.22, port: 15444}", both)?;
        soon((200, "far-1"));
        soon((200, "far-2"));

        // A workload that speaks no mesh TLS is not found through a gateway.
        mesh.edit(", labels: {security.istio.io/tlsMode: istio}", "")?;
        soon((503, ""));
        mesh.edit(
            "network: net-b}",
            "network: net-b, labels: {security.istio.io/tlsMode: istio}}",
        )?;
        soon((200, "far-1"));

        // Without a gateway the network is reached directly, and there is no way.
        mesh.edit(&format!("gateways: [{both}]"), "gateways: []")?;
        soon((503, ""));
        assert!(mesh.mesh.complaints()?.is_empty());
        Ok(())
    })
    .unwrap();
}
