//! The HTTP client and the pages for people.

use serde_json::json;

use super::{http, text};

#[test]
fn answers_are_split_into_status_and_body() {
    let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nno\n";
    assert_eq!(http::parse(answer).unwrap(), (404, b"no\n".to_vec()));
    for wrong in [
        &b""[..],
        b"\r\n\r\n",
        b"SSH-2.0 x\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
    ] {
        assert!(http::parse(wrong).is_err());
    }
}

#[test]
fn a_node_id_survives_the_query() {
    assert_eq!(
        http::encode("sidecar~10.0.0.1~a b"),
        "sidecar~10.0.0.1~a%20b"
    );
    assert_eq!(http::encode("a&b=c%"), "a%26b%3Dc%25");
}

#[test]
fn status_shows_what_each_proxy_holds_and_its_sync_state() {
    let status = json!({"version": "1", "ready": true, "services": 9, "endpoints": 30, "proxies": 1, "classes": 1});
    let proxies = json!([{
        "id": "sidecar~10.0.0.1~web-1.shop~x", "services": 3, "mesh_services": 9, "connected_at": "T",
        "types": {
            "type.googleapis.com/envoy.config.cluster.v3.Cluster": {"sent": "2", "acked": "2", "bytes": 5},
            "type.googleapis.com/envoy.config.listener.v3.Listener": {"sent": "2", "acked": "1", "bytes": 7},
            "type.googleapis.com/envoy.config.route.v3.RouteConfiguration":
                {"sent": "2", "acked": "1", "bytes": 0, "lastError": "no"},
        }
    }]);
    let problems = json!([{"severity": "error", "origin": "a.yaml:3", "object": "", "field": "spec", "reason": "bad"}]);
    let page = text::status(&status, &proxies, &problems);
    assert_eq!(
        page,
        "reef 1   ready   9 services, 30 endpoints   1 proxies in 1 classes\n\n\
         PROXY       SERVICES  CDS     LDS    EDS       RDS    BYTES SENT  CONNECTED\n\
         web-1.shop  3 of 9    SYNCED  STALE  NOT SENT  ERROR  12          T\n\n\
         1 problems\n  error a.yaml:3: spec: bad\n"
    );
}

#[test]
fn why_tells_the_reasons_in_both_directions() {
    let yes = json!({
        "proxy": "a.b", "service": "c.d.svc.cluster.local", "visible": true, "scope": "Sidecar b/default",
        "services": [{"hostname": "c.d.svc.cluster.local", "namespace": "d", "reasons": ["egress host `d/*`"]}],
    });
    assert_eq!(
        text::why(&yes),
        "a.b sees c.d.svc.cluster.local\n  scope: Sidecar b/default\n  c.d.svc.cluster.local (namespace d)\n    because egress host `d/*`\n"
    );
    let no = json!({
        "proxy": "a.b", "service": "c.d", "visible": false, "scope": "default", "reasons": ["it is not exported"],
    });
    assert!(
        text::why(&no)
            .ends_with("a.b does not see c.d\n  scope: default\n  because it is not exported\n")
    );
}
