//! Where VirtualServices and Sidecars lead connections: by server name, port, address and weight.

use std::collections::BTreeMap;

use anyhow::Result;
use reef_e2e::call::Protocol::{Http1, Tcp};
use reef_e2e::mesh::comes_true;
use reef_e2e::namespace::isolated;

use crate::kinds::{NOBODY, client, entry, serve_tls, tls_subject};
use crate::support::{Fixture, READY, pod, service, slice};

const TLS: &str = "{number: 443, name: tls, protocol: TLS}";

/// A VirtualService of the namespace `shop`; `spec` as the inside of a YAML flow mapping.
fn rule(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
         metadata: {{name: {name}, namespace: shop}}\nspec: {{{spec}}}\n"
    )
}

/// A Sidecar of the namespace `shop` for the client.
fn sidecar(spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\n\
         metadata: {{name: client, namespace: shop}}\n\
         spec: {{workloadSelector: {{labels: {{app: client}}}}, {spec}}}\n"
    )
}

/// A pod that answers lines, behind a service of its own with these ports.
fn answering(name: &str, last: u8, ports: &[u16]) -> String {
    let declared: Vec<String> = ports
        .iter()
        .map(|port| format!("{{name: tcp-{port}, port: {port}}}"))
        .collect();
    let listen: Vec<String> = ports.iter().map(|port| format!("--tcp {port}")).collect();
    let (declared, ip) = (declared.join(", "), format!("10.244.1.{last}"));
    [
        pod(&format!("{name}-1"), &ip, &listen.join(" ")),
        service(name, name, &declared, &format!("clusterIP: 10.96.1.{last}")),
        slice(name, &declared, &[(&format!("{name}-1"), &ip, READY)]),
    ]
    .concat()
}

/// The name of the app that answers a line, or why none does.
fn who(mesh: &Fixture, address: &str) -> String {
    let answer = mesh.call("client", Tcp, address, "");
    answer.map_or_else(|error| format!("{error:#}"), |answer| answer.app)
}

/// The subject of the certificate shown for a name, once it is this one; else what came instead.
fn subject(mesh: &Fixture, sni: &str, wanted: &str) -> String {
    let mut seen = String::new();
    comes_true(|| {
        seen = tls_subject(mesh, &format!("{NOBODY}:443"), sni)
            .unwrap_or_else(|error| format!("{error:#}"));
        seen == wanted
    });
    seen
}

#[test]
fn server_names_are_routed_by_virtual_services() {
    isolated(
        "traffic_tcp::server_names_are_routed_by_virtual_services",
        |power| {
            let to = |ip: &str| format!("endpoints: [{{address: {ip}}}]");
            let names = rule(
                "names",
                "hosts: [\"*.example.com\"], tls: [\
                 {match: [{sniHosts: [a.example.com, \"*.many.example.com\"]}], route: [{destination: {host: one.test}}]}, \
                 {match: [{sniHosts: [b.example.com], sourceLabels: {app: other}}], route: [{destination: {host: one.test}}]}, \
                 {match: [{sniHosts: [b.example.com]}], route: [{destination: {host: two.test}}]}]",
            );
            let manifests = [
                client(),
                entry("all", "\"*.example.com\"", TLS, "NONE", ""),
                entry("one", "one.test", TLS, "STATIC", &to("192.0.2.21")),
                entry("two", "two.test", TLS, "STATIC", &to("192.0.2.22")),
                names,
            ];
            let mut mesh = Fixture::of(power, &manifests.concat())?;
            serve_tls(&mut mesh, "one.test", [192, 0, 2, 21])?;
            serve_tls(&mut mesh, "two.test", [192, 0, 2, 22])?;
            for (sni, wanted) in [
                ("a.example.com", "one.test"),
                ("x.y.many.example.com", "one.test"),
                ("b.example.com", "two.test"),
            ] {
                assert_eq!(subject(&mesh, sni, wanted), wanted, "{sni}");
            }
            // A name of the host that no route is for goes where the client wanted to.
            let direct = tls_subject(&mesh, "192.0.2.22:443", "c.example.com")?;
            assert_eq!(direct, "two.test");
            assert!(tls_subject(&mesh, &format!("{NOBODY}:443"), "c.example.com").is_err());
            // Another target for the same name, while everything runs.
            mesh.edit(
                "sniHosts: [b.example.com]}], route: [{destination: {host: two.test}",
                "sniHosts: [b.example.com]}], route: [{destination: {host: one.test}",
            )?;
            assert_eq!(subject(&mesh, "b.example.com", "one.test"), "one.test");
            Ok(())
        },
    )
    .unwrap();
}

