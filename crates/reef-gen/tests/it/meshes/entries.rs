//! Service entries of every resolution that claim few hosts, and what may be behind them.

use proptest::prelude::*;
use proptest::sample::select;

/// A service entry, a workload entry, or a headless service with a pod that has a name of its own.
pub(super) fn any_entry() -> impl Strategy<Value = String> {
    prop_oneof![5 => service_entry(), 3 => workload_entry(), 1 => named_pod(), 1 => headless()]
}

const HOSTS: [&str; 7] = [
    "h0.example.com",
    "h1.example.com",
    "*.w0.example.com",
    "deep.w0.example.com",
    "192.0.2.7",
    "s0.ns0.svc.cluster.local",
    "h1.elsewhere.org",
];

const PORTS: [&str; 7] = [
    "{number: 80, name: p, protocol: HTTP, targetPort: 8080}",
    "{number: 81, name: q, protocol: GRPC}",
    "{number: 443, name: r, protocol: TLS, targetPort: 8443}",
    "{number: 443, name: r, protocol: HTTPS}",
    "{number: 5432, name: s, protocol: TCP, targetPort: 15432}",
    "{number: 5432, name: s, protocol: TCP}",
    "{number: 9000, name: t, protocol: UNKNOWN}",
];

/// Resolution, and what brings its endpoints.
const ENDPOINTS: [&str; 16] = [
    "resolution: NONE",
    "location: MESH_INTERNAL",
    "resolution: NONE, workloadSelector: {labels: {app: a1}}",
    "resolution: STATIC, endpoints: [{address: 10.1.9.1, ports: {p: 7000}, weight: 3, locality: r0/z0}]",
    "resolution: STATIC, endpoints: [{address: 10.1.9.2, network: net1, serviceAccount: sa}, {address: 'fd00:1::9', labels: {security.istio.io/tlsMode: istio}}]",
    "resolution: STATIC, endpoints: [{address: 'unix:///tmp/e.sock'}]",
    "resolution: STATIC, endpoints: [{address: 10.2.0.1}]",
    "resolution: STATIC, location: MESH_INTERNAL, workloadSelector: {labels: {app: a0}}",
    "resolution: STATIC, location: MESH_INTERNAL, workloadSelector: {labels: {app: a1, tier: back}}",
    "resolution: DNS",
    "resolution: DNS, endpoints: [{address: e.example.net, ports: {p: 7001}}, {address: f.example.net, locality: r1/z1}]",
    "resolution: DNS, workloadSelector: {labels: {app: a0}}",
    "resolution: DNS_ROUND_ROBIN",
    "resolution: DNS_ROUND_ROBIN, endpoints: [{address: e.example.net, network: net1}]",
    "resolution: DYNAMIC_DNS",
    "resolution: DNS, workloadSelector: {labels: {app: nobody}}",
];

const META: [&str; 6] = [
    "",
    "",
    ", creationTimestamp: '2026-01-01T00:00:00Z'",
    ", creationTimestamp: '2026-01-02T00:00:00Z', annotations: {istio.io/connect-strategy: RACE_FIRST_TCP_CONNECT}",
    ", labels: {networking.istio.io/enable-autoallocate-ip: 'false'}",
    ", annotations: {networking.istio.io/traffic-distribution: PreferClose}",
];

const REST: [&str; 6] = [
    "",
    "",
    ", exportTo: ['.']",
    ", exportTo: [ns0, ns1], subjectAltNames: [spiffe://cluster.local/ns/ns1/sa/sa]",
    ", addresses: [198.51.100.1, 'fd00:7::1']",
    ", addresses: [198.51.100.32/28]",
];

/// What a controller wrote; once it is what is found for another host.
const STATUS: [&str; 4] = [
    "",
    "",
    "status: {addresses: [{value: 240.240.1.1}, {value: '2001:2::f0f0:101'}]}\n",
    "status: {addresses: [{value: 240.240.1.2, host: h1.example.com}]}\n",
];

fn service_entry() -> impl Strategy<Value = String> {
    let hosts = proptest::sample::subsequence(HOSTS.to_vec(), 1..4);
    let ports = proptest::sample::subsequence(PORTS.to_vec(), 1..3);
    let parts = (
        select(ENDPOINTS.to_vec()),
        select(META.to_vec()),
        select(REST.to_vec()),
        select(STATUS.to_vec()),
    );
    (0..5u8, 0..3u8, hosts, ports, parts).prop_map(
        |(name, ns, hosts, ports, (endpoints, meta, rest, status))| {
            let hosts: Vec<String> = hosts.iter().map(|host| format!("'{host}'")).collect();
            format!(
                "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
                 metadata: {{name: rich{name}, namespace: ns{ns}{meta}}}\n\
                 spec: {{hosts: [{}], ports: [{}], {endpoints}{rest}}}\n{status}",
                hosts.join(", "),
                ports.join(", "),
            )
        },
    )
}

fn workload_entry() -> impl Strategy<Value = String> {
    let address = select(vec![
        "10.3.1.1",
        "10.3.1.2",
        "10.2.0.1",
        "vm.example.net",
        "'unix:///tmp/vm.sock'",
        "'fd00:3::1'",
    ]);
    let more = select(vec![
        "",
        ", ports: {p: 7100, http-a: 7101}, weight: 9",
        ", locality: r0/z0/s, network: net1",
        ", serviceAccount: sa",
    ]);
    let labels = select(vec!["app: a0", "app: a1, tier: back", "app: a1"]);
    (0..4u8, 0..3u8, address, more, labels).prop_map(|(name, ns, address, more, labels)| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\n\
             metadata: {{name: rich{name}, namespace: ns{ns}}}\n\
             spec: {{address: {address}, labels: {{{labels}}}{more}}}\n"
        )
    })
}

fn headless() -> impl Strategy<Value = String> {
    (0..2u8, any::<bool>()).prop_map(|(ns, early)| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: s0, namespace: ns{ns}}}\n\
             spec: {{clusterIP: None, publishNotReadyAddresses: {early}, selector: {{app: a0}}, \
             ports: [{{name: tcp-a, port: 9000}}]}}\n"
        )
    })
}

fn named_pod() -> impl Strategy<Value = String> {
    (1..9u8, 0..2u8, select(vec!["", ", hostname: own"])).prop_map(|(ip, ns, hostname)| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p{ip}, namespace: ns{ns}, labels: {{app: a0}}}}\n\
             spec: {{subdomain: s0{hostname}, containers: [{{name: c}}]}}\n\
             status: {{phase: Running, podIP: 10.2.0.{ip}, podIPs: [{{ip: 10.2.0.{ip}}}]}}\n"
        )
    })
}
