//! Tests of the parts that recorded configurations do not reach.

use serde_json::json;
use xds_api::envoy::config::route::v3::RouteConfiguration;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;

use crate::format::{Context, expand};
use crate::headers::Headers;
use crate::path::{Normalized, normalize};
use crate::{Config, Fate, Protocol, Request, host, simulate};

fn normalized(path: &str, slashes: &str, merge: bool) -> Normalized {
    let hcm: HttpConnectionManager = reef_xds::json::message_from_json(&json!({
        "normalize_path": true,
        "merge_slashes": merge,
        "path_with_escaped_slashes_action": slashes,
    }))
    .unwrap();
    normalize(&hcm, path)
}

#[test]
fn paths_are_normalised_as_the_manager_says() {
    for (path, wanted) in [
        ("/a/../b?x=/../y", "/b?x=/../y"),
        ("/a/./b/", "/a/b/"),
        ("/../../a", "/a"),
        ("/a/%2e%2E/b", "/b"),
        ("/a\\b", "/a/b"),
        ("/%41%2f%7e", "/A%2f~"),
        ("/a//b", "/a//b"),
        ("/a/..", "/"),
        ("/a/b..c/.d", "/a/b..c/.d"),
        ("/%zz", "/%zz"),
        ("/api/..;/a", "/a"),
        ("/a/..;b", "/"),
        ("/a/.;/b", "/a/b"),
        ("/a/...;/b", "/a/...;/b"),
        ("/x/%2e%2e;/y", "/x/..;/y"),
        ("/a'^|{}`\"<>b", "/a'%5E%7C%7B%7D%60%22%3C%3Eb"),
        ("/%27%5e%2d%5f", "/%27%5e-_"),
    ] {
        let found = normalized(path, "KEEP_UNCHANGED", false);
        assert_eq!(found, Normalized::Path(wanted.to_owned()), "{path}");
    }
    let keep = "KEEP_UNCHANGED";
    assert_eq!(
        normalized("/a//b///c", keep, true),
        Normalized::Path("/a/b/c".to_owned())
    );
    assert_eq!(
        normalized("//", keep, true),
        Normalized::Path("//".to_owned())
    );
    let unescaped = normalized("/a%2F%2fb?c=%2F", "UNESCAPE_AND_FORWARD", true);
    assert_eq!(unescaped, Normalized::Path("/a/b?c=%2F".to_owned()));
    assert_eq!(
        normalized("/a%5cb", "REJECT_REQUEST", false),
        Normalized::Refused
    );
    assert_eq!(normalized("/a#b", keep, false), Normalized::Refused);
}

#[test]
fn the_most_exact_domain_wins_whatever_the_order() {
    let routes: RouteConfiguration = reef_xds::json::message_from_json(&json!({
        "ignore_port_in_host_matching": true,
        "virtual_hosts": [
            {"name": "all", "domains": ["*"]},
            {"name": "after", "domains": ["api.*"]},
            {"name": "short", "domains": ["*.com"]},
            {"name": "long", "domains": ["*.Example.com"]},
            {"name": "exact", "domains": ["api.example.com", "[fd00::1]"]},
        ],
    }))
    .unwrap();
    for (name, wanted) in [
        ("API.example.com:8080", "exact"),
        ("x.example.com", "long"),
        ("example.com", "short"),
        (".example.com", "short"),
        ("api.example.org", "after"),
        ("api.", "all"),
        ("[fd00::1]:80", "exact"),
        ("[fd00::1]", "exact"),
        ("other", "all"),
    ] {
        let found = host::find(&routes, name).map(|one| one.name.as_str());
        assert_eq!(found, Some(wanted), "{name}");
    }
}

#[test]
fn values_of_headers_are_made_from_the_request() {
    let request: Headers = [(":path", "/a"), ("x", "12345")].into_iter().collect();
    let context = Context {
        request: &request,
        protocol: "HTTP/2",
        route: "r",
        cluster: "c",
    };
    for (text, wanted) in [
        ("plain", "plain"),
        ("100%%", "100%"),
        ("%REQ(X)%-%REQ(:path)%", "12345-/a"),
        ("%REQ(Y?X):3%", "123"),
        ("%REQ(Y)%", ""),
        ("%PROTOCOL%/%ROUTE_NAME%/%UPSTREAM_CLUSTER%", "HTTP/2/r/c"),
        ("%START_TIME(%s)%", "%START_TIME(%s)%"),
    ] {
        assert_eq!(expand(text, &context), wanted, "{text}");
    }
}

/// A listener of port 80 with these routes, and clusters `a` and `b` with one endpoint each.
fn config(routes: serde_json::Value) -> Config {
    let mut config = Config::default();
    let cluster = |name: &str| {
        json!({"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": name,
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}}}}]}]}})
    };
    let listener = json!({
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "l",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "http_filters": [{"name": "envoy.filters.http.fault"}, {"name": "envoy.filters.http.cors"}, {"name": "envoy.filters.http.router"}],
            "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]},
        }}]}],
    });
    config
        .add_document(&json!([listener, cluster("a"), cluster("b")]))
        .unwrap();
    config
}

#[test]
fn chance_makes_a_set_whose_probabilities_sum_up() {
    let config = config(json!([
        {"name": "half", "match": {"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 50}}},
         "route": {"weighted_clusters": {"clusters": [{"name": "a", "weight": 3}, {"name": "b", "weight": 1}, {"name": "c", "weight": 0}]}}},
        {"name": "rest", "match": {"prefix": "/"}, "route": {"cluster": "b"},
         "typed_per_filter_config": {"envoy.filters.http.fault": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
            "abort": {"http_status": 418, "percentage": {"numerator": 20}}}}},
    ]));
    let request = Request {
        host: "x".to_owned(),
        ..Request::default()
    };
    let answer = simulate(&config, &request);
    let mut found: Vec<(String, Option<u16>, i32)> = answer
        .outcomes
        .iter()
        .map(|one| {
            let mills = (one.probability * 1000.0).round().to_string();
            let cluster = one.cluster.clone().unwrap_or_default();
            (cluster, one.status, mills.parse().unwrap())
        })
        .collect();
    found.sort();
    let of = |name: &str, status, mills| (name.to_owned(), status, mills);
    let wanted = [
        of("a", None, 375),
        of("b", None, 125),
        of("b", None, 400),
        of("b", Some(418), 100),
    ];
    assert_eq!(found, wanted);
}

#[test]
fn what_is_no_http_is_refused_and_what_nobody_hears_is_not_captured() {
    let config = config(json!([]));
    let mut request = Request {
        host: "x".to_owned(),
        ..Request::default()
    };
    assert_eq!(simulate(&config, &request).outcomes[0].status, Some(404));
    request.protocol = Protocol::Tcp;
    assert_eq!(simulate(&config, &request).outcomes[0].status, Some(400));
    request.port = 81;
    assert_eq!(
        simulate(&config, &request).outcomes[0].fate,
        Fate::NotCaptured
    );
}
