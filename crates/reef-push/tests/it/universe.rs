//! Objects of every kind that decides what a sidecar gets, in variants that relate to one another.

use std::collections::BTreeMap;
use std::sync::Arc;

use reef_config::{Change, Object, Origin, parse};
use reef_mesh::{Locality, MetaValue, ProxyNode};

fn origin() -> Origin {
    Origin {
        path: Arc::from("test.yaml"),
        line: 1,
    }
}

fn object(group: &str, kind: &str, at: &str, more: &str) -> String {
    let (namespace, name) = at.split_once('/').unwrap_or(("", at));
    let namespace = if namespace.is_empty() {
        String::new()
    } else {
        format!(", namespace: {namespace}")
    };
    format!("apiVersion: {group}\nkind: {kind}\nmetadata: {{name: {name}{namespace}{more}\n")
}

fn core(kind: &str, at: &str, meta: &str, body: &str) -> String {
    object("v1", kind, at, &format!("{meta}}}\n{body}"))
}

fn istio(kind: &str, at: &str, spec: &str) -> String {
    let group = match kind {
        "PeerAuthentication" | "AuthorizationPolicy" | "RequestAuthentication" => {
            "security.istio.io/v1"
        }
        "ProxyConfig" => "networking.istio.io/v1beta1",
        _ => "networking.istio.io/v1",
    };
    object(group, kind, at, &format!("}}\nspec: {{{spec}}}"))
}

/// All variants; those with one key replace each other.
pub(crate) fn objects() -> Vec<Arc<Object>> {
    let mut texts = Vec::new();
    services(&mut texts);
    workloads(&mut texts);
    rules(&mut texts);
    routes(&mut texts);
    destinations(&mut texts);
    traffic(&mut texts);
    parsed(&texts)
}

fn parsed(texts: &[String]) -> Vec<Arc<Object>> {
    let parsed = texts.iter().map(|text| {
        let parsed = parse::object(text, &origin());
        assert!(!parsed.has_errors(), "{text}\n{:?}", parsed.problems);
        parsed.objects
    });
    parsed.flatten().map(Arc::new).collect()
}

/// Services that meet at few ports, under names and addresses that others have, too.
pub(crate) fn neighbours() -> Vec<Arc<Object>> {
    let mut texts = Vec::new();
    let ports = [
        "{name: http, port: 80}",
        "{name: http, port: 81}",
        "{name: http, port: 80}, {name: http-b, port: 81}",
        "{name: web, port: 80}",
        "{name: tcp, port: 80}",
        "{name: grpc-web, port: 80}, {name: tcp, port: 81}",
    ];
    for (at, vip) in [("a/w", 1), ("a/x", 2), ("a/y", 3), ("b/w", 4), ("b/z", 5)] {
        for (number, ports) in ports.iter().enumerate() {
            let labels = format!(", labels: {{version: v{number}}}");
            let spec = format!("spec: {{clusterIP: 10.1.0.{vip}, ports: [{ports}]}}");
            texts.push(core("Service", at, &labels, &spec));
        }
        let other = format!("spec: {{clusterIP: 10.1.0.1, ports: [{}]}}", ports[0]);
        texts.push(core("Service", at, "", &other));
        let headless = format!("spec: {{clusterIP: None, ports: [{}]}}", ports[0]);
        texts.push(core("Service", at, "", &headless));
    }
    for (at, what) in [
        ("a/se", "hosts: [w.a]"),
        ("a/se", "hosts: [w]"),
        ("b/se", "hosts: [10.1.0.1]"),
        ("b/se", "hosts: ['*.w.a.svc.cluster.local']"),
        ("b/se", "hosts: [x.a.svc.cluster.local]"),
        ("a/more", "hosts: ['*.svc.cluster.local']"),
        ("a/more", "hosts: [x.com], addresses: [10.1.0.2]"),
    ] {
        for protocol in ["HTTP", "HTTP_PROXY", "TLS"] {
            let port = format!("{{number: 80, name: p, protocol: {protocol}}}");
            let spec = format!("{what}, resolution: NONE, ports: [{port}]");
            let spec = spec.replace("NONE", if what.contains('*') { "NONE" } else { "DNS" });
            texts.push(istio("ServiceEntry", at, &spec));
        }
    }
    for host in [
        "[w.a.svc.cluster.local, y.a.svc.cluster.local]",
        "['*.a.svc.cluster.local', 10.1.0.3]",
        "[z.b.svc.cluster.local, w.b]",
    ] {
        for path in ["/a", "/b"] {
            let to = "directResponse: {status: 418}";
            let http = format!("http: [{{match: [{{uri: {{prefix: {path}}}}}], {to}}}]");
            texts.push(istio(
                "VirtualService",
                "a/vs",
                &format!("hosts: {host}, {http}"),
            ));
        }
    }
    parsed(&texts)
}

