//! The mesh configuration: defaults, what is refused, what comes out resolved.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reef_config::parse::mesh_config;
use reef_config::{Change, ChangeBatch, Hostname, Kind, Labels, ObjectKey, Origin, Problem};
use reef_mesh::{
    AccessLogFormat, Interception, Locality, MeshIndex, MeshSettings, MetaValue, PathNormalization,
    Pod, ProxyNode, ServerName, identify,
};

use crate::support::{apply, delete};

fn origin() -> Origin {
    Origin {
        path: Arc::from("mesh.yaml"),
        line: 1,
    }
}

fn settings(text: &str) -> MeshSettings {
    let (config, _) = mesh_config(text, &origin()).expect("a valid mesh configuration");
    MeshSettings::new(Arc::new(config), "cluster.local")
}

/// The field a refused configuration is refused for.
fn refused(text: &str) -> String {
    mesh_config(text, &origin())
        .expect_err("an invalid mesh configuration")
        .field
}

fn configure(index: &mut MeshIndex, text: &str) {
    let (config, _) = mesh_config(text, &origin()).expect("a valid mesh configuration");
    index.apply(ChangeBatch {
        changes: vec![Change::MeshConfig(Arc::new(config))],
        synced: true,
    });
}

fn node(metadata: &[(&str, MetaValue)]) -> ProxyNode {
    let metadata: BTreeMap<String, MetaValue> = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    let id = "sidecar~10.0.0.1~web-1.a~a.svc.cluster.local";
    ProxyNode::parse(id, metadata, Locality::default()).expect("a valid node id")
}

#[test]
fn an_empty_configuration_has_the_defaults_of_istio() {
    let settings = settings("");
    let mesh = &settings.proxies;
    assert_eq!(settings.root_namespace, "istio-system");
    assert_eq!(&*settings.trust_domain, "cluster.local");
    assert!(mesh.auto_mtls && mesh.tracing);
    assert!(!mesh.inbound_to_localhost && !mesh.h2_upgrade);
    assert_eq!(
        (mesh.outbound_port, mesh.inbound_port),
        (Some(15001), 15006)
    );
    assert_eq!((mesh.http_proxy_port, &mesh.access_log), (None, &None));
    assert_eq!(mesh.connect_timeout, Duration::from_secs(10));
    assert_eq!(mesh.detection_timeout, Duration::ZERO);
    assert_eq!(mesh.dns_refresh, Duration::from_secs(60));
    assert_eq!(mesh.keepalive, None);
    assert_eq!(mesh.normalization, PathNormalization::Base);
    let locality = mesh.locality.as_ref().expect("on by default");
    assert!(locality.distribute.is_empty() && locality.failover.is_empty());
    assert_eq!(settings.proxy.interception, Interception::Redirect);
    assert_eq!(
        (settings.proxy.admin_port, settings.proxy.status_port),
        (15000, 15020)
    );
}

