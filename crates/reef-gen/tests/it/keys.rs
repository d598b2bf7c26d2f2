//! Which keys each attribute of a proxy changes: that and nothing else.

use reef_gen::{ProxyKeys, keys};
use reef_mesh::identify;

use crate::world::{documents, node, snapshot};

const BASE: &str = r#"
id: sidecar~10.0.0.1~client-0.default~default.svc.cluster.local
metadata: {NAMESPACE: default, INSTANCE_IPS: "10.0.0.1", CLUSTER_ID: Kubernetes, WORKLOAD_CERT: none,
  LABELS: {app: client}, NODE_NAME: n1, SERVICE_ACCOUNT: a, MESH_ID: m, NETWORK: net1}
"#;

const MESH: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.0.1, selector: {app: client}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: default}
spec: {clusterIP: None, selector: {app: db}, ports: [{name: tcp, port: 5432}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: default, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: tcp, port: 5432}]
endpoints: [{addresses: [10.0.0.7]}]
"#;

const LOCAL: &str = r#"
---
apiVersion: v1
kind: Service
metadata: {name: near, namespace: default}
spec: {clusterIP: 10.96.0.3, internalTrafficPolicy: Local, selector: {app: near}, ports: [{name: http, port: 80}]}
"#;

const NEAR: &str = r#"
---
apiVersion: v1
kind: Service
metadata: {name: near, namespace: default, annotations: {networking.istio.io/traffic-distribution: PreferClose}}
spec: {clusterIP: 10.96.0.3, selector: {app: near}, ports: [{name: http, port: 80}]}
"#;

const SIDECAR: &str = r#"
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: special, namespace: default}
spec: {workloadSelector: {labels: {app: special}}, egress: [{hosts: ["./*"]}]}
"#;

fn keys_of(mesh: &str, proxy: &str) -> ProxyKeys {
    let snapshot = snapshot(&documents(mesh), None);
    let proxy = identify(&snapshot, &node(proxy));
    let scope = reef_scope::resolve(&snapshot, &reef_scope::select(&snapshot, &proxy));
    keys(&snapshot, &scope, &proxy)
}

/// Asserts which of clusters (c), endpoints (e), listeners (l), routes (r) and the table of names (n) a
/// replacement of text in the proxy changes.
fn check(mesh: &str, from: &str, to: &str, expected: &str) {
    let changed = BASE.replace(from, to);
    assert_ne!(changed, BASE, "`{from}` is in the proxy");
    let found = self::changed(&keys_of(mesh, BASE), &keys_of(mesh, &changed));
    assert_eq!(found, expected, "{from} -> {to}");
}

fn changed(before: &ProxyKeys, after: &ProxyKeys) -> String {
    let differs = [
        ('c', before.clusters != after.clusters),
        ('e', before.endpoints != after.endpoints),
        ('l', before.listeners != after.listeners),
        ('r', before.routes != after.routes),
        ('n', before.names != after.names),
    ];
    differs
        .iter()
        .filter(|(_, differs)| *differs)
        .map(|(key, _)| *key)
        .collect()
}

/// Asserts what an added metadata entry changes.
fn check_added(entry: &str, expected: &str) {
    check(
        MESH,
        "MESH_ID: m",
        &format!("MESH_ID: m, {entry}"),
        expected,
    );
}

