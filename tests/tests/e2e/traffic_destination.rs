//! DestinationRules as real Envoys live by them: which app answers, and who is never asked.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use reef_e2e::call::{
    Answer, Call,
    Protocol::{Http1, Tcp},
};
use reef_e2e::mesh::comes_true;
use reef_e2e::namespace::{isolated, run};
use reef_e2e::traffic;

use crate::support::{Fixture, READY, pod, service, slice};

/// An address that no interface has: only a proxy can lead a connection to it somewhere.
const NOBODY: &str = "192.0.2.77";

fn client() -> String {
    pod("client", "10.244.1.10", "")
}

fn rule(name: &str, host: &str, rest: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
         metadata: {{name: {name}, namespace: shop}}\nspec: {{host: {host}, {rest}}}\n"
    )
}

/// A host by a ServiceEntry, at no address of its own.
fn entry(name: &str, endpoints: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
         metadata: {{name: {name}, namespace: shop}}\n\
         spec: {{hosts: [{name}.example.com], ports: [{{number: 80, name: http, protocol: HTTP}}], \
         resolution: STATIC, endpoints: [{endpoints}]}}\n"
    )
}

/// Two apps behind one service: `blue` and `green`.
fn two_apps() -> String {
    let port = "{name: http, port: 8080}";
    [
        pod("blue-1", "10.244.1.11", "--http 8080"),
        pod("green-1", "10.244.1.12", "--http 8080"),
        service("web", "web", port, "clusterIP: 10.96.1.1"),
        slice(
            "web",
            port,
            &[
                ("blue-1", "10.244.1.11", READY),
                ("green-1", "10.244.1.12", READY),
            ],
        ),
    ]
    .concat()
}

/// Which apps answer some requests, and how often.
fn tally(mesh: &Fixture, times: u32, call: &Call) -> Result<BTreeMap<String, u32>> {
    let mut apps = BTreeMap::new();
    for _ in 0..times {
        let answer: Answer = mesh.mesh.call("client", call)?;
        *apps
            .entry(format!("{} {}", answer.status, answer.app))
            .or_default() += 1;
    }
    Ok(apps)
}

fn get(address: &str, host: &str, path: &str) -> Call {
    Call {
        protocol: Http1,
        address: address.to_owned(),
        authority: host.to_owned(),
        path: path.to_owned(),
    }
}

#[test]
fn subsets_are_the_endpoints_with_their_labels() {
    let name = "traffic_destination::subsets_are_the_endpoints_with_their_labels";
    isolated(name, |power| {
        let subsets =
            "subsets: [{name: one, labels: {app: blue}}, {name: two, labels: {app: green}}]";
        let routes = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
             metadata: {name: web, namespace: shop}\n\
             spec: {hosts: [web], http: [\
             {match: [{uri: {prefix: /blue}}], route: [{destination: {host: web, subset: one}}]}, \
             {match: [{uri: {prefix: /green}}], route: [{destination: {host: web, subset: two}}]}, \
             {route: [{destination: {host: web}}]}]}\n";
        let manifests = [
            client(),
            two_apps(),
            rule("web", "web", subsets),
            routes.to_owned(),
        ];
        let mesh = Fixture::of(power, &manifests.concat())?;
        let ask = |path: &str| tally(&mesh, 20, &get("10.96.1.1:8080", "web.shop:8080", path));
        assert_eq!(ask("/blue")?, BTreeMap::from([("200 blue-1".into(), 20)]));
        assert_eq!(ask("/green")?, BTreeMap::from([("200 green-1".into(), 20)]));
        assert_eq!(ask("/")?.len(), 2, "without a subset both answer");
        Ok(())
    })
    .unwrap();
}

