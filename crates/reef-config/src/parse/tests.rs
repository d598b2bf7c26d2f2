//! Tests of splitting, parsing and validation.

use std::sync::Arc;

use super::*;
use crate::istio::{Resolution, StringMatch};
use crate::object::{Object, Origin, Spec};
use crate::problem::{Problem, Severity};
use crate::{Kind, k8s};

fn origin() -> Origin {
    Origin {
        path: Arc::from("a.yaml"),
        line: 1,
    }
}

fn parse_all(text: &str) -> (Vec<Object>, Vec<Problem>) {
    let mut all = (Vec::new(), Vec::new());
    for document in documents(text.as_bytes()).unwrap() {
        let at = Origin {
            path: Arc::from("a.yaml"),
            line: document.line,
        };
        let parsed = object(document.text, &at);
        all.0.extend(parsed.objects);
        all.1.extend(parsed.problems);
    }
    all
}

fn one(text: &str) -> Object {
    let (mut objects, problems) = parse_all(text);
    assert_eq!(problems, []);
    assert_eq!(objects.len(), 1);
    objects.remove(0)
}

fn refused(text: &str) -> String {
    let (objects, problems) = parse_all(text);
    assert_eq!(objects, []);
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

const ENTRY: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a, namespace: n}
spec:
  hosts: [A.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints:
  - address: 10.0.0.1
    ports: {http: 8080}
    labels: {app: a}
";

#[test]
fn service_entry_is_typed() {
    let object = one(ENTRY);
    assert_eq!(object.key.to_string(), "ServiceEntry n/a");
    let Spec::ServiceEntry(spec) = object.spec else {
        panic!("{:?}", object.spec)
    };
    assert_eq!(spec.hosts, ["a.example.com"]);
    assert_eq!(spec.resolution, Resolution::Static);
    assert_eq!(spec.endpoints[0].ports.get("http"), Some(8080));
    assert_eq!(spec.endpoints[0].labels.get("app").unwrap().as_ref(), "a");
}

#[test]
fn every_api_version_of_a_group_is_the_same_kind() {
    for version in ["v1", "v1beta1", "v1alpha3"] {
        let api = format!("networking.istio.io/{version}");
        assert_eq!(Kind::from_api(&api, "Gateway"), Some(Kind::Gateway));
    }
    assert_eq!(
        Kind::from_api("gateway.networking.k8s.io/v1", "Gateway"),
        None
    );
    assert_eq!(Kind::from_api("v1", "Service"), Some(Kind::Service));
    assert_eq!(Kind::from_api("serving.knative.dev/v1", "Service"), None);
}

#[test]
fn absent_namespace_is_default_and_time_is_read() {
    let object = one(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: s\n  creationTimestamp: \"2024-02-29T12:00:01Z\"\nspec:\n  ports:\n  - port: 80\n    targetPort: http\n",
    );
    assert_eq!(object.key.namespace, "default");
    assert_eq!(object.meta.created, Some(1_709_208_001));
}

#[test]
fn only_first_column_dashes_separate() {
    let text = "a: |\n  x\n  ---\n  y\n--- # next\n# only a comment\n---\nb: 1\n...\n--- {c: 1}\n";
    let found = documents(text.as_bytes()).unwrap();
    let seen: Vec<_> = found.iter().map(|d| (d.line, d.text.trim())).collect();
    assert_eq!(
        seen,
        [(1, "a: |\n  x\n  ---\n  y"), (8, "b: 1"), (10, "{c: 1}")]
    );
}

#[test]
fn crlf_and_byte_order_mark_are_fine() {
    let text = format!("\u{feff}{}", ENTRY.replace('\n', "\r\n"));
    let both = format!("{text}---\r\n{}", ENTRY.replace("name: a,", "name: b,"));
    let (objects, problems) = parse_all(&both);
    assert_eq!(problems, []);
    assert_eq!(objects.len(), 2);
}

#[test]
fn json_values_may_follow_one_another() {
    let value =
        r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n","labels":{"a":"}{"}}}"#;
    let (objects, problems) = parse_all(&format!("{value}\n{}", value.replace(r#""n""#, r#""m""#)));
    assert_eq!(problems, []);
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[1].key.namespace, "m");
    assert_eq!(objects[1].origin.as_ref().unwrap().line, 2);
}

#[test]
fn a_bad_item_of_a_list_hurts_only_itself() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata: {name: good}\n- apiVersion: v1\n  kind: Service\n  metadata: {name: bad}\n  spec: {ports: [{port: many}]}\n";
    let (objects, problems) = parse_all(text);
    assert_eq!(objects.len(), 1);
    assert_eq!(problems.len(), 1);
    assert_eq!(
        problems[0].to_string(),
        "a.yaml:1: Service default/bad: items[1].spec.ports[0].port: a string where a number is wanted"
    );
}

#[test]
fn unknown_field_of_istio_is_a_warning_with_its_path() {
    let (objects, problems) = parse_all(&ENTRY.replace("    labels:", "    lables:"));
    assert_eq!(objects.len(), 1);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].severity, Severity::Warning);
    assert_eq!(problems[0].field, "spec.endpoints[0].lables");
}

