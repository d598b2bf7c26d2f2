//! Service entries and workload entries: where real Envoys lead what is asked for, and who answers.

use std::net::Ipv4Addr;

use anyhow::Result;
use reef_e2e::call::Protocol::{Http1, Tcp};
use reef_e2e::dns::NameServer;
use reef_e2e::mesh::comes_true;
use reef_e2e::namespace::{isolated, shell};

use crate::kinds::REGISTRY_ONLY;
use crate::support::{Fixture, pod, pod_with, service};

/// An address that no interface has: only a proxy can lead a connection to it somewhere.
const NOBODY: &str = "192.0.2.77";

const HTTP: &str = "{number: 80, name: http, protocol: HTTP}";

fn client() -> String {
    pod("client", "10.244.1.10", "")
}

/// A ServiceEntry of the namespace `shop`; `spec` and `meta` as the inside of YAML flow mappings.
fn entry(name: &str, meta: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
         metadata: {{name: {name}, namespace: shop, {meta}}}\nspec: {{{spec}}}\n"
    )
}

/// A WorkloadEntry of the namespace `shop`.
fn workload(name: &str, spec: &str) -> String {
    entry(name, "", spec).replace("ServiceEntry", "WorkloadEntry")
}

/// Who answers a request for `host` at `address` in the end; the error if nobody does.
fn who(mesh: &Fixture, address: &str, host: &str) -> String {
    let answer = mesh.call("client", Http1, address, host);
    answer.map_or_else(
        |error| format!("{error:#}"),
        |answer| {
            if answer.app.is_empty() {
                format!("nobody: {}", answer.status)
            } else {
                answer.app
            }
        },
    )
}

/// Waits until `app` answers.
fn expect(mesh: &Fixture, address: &str, host: &str, app: &str) {
    let came = comes_true(|| who(mesh, address, host) == app);
    assert!(came, "{host} at {address}: {}", who(mesh, address, host));
}

fn outside(mesh: &mut Fixture, name: &str, last: u8) -> Result<()> {
    let ip = Ipv4Addr::new(192, 0, 2, last);
    mesh.mesh.start_outside(name, ip, &[80, 8080])
}

