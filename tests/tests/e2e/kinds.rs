//! Kinds of services: what a client's connection is led to, by real Envoys on both sides.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, Result};
use reef_e2e::call::Protocol::{Banner, Http1, Tcp};
use reef_e2e::dns::NameServer;
use reef_e2e::mesh::comes_true;
use reef_e2e::namespace::{isolated, run};

use crate::support::{Fixture, READY, pod, service, slice};

/// An address that no interface has: only a proxy can lead a connection to it somewhere.
pub(crate) const NOBODY: &str = "192.0.2.77";

/// Nothing goes where no object leads.
pub(crate) const REGISTRY_ONLY: &str = "\
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: \"outboundTrafficPolicy: {mode: REGISTRY_ONLY}\"}
";

pub(crate) fn client() -> String {
    pod("client", "10.244.1.10", "")
}

/// A host outside the mesh by a ServiceEntry.
pub(crate) fn entry(name: &str, hosts: &str, port: &str, resolution: &str, more: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
         metadata: {{name: {name}, namespace: shop}}\n\
         spec: {{hosts: [{hosts}], location: MESH_EXTERNAL, ports: [{port}], \
         resolution: {resolution}, {more}}}\n"
    )
}

/// Makes a certificate whose subject is `name`, and serves TLS with it on port 443 of a host.
pub(crate) fn serve_tls(mesh: &mut Fixture, name: &str, ip: [u8; 4]) -> Result<()> {
    mesh.mesh.start_outside(name, Ipv4Addr::from(ip), &[])?;
    let folder = mesh.config.with_file_name(format!("{name}-tls"));
    std::fs::create_dir(&folder)?;
    let (key, cert) = (folder.join("key.pem"), folder.join("cert.pem"));
    run(Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args([
            "-nodes",
            "-days",
            "2",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
        ])
        .arg(&key)
        .arg("-out")
        .arg(&cert))?;
    let (key, cert) = (key.to_string_lossy(), cert.to_string_lossy());
    let arguments = [
        "s_server", "-accept", "443", "-key", &key, "-cert", &cert, "-www",
    ];
    mesh.mesh.start_in(name, "openssl", &arguments)
}

/// Shakes hands with TLS from a pod; returns the subject of the certificate that came.
pub(crate) fn tls_subject(mesh: &Fixture, address: &str, sni: &str) -> Result<String> {
    let mut command = mesh.mesh.command_in("client", "timeout")?;
    let output = command
        .args([
            "5",
            "openssl",
            "s_client",
            "-connect",
            address,
            "-servername",
            sni,
        ])
        .stdin(std::process::Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let subject = text.lines().find_map(|line| line.strip_prefix("subject="));
    let subject = subject.with_context(|| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        format!("no handshake with {address} as {sni}: {stderr}")
    })?;
    Ok(subject
        .trim()
        .trim_start_matches("CN")
        .trim_start_matches([' ', '='])
        .to_owned())
}

#[test]
fn tls_is_passed_through_by_its_server_name() {
    isolated("kinds::tls_is_passed_through_by_its_server_name", |power| {
        let tls = "{number: 443, name: tls, protocol: TLS}";
        let to = |ip: &str| format!("endpoints: [{{address: {ip}}}]");
        let manifests = [
            client(),
            entry("a", "a.example.com", tls, "STATIC", &to("192.0.2.21")),
            entry("b", "b.example.com", tls, "STATIC", &to("192.0.2.22")),
        ];
        let mut mesh = Fixture::of(power, &manifests.concat())?;
        serve_tls(&mut mesh, "a.example.com", [192, 0, 2, 21])?;
        serve_tls(&mut mesh, "b.example.com", [192, 0, 2, 22])?;
        let address = format!("{NOBODY}:443");
        for name in ["a.example.com", "b.example.com"] {
            let mut seen = String::new();
            comes_true(|| match tls_subject(&mesh, &address, name) {
                Ok(subject) => {
                    seen = subject;
                    true
                }
                Err(error) => {
                    seen = format!("{error:#}");
                    false
                }
            });
            assert_eq!(seen, name);
        }
        // A name nobody declared goes where the client wanted to.
        let unknown = tls_subject(&mesh, "192.0.2.22:443", "c.example.com")?;
        assert_eq!(unknown, "b.example.com");
        assert!(tls_subject(&mesh, &address, "c.example.com").is_err());
        Ok(())
    })
    .unwrap();
}

#[test]
fn an_external_name_leads_to_the_service_it_names() {
    isolated(
        "kinds::an_external_name_leads_to_the_service_it_names",
        |power| {
            let port = "{name: http, port: 8080}";
            let alias = "type: ExternalName, externalName: cart.shop.svc.cluster.local";
            let manifests = [
                client(),
                pod("cart-1", "10.244.1.11", "--http 8080"),
                service("cart", "cart", port, "clusterIP: 10.96.1.1"),
                slice("cart", port, &[("cart-1", "10.244.1.11", READY)]),
                service("basket", "none", port, alias),
            ];
            let mesh = Fixture::of(power, &manifests.concat())?;
            // As its name server would answer: the address of the service it names.
            let answer = mesh.call("client", Http1, "10.96.1.1:8080", "basket.shop:8080")?;
            assert_eq!((answer.status, answer.app.as_str()), (200, "cart-1"));
            Ok(())
        },
    )
    .unwrap();
}