#[test]
fn connections_are_routed_by_port_range_and_weight() {
    isolated(
        "traffic_tcp::connections_are_routed_by_port_range_and_weight",
        |power| {
            let routes = rule(
                "front",
                "hosts: [front], tcp: [\
                 {match: [{port: 7001}], route: [{destination: {host: blue, port: {number: 7000}}}]}, \
                 {match: [{port: 7002, destinationSubnets: [10.96.0.0/16]}], route: [{destination: {host: red, port: {number: 7000}}}]}, \
                 {match: [{port: 7000}], route: [\
                 {destination: {host: red, port: {number: 7000}}, weight: 80}, \
                 {destination: {host: blue, port: {number: 7000}}, weight: 20}]}]",
            );
            let manifests = [
                client(),
                answering("red", 11, &[7000]),
                answering("blue", 12, &[7000]),
                answering("front", 13, &[7000, 7001, 7002, 7003]),
                routes,
            ];
            let mesh = Fixture::of(power, &manifests.concat())?;
            assert_eq!(who(&mesh, "10.96.1.13:7001"), "blue-1");
            assert_eq!(who(&mesh, "10.96.1.13:7002"), "red-1");
            assert_eq!(who(&mesh, "10.96.1.13:7003"), "front-1", "no route is for it");
            assert_eq!(who(&mesh, "10.96.1.12:7000"), "blue-1");
            let mut seen: BTreeMap<String, u32> = BTreeMap::new();
            for _ in 0..200 {
                *seen.entry(who(&mesh, "10.96.1.13:7000")).or_default() += 1;
            }
            let red = seen.get("red-1").copied().unwrap_or_default();
            let blue = seen.get("blue-1").copied().unwrap_or_default();
            assert_eq!(red + blue, 200, "{seen:?}");
            // Five standard deviations around 160.
            assert!((132..=188).contains(&red), "{seen:?}");
            Ok(())
        },
    )
    .unwrap();
}

#[test]
fn unknown_destinations_are_blocked_where_a_sidecar_says_so() {
    isolated(
        "traffic_tcp::unknown_destinations_are_blocked_where_a_sidecar_says_so",
        |power| {
            let port = "{name: http, port: 80}";
            let manifests = [
                client(),
                answering("red", 11, &[7000]),
                answering("blue", 12, &[7000]),
                pod("web-1", "10.244.1.14", "--http 80"),
                service("web", "web", port, "clusterIP: 10.96.1.14"),
                slice("web", port, &[("web-1", "10.244.1.14", READY)]),
                sidecar(
                    "egress: [{hosts: [\"./red.shop.svc.cluster.local\", \"./web.shop.svc.cluster.local\"]}], \
                     outboundTrafficPolicy: {mode: REGISTRY_ONLY}",
                ),
            ];
            let mesh = Fixture::of(power, &manifests.concat())?;
            assert_eq!(who(&mesh, "10.96.1.11:7000"), "red-1");
            assert_ne!(who(&mesh, "10.96.1.12:7000"), "blue-1", "not imported");
            assert_ne!(who(&mesh, "10.244.1.12:7000"), "blue-1", "its pod neither");
            let ask = |host: &str| mesh.call("client", Http1, "10.96.1.14:80", host);
            assert_eq!(ask("web.shop")?.app, "web-1");
            assert_eq!(ask("unknown.test")?.status, 502);
            Ok(())
        },
    )
    .unwrap();
}

#[test]
fn an_egress_proxy_gets_what_nobody_declared() {
    isolated(
        "traffic_tcp::an_egress_proxy_gets_what_nobody_declared",
        |power| -> Result<()> {
            let manifests = [
                client(),
                answering("red", 11, &[7000]),
                answering("out", 12, &[3128]),
                sidecar(
                    "egress: [{hosts: [\"./red.shop.svc.cluster.local\", \"./out.shop.svc.cluster.local\"]}], \
                     outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: out, port: {number: 3128}}}",
                ),
            ];
            let mesh = Fixture::of(power, &manifests.concat())?;
            assert_eq!(who(&mesh, "10.96.1.11:7000"), "red-1");
            assert_eq!(who(&mesh, &format!("{NOBODY}:9999")), "out-1");
            Ok(())
        },
    )
    .unwrap();
}

#[test]
fn an_egress_proxy_may_be_a_subset() {
    isolated(
        "traffic_tcp::an_egress_proxy_may_be_a_subset",
        |power| -> Result<()> {
            let port = "{name: tcp, port: 3128}";
            let (old, new) = ("10.244.1.12", "10.244.1.13");
            let manifests = [
                client(),
                pod("old-1", old, "--tcp 3128"),
                pod("new-1", new, "--tcp 3128"),
                service("out", "old", port, "clusterIP: 10.96.1.12"),
                slice("out", port, &[("old-1", old, READY), ("new-1", new, READY)]),
                "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
                 metadata: {name: out, namespace: shop}\nspec: {host: out, subsets: [\
                 {name: v1, labels: {app: old}}, {name: v2, labels: {app: new}}]}\n"
                    .to_owned(),
                sidecar(
                    "egress: [{hosts: [\"./out.shop.svc.cluster.local\"]}], outboundTrafficPolicy: \
                     {mode: ALLOW_ANY, egressProxy: {host: out, subset: v2, port: {number: 3128}}}",
                ),
            ];
            let mesh = Fixture::of(power, &manifests.concat())?;
            let unknown = format!("{NOBODY}:9999");
            for _ in 0..20 {
                assert_eq!(who(&mesh, &unknown), "new-1");
            }
            mesh.edit("subset: v2, port", "subset: v1, port")?;
            let moved = comes_true(|| who(&mesh, &unknown) == "old-1");
            assert!(moved, "{}", who(&mesh, &unknown));
            // A subset nobody defines has no cluster: nothing is let out past the proxy.
            mesh.edit("subset: v1, port", "subset: v3, port")?;
            let closed = comes_true(|| who(&mesh, &unknown) != "old-1");
            assert!(closed && who(&mesh, &unknown) != "new-1");
            Ok(())
        },
    )
    .unwrap();
}