fn services(texts: &mut Vec<String>) {
    let http = "ports: [{name: http, port: 80, targetPort: 8080}]";
    let mixed = "ports: [{name: http, port: 80, targetPort: web}, {name: tcp, port: 90}, {name: raw, port: 91}]";
    for spec in [
        format!("clusterIP: 10.1.0.1, selector: {{app: web}}, {http}"),
        format!(
            "clusterIP: 10.1.0.1, selector: {{app: web}}, internalTrafficPolicy: Local, {mixed}"
        ),
        format!("clusterIP: None, selector: {{app: web}}, {mixed}"),
        "type: ExternalName, externalName: api.b.svc.cluster.local".to_owned(),
    ] {
        texts.push(core("Service", "a/web", "", &format!("spec: {{{spec}}}")));
    }
    for (meta, spec) in [
        (
            "",
            format!("clusterIP: 10.1.0.2, selector: {{app: api}}, {mixed}"),
        ),
        (
            ", annotations: {networking.istio.io/exportTo: '.'}",
            format!("clusterIP: 10.1.0.2, {http}"),
        ),
        (
            ", labels: {istio.io/persistent-session: x}",
            format!("clusterIP: 10.1.0.1, selector: {{app: web}}, {http}"),
        ),
    ] {
        texts.push(core("Service", "b/api", meta, &format!("spec: {{{spec}}}")));
    }
    let slice = |at: &str, endpoints: &str| {
        let service = at.split_once('/').map_or(at, |(_, name)| name);
        let meta = format!(", labels: {{kubernetes.io/service-name: {service}}}}}\n");
        let ports =
            "ports: [{name: http, port: 8080}, {name: tcp, port: 9090}, {name: raw, port: 9191}]";
        let body = format!("addressType: IPv4\n{ports}\nendpoints: [{endpoints}]");
        object("discovery.k8s.io/v1", "EndpointSlice", at, &(meta + &body))
    };
    let of_pod =
        "{addresses: [10.0.0.1], nodeName: n1, targetRef: {kind: Pod, name: pod, namespace: a}}";
    for endpoints in [
        of_pod.to_owned(),
        format!("{of_pod}, {{addresses: [10.0.0.2]}}"),
        "{addresses: [10.0.0.2], conditions: {ready: false, terminating: false}}".to_owned(),
        String::new(),
    ] {
        texts.push(slice("a/web", &endpoints));
        texts.push(slice("b/api", &endpoints));
    }
    let port = "{number: 80, name: http, protocol: HTTP}";
    for spec in [
        format!("hosts: [x.com], resolution: STATIC, ports: [{port}], endpoints: [{{address: 10.0.0.1, locality: r/z}}]"),
        format!("hosts: [x.com, web.a.svc.cluster.local], resolution: DNS, ports: [{port}]"),
        "hosts: ['*.x.com'], resolution: DYNAMIC_DNS, ports: [{number: 443, name: tls, protocol: TLS}]".to_owned(),
        format!("hosts: [x.com], resolution: STATIC, location: MESH_INTERNAL, ports: [{port}], workloadSelector: {{labels: {{app: web}}}}"),
        "hosts: [db.x.com], addresses: [10.2.0.0/16], resolution: NONE, ports: [{number: 90, name: tcp, protocol: TCP}]".to_owned(),
    ] {
        texts.push(istio("ServiceEntry", "a/se", &spec));
        texts.push(istio("ServiceEntry", "b/se", &spec));
    }
}