#[test]
fn dns_names_of_service_entries_are_looked_up_and_followed() {
    let name = "kinds::dns_names_of_service_entries_are_looked_up_and_followed";
    isolated(name, |power| {
        let http = "{number: 80, name: http, protocol: HTTP}";
        let to = "endpoints: [{address: backend.test}]";
        let work = tempfile::tempdir()?;
        reef_e2e::namespace::shell(&format!("chmod 755 {}", work.path().display()))?;
        let manifests = [
            client(),
            entry("own", "own.example.com", http, "DNS", ""),
            entry("other", "other.example.com", http, "DNS", to),
        ];
        let mut mesh = Fixture::begin_with(power, &manifests.concat(), || {
            let names = NameServer::start(work.path())?;
            names.set("own.example.com", Ipv4Addr::new(192, 0, 2, 31));
            names.set("backend.test", Ipv4Addr::new(192, 0, 2, 32));
            Ok(names)
        })?;
        let (mesh, names) = (&mut mesh.0, &mesh.1);
        for (name, last) in [("one", 31), ("two", 32), ("three", 33)] {
            mesh.mesh
                .start_outside(name, Ipv4Addr::new(192, 0, 2, last), &[80])?;
        }
        let address = format!("{NOBODY}:80");
        let who = |host: &str| {
            let answer = mesh.call("client", Http1, &address, host);
            answer.map_or_else(|error| format!("{error:#}"), |answer| answer.app)
        };
        let comes = |host: &str, app: &str| comes_true(|| who(host) == app);
        assert!(
            comes("own.example.com", "one"),
            "{}",
            who("own.example.com")
        );
        assert!(
            comes("other.example.com", "two"),
            "{}",
            who("other.example.com")
        );
        names.set("own.example.com", Ipv4Addr::new(192, 0, 2, 33));
        assert!(
            comes("own.example.com", "three"),
            "{}",
            who("own.example.com")
        );
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_server_that_speaks_first_is_heard() {
    isolated("kinds::a_server_that_speaks_first_is_heard", |power| {
        // One port is declared TCP, of the other only the number tells.
        let ports = "{name: tcp-mail, port: 2525}, {name: db, port: 3306}";
        let manifests = [
            client(),
            pod("db-1", "10.244.1.11", "--banner 2525 --banner 3306"),
            service("db", "db", ports, "clusterIP: 10.96.1.1"),
            slice("db", ports, &[("db-1", "10.244.1.11", READY)]),
        ];
        let mesh = Fixture::of(power, &manifests.concat())?;
        for port in [2525, 3306] {
            let answer = mesh.call("client", Banner, &format!("10.96.1.1:{port}"), "")?;
            assert_eq!(answer.body, "db-1 is here\n", "port {port}");
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn two_tcp_services_may_have_one_port() {
    isolated("kinds::two_tcp_services_may_have_one_port", |power| {
        let port = "{name: tcp-x, port: 7000}";
        let mut manifests = client();
        for (name, last) in [("red", 11), ("blue", 12)] {
            let (pod_name, ip) = (format!("{name}-1"), format!("10.244.1.{last}"));
            manifests += &pod(&pod_name, &ip, "--tcp 7000");
            manifests += &service(name, name, port, &format!("clusterIP: 10.96.1.{last}"));
            manifests += &slice(name, port, &[(&pod_name, &ip, READY)]);
        }
        let mesh = Fixture::of(power, &manifests)?;
        for (name, last) in [("red", 11), ("blue", 12)] {
            let answer = mesh.call("client", Tcp, &format!("10.96.1.{last}:7000"), "")?;
            assert_eq!(answer.app, format!("{name}-1"));
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn both_address_families_reach_their_endpoints() {
    isolated(
        "kinds::both_address_families_reach_their_endpoints",
        |power| {
            let port = "{name: http, port: 8080}";
            let both = "clusterIP: 10.96.1.1, clusterIPs: [10.96.1.1, \"fd00:96::1\"], \
                    ipFamilies: [IPv4, IPv6], ipFamilyPolicy: PreferDualStack";
            let six = "clusterIP: \"fd00:96::2\", clusterIPs: [\"fd00:96::2\"], ipFamilies: [IPv6]";
            let tcp = "{name: tcp-x, port: 7000}";
            let manifests = [
                pod("client", "10.244.1.10 fd00:244::10", ""),
                pod(
                    "cart-1",
                    "10.244.1.11 fd00:244::11",
                    "--http 8080 --tcp 7000",
                ),
                service("cart", "cart", port, both),
                slice("cart", port, &[("cart-1", "10.244.1.11", READY)]),
                slice("cart", port, &[("cart-1", "fd00:244::11", READY)]),
                service("six", "cart", tcp, six),
                slice("six", tcp, &[("cart-1", "fd00:244::11", READY)]),
            ];
            let mesh = Fixture::of(power, &manifests.concat())?;
            for address in ["10.96.1.1:8080", "[fd00:96::1]:8080"] {
                let answer = mesh.call("client", Http1, address, "cart.shop:8080")?;
                assert_eq!(
                    (answer.status, answer.app.as_str()),
                    (200, "cart-1"),
                    "{address}"
                );
                assert!(answer.body.contains("x-request-id"), "{}", answer.body);
            }
            let answer = mesh.call("client", Tcp, "[fd00:96::2]:7000", "")?;
            assert_eq!(answer.app, "cart-1");
            Ok(())
        },
    )
    .unwrap();
}