#[test]
fn attributes_generation_does_not_read_change_nothing() {
    check(MESH, "client-0.default", "client-1.default", "");
    check(MESH, "SERVICE_ACCOUNT: a", "SERVICE_ACCOUNT: b", "");
    check(MESH, "MESH_ID: m", "MESH_ID: other", "");
    check(MESH, "NETWORK: net1", "NETWORK: net2", "");
    check(MESH, "CLUSTER_ID: Kubernetes", "CLUSTER_ID: other", "");
    check(
        MESH,
        "LABELS: {app: client}",
        "LABELS: {app: client, version: v2}",
        "",
    );
    check(MESH, "metadata:", "locality: eu/a\nmetadata:", "");
    for entry in [
        "ISTIO_VERSION: 1.32.0",
        "WORKLOAD_NAME: w",
        "ANNOTATIONS: {a: b}",
        "STATIC_LABELS: {a: b}",
        "POD_PORTS: '[]'",
        "ENABLE_HBONE: 'true'",
        "AUTO_REGISTER_GROUP: g",
        "UNPRIVILEGED_POD: 'true'",
        "ENABLE_SELF_DISCOVERY: 'true'",
        "DISABLE_HBONE_SEND: 'true'",
        "WORKLOAD_ENTRY: e",
        "DNS_AUTO_ALLOCATE: 'true'",
        "DNS_PROXY_ADDR: 'localhost:15053'",
        // Certificates come from the agent or not at all.
        "TLS_CLIENT_CERT_CHAIN: /c, TLS_CLIENT_KEY: /k, TLS_CLIENT_ROOT_CERT: /r",
        "TLS_SERVER_CERT_CHAIN: /c, TLS_SERVER_KEY: /k, TLS_SERVER_ROOT_CERT: /r",
        "credential: 'true', file-credential: 'true'",
        "ANYTHING: x",
    ] {
        check_added(entry, "");
    }
}

#[test]
fn proxyless_clients_of_a_scope_are_one_class_whatever_else_they_are() {
    check_added("GENERATOR: grpc", "celr");
    let client = |from: &str, to: &str| {
        let text = BASE
            .replace("MESH_ID: m", "GENERATOR: grpc")
            .replace(from, to);
        keys_of(MESH, &text)
    };
    let base = client("", "");
    for (from, to) in [
        ("10.0.0.1\", CLUSTER", "10.0.0.7\", CLUSTER"),
        ("default.svc.cluster.local", "other.svc.cluster.local"),
        ("WORKLOAD_CERT: none", "ISTIO_VERSION: 1.32.0"),
        ("NETWORK: net1", "INTERCEPTION_MODE: TPROXY, HTTP10: '1'"),
        (
            "NETWORK: net1",
            "ENVOY_STATUS_PORT: 15029, IDLE_TIMEOUT: 5s",
        ),
        ("LABELS: {app: client}", "LABELS: {app: other}"),
    ] {
        assert_eq!(client(from, to), base, "{from} -> {to}");
    }
}

#[test]
fn own_address_counts_only_where_it_is_an_endpoint_of_a_headless_service() {
    check(MESH, "10.0.0.1\", CLUSTER", "10.0.0.2\", CLUSTER", "");
    check(MESH, "10.0.0.1\", CLUSTER", "10.0.0.7\", CLUSTER", "lr");
}

#[test]
fn address_families_change_all_but_endpoints() {
    check(MESH, "10.0.0.1\", CLUSTER", "fd00::1\", CLUSTER", "clr");
    check(
        MESH,
        "10.0.0.1\", CLUSTER",
        "10.0.0.1,fd00::1\", CLUSTER",
        "clr",
    );
}

#[test]
fn node_name_counts_only_where_a_service_stays_on_its_node() {
    check(MESH, "NODE_NAME: n1", "NODE_NAME: n2", "");
    check(
        &format!("{MESH}{LOCAL}"),
        "NODE_NAME: n1",
        "NODE_NAME: n2",
        "ce",
    );
}

#[test]
fn place_counts_only_where_a_service_prefers_near_endpoints() {
    let near = format!("{MESH}{NEAR}");
    check(&near, "metadata:", "locality: eu/a\nmetadata:", "ce");
    check(&near, "metadata:", "locality: //s\nmetadata:", "");
    check(&near, "NETWORK: net1", "NETWORK: net2", "ce");
    check(&near, "NODE_NAME: n1", "NODE_NAME: n2", "");
    let node = near.replace("PreferClose", "PreferSameNode");
    check(&node, "NODE_NAME: n1", "NODE_NAME: n2", "ce");
    check(&node, "metadata:", "locality: //s\nmetadata:", "ce");
}