#[test]
fn kinds_of_others_are_passed_over_but_those_of_the_mesh_are_named() {
    let (objects, problems) = parse_all(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\n",
    );
    assert_eq!(objects, []);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].code, code::NOT_APPLIED);
}

#[test]
fn refusals_name_line_object_field_and_reason() {
    let cases = [
        ("a: [", "a.yaml:1"),
        ("x: 1\n", "apiVersion: every object must name it"),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {}\n",
            "metadata.name: every object must have a name",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: A_b}\n",
            "metadata.name: must consist of",
        ),
        ("[1, 2]", "a list where an object is wanted"),
    ];
    for (text, wanted) in cases {
        let told = refused(text);
        assert!(told.contains(wanted), "{text:?} told {told:?}");
    }
    let cases = [
        (
            "hosts: [A.example.com]",
            "hosts: []",
            "spec.hosts: a service entry needs",
        ),
        (
            "number: 80",
            "number: 65536",
            "spec.ports[0].number: 65536 is not a port",
        ),
        (
            "number: 80",
            "number: 0",
            "spec.ports[0].number: 0 is not a port",
        ),
        (
            "address: 10.0.0.1",
            "address: a.b",
            "spec.endpoints[0].address: \"a.b\" is not an IP",
        ),
        (
            "resolution: STATIC",
            "resolution: MAGIC",
            "spec.resolution: invalid value",
        ),
        (
            "resolution: STATIC",
            "resolution: NONE",
            "spec.endpoints: the resolution NONE",
        ),
        ("A.example.com", "'*'", "spec.hosts[0]: the host * alone"),
        (
            "labels: {app: a}",
            "labels: {app: 1}",
            "spec.endpoints[0].labels.app: a number where a string",
        ),
    ];
    for (from, to, wanted) in cases {
        let told = refused(&ENTRY.replace(from, to));
        assert!(told.contains(wanted), "{to:?} told {told:?}");
        assert!(told.starts_with("a.yaml:1: ServiceEntry n/a: "), "{told:?}");
    }
}

#[test]
fn a_service_may_share_a_port_between_tcp_and_udp_only() {
    let service = |second: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: dns}}\nspec: {{ports: \
             [{{name: dns, port: 53, protocol: UDP}}, {second}]}}"
        )
    };
    one(&service("{name: dns-tcp, port: 53}"));
    let told = refused(&service(
        "{name: a, port: 53}, {name: b, port: 53, protocol: TCP}",
    ));
    assert!(
        told.contains("spec.ports[2].port: two ports have the same number"),
        "{told}"
    );
}

#[test]
fn egress_hosts_follow_the_grammar() {
    let sidecar = |host: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: s}}\nspec: {{egress: [{{hosts: ['{host}']}}]}}\n"
        )
    };
    for good in [
        "ns1/*",
        "ns1/a.b.c",
        "ns1/*.b.c",
        "./x.y",
        "*/x.y",
        "*/*",
        "~ns1/x.y",
        "~./x.y",
        "~/x.y",
        "~/*",
    ] {
        one(&sidecar(good));
    }
    for bad in [
        "a.b.c",
        "ns1/a",
        "ns1/foo*.bar",
        "a/b/c.d",
        "/x.y",
        "!a/b.c",
    ] {
        assert!(
            refused(&sidecar(bad)).contains("spec.egress[0].hosts[0]"),
            "{bad}"
        );
    }
}

