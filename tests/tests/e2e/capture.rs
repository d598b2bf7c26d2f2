//! How connections get into and out of a sidecar: TPROXY, none at all, and what a Sidecar's ingress
//! listeners do.

use anyhow::Result;
use reef_e2e::call::Protocol::{Http1, Tcp};
use reef_e2e::namespace::{Power, isolated, run};

use crate::support::{Fixture, READY, pod, pod_with, service, slice};

const TPROXY: &str = "sidecar.istio.io/interceptionMode: TPROXY";
const NONE: &str = "sidecar.istio.io/interceptionMode: NONE";

#[test]
fn tproxy_keeps_the_address_of_the_caller() {
    isolated("capture::tproxy_keeps_the_address_of_the_caller", |power| {
        let ports = "{name: http, port: 8080}, {name: tcp-x, port: 7000}";
        let listen = "--http 8080 --tcp 7000";
        let manifests = [
            pod("client", "10.244.1.10", ""),
            pod_with("kept-1", "10.244.1.11", listen, TPROXY),
            pod("plain-1", "10.244.1.12", listen),
            service("kept", "kept", ports, "clusterIP: 10.96.1.1"),
            slice("kept", ports, &[("kept-1", "10.244.1.11", READY)]),
            service("plain", "plain", ports, "clusterIP: 10.96.1.2"),
            slice("plain", ports, &[("plain-1", "10.244.1.12", READY)]),
        ];
        let mesh = Fixture::of(power, &manifests.concat())?;
        for (vip, app, peer) in [
            ("10.96.1.1", "kept-1", "10.244.1.10"),
            // Redirected connections come from Envoy's own address on loopback.
            ("10.96.1.2", "plain-1", "127.0.0.6"),
        ] {
            let host = app.replace("-1", ".shop:8080");
            let http = mesh.call("client", Http1, &format!("{vip}:8080"), &host)?;
            assert_eq!((http.status, http.app.as_str()), (200, app));
            assert!(
                http.body.contains(&format!("\"peer\":\"{peer}\"")),
                "{}",
                http.body
            );
            assert!(http.body.contains("x-request-id"), "{}", http.body);
            let tcp = mesh.call("client", Tcp, &format!("{vip}:7000"), "")?;
            assert_eq!(tcp.body, format!("{app} /path from {peer}\n"));
        }
        // What the pod itself sends is led through its proxy as ever.
        let out = mesh.call("kept-1", Http1, "10.96.1.2:8080", "plain.shop:8080")?;
        assert_eq!((out.status, out.app.as_str()), (200, "plain-1"));
        Ok(())
    })
    .unwrap();
}