#[test]
fn cluster_counts_only_where_a_service_stays_in_it() {
    let local = format!("{MESH}{LOCAL}").replace(
        "name: near, namespace: default",
        "name: dns, namespace: kube-system",
    );
    check(&local, "CLUSTER_ID: Kubernetes", "CLUSTER_ID: other", "ce");
}

#[test]
fn namespace_and_scope_change_everything() {
    check(MESH, "NAMESPACE: default", "NAMESPACE: other", "celr");
    let mesh = format!("{MESH}{SIDECAR}");
    check(&mesh, "app: client", "app: special", "celr");
}

#[test]
fn labels_count_only_by_the_services_they_select() {
    check(MESH, "app: client", "app: stranger", "cl");
}

#[test]
fn what_a_workload_serves_and_how_it_is_secured_counts_only_for_what_leads_in() {
    let check_inbound = |mesh: &str, from: &str, to: &str| {
        let (one, other) = (keys_of(mesh, BASE), keys_of(mesh, &BASE.replace(from, to)));
        assert_ne!(one.listeners.inbound, other.listeners.inbound, "{to}");
        assert_eq!(one.listeners.outbound, other.listeners.outbound, "{to}");
        assert_eq!(one.clusters.outbound, other.clusters.outbound, "{to}");
    };
    check_inbound(MESH, "app: client", "app: stranger");
    let secured = format!("{MESH}{SECURED}");
    check_inbound(&secured, "app: client", "app: client, tier: closed");
    check_inbound(
        MESH,
        "MESH_ID: m",
        "MESH_ID: m, INBOUND_LISTENER_EXACT_BALANCE: 'true'",
    );
    // Ports a `Sidecar` declares may need an address that a listener for destinations has.
    let declared = format!("{MESH}{SIDECAR}").replace(
        "egress:",
        "ingress: [{port: {number: 9000, protocol: TCP, name: t}, defaultEndpoint: '127.0.0.1:9000'}], egress:",
    );
    let special = |entry: &str| {
        let proxy = BASE.replace("app: client", "app: special");
        keys_of(&declared, &proxy.replace("MESH_ID: m", entry)).listeners
    };
    let (one, other) = (special("MESH_ID: m"), special("HTTP_PROXY_PORT: '3128'"));
    assert_ne!(one.outbound, other.outbound);
    assert_ne!(one.inbound, other.inbound);
}

