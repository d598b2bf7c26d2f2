//! How the protocol of a port is found.

use reef_mesh::{MeshIndex, Protocol};

use crate::support::{apply, key};

/// The protocol of a Kubernetes service port written as `port`, whose number is 80 unless it says.
fn of(port: &str) -> Protocol {
    let mut index = MeshIndex::default();
    let number = if port.contains("port:") {
        ""
    } else {
        ", port: 80"
    };
    apply(
        &mut index,
        &format!(
            "
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: a}}
spec: {{clusterIP: 10.1.0.1, ports: [{{{port}{number}}}]}}
"
        ),
    );
    let service = index
        .snapshot()
        .service(&key("web.a.svc.cluster.local", "a"));
    service.expect("a service").ports[0].protocol
}

/// The protocol of a service entry port.
fn of_entry(port: &str) -> Protocol {
    let mut index = MeshIndex::default();
    apply(
        &mut index,
        &format!(
            "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: x, namespace: a}}
spec: {{hosts: [x.com], resolution: NONE, ports: [{{{port}}}]}}
"
        ),
    );
    let service = index.snapshot().service(&key("x.com", "a"));
    service.expect("a service").ports[0].protocol
}

#[test]
fn every_token_has_its_protocol() {
    for (token, protocol, http, http2, tcp, tls) in [
        ("http", Protocol::Http, true, false, false, false),
        ("http2", Protocol::Http2, true, true, false, false),
        ("grpc", Protocol::Grpc, true, true, false, false),
        ("grpc-web", Protocol::GrpcWeb, true, true, false, false),
        ("tcp", Protocol::Tcp, false, false, true, false),
        ("https", Protocol::Https, false, false, true, true),
        ("tls", Protocol::Tls, false, false, true, true),
        ("mongo", Protocol::Mongo, false, false, true, false),
        ("redis", Protocol::Redis, false, false, true, false),
        ("mysql", Protocol::MySql, false, false, true, false),
        ("udp", Protocol::Udp, false, false, false, false),
        ("other", Protocol::Auto, false, false, false, false),
    ] {
        let upper = token.to_uppercase();
        for port in [
            format!("name: {token}"),
            format!("name: {token}-x-y"),
            format!("name: x, appProtocol: {upper}"),
        ] {
            let found = of(&port);
            assert_eq!(found, protocol, "{port}");
            let kinds = (
                found.is_http(),
                found.is_http2(),
                found.is_tcp(),
                found.is_tls(),
            );
            assert_eq!(kinds, (http, http2, tcp, tls), "{port}");
        }
        // An entry may not name a protocol that is none.
        if protocol != Protocol::Auto {
            let entry = format!("number: 80, name: x, protocol: {upper}");
            assert_eq!(of_entry(&entry), protocol);
        }
    }
    // Not a name of a port, so only possible elsewhere.
    assert_eq!(of("name: x, appProtocol: http_proxy"), Protocol::HttpProxy);
    assert!(Protocol::HttpProxy.is_http() && !Protocol::HttpProxy.is_http2());
    // The longer one must not be taken for its beginning.
    assert_eq!(of("name: grpc-webby"), Protocol::GrpcWeb);
    assert_eq!(of("name: grpcx"), Protocol::Auto);
}

#[test]
fn the_application_protocol_beats_the_name() {
    assert_eq!(of("name: http, appProtocol: tcp"), Protocol::Tcp);
    assert_eq!(
        of("name: http, appProtocol: example.com/mine"),
        Protocol::Auto
    );
    assert_eq!(
        of("name: http, port: 3306, appProtocol: example.com/mine"),
        Protocol::Tcp
    );
    assert_eq!(
        of("name: http, protocol: UDP, appProtocol: http"),
        Protocol::Udp
    );
}

#[test]
fn protocols_of_kubernetes_count_in_the_application_protocol_only() {
    assert_eq!(
        of("name: x, appProtocol: kubernetes.io/h2c"),
        Protocol::Http2
    );
    assert_eq!(of("name: x, appProtocol: kubernetes.io/ws"), Protocol::Http);
    assert_eq!(
        of("name: x, appProtocol: kubernetes.io/wss"),
        Protocol::Https
    );
}

#[test]
fn undeclared_ports_known_by_number_are_tcp() {
    for number in [25, 53, 3306, 27017] {
        assert_eq!(of(&format!("port: {number}")), Protocol::Tcp, "{number}");
        assert_eq!(of(&format!("name: http, port: {number}")), Protocol::Http);
    }
    assert_eq!(of("port: 5432"), Protocol::Auto);
}

#[test]
fn ports_of_entries_have_no_protocol_by_number_or_name() {
    assert_eq!(of_entry("number: 3306, name: x"), Protocol::Auto);
    assert_eq!(of_entry("number: 80, name: http"), Protocol::Auto);
    assert_eq!(
        of_entry("number: 80, name: tcp, protocol: HTTP"),
        Protocol::Http
    );
}