#[test]
fn virtual_service_matches_and_durations() {
    let object = one(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec:\n  hosts: [a]\n  http:\n  - match: [{uri: {prefix: /x}, headers: {h: {}}}]\n    route: [{destination: {host: b.n.svc.cluster.local, port: {number: 80}}}]\n    timeout: 1.5s\n",
    );
    let Spec::VirtualService(spec) = object.spec else {
        panic!()
    };
    let route = &spec.http[0];
    assert_eq!(
        route.matches[0].uri,
        Some(StringMatch::Prefix("/x".to_owned()))
    );
    assert_eq!(route.matches[0].headers["h"], StringMatch::Present);
    assert_eq!(route.timeout.unwrap().as_millis(), 1500);
}

#[test]
fn hostile_yaml_is_refused() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n";
    assert!(refused(bomb).starts_with("a.yaml:"));
    let deep = format!("a: {}{}", "[".repeat(3000), "]".repeat(3000));
    assert!(refused(&deep).starts_with("a.yaml:1"));
    let deep_json = format!("{{\"a\": {}{}}}", "[".repeat(3000), "]".repeat(3000));
    assert!(refused(&deep_json).starts_with("a.yaml:1"));
    assert!(refused("a: 1\na: 2\n").contains("a.yaml:"));
    assert!(
        documents(b"a: \xff\n")
            .unwrap_err()
            .to_string()
            .contains("line 1 is not UTF-8")
    );
    assert!(
        documents(b"a: 1\nb: \0\n")
            .unwrap_err()
            .to_string()
            .contains("line 2 holds a NUL")
    );
    assert!(documents(&vec![b' '; MAX_INPUT_BYTES + 1]).is_err());
    assert!(documents("---\na\n".repeat(MAX_DOCUMENTS + 1).as_bytes()).is_err());
}

#[test]
fn many_documents_are_within_the_budget() {
    let (objects, problems) = parse_all(&format!("{ENTRY}---\n").repeat(2000));
    assert_eq!(objects.len(), 2000);
    assert_eq!(problems, []);
}

#[test]
fn syntax_error_tells_its_own_line() {
    let text = format!("{ENTRY}---\napiVersion: v1\nkind: [\n");
    let (objects, problems) = parse_all(&text);
    assert_eq!(objects.len(), 1);
    assert!(
        problems[0].origin.as_ref().unwrap().line >= 13,
        "{}",
        problems[0]
    );
}

#[test]
fn mesh_config_has_defaults_and_names_what_is_not_read() {
    let text = "rootNamespace: istio-config\noutboundTrafficPolicy: {mode: REGISTRY_ONLY}\naccessLogFile: /dev/stdout\nnoSuch: 1\n";
    let (config, problems) = mesh_config(text, &origin()).unwrap();
    assert_eq!(config.root_namespace, "istio-config");
    assert_eq!(config.proxy_listen_port, 15001);
    assert_eq!(config.trust_domain, "cluster.local");
    let fields: Vec<_> = problems.iter().map(|p| p.field.as_str()).collect();
    assert!(fields.contains(&"noSuch"), "{fields:?}");
    assert!(!fields.contains(&"rootNamespace"), "{fields:?}");
    assert!(mesh_config("proxyListenPort: x", &origin()).is_err());
    assert!(mesh_config("# nothing\n", &origin()).unwrap().0 == crate::MeshConfig::default());
}