fn workloads(texts: &mut Vec<String>) {
    for (labels, annotations) in [
        ("app: web, security.istio.io/tlsMode: istio", ""),
        (
            "app: web",
            ", annotations: {sidecar.istio.io/interceptionMode: TPROXY}",
        ),
        ("app: api, topology.istio.io/network: n", ""),
        (
            "app: web, topology.istio.io/network: n, security.istio.io/tlsMode: istio",
            "",
        ),
        (
            "app: web, security.istio.io/tlsMode: istio",
            ", annotations: {proxy.istio.io/config: 'proxyHeaders: {server: {disabled: true}}'}",
        ),
    ] {
        let meta = format!(", labels: {{{labels}}}{annotations}");
        let containers = "containers: [{name: c, ports: [{name: web, containerPort: 7070}]}]";
        let body = format!(
            "spec: {{nodeName: n1, subdomain: web, serviceAccountName: sa, {containers}}}\nstatus: {{podIP: 10.0.0.1}}"
        );
        texts.push(core("Pod", "a/pod", &meta, &body));
    }
    for (network, ip) in [
        ("n", "192.0.2.7"),
        ("main", "192.0.2.7"),
        ("n", "gw.example.com"),
    ] {
        let label = format!(", labels: {{topology.istio.io/network: {network}}}");
        let body =
            format!("spec: {{clusterIP: 10.96.7.7, externalIPs: [{ip}], ports: [{{port: 80}}]}}");
        texts.push(core("Service", "istio-system/gate", &label, &body));
    }
    let tls = "labels: {security.istio.io/tlsMode: istio}";
    for endpoints in [
        format!(
            "resolution: STATIC, endpoints: [{{address: 10.0.0.4, network: n, {tls}}}, {{address: 10.0.0.5}}]"
        ),
        format!(
            "resolution: DNS, endpoints: [{{address: a.com, network: n, {tls}}}, {{address: b.com, network: main, {tls}}}]"
        ),
        format!("resolution: DNS_ROUND_ROBIN, endpoints: [{{address: a.com, network: n, {tls}}}]"),
        "resolution: DNS_ROUND_ROBIN, endpoints: [{address: a.com, network: n}]".to_owned(),
        format!("resolution: STATIC, endpoints: [{{network: n, {tls}}}]"),
    ] {
        let spec = format!(
            "hosts: [away.com], location: MESH_INTERNAL, ports: [{{number: 80, name: http, protocol: HTTP}}], {endpoints}"
        );
        texts.push(istio("ServiceEntry", "a/away", &spec));
    }
    for zone in ["z1", "z2"] {
        let labels = format!(
            ", labels: {{topology.kubernetes.io/region: r, topology.kubernetes.io/zone: {zone}}}"
        );
        texts.push(core("Node", "n1", &labels, ""));
    }
    for (name, meta) in [
        ("a", ", labels: {mesh: 'yes'}"),
        (
            "a",
            ", annotations: {networking.istio.io/traffic-distribution: PreferClose}",
        ),
        ("b", ", labels: {mesh: 'yes'}"),
        (
            "istio-system",
            ", labels: {mesh: 'yes', topology.istio.io/network: main}",
        ),
    ] {
        texts.push(core("Namespace", name, meta, ""));
    }
    for more in ["", ", serviceAccount: vm", ", ports: {http: 7000}"] {
        texts.push(istio(
            "WorkloadEntry",
            "a/vm",
            &format!("address: 10.0.0.7, labels: {{app: web}}{more}"),
        ));
    }
}

fn rules(texts: &mut Vec<String>) {
    for (at, spec) in [
        ("a/s", "egress: [{hosts: ['./*', 'b/*']}]"),
        (
            "a/s",
            "egress: [{hosts: ['~/*']}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}",
        ),
        (
            "a/s",
            "egress: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['./web.a.svc.cluster.local', 'b/*']}, {hosts: ['*/x.com']}], \
             outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: web.a.svc.cluster.local, subset: v1, port: {number: 80}}}",
        ),
        (
            "a/t",
            "workloadSelector: {labels: {app: web}}, ingress: [{port: {number: 9000, name: http, protocol: HTTP}, defaultEndpoint: '127.0.0.1:8080'}], egress: [{hosts: ['*/*']}]",
        ),
        ("istio-system/root", "egress: [{hosts: ['./*', '*/x.com']}]"),
    ] {
        texts.push(istio("Sidecar", at, spec));
    }
    for (at, spec) in [
        ("a/ns", "mtls: {mode: STRICT}"),
        ("a/ns", "mtls: {mode: DISABLE}"),
        ("b/ns", "mtls: {mode: DISABLE}"),
        (
            "a/own",
            "selector: {matchLabels: {app: web}}, mtls: {mode: PERMISSIVE}, portLevelMtls: {8080: {mode: DISABLE}, 5000: {mode: STRICT}}",
        ),
        ("istio-system/mesh", "mtls: {mode: STRICT}"),
        ("istio-system/mesh", "mtls: {mode: DISABLE}"),
    ] {
        texts.push(istio("PeerAuthentication", at, spec));
    }
    for at in ["a/policy", "istio-system/policy"] {
        for spec in ["", "selector: {matchLabels: {app: web}}"] {
            texts.push(istio("AuthorizationPolicy", at, spec));
            texts.push(istio("RequestAuthentication", at, spec));
        }
    }
    for (at, spec) in [
        ("a/pc", "concurrency: 1"),
        (
            "a/pc",
            "selector: {matchLabels: {app: web}}, environmentVariables: {A: b}",
        ),
        ("istio-system/pc", "concurrency: 3"),
    ] {
        texts.push(istio("ProxyConfig", at, spec));
    }
}

