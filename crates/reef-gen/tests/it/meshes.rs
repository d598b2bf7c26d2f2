//! Random small meshes: services of every kind that collide on ports, addresses and hosts, with or
//! without a `Sidecar`, for proxies of every kind.

#[path = "meshes/destination.rs"]
mod destination;
#[path = "meshes/entries.rs"]
mod entries;
#[path = "meshes/l4.rs"]
mod l4;
#[path = "meshes/virtual_services.rs"]
mod virtual_services;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use proptest::prelude::*;
use reef_config::{Origin, parse};
use reef_gen::ClassInput;
use reef_mesh::identify;

use crate::world::{class, node, snapshot};

/// What meshes are drawn from: `REEF_SEED`, else another number every time.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("REEF_SEED").ok();
    given
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| RandomState::new().hash_one(0u8))
}

/// A mesh and a proxy of it.
#[derive(Debug, Clone)]
pub(crate) struct Mesh {
    /// Objects, a document each.
    pub documents: Vec<String>,
    /// The mesh configuration.
    pub config: &'static str,
    /// Addresses of the proxy.
    pub addresses: &'static str,
    /// Further metadata of the proxy.
    pub metadata: &'static str,
}

impl Mesh {
    /// The class of the mesh's proxy, with these labels.
    pub(crate) fn class(&self, app: &str) -> ClassInput {
        let texts: Vec<&str> = self.documents.iter().map(String::as_str).collect();
        let snapshot = snapshot(&texts, Some(self.config));
        let proxy = node(&format!(
            "id: sidecar~10.2.0.1~x.ns0~ns0.svc.cluster.local\n\
             metadata: {{NAMESPACE: ns0, INSTANCE_IPS: \"{}\", LABELS: {{app: {app}}}{}}}\n",
            self.addresses, self.metadata
        ));
        class(&snapshot, &identify(&snapshot, &proxy))
    }
}

/// Meshes.
pub(crate) fn meshes() -> impl Strategy<Value = Mesh> {
    let config = prop_oneof![
        4 => Just("{}"),
        1 => Just("outboundTrafficPolicy: {mode: REGISTRY_ONLY}"),
        1 => Just("outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}\naccessLogFile: /dev/stdout"),
        1 => Just("inboundTrafficPolicy: {mode: LOCALHOST}\nlocalityLbSetting: {distribute: [{from: '*', to: {'r0/*': 70, 'r1/z1': 30}}]}"),
        1 => Just(l4::PROVIDERS),
        1 => Just("tcpKeepalive: {probes: 3}\nconnectTimeout: 1s\ndnsRefreshRate: 2s\nprotocolDetectionTimeout: 1s"),
        1 => Just("proxyHttpPort: 15080\naccessLogFile: /dev/stdout\naccessLogEncoding: JSON"),
        1 => Just("defaultHttpRetryPolicy: {attempts: 3, retryOn: \"5xx,503\"}\nh2UpgradePolicy: UPGRADE"),
        1 => Just("defaultServiceExportTo: ['.']\ndefaultVirtualServiceExportTo: ['.']\ndefaultDestinationRuleExportTo: ['.']"),
        1 => Just("serviceEntryVisibility: {applyToSidecars: true, defaultVisibility: NAMESPACE}\ndefaultConfig: {proxyHeaders: {preserveHttp1HeaderCase: true}}"),
        1 => Just("defaultTrafficPolicy: {outlierDetection: {minHealthPercent: 10}, connectionPool: {http: {idleTimeout: 7s}}}\nzoneAwareLbSetting: {enabled: true}"),
        1 => Just("defaultConfig: {tracing: {zipkin: {address: z:9411}}}\npathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}"),
        1 => Just("defaultConfig: {connectionSettings: {httpIdleTimeout: 5s, httpMaxConnectionDuration: 9s, httpDrainTimeout: 1s, httpRequestTimeout: 2s, httpRequestHeadersTimeout: 3s, httpStreamIdleTimeout: 4s, httpMaxStreamDuration: 6s, httpMaxConcurrentStreams: 1, http2InitialStreamWindowSize: 65535, http2InitialConnectionWindowSize: 2147483647, httpHeadersWithUnderscoresAction: HEADERS_WITH_UNDERSCORES_REJECT_REQUEST, httpMergeSlashes: true, httpPathWithEscapedSlashesAction: UNESCAPE_AND_REDIRECT}}"),
    ];
    let addresses = prop_oneof![
        3 => Just("10.2.0.1"),
        1 => Just("fd00::1"),
        1 => Just("10.2.0.1,fd00::1"),
    ];
    let metadata = prop_oneof![
        4 => Just(", WORKLOAD_CERT: none"),
        1 => Just(", WORKLOAD_CERT: none, INTERCEPTION_MODE: TPROXY"),
        1 => Just(", WORKLOAD_CERT: none, INTERCEPTION_MODE: NONE"),
        1 => Just(", WORKLOAD_CERT: none, IDLE_TIMEOUT: 5s, HTTP10: '1'"),
        3 => Just(", ISTIO_VERSION: 1.32.0, NODE_NAME: n1, NETWORK: net1"),
        1 => Just(", WORKLOAD_CERT: none, DNS_CAPTURE: 'true'"),
        2 => Just(", ISTIO_VERSION: 1.32.0, DNS_CAPTURE: 'true', NETWORK: net1"),
        1 => Just(", ISTIO_VERSION: 1.32.0, REQUESTED_NETWORK_VIEW: net1, HTTP_PROXY_PORT: '3129'"),
    ];
    (objects(), config, addresses, metadata).prop_map(|(documents, config, addresses, metadata)| {
        Mesh {
            documents,
            config,
            addresses,
            metadata,
        }
    })
}

