//! Parts of a bootstrap that hardly vary: admin, xDS, static clusters and listeners, stats.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{BootstrapOptions, WorkloadCert, XDS_CLUSTER};

/// Static cluster of Envoy's own admin interface, under Istio's name.
const ADMIN_CLUSTER: &str = "prometheus_stats";

/// A number no sidecar reaches; Envoy's default of 1024 is too low for one stream per type.
const UNLIMITED: u32 = 100_000;

pub(super) fn admin(port: u16) -> Value {
    json!({ "address": socket_address("127.0.0.1", port) })
}

pub(super) fn dynamic_resources(options: &BootstrapOptions) -> Value {
    // No timeout: a proxy without its first configuration is not ready, rather than half ready.
    let source = json!({
        "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s",
    });
    let mut service = json!({ "cluster_name": XDS_CLUSTER });
    if options.secure.is_some() {
        // They say nothing the token does not say better.
        service["skip_envoy_headers"] = json!(true);
    }
    json!({
        "ads_config": {
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": true,
            "grpc_services": [{ "envoy_grpc": service }],
        },
        "cds_config": source,
        "lds_config": source,
    })
}

pub(super) fn clusters(options: &BootstrapOptions) -> Value {
    let mut clusters = vec![
        json!({
            "name": ADMIN_CLUSTER,
            "type": "STATIC",
            "connect_timeout": "0.250s",
            "load_assignment": assignment(
                ADMIN_CLUSTER,
                &socket_address("127.0.0.1", options.admin_port),
            ),
        }),
        xds_cluster(options),
    ];
    if let WorkloadCert::SdsGrpc { socket } = &options.workload_cert {
        clusters.push(json!({
            "name": "sds-grpc",
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": http2(),
            "load_assignment": assignment("sds-grpc", &json!({ "pipe": { "path": socket } })),
        }));
    }
    Value::Array(clusters)
}

fn xds_cluster(options: &BootstrapOptions) -> Value {
    let discovery = &options.discovery;
    let is_address = discovery.host.parse::<IpAddr>().is_ok();
    let breaker = |priority: &str| {
        json!({
            "priority": priority,
            "max_connections": UNLIMITED,
            "max_pending_requests": UNLIMITED,
            "max_requests": UNLIMITED,
        })
    };
    let mut cluster = json!({
        "name": XDS_CLUSTER,
        "type": if is_address { "STATIC" } else { "STRICT_DNS" },
        "connect_timeout": "1s",
        "load_assignment": assignment(
            XDS_CLUSTER,
            &socket_address(&discovery.host, discovery.port),
        ),
        "typed_extension_protocol_options": http2(),
        "circuit_breakers": { "thresholds": [breaker("DEFAULT"), breaker("HIGH")] },
        "upstream_connection_options": { "tcp_keepalive": { "keepalive_time": 300 } },
    });
    if let Some(secure) = &options.secure {
        secure.add_to(&mut cluster);
    }
    cluster
}

/// HTTP/2 with pings: a control plane that vanished without a FIN is noticed in 40 seconds.
fn http2() -> Value {
    json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type":
                "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {
                "http2_protocol_options": {
                    "connection_keepalive": { "interval": "30s", "timeout": "10s" },
                },
            },
        },
    })
}

pub(super) fn listeners(options: &BootstrapOptions, ip: IpAddr) -> Value {
    let any = if ip.is_ipv4() { "0.0.0.0" } else { "::" };
    json!([
        listener(
            any,
            options.prometheus_port,
            "stats",
            "/stats/prometheus",
            "/stats/prometheus"
        ),
        listener(
            any,
            options.status_port,
            "agent",
            "/healthz/ready",
            "/ready"
        ),
    ])
}

/// A listener that answers one path from the admin interface.
fn listener(any: &str, port: u16, stat_prefix: &str, path: &str, admin_path: &str) -> Value {
    let route = json!({
        "match": { "path": path },
        "route": { "cluster": ADMIN_CLUSTER, "prefix_rewrite": admin_path },
    });
    http_listener(any, port, stat_prefix, &json!([route]))
}