fn routes(texts: &mut Vec<String>) {
    let to = |host: &str| format!("route: [{{destination: {{host: {host}}}}}]");
    let (web, api) = (to("web.a.svc.cluster.local"), to("api.b.svc.cluster.local"));
    let raw = "destination: {host: api.b.svc.cluster.local, port: {number: 91}}";
    for (at, spec) in [
        ("a/vs", format!("hosts: [web], http: [{{{api}, timeout: 1s}}]")),
        (
            "a/vs",
            "hosts: [web, x.com], http: [{match: [{sourceLabels: {app: web}, uri: {prefix: /a}}], redirect: {uri: /b}}, \
             {route: [{destination: {host: web, subset: v1}, weight: 90}, {destination: {host: x.com}, weight: 10}]}]"
                .to_owned(),
        ),
        (
            "a/vs",
            "hosts: ['*.com'], exportTo: ['.'], http: [{delegate: {name: part}}]".to_owned(),
        ),
        ("a/part", format!("http: [{{name: one, {web}}}]")),
        ("a/part", format!("exportTo: [b], http: [{{name: two, {api}}}]")),
        (
            "b/vs",
            format!("hosts: [api.b.svc.cluster.local, web.a.svc.cluster.local], exportTo: [a, b], http: [{{match: [{{port: 80}}], {web}}}]"),
        ),
        (
            "b/vs",
            format!("hosts: [api.b.svc.cluster.local], tcp: [{{match: [{{sourceLabels: {{app: web}}, port: 90}}], route: [{{{raw}}}]}}]"),
        ),
        (
            "istio-system/vs",
            format!("hosts: ['*.x.com'], tls: [{{match: [{{sniHosts: [a.x.com], sourceNamespace: a}}], route: [{{{raw}}}]}}]"),
        ),
        (
            "istio-system/vs",
            "hosts: [web.a.svc.cluster.local], gateways: [edge], http: [{directResponse: {status: 418}}]".to_owned(),
        ),
    ] {
        texts.push(istio("VirtualService", at, &spec));
    }
    let telemetry = |at: &str, spec: &str| {
        let body = format!("}}\nspec: {{{spec}}}");
        object("telemetry.istio.io/v1", "Telemetry", at, &body)
    };
    for (at, spec) in [
        ("a/log", "accessLogging: [{providers: [{name: envoy}]}]"),
        (
            "a/log",
            "selector: {matchLabels: {app: web}}, accessLogging: [{match: {mode: SERVER}, disabled: true}]",
        ),
        (
            "istio-system/log",
            "accessLogging: [{filter: {expression: response.code >= 500}, providers: [{name: envoy}]}]",
        ),
    ] {
        texts.push(telemetry(at, spec));
    }
}

fn destinations(texts: &mut Vec<String>) {
    let subsets = "subsets: [{name: v1, labels: {app: web}}]";
    for (at, spec) in [
        ("a/dr", format!("host: web, {subsets}")),
        (
            "a/dr",
            format!("host: web, workloadSelector: {{matchLabels: {{app: web}}}}, trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: 3}}}}}}, {subsets}"),
        ),
        (
            "a/dr2",
            "host: web, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x}}, \
             portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE, sni: s}}]}"
                .to_owned(),
        ),
        ("a/dr2", "host: '*.com', trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}".to_owned()),
        (
            "b/dr",
            "host: api, exportTo: ['.'], trafficPolicy: {outlierDetection: {minHealthPercent: 50}}".to_owned(),
        ),
        (
            "b/dr",
            "host: web.a.svc.cluster.local, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}".to_owned(),
        ),
        (
            "istio-system/dr",
            "host: '*.svc.cluster.local', trafficPolicy: {outlierDetection: {}, \
             loadBalancer: {localityLbSetting: {failoverPriority: [app]}}}"
                .to_owned(),
        ),
        (
            "istio-system/dr",
            "host: x.com, trafficPolicy: {connectionPool: {tcp: {idleTimeout: 5s}, http: {useClientProtocol: true}}}".to_owned(),
        ),
    ] {
        texts.push(istio("DestinationRule", at, &spec));
    }
}