/// A gateway into a network some endpoints are in.
fn gateway() -> impl Strategy<Value = String> {
    let address = prop::sample::select(vec![
        "ip: 192.0.2.1",
        "ip: 'fd00:2::1'",
        "hostname: gw.example.net",
    ]);
    (0..3u8, 1..3u8, address).prop_map(|(name, network, address)| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: gate{name}, namespace: istio-system, \
             labels: {{topology.istio.io/network: net{network}}}}}\n\
             spec: {{type: LoadBalancer, clusterIP: 10.96.9.{name}, externalIPs: [192.0.2.{network}{name}], ports: [{{port: 15443}}]}}\n\
             status: {{loadBalancer: {{ingress: [{{{address}}}]}}}}"
        )
    })
}

/// Documents; every object once, and only such as parse.
pub(crate) fn objects() -> impl Strategy<Value = Vec<String>> {
    let object = prop_oneof![
        6 => service(),
        6 => entry(),
        6 => entries::any_entry(),
        2 => slice(),
        1 => alias(),
        1 => sidecar(),
        5 => virtual_services::rule(),
        1 => workload(),
        2 => pod(),
        2 => gateway(),
        1 => peer_authentication(),
        1 => authorization(),
        6 => destination::destination_rule(),
        3 => l4::rule(),
        1 => l4::sidecar(),
        1 => l4::telemetry(),
    ];
    proptest::collection::vec(object, 1..16).prop_map(|mut all| {
        // One object per key: which of two wins is the source's matter, not generation's.
        let mut seen = BTreeSet::new();
        all.retain(|text| {
            let origin = Origin {
                path: "random.yaml".into(),
                line: 1,
            };
            let parsed = parse::object(text, &origin);
            let new = parsed
                .objects
                .iter()
                .all(|object| seen.insert(object.key.clone()));
            !parsed.has_errors() && new
        });
        all
    })
}

fn protocol() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "http",
        "http",
        "grpc",
        "http2",
        "grpc-web",
        "tcp",
        "tcp",
        "tls",
        "https",
        "mongo",
        "mysql",
        "redis",
        "any",
        "any",
        "http_proxy",
        "udp",
    ])
}

fn port() -> impl Strategy<Value = u16> {
    prop::sample::select(vec![80u16, 80, 81, 443, 5432, 15021])
}

