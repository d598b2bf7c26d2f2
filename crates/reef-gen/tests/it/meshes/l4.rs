//! Rules for TLS and TCP, `Sidecar`s of some workloads, and access logs.

use proptest::prelude::*;

/// A VirtualService with TLS and TCP routes whose names and ranges overlap.
pub(super) fn rule() -> impl Strategy<Value = String> {
    let hosts = prop::sample::select(vec![
        (
            "'*.example.com'",
            vec![
                "h0.example.com",
                "h1.example.com",
                "*.w0.example.com",
                "x.w1.example.com",
            ],
        ),
        (
            "h0.example.com, h1.example.com",
            vec!["h0.example.com", "h1.example.com"],
        ),
        (
            "'*.w0.example.com'",
            vec!["a.w0.example.com", "*.b.w0.example.com"],
        ),
        (
            "s0.ns0.svc.cluster.local, s1.ns0.svc.cluster.local",
            vec!["s0.ns0.svc.cluster.local"],
        ),
    ]);
    (0..4u8, 0..3u8, hosts).prop_flat_map(|(name, ns, (hosts, names))| {
        let routes = |matches: BoxedStrategy<String>| {
            let one = (prop::collection::vec(matches, 1..3), destinations())
                .prop_map(|(all, to)| format!("{{match: [{}], route: [{to}]}}", all.join(", ")));
            prop::collection::vec(one, 0..3)
        };
        let open = prop::option::of(destinations());
        (
            routes(tls_match(names).boxed()),
            routes(conditions().boxed()),
            open,
        )
            .prop_map(move |(tls, mut tcp, open)| {
                tcp.extend(open.map(|to| format!("{{route: [{to}]}}")));
                format!(
                    "apiVersion: networking.istio.io/v1\nkind: VirtualService\n\
                     metadata: {{name: l4-{name}, namespace: ns{ns}}}\n\
                     spec: {{hosts: [{hosts}], tls: [{}], tcp: [{}]}}\n",
                    tls.join(", "),
                    tcp.join(", ")
                )
            })
    })
}

fn tls_match(names: Vec<&'static str>) -> impl Strategy<Value = String> {
    let count = names.len();
    (prop::sample::subsequence(names, 1..=count), conditions()).prop_map(|(names, conditions)| {
        let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
        let rest = conditions.trim_start_matches('{').trim_end_matches('}');
        format!(
            "{{sniHosts: [{}]{}{rest}}}",
            names.join(", "),
            if rest.is_empty() { "" } else { ", " }
        )
    })
}

/// A match without server names.
fn conditions() -> impl Strategy<Value = String> {
    let client = prop::sample::select(vec![
        "",
        "",
        "sourceLabels: {app: a0}",
        "sourceLabels: {app: a1, x: y}",
        "sourceNamespace: ns0",
        "sourceNamespace: ns1",
        "gateways: [mesh]",
        "gateways: [ns0/edge]",
    ]);
    let ranges = prop::sample::select(vec![
        "",
        "",
        "destinationSubnets: [10.0.0.0/8]",
        "destinationSubnets: [198.51.100.0/24, 10.96.0.0/16]",
        "destinationSubnets: ['fd00::/8']",
        "destinationSubnets: [198.51.100.2, 198.51.100.1/24]",
    ]);
    let port = prop::sample::select(vec!["", "", "port: 443", "port: 80", "port: 9000"]);
    (client, ranges, port).prop_map(|parts| {
        let parts = [parts.0, parts.1, parts.2];
        let all: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        format!("{{{}}}", all.join(", "))
    })
}

fn destinations() -> impl Strategy<Value = String> {
    let host = prop::sample::select(vec![
        "s0.ns0.svc.cluster.local",
        "s1.ns0.svc.cluster.local",
        "s2.ns1.svc.cluster.local",
        "h0.example.com",
        "h1.example.com",
        "alias0.ns0.svc.cluster.local",
        "gone.example.com",
    ]);
    let more = prop::sample::select(vec![
        "",
        ", port: {number: 443}",
        ", port: {number: 9000}",
        ", subset: v1",
    ]);
    prop::collection::vec((host, more, 0..4u8), 1..4).prop_map(|all| {
        let several = all.len() > 1;
        let all: Vec<String> = all
            .iter()
            .enumerate()
            .map(|(at, (host, more, weight))| {
                // The weights of several must not all be 0.
                let weight = if several {
                    weight + u8::from(at == 0)
                } else {
                    0
                };
                let weight = if weight == 0 {
                    String::new()
                } else {
                    format!(", weight: {weight}")
                };
                format!("{{destination: {{host: {host}{more}}}{weight}}}")
            })
            .collect();
        all.join(", ")
    })
}