#[test]
fn a_wildcard_entry_lets_its_hosts_through_and_no_others() {
    let name = "traffic_entries::a_wildcard_entry_lets_its_hosts_through_and_no_others";
    isolated(name, |power| {
        let wild = format!("hosts: ['*.example.com'], resolution: NONE, ports: [{HTTP}]");
        let manifests = [client(), REGISTRY_ONLY.to_owned(), entry("wild", "", &wild)];
        let mut mesh = Fixture::of(power, &manifests.concat())?;
        outside(&mut mesh, "there", 41)?;
        expect(&mesh, "192.0.2.41:80", "any.example.com", "there");
        expect(&mesh, "192.0.2.41:80", "deep.any.example.com", "there");
        let other = mesh.call("client", Http1, "192.0.2.41:80", "example.org")?;
        assert_eq!((other.status, other.app.as_str()), (502, ""));
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_dns_entry_goes_to_its_endpoints_at_their_ports() {
    let name = "traffic_entries::a_dns_entry_goes_to_its_endpoints_at_their_ports";
    isolated(name, |power| {
        let work = tempfile::tempdir()?;
        shell(&format!("chmod 755 {}", work.path().display()))?;
        let dns = format!(
            "hosts: [api.example.com], resolution: DNS, ports: [{HTTP}], \
             endpoints: [{{address: backend.test, ports: {{http: 8080}}}}]"
        );
        let own = "hosts: ['*.dyn.example.com'], resolution: DYNAMIC_DNS, ports: \
                   [{number: 80, name: http, protocol: HTTP}]";
        let manifests = [client(), entry("api", "", &dns), entry("dyn", "", own)];
        let (mut mesh, _names) = Fixture::begin_with(power, &manifests.concat(), || {
            let names = NameServer::start(work.path())?;
            names.set("backend.test", Ipv4Addr::new(192, 0, 2, 42));
            names.set("a.dyn.example.com", Ipv4Addr::new(192, 0, 2, 43));
            Ok(names)
        })?;
        mesh.mesh
            .start_outside("backend", Ipv4Addr::new(192, 0, 2, 42), &[8080])?;
        outside(&mut mesh, "dynamic", 43)?;
        expect(&mesh, &format!("{NOBODY}:80"), "api.example.com", "backend");
        expect(
            &mesh,
            &format!("{NOBODY}:80"),
            "a.dyn.example.com",
            "dynamic",
        );
        Ok(())
    })
    .unwrap();
}

#[test]
fn workload_entries_join_the_entries_and_services_that_select_them() {
    let name = "traffic_entries::workload_entries_join_the_entries_and_services_that_select_them";
    isolated(name, |power| {
        let selects = format!(
            "hosts: [vm.example.com], resolution: STATIC, ports: [{HTTP}], \
             workloadSelector: {{labels: {{app: vm}}}}"
        );
        let manifests = [
            client(),
            entry("vm", "", &selects),
            workload("one", "address: 192.0.2.51, labels: {app: vm}"),
            service(
                "legacy",
                "vm",
                "{name: http, port: 8000, targetPort: 8080}",
                "clusterIP: 10.96.1.7",
            ),
        ];
        let mut mesh = Fixture::of(power, &manifests.concat())?;
        outside(&mut mesh, "first", 51)?;
        outside(&mut mesh, "second", 52)?;
        let address = format!("{NOBODY}:80");
        expect(&mesh, &address, "vm.example.com", "first");
        // A Service of Kubernetes whose selector matches a WorkloadEntry.
        expect(&mesh, "10.96.1.7:8000", "legacy.shop:8000", "first");
        mesh.edit("address: 192.0.2.51", "address: 192.0.2.52")?;
        expect(&mesh, &address, "vm.example.com", "second");
        expect(&mesh, "10.96.1.7:8000", "legacy.shop:8000", "second");
        Ok(())
    })
    .unwrap();
}

#[test]
fn hosts_without_address_have_their_own_beside_an_agent() {
    let name = "traffic_entries::hosts_without_address_have_their_own_beside_an_agent";
    isolated(name, |power| {
        let captured = "proxy.istio.io/config: \"proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true'}\"";
        let tcp = "{number: 7000, name: tcp, protocol: TCP}";
        let of = |host: &str, last: u8| {
            format!(
                "hosts: [{host}], resolution: STATIC, ports: [{tcp}], \
                 endpoints: [{{address: 10.244.1.{last}}}]"
            )
        };
        let given = |address: &str| format!("status: {{addresses: [{{value: {address}}}]}}\n");
        let manifests = [
            pod_with("client", "10.244.1.10", "", captured),
            pod("red-1", "10.244.1.21", "--tcp 7000"),
            pod("blue-1", "10.244.1.22", "--tcp 7000"),
            // One port, no address of their own: only what is found for them tells them apart.
            entry("red", "", &of("red.example.com", 21)) + &given("240.240.3.1"),
            entry("blue", "", &of("blue.example.com", 22)),
        ];
        let mesh = Fixture::of(power, &manifests.concat())?;
        let answer = mesh.call("client", Tcp, "240.240.3.1:7000", "")?;
        assert_eq!(answer.app, "red-1");
        let listeners = mesh.mesh.envoy_admin("client", "/listeners")?;
        let found = listeners
            .lines()
            .filter_map(|line| line.split_once("_7000"))
            .map(|(name, _)| name.trim())
            .find(|name| name.starts_with("240.240.") && *name != "240.240.3.1");
        let Some(found) = found else {
            anyhow::bail!("no address was found for blue: {listeners}");
        };
        let answer = mesh.call("client", Tcp, &format!("{found}:7000"), "")?;
        assert_eq!(answer.app, "blue-1");
        Ok(())
    })
    .unwrap();
}

#[test]
fn an_endpoint_may_be_a_socket_beside_the_proxy() {
    let name = "traffic_entries::an_endpoint_may_be_a_socket_beside_the_proxy";
    isolated(name, |power| {
        let work = tempfile::tempdir()?;
        shell(&format!("chmod 777 {}", work.path().display()))?;
        let socket = work.path().join("local.sock");
        let local = format!(
            "hosts: [local.example.com], resolution: STATIC, ports: [{HTTP}], \
             endpoints: [{{address: 'unix://{}'}}]",
            socket.display()
        );
        let manifests = [
            pod(
                "client",
                "10.244.1.10",
                &format!("--http {}", socket.display()),
            ),
            entry("local", "", &local),
        ];
        let mesh = Fixture::of(power, &manifests.concat())?;
        shell(&format!("chmod 777 {}", socket.display()))?;
        expect(
            &mesh,
            &format!("{NOBODY}:80"),
            "local.example.com",
            "client",
        );
        Ok(())
    })
    .unwrap();
}