fn service() -> impl Strategy<Value = String> {
    (0..6u8, 0..3u8, protocol(), port(), protocol(), 0..6u8).prop_map(
        |(name, ns, first, port, second, shape)| {
            let ips = match shape {
                0 => "clusterIP: None".to_owned(),
                1 => format!("clusterIP: 'fd00:96::{ns}:{name}'"),
                2 => format!(
                    "clusterIP: 10.96.{ns}.{name}, clusterIPs: [10.96.{ns}.{name}, 'fd00:96::{ns}:{name}']"
                ),
                _ => format!("clusterIP: 10.96.{ns}.{name}"),
            };
            let transport = |token: &str| if token == "udp" { "UDP" } else { "TCP" };
            let more = ["", ", internalTrafficPolicy: Local", ", trafficDistribution: PreferClose"]
                .get(usize::from(name + ns) % 5)
                .unwrap_or(&"");
            format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: s{name}, namespace: ns{ns}}}\n\
                 spec: {{{ips}{more}, selector: {{app: a{}}}, ports: [\
                 {{name: {}-a, appProtocol: {first}, port: {port}, protocol: {}}}, \
                 {{name: {}-b, port: 9000, protocol: {}}}]}}\n",
                name % 3,
                first.replace('_', "-"),
                transport(first),
                second.replace('_', "-"),
                transport(second),
            )
        },
    )
}

fn entry() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        4 => (0..5u8).prop_map(|n| format!("h{n}.example.com")),
        2 => (0..3u8).prop_map(|n| format!("*.w{n}.example.com")),
        1 => (0..3u8).prop_map(|n| format!("192.0.2.{n}")),
        1 => Just("s0.ns0".to_owned()),
    ];
    let addresses = prop::sample::select(vec![
        "[]",
        "[]",
        "[198.51.100.1]",
        "[198.51.100.2, 'fd00:7::2']",
        "[198.51.100.0/24]",
        "[198.51.100.9/24, 10.0.0.0/8]",
        "['fd00:7::/64']",
    ]);
    let resolution = prop::sample::select(vec![
        "NONE",
        "STATIC",
        "STATIC",
        "DNS",
        "DNS",
        "DNS_ROUND_ROBIN",
        "DYNAMIC_DNS",
    ]);
    (
        0..6u8,
        0..3u8,
        host,
        addresses,
        resolution,
        (protocol(), port(), 0..4u8),
    )
        .prop_map(
            |(name, ns, host, addresses, resolution, (protocol, port, endpoints))| {
                let endpoints = match endpoints {
                    0 => String::new(),
                    1 => format!(", endpoints: [{{address: 10.1.0.{name}}}]"),
                    2 => format!(
                        ", endpoints: [{{address: e{name}.example.net, locality: r0/z0, weight: 3}}, \
                         {{address: f.example.net, locality: r1/z1, network: net1, serviceAccount: sa}}]"
                    ),
                    _ => format!(
                        ", endpoints: [{{address: 10.1.0.{name}, locality: r0/z0/s, network: net1, serviceAccount: sb}}, \
                         {{address: 10.1.1.{name}, locality: r1/z1, weight: 7, serviceAccount: sa}}, \
                         {{address: 'unix:///tmp/e{name}.sock'}}]"
                    ),
                };
                let annotations = match name {
                    0 => ", annotations: {networking.istio.io/traffic-distribution: PreferSameNode}",
                    1 => ", annotations: {istio.io/connect-strategy: RACE_FIRST_TCP_CONNECT}",
                    _ => "",
                };
                format!(
                    "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
                 metadata: {{name: se{name}, namespace: ns{ns}{annotations}}}\n\
                 spec: {{hosts: ['{host}'], addresses: {addresses}, resolution: {resolution}, \
                 ports: [{{number: {port}, name: p, protocol: {}}}]{endpoints}}}\n",
                    protocol.to_uppercase()
                )
            },
        )
}

fn slice() -> impl Strategy<Value = String> {
    (0..6u8, 0..3u8, 1..9u8, any::<bool>()).prop_map(|(name, ns, ip, ready)| {
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: sl{name}-{ip}, namespace: ns{ns}, labels: {{kubernetes.io/service-name: s{name}}}}}\n\
             addressType: IPv4\nports: [{{name: tcp-a, port: 9000}}, {{name: http-a, port: 8080}}, {{name: any-b, port: 9}}]\n\
             endpoints: [{{addresses: [10.2.0.{ip}], zone: z{}, conditions: {{ready: {ready}, terminating: false}}}}]\n",
            ip % 2
        )
    })
}

fn pod() -> impl Strategy<Value = String> {
    (1..9u8, 0..3u8, 0..3u8, any::<bool>()).prop_map(|(ip, ns, app, tls)| {
        let tls = if tls { ", security.istio.io/tlsMode: istio" } else { "" };
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p{ip}, namespace: ns{ns}, labels: {{app: a{app}{tls}}}}}\n\
             spec: {{nodeName: n1, containers: [{{name: c, ports: [{{name: web, containerPort: 8080}}]}}]}}\n\
             status: {{phase: Running, podIP: 10.2.0.{ip}, podIPs: [{{ip: 10.2.0.{ip}}}]}}\n"
        )
    })
}

