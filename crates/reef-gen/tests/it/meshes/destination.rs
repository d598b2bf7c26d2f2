//! Random `DestinationRule`s: for hosts that are there, wildcards and nobody; with policies, ports,
//! subsets, selectors and exports.

use proptest::prelude::*;

/// Blocks of a policy. TLS is among them with files that need not be there: none of an agent's.
fn block() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "connectionPool: {tcp: {maxConnections: 5, connectTimeout: 2s, tcpKeepalive: {time: 9s}}}",
        "connectionPool: {http: {h2UpgradePolicy: UPGRADE, maxConcurrentStreams: 3, idleTimeout: 4s}}",
        "connectionPool: {http: {useClientProtocol: true, maxRequestsPerConnection: 2}}",
        "connectionPool: {tcp: {idleTimeout: 3s, maxConnectionDuration: 8s}, http: {http2KeepAlive: {interval: 1s}}}",
        "outlierDetection: {}",
        "outlierDetection: {consecutive5xxErrors: 1, minHealthPercent: 30, interval: 1s}",
        "outlierDetection: {splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2, outlierDetectionHttpErrorCodes: [429, 503]}",
        "loadBalancer: {simple: PASSTHROUGH}",
        "loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 5s, aggression: 1.5}}",
        "loadBalancer: {warmupDurationSecs: 5s}",
        "loadBalancer: {simple: RANDOM}",
        "loadBalancer: {consistentHash: {httpHeaderName: x, ringHash: {minimumRingSize: 16}}}",
        "loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 101}}}",
        "loadBalancer: {consistentHash: {httpCookie: {name: c, ttl: 0s}}}",
        "loadBalancer: {localityLbSetting: {distribute: [{from: 'r0/*', to: {'r0/*': 60, 'r1/*': 40}}]}}",
        "loadBalancer: {localityLbSetting: {failoverPriority: [topology.istio.io/network, app, 'version=v1']}}",
        "loadBalancer: {localityLbSetting: {failover: [{from: r0, to: r1}]}}",
        "loadBalancer: {localityLbSetting: {enabled: false}}",
        "loadBalancer: {zoneAwareLbSetting: {enabled: true, minClusterSize: 2}}",
        "tls: {mode: DISABLE}",
        "tls: {mode: SIMPLE, insecureSkipVerify: true}",
        "tls: {mode: SIMPLE, sni: x.example.com}",
        "tls: {mode: SIMPLE, credentialName: c}",
        "tls: {mode: ISTIO_MUTUAL}",
    ])
}

/// Whole policies.
fn policy() -> impl Strategy<Value = String> {
    let more = prop::sample::select(vec![
        "",
        ", proxyProtocol: {version: V2}",
        ", retryBudget: {percent: 30}",
        ", tunnel: {targetHost: t.example.com, targetPort: 443}",
    ]);
    let ports = proptest::option::of((prop::sample::select(vec![80u16, 443, 9000]), block()));
    (block(), more, ports).prop_map(|(block, more, ports)| {
        let ports = ports.map_or_else(String::new, |(port, block)| {
            format!(", portLevelSettings: [{{port: {{number: {port}}}, {block}}}]")
        });
        format!("{{{block}{more}{ports}}}")
    })
}

/// `DestinationRule`s.
pub(crate) fn destination_rule() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        4 => (0..6u8, 0..3u8).prop_map(|(n, ns)| format!("s{n}.ns{ns}.svc.cluster.local")),
        2 => (0..6u8).prop_map(|n| format!("s{n}")),
        4 => (0..5u8).prop_map(|n| format!("h{n}.example.com")),
        1 => (0..3u8).prop_map(|n| format!("*.w{n}.example.com")),
        1 => Just("*.example.com".to_owned()),
        1 => Just("*.svc.cluster.local".to_owned()),
    ];
    let whole = proptest::option::weighted(0.8, policy());
    let subset = (
        prop::sample::select(vec!["v1", "v2"]),
        prop::sample::select(vec![
            "app: a0",
            "app: a1",
            "topology.kubernetes.io/region: r0",
        ]),
        proptest::option::of(policy()),
    );
    let subsets = proptest::collection::vec(subset, 0..3);
    let clients = prop::sample::select(vec![
        "",
        "",
        "",
        ", workloadSelector: {matchLabels: {app: a0}}",
        ", workloadSelector: {matchLabels: {app: a1}}",
        ", exportTo: [.]",
        ", exportTo: [ns0, ns1]",
    ]);
    let namespace = prop::sample::select(vec!["ns0", "ns0", "ns1", "ns2", "istio-system"]);
    (0..9u8, namespace, host, whole, subsets, clients).prop_map(
        |(name, namespace, host, whole, subsets, clients)| {
            let whole = whole.map_or_else(String::new, |all| format!(", trafficPolicy: {all}"));
            let subsets: Vec<String> = subsets
                .into_iter()
                .enumerate()
                // Names are there once.
                .map(|(at, (name, labels, own))| {
                    let own = own.map_or_else(String::new, |own| format!(", trafficPolicy: {own}"));
                    format!("{{name: {name}-{at}, labels: {{{labels}}}{own}}}")
                })
                .collect();
            format!(
                "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
                 metadata: {{name: dr{name}, namespace: {namespace}}}\n\
                 spec: {{host: '{host}'{whole}, subsets: [{}]{clients}}}\n",
                subsets.join(", ")
            )
        },
    )
}