/// Rules for traffic, in variants that differ in little and in much.
fn traffic(texts: &mut Vec<String>) {
    let route = |more: &str, host: &str| {
        format!("http: [{{{more}route: [{{destination: {{host: {host}}}}}]}}]")
    };
    for at in ["a/vs", "b/vs"] {
        for spec in [
            format!("hosts: [web.a.svc.cluster.local], {}", route("", "web.a.svc.cluster.local")),
            format!("hosts: [web.a.svc.cluster.local], {}", route("timeout: 5s, ", "web.a.svc.cluster.local")),
            format!(
                "hosts: [web.a.svc.cluster.local], {}",
                route("match: [{port: 80, uri: {prefix: /a}}], ", "web.a.svc.cluster.local")
            ),
            format!(
                "hosts: [web.a.svc.cluster.local], {}",
                route("match: [{sourceLabels: {app: web}}], ", "web.a.svc.cluster.local")
            ),
            format!("hosts: [web.a.svc.cluster.local, free.com], {}", route("", "api.b.svc.cluster.local")),
            format!("hosts: ['*.com'], {}", route("name: x, ", "x.com")),
            format!("hosts: ['*.com'], exportTo: ['.'], {}", route("name: y, ", "x.com")),
            "hosts: [api.b.svc.cluster.local], tcp: [{match: [{port: 90}], route: [{destination: {host: web.a.svc.cluster.local, port: {number: 80}}}]}]".to_owned(),
            format!(
                "hosts: [api.b.svc.cluster.local], tcp: [{{match: [{{port: 91}}], route: [{{destination: {{host: web.a.svc.cluster.local, port: {{number: 80}}}}}}]}}], {}",
                route("", "api.b.svc.cluster.local")
            ),
            "hosts: ['a.x.com'], tls: [{match: [{port: 443, sniHosts: [a.x.com]}], route: [{destination: {host: '*.x.com'}}]}]".to_owned(),
            "hosts: [web.a.svc.cluster.local], http: [{delegate: {name: part, namespace: a}}]".to_owned(),
        ] {
            texts.push(istio("VirtualService", at, &spec));
        }
    }
    for more in ["", "timeout: 1s, ", "match: [{uri: {prefix: /b}}], "] {
        texts.push(istio(
            "VirtualService",
            "a/part",
            &route(more, "api.b.svc.cluster.local"),
        ));
    }
    let hash = "loadBalancer: {consistentHash: {httpHeaderName: x}}";
    let source = "loadBalancer: {consistentHash: {useSourceIp: true}}";
    for at in ["a/dr", "a/more", "b/dr", "istio-system/dr"] {
        for spec in [
            "host: web.a.svc.cluster.local, subsets: [{name: v1, labels: {app: web}}]".to_owned(),
            "host: web.a.svc.cluster.local, subsets: [{name: v2, labels: {app: web}}], trafficPolicy: {connectionPool: {tcp: {maxConnections: 7}}}".to_owned(),
            format!("host: web.a.svc.cluster.local, trafficPolicy: {{{hash}}}"),
            format!("host: api.b.svc.cluster.local, trafficPolicy: {{{source}}}, subsets: [{{name: v1, trafficPolicy: {{{hash}}}}}]"),
            "host: api.b.svc.cluster.local, trafficPolicy: {connectionPool: {tcp: {idleTimeout: 9s}}}".to_owned(),
            "host: api.b.svc.cluster.local, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}".to_owned(),
            "host: '*.svc.cluster.local', trafficPolicy: {outlierDetection: {consecutive5xxErrors: 3}, loadBalancer: {localityLbSetting: {enabled: true}}}".to_owned(),
            "host: '*.com', exportTo: ['.'], trafficPolicy: {tls: {mode: SIMPLE}}".to_owned(),
        ] {
            texts.push(istio("DestinationRule", at, &spec));
        }
    }
    for spec in [
        "host: web.a.svc.cluster.local, workloadSelector: {matchLabels: {app: web}}, trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}}",
        "host: api.b.svc.cluster.local, workloadSelector: {matchLabels: {app: web}}",
    ] {
        texts.push(istio("DestinationRule", "a/more", spec));
    }
}