#[test]
fn requests_with_one_hash_stay_with_one_host() {
    let name = "traffic_destination::requests_with_one_hash_stay_with_one_host";
    isolated(name, |power| {
        let hash = |by: &str| {
            format!("trafficPolicy: {{loadBalancer: {{consistentHash: {{{by}, ringHash: {{minimumRingSize: 1024}}}}}}}}")
        };
        let port = "{name: tcp, port: 9000}";
        let line = |name: &str, ip: &str| pod(name, ip, "--tcp 9000");
        let manifests = [
            client(),
            two_apps(),
            line("red-1", "10.244.1.13"),
            line("gray-1", "10.244.1.14"),
            service("lines", "lines", port, "clusterIP: 10.96.1.2"),
            slice(
                "lines",
                port,
                &[
                    ("red-1", "10.244.1.13", READY),
                    ("gray-1", "10.244.1.14", READY),
                ],
            ),
            rule("web", "web", &hash("httpQueryParameterName: user")),
            rule("lines", "lines", &hash("useSourceIp: true")),
        ];
        let mesh = Fixture::of(power, &manifests.concat())?;
        let mut apps = BTreeMap::<String, u32>::new();
        for user in 0..16 {
            let path = format!("/?user={user}");
            let found = tally(&mesh, 6, &get("10.96.1.1:8080", "web.shop:8080", &path))?;
            assert_eq!(found.len(), 1, "user {user} is answered by {found:?}");
            *apps.entry(found.into_keys().collect()).or_default() += 1;
        }
        assert_eq!(apps.len(), 2, "users are spread: {apps:?}");
        let call = Call {
            protocol: Tcp,
            ..get("10.96.1.2:9000", "", "line")
        };
        let found = tally(&mesh, 20, &call)?;
        assert_eq!(found.len(), 1, "one address is answered by {found:?}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn failing_hosts_are_ejected_and_another_region_takes_over() {
    let name = "traffic_destination::failing_hosts_are_ejected_and_another_region_takes_over";
    isolated(name, |power| {
        let near = client().replace(
            "labels: {app: client}",
            "labels: {app: client, istio-locality: eu.a}",
        );
        // Of `broken` the near host does not listen where it should.
        let of = |port: u16| {
            format!(
                "{{address: 10.244.1.11, locality: eu/a, ports: {{http: {port}}}}}, \
                 {{address: 10.244.1.12, locality: us/b, ports: {{http: 8080}}}}"
            )
        };
        let outlier = "trafficPolicy: {outlierDetection: {consecutive5xxErrors: 1, interval: 1s, \
             baseEjectionTime: 300s, maxEjectionPercent: 100}}";
        let manifests = [
            near,
            two_apps(),
            entry("fine", &of(8080)),
            entry("broken", &of(8099)),
            rule("fine", "fine.example.com", outlier),
            rule("broken", "broken.example.com", outlier),
        ];
        let mesh = Fixture::of(power, &manifests.concat())?;
        let address = format!("{NOBODY}:80");
        let fine = tally(&mesh, 30, &get(&address, "fine.example.com", "/"))?;
        assert_eq!(fine, BTreeMap::from([("200 blue-1".into(), 30)]));
        let broken = get(&address, "broken.example.com", "/");
        let mut seen = BTreeMap::new();
        let over = comes_true(|| {
            seen = tally(&mesh, 5, &broken).unwrap_or_default();
            seen == BTreeMap::from([("200 green-1".into(), 5)])
        });
        assert!(over, "{seen:?}");
        let ejected = "outbound|80||broken.example.com::10.244.1.11:8099::health_flags::/failed_outlier_check";
        let page = mesh.mesh.envoy_admin("client", "/clusters")?;
        assert!(page.contains(ejected), "not ejected");
        Ok(())
    })
    .unwrap();
}

#[test]
fn requests_beyond_the_limit_are_answered_by_the_breaker() {
    let name = "traffic_destination::requests_beyond_the_limit_are_answered_by_the_breaker";
    isolated(name, |power| {
        // One connection, none waiting: while one request takes its time, others are refused.
        let limits = "trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}, \
             http: {http1MaxPendingRequests: 1, maxRequestsPerConnection: 1}}}";
        let manifests = [client(), two_apps(), rule("web", "web", limits)];
        let mesh = Fixture::of(power, &manifests.concat())?;
        let call = get("10.96.1.1:8080", "web.shop:8080", "/");
        let socket = mesh.mesh.control_of("client")?;
        let alone = tally(&mesh, 10, &call)?;
        assert!(
            alone.keys().all(|answer| answer.starts_with("200 ")),
            "{alone:?}"
        );
        let mut refused = 0;
        let mut served = 0;
        for _ in 0..20 {
            let answers: Vec<Answer> = std::thread::scope(|scope| {
                let asked: Vec<_> = (0..12)
                    .map(|_| scope.spawn(|| reef_e2e::control::ask(&socket, &call)))
                    .collect();
                asked
                    .into_iter()
                    .filter_map(|thread| thread.join().ok()?.ok())
                    .collect()
            });
            refused += answers
                .iter()
                // What Envoy says when a limit is reached, not when nobody answers.
                .filter(|answer| answer.status == 503 && answer.body.contains("overflow"))
                .count();
            served += answers.iter().filter(|answer| answer.status == 200).count();
            if refused > 0 && served > 0 {
                break;
            }
        }
        assert!(
            refused > 0 && served > 0,
            "{refused} refused, {served} served"
        );
        Ok(())
    })
    .unwrap();
}

/// Serves TLS on a host's port 443 with a certificate of its own; returns its file.
fn serve_tls(mesh: &mut Fixture, name: &str, ip: [u8; 4]) -> Result<String> {
    mesh.mesh.start_outside(name, Ipv4Addr::from(ip), &[])?;
    let folder = mesh.config.with_file_name(format!("{name}-tls"));
    std::fs::create_dir(&folder)?;
    let (key, cert) = (folder.join("key.pem"), folder.join("cert.pem"));
    run(Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}")])
        .args(["-addext", &format!("subjectAltName=DNS:{name}")])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert))?;
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(&folder))?;
    let (key, cert) = (key.to_string_lossy(), cert.to_string_lossy().into_owned());
    let arguments = [
        "s_server", "-accept", "443", "-key", &key, "-cert", &cert, "-www",
    ];
    mesh.mesh.start_in(name, "openssl", &arguments)?;
    Ok(cert)
}