#[test]
fn every_field_comes_out_resolved() {
    let settings = settings(
        "
rootNamespace: root
trustDomain: td
trustDomainAliases: [old.td, td, a.td]
caCertificates: [{trustDomains: [b.td, td]}]
inboundTrafficPolicy: {mode: LOCALHOST}
enableAutoMtls: false
enableTracing: false
proxyListenPort: 16001
proxyInboundListenPort: 16006
proxyHttpPort: 15002
accessLogFile: /dev/stdout
accessLogFormat: 'code=%RESPONSE_CODE%'
disableEnvoyListenerLog: true
connectTimeout: 3s
tcpKeepalive: {probes: 3, time: 60s}
protocolDetectionTimeout: 100ms
dnsRefreshRate: 5s
localityLbSetting: {failover: [{from: eu, to: us}], failoverPriority: [topology.istio.io/network]}
h2UpgradePolicy: UPGRADE
pathNormalization: {normalization: MERGE_SLASHES}
meshMTLS: {minProtocolVersion: TLSV1_3}
defaultConfig:
  concurrency: 2
  interceptionMode: TPROXY
  statusPort: 15022
  proxyHeaders: {server: {value: me}, requestId: {disabled: true}, preserveHttp1HeaderCase: true}
",
    );
    let mesh = &settings.proxies;
    assert_eq!(settings.root_namespace, "root");
    let domains: Vec<&str> = settings.trust_domains.iter().map(|d| &**d).collect();
    assert_eq!(domains, ["a.td", "old.td", "td"]);
    let domains: Vec<&str> = settings.client_domains.iter().map(|d| &**d).collect();
    assert_eq!(domains, ["a.td", "b.td", "old.td", "td"]);
    assert_eq!(settings.spiffe_id("n", "s"), "spiffe://td/ns/n/sa/s");
    assert!(mesh.inbound_to_localhost && mesh.h2_upgrade);
    assert!(!mesh.auto_mtls && !mesh.tracing);
    assert_eq!(
        (mesh.outbound_port, mesh.inbound_port),
        (Some(16001), 16006)
    );
    assert_eq!(mesh.http_proxy_port, Some(15002));
    let log = mesh.access_log.as_ref().expect("a log");
    assert_eq!(&*log.path, "/dev/stdout");
    assert!(!log.of_listeners);
    assert_eq!(
        log.format,
        AccessLogFormat::Text("code=%RESPONSE_CODE%\n".into())
    );
    assert_eq!(mesh.connect_timeout, Duration::from_secs(3));
    let keepalive = mesh.keepalive.expect("set");
    assert_eq!((keepalive.probes, keepalive.interval), (Some(3), None));
    assert_eq!(keepalive.time, Some(Duration::from_secs(60)));
    assert_eq!(mesh.detection_timeout, Duration::from_millis(100));
    assert_eq!(mesh.dns_refresh, Duration::from_secs(5));
    let locality = mesh.locality.as_ref().expect("on");
    assert_eq!(*locality.failover, [("eu".into(), "us".into())]);
    assert_eq!(*locality.priority, ["topology.istio.io/network".into()]);
    assert_eq!(mesh.normalization, PathNormalization::MergeSlashes);
    assert!(mesh.mesh_tls.only_tls13 && !mesh.external_tls.only_tls13);
    let proxy = &settings.proxy;
    assert_eq!((proxy.concurrency, proxy.status_port), (Some(2), 15022));
    assert_eq!(proxy.interception, Interception::Tproxy);
    assert_eq!(proxy.headers.server, ServerName::Named("me".into()));
    assert!(!proxy.headers.request_id && proxy.headers.preserve_case);
    assert!(proxy.headers.attempt_count && proxy.headers.debug);
}

#[test]
fn a_json_access_log_keeps_its_fields_and_falls_back_to_the_default_if_it_is_not_json() {
    let log = |format: &str| {
        let text =
            format!("accessLogFile: /x\naccessLogEncoding: JSON\naccessLogFormat: '{format}'");
        settings(&text)
            .proxies
            .access_log
            .expect("a log")
            .format
            .clone()
    };
    assert_eq!(log(""), AccessLogFormat::DefaultJson);
    assert_eq!(log("%START_TIME%"), AccessLogFormat::DefaultJson);
    let AccessLogFormat::Json(value) = log(r#"{"code": "%RESPONSE_CODE%"}"#) else {
        panic!("a JSON format");
    };
    assert_eq!(
        format!("{value:?}"),
        r#"Map([("code", Text("%RESPONSE_CODE%"))])"#
    );
    let text = "accessLogFile: /x\naccessLogEncoding: JSON\naccessLogFormat: no";
    let (_, problems) = mesh_config(text, &origin()).unwrap();
    assert!(
        problems.iter().any(|p| p.field == "accessLogFormat"),
        "{problems:?}"
    );
}