fn peer_authentication() -> impl Strategy<Value = String> {
    let mode = prop::sample::select(vec!["STRICT", "PERMISSIVE", "DISABLE", "UNSET"]);
    let ports = prop::sample::select(vec![
        "",
        ", selector: {matchLabels: {app: a0}}",
        ", selector: {matchLabels: {app: a0}}, portLevelMtls: {8080: {mode: STRICT}, 80: {mode: DISABLE}, 7777: {mode: STRICT}}",
    ]);
    (0..2u8, mode, ports).prop_map(|(ns, mode, ports)| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
             metadata: {{name: pa, namespace: ns{ns}}}\nspec: {{mtls: {{mode: {mode}}}{ports}}}\n"
        )
    })
}

fn authorization() -> impl Strategy<Value = String> {
    let rules = prop::sample::select(vec![
        "",
        "action: DENY, rules: [{to: [{operation: {ports: ['80']}}]}]",
        "rules: [{to: [{operation: {methods: [GET]}}]}]",
    ]);
    (0..2u8, rules).prop_map(|(ns, rules)| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {{name: ap, namespace: ns{ns}}}\nspec: {{{rules}}}\n"
        )
    })
}

fn alias() -> impl Strategy<Value = String> {
    (0..3u8, 0..3u8, 0..5u8).prop_map(|(name, ns, target)| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: alias{name}, namespace: ns{ns}}}\n\
             spec: {{type: ExternalName, externalName: h{target}.example.com}}\n"
        )
    })
}

fn workload() -> impl Strategy<Value = String> {
    (0..3u8, 0..3u8).prop_map(|(name, ns)| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\n\
             metadata: {{name: w{name}, namespace: ns{ns}}}\n\
             spec: {{address: 10.3.0.{name}, labels: {{app: a{name}}}}}\n"
        )
    })
}

fn sidecar() -> impl Strategy<Value = String> {
    let listener = prop::sample::select(vec![
        "{port: {number: 80, name: p, protocol: HTTP}, hosts: ['*/*']}",
        "{port: {number: 443, name: p, protocol: TLS}, hosts: ['*/*']}",
        "{port: {number: 5432, name: p, protocol: TCP}, bind: 127.0.0.9, hosts: ['*/*']}",
        "{port: {number: 3128, name: p, protocol: HTTP_PROXY}, hosts: ['ns0/*']}",
        "{port: {number: 9000, name: p, protocol: HTTP}, bind: 10.9.9.9, captureMode: NONE, hosts: ['*/*']}",
        "{port: {number: 0, name: p, protocol: HTTP}, bind: 'unix:///tmp/reef-random.sock', hosts: ['*/*']}",
        "{port: {number: 81, name: p}, hosts: ['*/*'], captureMode: NONE}",
    ]);
    let rest = prop::sample::select(vec![
        "{hosts: ['*/*']}",
        "{hosts: ['./*', 'ns1/*']}",
        "{hosts: ['*/*'], bind: 127.0.0.8}",
        "{hosts: ['*/*'], captureMode: NONE}",
    ]);
    let policy = prop::sample::select(vec![
        "",
        ", outboundTrafficPolicy: {mode: REGISTRY_ONLY}",
        ", outboundTrafficPolicy: {egressProxy: {host: h0.example.com, port: {number: 80}}}",
    ]);
    let ingress = prop::sample::select(vec![
        "",
        "",
        "ingress: [{port: {number: 9100, name: http, protocol: HTTP}, defaultEndpoint: 'unix:///tmp/i.sock'}, {port: {number: 9101, name: tcp, protocol: TCP}, defaultEndpoint: '0.0.0.0:8080'}], ",
        "ingress: [{port: {number: 9102, name: any, protocol: AUTO}, defaultEndpoint: '127.0.0.1:8080'}, {port: {number: 9103, name: grpc, protocol: GRPC}}], ",
    ]);
    (listener, rest, policy, ingress).prop_map(|(listener, rest, policy, ingress)| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: Sidecar\n\
             metadata: {{name: default, namespace: ns0}}\n\
             spec: {{{ingress}egress: [{listener}, {rest}]{policy}}}\n"
        )
    })
}