#[test]
fn plaintext_of_an_app_leaves_as_tls() {
    let name = "traffic_destination::plaintext_of_an_app_leaves_as_tls";
    isolated(name, |power| {
        let to = |ip: &str| format!("{{address: {ip}, ports: {{http: 443}}}}");
        let manifests = [
            client(),
            entry("secure", &to("192.0.2.21")),
            entry("wrong", &to("192.0.2.22")),
            entry("lax", &to("192.0.2.22")),
        ];
        let mut mesh = Fixture::of(power, &manifests.concat())?;
        run(Command::new("chmod")
            .arg("a+rx")
            .arg(mesh.config.parent().context("the work folder")?))?;
        let cert = serve_tls(&mut mesh, "secure.example.com", [192, 0, 2, 21])?;
        serve_tls(&mut mesh, "wrong.example.com", [192, 0, 2, 22])?;
        let tls = format!("trafficPolicy: {{tls: {{mode: SIMPLE, caCertificates: '{cert}'}}}}");
        let rules = [
            rule("secure", "secure.example.com", &tls),
            // Its certificate is not by the authority it is checked with.
            rule("wrong", "wrong.example.com", &tls),
            rule(
                "lax",
                "lax.example.com",
                "trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: true}}",
            ),
        ];
        std::fs::write(mesh.config.join("rules.yaml"), rules.concat())?;
        let address = format!("{NOBODY}:80");
        let status = |host: &str| {
            let answer = mesh.mesh.call("client", &get(&address, host, "/"));
            answer.map(|answer| (answer.status, answer.body))
        };
        let mut last = String::new();
        let secured = comes_true(|| {
            last = format!("{:?}", status("secure.example.com"));
            status("secure.example.com")
                .is_ok_and(|(status, body)| status == 200 && body.contains("TLSv1.3"))
        });
        ensure!(secured, "{last}");
        // The same server: it is there, only not trusted.
        let lax = comes_true(|| status("lax.example.com").is_ok_and(|(status, _)| status == 200));
        assert!(lax, "{:?}", status("lax.example.com"));
        let refused =
            comes_true(|| status("wrong.example.com").is_ok_and(|(status, _)| status == 503));
        assert!(refused, "{:?}", status("wrong.example.com"));
        Ok(())
    })
    .unwrap();
}

#[test]
fn clusters_warm_without_losing_a_request() {
    let name = "traffic_destination::clusters_warm_without_losing_a_request";
    isolated(name, |power| {
        let limits = "trafficPolicy: {connectionPool: {tcp: {maxConnections: 1000}}}, \
             subsets: [{name: one, labels: {app: blue}}]";
        let manifests = [client(), two_apps(), rule("web", "web", limits)];
        let mesh = Fixture::of(power, &manifests.concat())?;
        let call = get("10.96.1.1:8080", "web.shop:8080", "/");
        let socket = mesh.mesh.control_of("client")?;
        let updates = || {
            let stat = "cluster_manager.cluster_modified";
            mesh.mesh.envoy_stat("client", stat)
        };
        let before = updates()?;
        let good = |answer: &Answer| answer.status == 200;
        traffic::under(&socket, &call, good, || {
            for (round, (from, to)) in [("1000", "1001"), ("1001", "1002"), ("1002", "1003")]
                .into_iter()
                .enumerate()
            {
                mesh.edit(
                    &format!("maxConnections: {from}"),
                    &format!("maxConnections: {to}"),
                )?;
                // The whole service and its subset.
                let wanted = before + 2 * (u64::try_from(round)? + 1);
                let came = comes_true(|| updates().is_ok_and(|now| now >= wanted));
                ensure!(came, "{} of {wanted} clusters", updates()?);
            }
            Ok(())
        })?;
        assert_eq!(updates()?, before + 6, "other clusters changed, too");
        Ok(())
    })
    .unwrap();
}