#[test]
fn what_istio_would_refuse_is_refused_by_field() {
    for (text, field) in [
        ("rootNamespace: ''", "rootNamespace"),
        ("trustDomain: ''", "trustDomain"),
        ("trustDomainAliases: [a, '']", "trustDomainAliases[1]"),
        (
            "caCertificates: [{}, {trustDomains: [a, b/c]}]",
            "caCertificates[1].trustDomains[1]",
        ),
        ("proxyInboundListenPort: 0", "proxyInboundListenPort"),
        ("proxyInboundListenPort: 15001", "proxyInboundListenPort"),
        ("proxyHttpPort: 15006", "proxyHttpPort"),
        ("proxyListenPort: 70000", "proxyListenPort"),
        ("connectTimeout: 0s", "connectTimeout"),
        ("connectTimeout: soon", "connectTimeout"),
        ("dnsRefreshRate: 0s", "dnsRefreshRate"),
        ("tcpKeepalive: {time: 0s}", "tcpKeepalive.time"),
        ("defaultServiceExportTo: [A b]", "defaultServiceExportTo[0]"),
        (
            "discoverySelectors: [{matchExpressions: [{key: a, operator: Is}]}]",
            "discoverySelectors[0].matchExpressions[0].operator",
        ),
        (
            "discoverySelectors: [{matchExpressions: [{key: a, operator: In}]}]",
            "discoverySelectors[0].matchExpressions[0].values",
        ),
        (
            "localityLbSetting: {distribute: [{from: a, to: {b: 90}}]}",
            "localityLbSetting.distribute[0].to",
        ),
        (
            "localityLbSetting: {failover: [{from: a, to: a}]}",
            "localityLbSetting.failover[0].to",
        ),
        (
            "inboundTrafficPolicy: {mode: X}",
            "inboundTrafficPolicy.mode",
        ),
        ("accessLogEncoding: XML", "accessLogEncoding"),
        (
            "defaultConfig: {concurrency: -1}",
            "defaultConfig.concurrency",
        ),
        (
            "defaultConfig: {interceptionMode: IPVS}",
            "defaultConfig.interceptionMode",
        ),
        (
            "defaultConfig: {connectionSettings: {http2InitialStreamWindowSize: 65534}}",
            "defaultConfig.connectionSettings.http2InitialStreamWindowSize",
        ),
        (
            "defaultConfig: {connectionSettings: {http2InitialConnectionWindowSize: 0}}",
            "defaultConfig.connectionSettings.http2InitialConnectionWindowSize",
        ),
        (
            "defaultConfig: {connectionSettings: {httpMaxConcurrentStreams: 0}}",
            "defaultConfig.connectionSettings.httpMaxConcurrentStreams",
        ),
    ] {
        assert_eq!(refused(text), field, "{text}");
    }
}

#[test]
fn settings_of_connections_that_are_not_for_sidecars_are_named() {
    let text = "defaultConfig: {connectionSettings: {profile: EDGE, httpIdleTimeout: 1s, \
                listenerConnectionLimit: 5, globalDownstreamConnectionLimit: 6, \
                listenerPerConnectionBufferLimitBytes: 7, clusterPerConnectionBufferLimitBytes: 8}}";
    let (config, problems) = mesh_config(text, &origin()).unwrap();
    let fields: Vec<&str> = problems.iter().map(|p| p.field.as_str()).collect();
    let within = |field: &str| format!("defaultConfig.connectionSettings.{field}");
    assert_eq!(
        fields,
        [
            within("clusterPerConnectionBufferLimitBytes"),
            within("globalDownstreamConnectionLimit"),
            within("listenerConnectionLimit"),
            within("listenerPerConnectionBufferLimitBytes"),
            within("profile"),
        ]
    );
    let settings = MeshSettings::new(Arc::new(config), "cluster.local");
    let connections = &settings.proxy.headers.connections;
    assert_eq!(connections.idle, Some(Duration::from_secs(1)));
    assert_eq!(connections.stream_idle, None);
}

#[test]
fn a_field_without_effect_is_named_also_within_the_settings_of_proxies() {
    let text = "ingressClass: x\nrootNamespace: r\ndefaultConfig: {binaryPath: /e, interceptionMode: NONE, no: 1}";
    let (_, problems) = mesh_config(text, &origin()).unwrap();
    let fields: Vec<&str> = problems.iter().map(|p| p.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "defaultConfig.binaryPath",
            "defaultConfig.no",
            "ingressClass"
        ]
    );
}

#[test]
fn the_most_specific_host_says_whether_a_service_is_for_its_own_cluster() {
    let local = settings(
        "
serviceSettings:
- {settings: {clusterLocal: true}, hosts: ['*.shop.svc.cluster.local']}
- {settings: {clusterLocal: false}, hosts: [cart.shop.svc.cluster.local, '*.kube-system.svc.cluster.local']}
",
    )
    .cluster_local;
    let has = |host: &str| local.contains(&Hostname::from(host));
    assert!(has("web.shop.svc.cluster.local"));
    assert!(!has("cart.shop.svc.cluster.local"));
    assert!(!has("dns.kube-system.svc.cluster.local"));
    assert!(has("kubernetes.default.svc.cluster.local"));
    assert!(has("istiod.istio-system.svc.cluster.local"));
    assert!(!has("web.default.svc.cluster.local"));
    let plain = settings("").cluster_local;
    assert!(plain.contains(&Hostname::from("dns.kube-system.svc.cluster.local")));
}