#[test]
fn proxy_settings_change_only_what_shows_them() {
    let settings =
        |text: &str, expected: &str| check_added(&format!("PROXY_CONFIG: '{text}'"), expected);
    settings(r#"{"concurrency": 4}"#, "");
    settings(r#"{"proxyHeaders": {"server": {"value": "x"}}}"#, "l");
    settings(
        r#"{"proxyHeaders": {"attemptCount": {"disabled": true}}}"#,
        "lr",
    );
    settings(
        r#"{"proxyHeaders": {"xForwardedHost": {"enabled": true}}}"#,
        "lr",
    );
    settings(r#"{"tracing": {"sampling": 50}}"#, "l");
}

#[test]
fn a_workload_is_known_to_its_listeners_only_where_it_is_traced() {
    let traced = BASE.replace(
        "MESH_ID: m",
        r#"MESH_ID: m, PROXY_CONFIG: '{"tracing": {"zipkin": {"address": "z:9411"}}}'"#,
    );
    let named = |proxy: &str| {
        proxy.replace(
            "app: client",
            "app: client, service.istio.io/canonical-name: x",
        )
    };
    assert_eq!(keys_of(MESH, BASE), keys_of(MESH, &named(BASE)));
    let (one, other) = (keys_of(MESH, &traced), keys_of(MESH, &named(&traced)));
    assert_ne!(one.listeners, other.listeners);
    assert_eq!(one.routes, other.routes);
    assert_eq!(one.clusters, other.clusters);
}

#[test]
fn rights_count_only_where_sockets_are_bound() {
    check_added("UNPRIVILEGED_POD: 'true'", "");
    let bound = BASE.replace("MESH_ID: m", "MESH_ID: m, INTERCEPTION_MODE: NONE");
    let without = bound.replace("MESH_ID: m", "MESH_ID: m, UNPRIVILEGED_POD: 'true'");
    let (with, without) = (keys_of(MESH, &bound), keys_of(MESH, &without));
    assert_ne!(with.listeners, without.listeners);
    assert_ne!(with.routes, without.routes);
    assert_eq!(with.clusters, without.clusters);
}

#[test]
fn each_metadata_key_changes_only_who_reads_it() {
    check(
        MESH,
        "default.svc.cluster.local",
        "other.svc.cluster.local",
        "r",
    );
    check(MESH, "WORKLOAD_CERT: none", "WORKLOAD_CERT: sds-grpc", "cl");
    check_added("INTERCEPTION_MODE: TPROXY", "lr");
    check_added("INTERCEPTION_MODE: NONE", "clr");
    check_added("REQUESTED_NETWORK_VIEW: net1", "ce");
    check_added("IDLE_TIMEOUT: 5s", "l");
    check_added("HTTP10: '1'", "l");
    check_added("HTTP_PROXY_PORT: '3128'", "lr");
    check_added("INBOUND_LISTENER_EXACT_BALANCE: 'true'", "l");
    check_added("OUTBOUND_LISTENER_EXACT_BALANCE: 'true'", "l");
    for key in [
        "ENVOY_STATUS_PORT",
        "ENVOY_PROMETHEUS_PORT",
        "ENVOY_SECURE_METRICS_PORT",
        "ENVOY_SECURE_MERGED_METRICS_PORT",
    ] {
        check_added(&format!("{key}: 15021"), "lr");
    }
}

#[test]
fn a_resolver_beside_the_proxy_counts_only_where_unknown_hosts_are_looked_up() {
    let config = "outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}";
    let snapshot = snapshot(&documents(MESH), Some(config));
    let keys_of = |proxy: &str| {
        let proxy = identify(&snapshot, &node(proxy));
        let scope = reef_scope::resolve(&snapshot, &reef_scope::select(&snapshot, &proxy));
        keys(&snapshot, &scope, &proxy)
    };
    let resolver = "MESH_ID: m, DNS_PROXY_ADDR: 'localhost:15053'";
    let told = keys_of(&BASE.replace("MESH_ID: m", resolver));
    assert_eq!(changed(&keys_of(BASE), &told), "cl");
}

#[test]
fn an_address_made_for_a_host_counts_only_for_who_resolves_names() {
    let entry = r#"
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: far, namespace: default}
spec: {hosts: [far.example.com], ports: [{number: 9000, name: tcp, protocol: TCP}], resolution: STATIC,
  endpoints: [{address: 192.0.2.1}]}
"#;
    let mesh = format!("{MESH}{entry}");
    let resolves = "MESH_ID: m, DNS_CAPTURE: 'true'";
    check(MESH, "MESH_ID: m", resolves, "n");
    check(&mesh, "MESH_ID: m", resolves, "lrn");
}

const SECURED: &str = r#"
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: default}
spec: {selector: {matchLabels: {tier: strict}}, mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict-too, namespace: default}
spec: {selector: {matchLabels: {tier: strict-too}}, mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: usual, namespace: default}
spec: {selector: {matchLabels: {tier: usual}}, mtls: {mode: PERMISSIVE}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict-port, namespace: default}
spec: {selector: {matchLabels: {tier: strict-port}}, portLevelMtls: {8080: {mode: STRICT}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed, namespace: istio-system}
spec: {selector: {matchLabels: {tier: closed}}, rules: [{to: [{operation: {methods: [GET]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: watched, namespace: default}
spec: {selector: {matchLabels: {tier: watched}}, action: AUDIT, rules: [{}]}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: default}
spec: {selector: {matchLabels: {tier: tokens}}, jwtRules: [{issuer: x, jwks: "{}"}]}
"#;

/// As [`check`], for a label of the proxy's that only policies read.
fn check_tier(certificate: &str, from: &str, to: &str, expected: &str) {
    let mesh = format!("{MESH}{SECURED}");
    let proxy = |tier: &str| {
        let tier = match tier {
            "" => String::new(),
            tier => format!(", tier: {tier}"),
        };
        BASE.replace("app: client", &format!("app: client{tier}"))
            .replace(
                "WORKLOAD_CERT: none",
                &format!("WORKLOAD_CERT: {certificate}"),
            )
    };
    let found = changed(&keys_of(&mesh, &proxy(from)), &keys_of(&mesh, &proxy(to)));
    assert_eq!(found, expected, "{certificate}: {from} -> {to}");
}

#[test]
fn policies_count_by_what_follows_from_them() {
    for (certificate, tier, expected) in [
        ("none", "unknown", ""),
        ("none", "usual", ""),
        ("none", "watched", ""),
        ("none", "strict", "l"),
        ("none", "strict-port", "l"),
        ("none", "closed", "l"),
        ("none", "tokens", "l"),
        ("sds-grpc", "usual", ""),
        ("sds-grpc", "strict", "l"),
        ("sds-grpc", "strict-port", "l"),
        ("sds-grpc", "closed", "l"),
        ("sds-grpc", "tokens", "l"),
    ] {
        check_tier(certificate, "", tier, expected);
    }
    // Equal results are one class, whichever object they come from; what it is told of names it.
    check_tier("sds-grpc", "strict", "strict-too", "");
    check_tier("none", "strict", "strict-too", "l");
}

#[test]
fn labels_count_if_a_rule_asks_for_them() {
    let rule = r#"
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: db, namespace: default}
spec:
  hosts: [db]
  tcp: [{match: [{sourceLabels: {version: v2}}], route: [{destination: {host: web}}]}]
"#;
    let mesh = format!("{MESH}{rule}");
    let labels = "LABELS: {app: client}";
    check(&mesh, labels, "LABELS: {app: client, version: v1}", "");
    check(&mesh, labels, "LABELS: {app: client, version: v2}", "lr");
}

fn rule(spec: &str) -> String {
    format!(
        "{MESH}\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
         metadata: {{name: r, namespace: default}}\nspec: {{host: web, {spec}}}\n"
    )
}

#[test]
fn labels_count_by_the_rules_that_select_them() {
    let mesh = rule("workloadSelector: {matchLabels: {version: v2}}");
    let version = |to: &str, expected: &str| {
        let to = format!("LABELS: {{app: client, version: {to}}}");
        check(&mesh, "LABELS: {app: client}", &to, expected);
    };
    version("v1", "");
    version("v2", "celr");
}

#[test]
fn place_counts_by_what_a_rule_compares() {
    let near = rule("trafficPolicy: {outlierDetection: {}}");
    check(&near, "metadata:", "locality: eu/a\nmetadata:", "ce");
    check(&near, "metadata:", "locality: //s\nmetadata:", "ce");
    check(&near, "NETWORK: net1", "NETWORK: net2", "");
    let lists = |lists: &str| {
        rule(&format!(
            "trafficPolicy: {{outlierDetection: {{}}, loadBalancer: {{localityLbSetting: {lists}}}}}"
        ))
    };
    let racks = lists("{failoverPriority: [rack, 'tier=gold']}");
    check(&racks, "metadata:", "locality: eu/a\nmetadata:", "");
    let labels = |more: &str| format!("LABELS: {{app: client, {more}}}");
    check(&racks, "LABELS: {app: client}", &labels("rack: r1"), "ce");
    check(&racks, "LABELS: {app: client}", &labels("tier: gold"), "");
    let off = lists("{enabled: false}");
    check(&off, "metadata:", "locality: eu/a\nmetadata:", "");
}

#[test]
fn a_certificate_counts_for_endpoints_only_where_a_rule_demands_it() {
    let agent = "ISTIO_VERSION: 1.32.0";
    check(MESH, "WORKLOAD_CERT: none", agent, "cl");
    let mesh = rule("trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}");
    check(&mesh, "WORKLOAD_CERT: none", agent, "cel");
}