#[test]
fn without_interception_the_app_calls_listeners_on_loopback() {
    let name = "capture::without_interception_the_app_calls_listeners_on_loopback";
    isolated(name, |power| {
        let ports = "{name: http, port: 8080}, {name: tcp-x, port: 7000}";
        let sidecars = "\
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: client, namespace: shop}
spec:
  workloadSelector: {labels: {app: client}}
  egress:
    - {captureMode: NONE, port: {number: 8080, protocol: HTTP, name: http}, hosts: [\"./*\"]}
    - captureMode: NONE
      bind: 127.0.0.2
      port: {number: 7000, protocol: TCP, name: tcp}
      hosts: [\"./cart.shop.svc.cluster.local\"]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: bare, namespace: shop}
spec:
  workloadSelector: {labels: {app: bare}}
  ingress:
    - captureMode: NONE
      bind: 10.244.1.12
      port: {number: 8080, protocol: HTTP, name: http}
      defaultEndpoint: 127.0.0.1:9080
  egress:
    - {captureMode: NONE, port: {number: 8080, protocol: HTTP, name: http}, hosts: [\"./*\"]}
";
        let manifests = [
            sidecars.to_owned(),
            pod_with("client", "10.244.1.10", "", NONE),
            pod("cart-1", "10.244.1.11", "--http 8080 --tcp 7000"),
            pod_with("bare-1", "10.244.1.12", "--http 127.0.0.1:9080", NONE),
            service("cart", "cart", ports, "clusterIP: 10.96.1.1"),
            slice("cart", ports, &[("cart-1", "10.244.1.11", READY)]),
            service(
                "bare",
                "bare",
                "{name: http, port: 8080}",
                "clusterIP: 10.96.1.2",
            ),
            slice(
                "bare",
                "{name: http, port: 8080}",
                &[("bare-1", "10.244.1.12", READY)],
            ),
        ];
        let mesh = Fixture::of(power, &manifests.concat())?;
        for (host, app) in [("cart.shop:8080", "cart-1"), ("bare.shop:8080", "bare-1")] {
            let answer = mesh.call("client", Http1, "127.0.0.1:8080", host)?;
            assert_eq!((answer.status, answer.app.as_str()), (200, app));
            assert!(answer.body.contains("x-request-id"), "{}", answer.body);
        }
        let tcp = mesh.call("client", Tcp, "127.0.0.2:7000", "")?;
        assert_eq!(tcp.app, "cart-1");
        // Nothing else of what the app sends is touched.
        assert!(
            mesh.call("client", Http1, "10.96.1.1:8080", "cart.shop:8080")
                .is_err()
        );
        Ok(())
    })
    .unwrap();
}

#[test]
fn ingress_listeners_lead_to_a_socket_file_and_to_another_port() {
    let name = "capture::ingress_listeners_lead_to_a_socket_file_and_to_another_port";
    isolated(name, |power| {
        let ports = "{name: http-file, port: 8080}, {name: http-port, port: 8081}";
        let sidecar = "\
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: cart, namespace: shop}
spec:
  workloadSelector: {labels: {app: cart}}
  ingress:
    - port: {number: 8080, protocol: HTTP, name: http-file}
      defaultEndpoint: unix:///run/cart.sock
    - port: {number: 8081, protocol: HTTP, name: http-port}
      defaultEndpoint: 127.0.0.1:9001
";
        let manifests = [
            sidecar.to_owned(),
            pod("client", "10.244.1.10", ""),
            pod(
                "cart-1",
                "10.244.1.11",
                "--http /run/cart.sock --http 127.0.0.1:9001",
            ),
            service("cart", "cart", ports, "clusterIP: 10.96.1.1"),
            slice("cart", ports, &[("cart-1", "10.244.1.11", READY)]),
        ];
        let mesh = Fixture::of(power, &manifests.concat())?;
        for (port, peer) in [(8080, "unix"), (8081, "127.0.0.1")] {
            let (address, host) = (format!("10.96.1.1:{port}"), format!("cart.shop:{port}"));
            let answer = mesh.call("client", Http1, &address, &host)?;
            assert_eq!(
                (answer.status, answer.app.as_str()),
                (200, "cart-1"),
                "{port}"
            );
            assert!(
                answer.body.contains(&format!("\"peer\":\"{peer}\"")),
                "{}",
                answer.body
            );
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn the_rules_are_removed_without_a_trace() {
    isolated("capture::the_rules_are_removed_without_a_trace", |power| {
        // Without a user of its own the proxy cannot have TPROXY.
        let (mode, mark, ours): (_, &[&str], &[_]) = match power {
            Power::Root => (TPROXY, &[], &["REEF_TPROXY_IN", "::6/128", "0x539"]),
            Power::User => ("", &["--mark", "1339"], &["REEF_INBOUND", "::6/128"]),
        };
        let mesh = Fixture::of(
            power,
            &pod_with("kept-1", "10.244.1.11", "--http 8080", mode),
        )?;
        let reef = reef_e2e::mesh::program("reef", "REEF_BIN")?;
        let reef = reef.to_string_lossy();
        let look = || -> Result<String> {
            let all = "iptables-save; ip6tables-save; ip rule; ip route show table 133; \
                       ip -6 addr show dev lo";
            let mut command = mesh.mesh.command_in("kept-1", "sh")?;
            let output = command.args(["-c", all]).output()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            // Comments have the time, chains their counters.
            let lines = text.lines().filter(|line| !line.starts_with(['#', ':']));
            Ok(lines.collect::<Vec<_>>().join("\n"))
        };
        let intercept = |action: &str, more: &[&str]| -> Result<()> {
            let mut command = mesh.mesh.command_in("kept-1", &reef)?;
            run(command.args(["intercept", action]).args(more))
        };
        let once = look()?;
        for text in ours {
            assert!(once.contains(text), "no {text}: {once}");
        }
        let annotation = mode.replace(": ", "=");
        let mut again = mark.to_vec();
        if !annotation.is_empty() {
            again.extend(["--annotation", &annotation]);
        }
        intercept("install", &again)?;
        assert_eq!(look()?, once, "installing twice is installing once");
        intercept("remove", &[])?;
        let after = look()?;
        for text in ["REEF_", "::6/128", "0x539"] {
            assert!(!after.contains(text), "{text} is left: {after}");
        }
        // And once more, with nothing to remove.
        intercept("remove", &[])
    })
    .unwrap();
}