#[test]
fn pod_and_slice_keep_what_is_needed() {
    let pod = one(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {app: a}}\nspec: {nodeName: n, serviceAccountName: sa, containers: [{name: c, image: i, ports: [{containerPort: 80, name: http}]}]}\nstatus: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}], conditions: [{type: Ready, status: 'True'}]}\n",
    );
    let Spec::Pod(pod) = pod.spec else { panic!() };
    assert_eq!(pod.ips().collect::<Vec<_>>(), ["10.0.0.1"]);
    assert_eq!(pod.spec.containers[0].ports[0].container_port, 80);
    let slice = one(
        "addressType: IPv4\napiVersion: discovery.k8s.io/v1\nendpoints:\n- addresses: [10.0.0.1]\n  conditions: {ready: null}\nkind: EndpointSlice\nmetadata: {name: s}\nports: [{port: 80}]\n",
    );
    let Spec::EndpointSlice(slice) = slice.spec else {
        panic!()
    };
    assert!(slice.endpoints[0].conditions.is_ready());
    assert_eq!(slice.ports[0].protocol, k8s::Protocol::Tcp);
}

#[test]
fn the_uid_of_a_pod_is_read_and_of_nothing_else() {
    let text = |kind: &str| {
        format!(
            "apiVersion: v1\nkind: {kind}\nmetadata: {{name: a, namespace: b, uid: 0F0e2f4a-1111-4222-8333-444455556666}}\n"
        )
    };
    let uid = |kind: &str| object(&text(kind), &origin()).objects[0].meta.uid;
    let wanted = "0f0e2f4a-1111-4222-8333-444455556666";
    assert_eq!(
        uid("Pod").map(|uid| uid.to_string()).as_deref(),
        Some(wanted)
    );
    assert_eq!(uid("Service"), None);
    for bad in [
        "",
        "0f0e2f4a",
        "0f0e2f4a-1111-4222-8333-4444555566667",
        "zz",
    ] {
        assert_eq!(crate::Uid::parse(bad), None, "{bad}");
    }
}

#[test]
fn networks_are_refused_where_istio_refuses_them_and_unread_parts_are_named() {
    let origin = Origin {
        path: Arc::from("networks.yaml"),
        line: 7,
    };
    let read = |text: &str| mesh_networks(&format!("{{networks: {{n: {{{text}}}}}}}"), &origin);
    for (text, field) in [
        ("gateways: [{port: 1}]", "networks.n.gateways[0]"),
        (
            "gateways: [{address: a.b, registryServiceName: c.d, port: 1}]",
            "networks.n.gateways[0]",
        ),
        ("gateways: [{address: a.b}]", "networks.n.gateways[0].port"),
        (
            "gateways: [{address: a.b, port: 65536}]",
            "networks.n.gateways[0].port",
        ),
        (
            "gateways: [{address: 'a b', port: 1}]",
            "networks.n.gateways[0].address",
        ),
        (
            "gateways: [{registryServiceName: '', port: 1}]",
            "networks.n.gateways[0].registryServiceName",
        ),
        (
            "endpoints: [{fromCidr: 10.0.0.0}]",
            "networks.n.endpoints[0].fromCidr",
        ),
        (
            "endpoints: [{fromCidr: 10.0.0.0/33}]",
            "networks.n.endpoints[0].fromCidr",
        ),
        (
            "endpoints: [{fromRegistry: ''}]",
            "networks.n.endpoints[0].fromRegistry",
        ),
        (
            "endpoints: [{fromRegistry: a, fromCidr: 10.0.0.0/8}]",
            "networks.n.endpoints[0]",
        ),
        ("gateways: 1", "networks.n.gateways"),
    ] {
        let problem = read(text).expect_err(text);
        assert_eq!(problem.field, field, "{text}");
        assert_eq!(problem.origin.as_ref(), Some(&origin), "{text}");
    }
    let (networks, problems) =
        read("gateways: [{address: '2001:db8::1', port: 1, locality: a/b}], other: {}").unwrap();
    let fields: Vec<&str> = problems
        .iter()
        .map(|problem| problem.field.as_str())
        .collect();
    assert_eq!(
        fields,
        ["networks.n.gateways[0].locality", "networks.n.other"]
    );
    assert_eq!(networks.networks["n"].gateways.len(), 1);
    assert_eq!(mesh_networks("", &origin).unwrap().0.networks.len(), 0);
    assert!(mesh_networks("[]", &origin).is_err());
    assert!(mesh_networks("a: [", &origin).is_err());
}