/// A listener of HTTP that keeps answering under overload.
pub(super) fn http_listener(any: &str, port: u16, stat_prefix: &str, routes: &Value) -> Value {
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3\
                  .HttpConnectionManager",
        "codec_type": "AUTO",
        "stat_prefix": stat_prefix,
        "route_config": {
            "virtual_hosts": [{
                "name": "backend",
                "domains": ["*"],
                "routes": routes,
            }],
        },
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            },
        }],
    });
    json!({
        "name": format!("{any}_{port}"),
        "address": socket_address(any, port),
        "ignore_global_conn_limit": true,
        "bypass_overload_manager": true,
        "filter_chains": [{
            "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": manager,
            }],
        }],
    })
}

/// The settings of Istio's bootstrap that a plain Envoy knows.
pub(super) fn runtime() -> Value {
    json!({
        "layers": [
            {
                "name": "global config",
                "static_layer": {
                    "envoy.reloadable_features.http_reject_path_with_fragment": false,
                    "re2.max_program_size.error_level": "32768",
                },
            },
            { "name": "admin", "admin_layer": {} },
        ],
    })
}

pub(super) fn overload() -> Value {
    json!({
        "resource_monitors": [{
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.resource_monitors\
                          .downstream_connections.v3.DownstreamConnectionsConfig",
                "max_active_downstream_connections": i32::MAX,
            },
        }],
    })
}

/// Istio's allow-list: per-cluster statistics would take half of a sidecar's memory.
pub(super) fn stats() -> Value {
    let xds = format!("cluster.{XDS_CLUSTER}");
    let prefixes = [
        "cluster_manager",
        "listener_manager",
        "server",
        xds.as_str(),
        "wasm",
        "component",
        "istio",
        "reporter=",
    ];
    let suffixes = [
        "rbac.allowed",
        "rbac.denied",
        "shadow_allowed",
        "shadow_denied",
    ];
    let mut patterns: Vec<Value> = prefixes.map(|p| json!({ "prefix": p })).into();
    patterns.extend(suffixes.map(|s| json!({ "suffix": s })));
    patterns.push(json!({ "safe_regex": { "regex": r"vhost\..*\.route\..*" } }));
    // Reef ends the names it gives to clusters and connection managers with `;`, so that a name
    // with dots in it stays one tag.
    let tag = |name: &str, regex: &str| json!({ "tag_name": name, "regex": regex });
    json!({
        "use_all_default_tags": false,
        "stats_tags": [
            tag("cluster_name", r"^cluster\.((.+?);\.)"),
            tag("http_conn_manager_prefix", r"^http\.((.+?);\.)"),
            tag("listener_address", r"^listener\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)"),
            tag("response_code", r"_rq(_(\d{3}))$"),
            tag("response_code_class", r"_rq(_(\dxx))$"),
        ],
        "stats_matcher": { "inclusion_list": { "patterns": patterns } },
    })
}

/// `SO_MARK` on every upstream socket that has no bind settings of its own.
pub(super) fn marked_sockets(mark: u32) -> Value {
    const SOL_SOCKET: u32 = 1;
    const SO_MARK: u32 = 36;
    json!({
        "source_address": { "address": "0.0.0.0", "port_value": 0 },
        // Envoy takes the one of the destination's family.
        "extra_source_addresses": [{ "address": { "address": "::", "port_value": 0 } }],
        "socket_options": [{
            "description": "mark of the proxy's own connections",
            "level": SOL_SOCKET,
            "name": SO_MARK,
            "int_value": mark,
            "state": "STATE_PREBIND",
        }],
    })
}

pub(super) fn socket_address(host: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": host, "port_value": port } })
}

pub(super) fn assignment(name: &str, address: &Value) -> Value {
    json!({
        "cluster_name": name,
        "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }],
    })
}