/// Mesh configurations a mesh may change between; the first is the default.
pub(crate) const CONFIGS: [&str; 12] = [
    "",
    "enableAutoMtls: false, trustDomain: other, trustDomainAliases: [old]",
    "discoverySelectors: [{matchLabels: {mesh: 'yes'}}]",
    "rootNamespace: b",
    "defaultServiceExportTo: ['.'], inboundTrafficPolicy: {mode: LOCALHOST}",
    "outboundTrafficPolicy: {mode: REGISTRY_ONLY}, accessLogFile: /dev/stdout",
    "defaultConfig: {interceptionMode: TPROXY, proxyHeaders: {requestId: {disabled: true}}}",
    "localityLbSetting: {distribute: [{from: r/*, to: {r/z1/*: 100}}]}, h2UpgradePolicy: UPGRADE",
    "serviceSettings: [{settings: {clusterLocal: true}, hosts: ['*.a.svc.cluster.local']}]",
    "defaultVirtualServiceExportTo: ['.'], defaultDestinationRuleExportTo: ['.']",
    "serviceEntryVisibility: {applyToSidecars: true, policies: [{visibility: NAMESPACE, \
     matchingRules: [{namespaceSelector: {matchLabels: {mesh: 'yes'}}}]}]}",
    "defaultConfig: {proxyHeaders: {preserveHttp1HeaderCase: true}}, \
     outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}, defaultTrafficPolicy: {connectionPool: {tcp: {maxConnections: 9}}}",
];

/// Networks a mesh may change between; the first is none.
pub(crate) const NETWORKS: [&str; 3] = [
    "",
    "n: {gateways: [{address: 192.0.2.1, port: 15443}, {address: 192.0.2.2, port: 15443}]}",
    "n: {endpoints: [{fromRegistry: Kubernetes}], gateways: [{registryServiceName: web.a.svc.cluster.local, port: 80}]}, \
     main: {gateways: [{address: gw.example.com, port: 1}]}",
];

pub(crate) fn config(at: usize) -> Vec<Change> {
    let networks = format!("{{networks: {{{}}}}}", NETWORKS[at / CONFIGS.len()]);
    let (networks, _) = parse::mesh_networks(&networks, &origin()).expect("valid networks");
    let text = format!("{{{}}}", CONFIGS[at % CONFIGS.len()]);
    let (config, _) = parse::mesh_config(&text, &origin()).expect("a valid mesh configuration");
    vec![
        Change::MeshConfig(Arc::new(config)),
        Change::MeshNetworks(Arc::new(networks)),
    ]
}

/// Proxies on the pod, on the workload entry, and known to nobody, with and without certificate.
pub(crate) fn nodes() -> Vec<ProxyNode> {
    let node = |id: &str, cert: &str, app: &str| {
        let labels = MetaValue::Map([("app".to_owned(), MetaValue::from(app))].into());
        let metadata = BTreeMap::from([
            ("WORKLOAD_CERT".to_owned(), MetaValue::from(cert)),
            ("LABELS".to_owned(), labels),
        ]);
        ProxyNode::parse(id, metadata, Locality::default()).expect("a valid node")
    };
    let mut all = Vec::new();
    for cert in ["none", "sds-grpc"] {
        for (id, app) in [
            ("sidecar~10.0.0.1~pod.a~a.svc.cluster.local", "web"),
            ("sidecar~10.0.0.7~machine.a~a.svc.cluster.local", "web"),
            ("sidecar~10.0.0.2~other.b~b.svc.cluster.local", "api"),
            ("sidecar~10.0.0.9~far.c~c.svc.cluster.local", "far"),
        ] {
            all.push(node(id, cert, app));
        }
    }
    // Beside an agent that resolves names, and in networks of their own.
    for network in ["n", "main"] {
        let metadata = BTreeMap::from([("NETWORK".to_owned(), MetaValue::from(network))]);
        let id = "sidecar~10.0.0.9~far.c~c.svc.cluster.local";
        all.push(ProxyNode::parse(id, metadata, Locality::default()).expect("a valid node"));
    }
    let metadata = BTreeMap::from([("DNS_CAPTURE".to_owned(), MetaValue::from("true"))]);
    let id = "sidecar~10.0.0.1~pod.a~a.svc.cluster.local";
    all.push(ProxyNode::parse(id, metadata, Locality::default()).expect("a valid node"));
    all
}