/// A Sidecar of the proxy's workload alone.
pub(super) fn sidecar() -> impl Strategy<Value = String> {
    let ingress = prop::sample::select(vec![
        "",
        "inboundConnectionPool: {tcp: {maxConnections: 7}}, ",
        "ingress: [{port: {number: 9200, name: http, protocol: HTTP}, connectionPool: {http: {http2MaxRequests: 3}}}], inboundConnectionPool: {tcp: {maxConnections: 7}}, ",
        "ingress: [{port: {number: 9201, name: tls, protocol: TLS}, bind: 10.2.0.1, captureMode: NONE, defaultEndpoint: '127.0.0.1:8443'}], ",
    ]);
    let egress = prop::sample::select(vec![
        "egress: [{hosts: ['*/*']}]",
        "egress: [{port: {number: 443, name: tls, protocol: HTTPS}, hosts: ['*/*.example.com']}, {hosts: ['ns0/*', '~ns0/s1.ns0.svc.cluster.local']}]",
        "egress: [{port: {number: 9000, name: tcp, protocol: TCP}, bind: 'unix:///tmp/l4.sock', hosts: ['ns0/*']}, {hosts: ['*/*']}]",
        "egress: [{port: {number: 5432, name: m, protocol: MONGO}, hosts: ['*/*']}, {hosts: ['./*']}]",
    ]);
    let policy = prop::sample::select(vec![
        "",
        ", outboundTrafficPolicy: {mode: REGISTRY_ONLY}",
        ", outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: s0.ns0.svc.cluster.local, subset: v1, port: {number: 9000}}}",
    ]);
    (ingress, egress, policy).prop_map(|(ingress, egress, policy)| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: Sidecar\n\
             metadata: {{name: l4, namespace: ns0}}\n\
             spec: {{workloadSelector: {{labels: {{app: a0}}}}, {ingress}{egress}{policy}}}\n"
        )
    })
}

/// A Telemetry; its filters are such as Envoy refuses, too.
pub(super) fn telemetry() -> impl Strategy<Value = String> {
    let selector = prop::sample::select(vec!["", "selector: {matchLabels: {app: a0}}, "]);
    let filter = prop::sample::select(vec![
        "",
        ", filter: {expression: 'response.code >= 500'}",
        ", filter: {expression: \"request.path.matches('a+') || has(request.headers.x)\"}",
        ", filter: {expression: \"request.path.matches('(')\"}",
        ", filter: {expression: 'response.code >'}",
    ]);
    let rest = prop::sample::select(vec![
        "providers: [{name: envoy}]",
        "providers: [{name: als}, {name: file}]",
        "match: {mode: SERVER}, providers: [{name: envoy}, {name: otel}]",
        "match: {mode: CLIENT}, disabled: true, providers: [{name: envoy}]",
    ]);
    (0..2u8, selector, filter, rest).prop_map(|(name, selector, filter, rest)| {
        format!(
            "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\n\
             metadata: {{name: t{name}, namespace: ns0}}\n\
             spec: {{{selector}accessLogging: [{{{rest}{filter}}}]}}\n"
        )
    })
}

/// A mesh configuration with providers of logs.
pub(super) const PROVIDERS: &str = "\
accessLogFile: /dev/stdout
extensionProviders:
- {name: file, envoyFileAccessLog: {path: /dev/stderr, logFormat: {labels: {a: '%ROUTE_NAME%'}}}}
- {name: als, envoyHttpAls: {service: s0.ns0.svc.cluster.local, port: 9000}}
- {name: otel, envoyOtelAls: {service: ns0/s1.ns0.svc.cluster.local, port: 9000}}
";