#[test]
fn discovery_selectors_are_alternatives_of_conditions_that_all_hold() {
    let discovery = settings(
        "
discoverySelectors:
- matchLabels: {mesh: 'yes'}
  matchExpressions: [{key: env, operator: NotIn, values: [test]}]
- matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [named]}]
",
    )
    .discovery;
    let reads = |namespace: &str, labels: &[(&str, &str)]| {
        let labels: Labels = labels.iter().copied().collect();
        discovery.reads(&namespace.into(), &labels)
    };
    assert!(reads("a", &[("mesh", "yes")]));
    assert!(reads("a", &[("mesh", "yes"), ("env", "prod")]));
    assert!(!reads("a", &[("mesh", "yes"), ("env", "test")]));
    assert!(!reads("a", &[]));
    assert!(reads("named", &[]));
    assert!(
        settings("")
            .discovery
            .reads(&"any".into(), &Labels::default())
    );
}

const NAMESPACE: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: a, labels: {mesh: 'yes'}}
";
const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: a}
spec: {clusterIP: 10.1.0.1, ports: [{name: http, port: 80}]}
";
const POLICY: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: a}
spec: {mtls: {mode: STRICT}}
";

#[test]
fn a_namespace_enters_and_leaves_the_mesh_with_its_labels_and_with_the_selectors() {
    const SELECT: &str = "discoverySelectors: [{matchLabels: {mesh: 'yes'}}]";
    let mut index = MeshIndex::default();
    apply(&mut index, &[SERVICE, POLICY].join("---"));
    let held = |index: &MeshIndex| {
        let snapshot = index.snapshot();
        (
            snapshot.services().count(),
            snapshot.peer_authentications(&"a".into()).len(),
        )
    };
    assert_eq!(held(&index), (1, 1));
    configure(&mut index, SELECT);
    assert_eq!(held(&index), (0, 0));
    let told = index.problems();
    assert!(
        told.iter().any(|p| p.reason.contains("namespace a")),
        "{told:?}"
    );
    let report = apply(&mut index, NAMESPACE).expect("a change");
    assert_eq!(held(&index), (1, 1));
    assert_eq!((report.services.len(), report.rules.len()), (1, 1));
    assert!(index.problems().is_empty(), "{:?}", index.problems());
    delete(&mut index, NAMESPACE);
    assert_eq!(held(&index), (0, 0));
    // What changes while nobody reads it counts once it is read.
    delete(&mut index, POLICY);
    configure(&mut index, "");
    assert_eq!(held(&index), (1, 0));
}

const POD: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: web-1
  namespace: a
  labels: {app: web}
  annotations:
    proxy.istio.io/config: |
      concurrency: 5
      statusPort: 5
      proxyMetadata: {POD: y}
status: {podIP: 10.0.0.1}
";

#[test]
fn a_pod_comes_back_with_its_namespace_and_meets_what_changed_meanwhile() {
    let pod = POD.replace("statusPort: 5", "unheardOf: 5");
    let pod = pod.replace("status:", "spec: {nodeName: n}\nstatus:");
    let key = ObjectKey::new(Kind::Pod, "a", "web-1");
    let mut index = MeshIndex::default();
    apply(&mut index, &pod);
    let warned = |index: &MeshIndex| {
        let of_pod = |p: &Problem| p.object.as_ref() == Some(&key) && p.origin.is_some();
        index.problems().iter().any(of_pod)
    };
    let before = index.snapshot().pod(&"a".into(), "web-1").cloned();
    let before = before.expect("the pod");
    assert!(index.has(&key) && warned(&index));
    assert_eq!(index.object_counts().get(&Kind::Pod), Some(&1));

    configure(
        &mut index,
        "discoverySelectors: [{matchLabels: {mesh: 'yes'}}]",
    );
    assert!(!index.has(&key) && !warned(&index));
    assert_eq!(index.object_counts().get(&Kind::Pod), None);
    assert_eq!(index.snapshot().pod_by_ip([10, 0, 0, 1].into()), None);
    let node = "
apiVersion: v1
kind: Node
metadata: {name: n, labels: {topology.kubernetes.io/region: r}}
";
    apply(&mut index, node);

    apply(&mut index, NAMESPACE);
    let after = index.snapshot().pod_by_ip([10, 0, 0, 1].into());
    let after = after.expect("the pod");
    assert_eq!(
        (&*before.locality.region, &*after.locality.region),
        ("", "r")
    );
    let as_before = Pod {
        locality: before.locality.clone(),
        ..(**after).clone()
    };
    assert_eq!(as_before, *before);
    assert!(index.has(&key) && warned(&index));
}

fn proxy_config(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{{spec}}}
"
    )
}

#[test]
fn proxy_settings_are_laid_over_one_another_from_the_mesh_to_the_workload() {
    let mut index = MeshIndex::default();
    let of = |index: &MeshIndex| identify(index.snapshot(), &node(&[])).settings;
    configure(
        &mut index,
        "defaultConfig: {concurrency: 1, proxyAdminPort: 1, proxyMetadata: {MESH: y}}",
    );
    assert_eq!(of(&index).concurrency, Some(1));
    let root = proxy_config(
        "istio-system",
        "p",
        "concurrency: 2, environmentVariables: {ROOT: y}",
    );
    apply(&mut index, &root);
    assert_eq!(of(&index).concurrency, Some(2));
    apply(&mut index, &proxy_config("a", "all", "concurrency: 3"));
    assert_eq!(of(&index).concurrency, Some(3));
    apply(&mut index, POD);
    let settings = of(&index);
    assert_eq!((settings.concurrency, settings.status_port), (Some(5), 5));
    assert_eq!(settings.admin_port, 1);
    let workload = "selector: {matchLabels: {app: web}}, concurrency: 6";
    apply(&mut index, &proxy_config("a", "web", workload));
    let settings = of(&index);
    assert_eq!(settings.concurrency, Some(6));
    let names: Vec<&str> = settings.metadata.iter().map(|(key, _)| &**key).collect();
    assert_eq!(names, ["MESH", "POD", "ROOT"]);
    // One for other workloads changes nothing.
    let other = "selector: {matchLabels: {app: other}}, concurrency: 7";
    apply(&mut index, &proxy_config("a", "web", other));
    assert_eq!(of(&index).concurrency, Some(5));
}

#[test]
fn settings_in_metadata_replace_those_of_the_mesh() {
    let mut index = MeshIndex::default();
    configure(
        &mut index,
        "defaultConfig: {concurrency: 1, proxyAdminPort: 1}",
    );
    let own = MetaValue::Map(
        [
            ("concurrency".to_owned(), MetaValue::Number(4.0)),
            ("drainDuration".to_owned(), MetaValue::from("10s")),
        ]
        .into(),
    );
    let settings = identify(index.snapshot(), &node(&[("PROXY_CONFIG", own)])).settings;
    assert_eq!(
        (settings.concurrency, settings.admin_port),
        (Some(4), 15000)
    );
    assert_eq!(settings.drain, Duration::from_secs(10));
}

#[test]
fn interception_follows_metadata_then_the_annotation_then_the_settings() {
    let mut index = MeshIndex::default();
    let of = |index: &MeshIndex, metadata: &[(&str, MetaValue)]| {
        identify(index.snapshot(), &node(metadata)).interception
    };
    assert_eq!(of(&index, &[]), Interception::Redirect);
    configure(&mut index, "defaultConfig: {interceptionMode: NONE}");
    assert_eq!(of(&index, &[]), Interception::None);
    let annotated = POD.replace(
        "    proxy.istio.io",
        "    sidecar.istio.io/interceptionMode: TPROXY\n    proxy.istio.io",
    );
    apply(&mut index, &annotated);
    assert_eq!(of(&index, &[]), Interception::Tproxy);
    let own = ("INTERCEPTION_MODE", MetaValue::from("REDIRECT"));
    assert_eq!(of(&index, &[own]), Interception::Redirect);
}

#[test]
fn an_annotation_that_cannot_be_read_is_told_and_goes_with_the_pod() {
    let mut index = MeshIndex::default();
    let broken = POD.replace("concurrency: 5", "concurrency: many");
    apply(&mut index, &broken);
    let problems = index.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let field = "metadata.annotations[proxy.istio.io/config].concurrency";
    assert_eq!(problems[0].field, field);
    delete(&mut index, POD);
    assert!(index.problems().is_empty());
}

#[test]
fn unreadable_settings_of_a_node_are_told_and_the_meshs_count() {
    let mut index = MeshIndex::default();
    configure(&mut index, "defaultConfig: {concurrency: 3}");
    for wrong in ["concurrency: [", "concurrency: many", "[1]"] {
        let node = node(&[("PROXY_CONFIG", MetaValue::from(wrong))]);
        let problem = node.problem().unwrap();
        assert_eq!(problem.code, "node-metadata");
        assert!(problem.reason.contains("PROXY_CONFIG"), "{problem}");
        let settings = identify(index.snapshot(), &node).settings;
        assert_eq!(settings.concurrency, Some(3), "{wrong}");
    }
    let right = MetaValue::from("{\"concurrency\": 4}");
    let right = node(&[("PROXY_CONFIG", right)]);
    assert_eq!(right.problem(), None);
}
