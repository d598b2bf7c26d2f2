//! Tests of the bootstrap.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{
    AppProbe, Authority, BootstrapError, BootstrapOptions, DiscoveryAddress, InterceptionMode,
    Locality, PodPort, SecureChannel, WorkloadCert, build,
};

fn options() -> BootstrapOptions {
    let ip: IpAddr = "10.244.1.10".parse().unwrap();
    BootstrapOptions::new("web-0", "shop", ip, "10.0.0.1:15010".parse().unwrap())
}

fn cluster<'a>(bootstrap: &'a Value, name: &str) -> Option<&'a Value> {
    bootstrap["static_resources"]["clusters"]
        .as_array()?
        .iter()
        .find(|cluster| cluster["name"] == name)
}

#[test]
fn the_node_has_istios_form() {
    let mut options = options();
    options.labels.insert("app".into(), "web".into());
    options.ips.push("fd00::10".parse().unwrap());
    options.locality = "eu/eu-1".parse().unwrap();
    options.node_name = Some("node-a".into());
    options.pod_ports.push(PodPort {
        name: Some("http".into()),
        container_port: 8080,
        protocol: "TCP".into(),
    });
    let node = build(&options).unwrap()["node"].take();
    assert_eq!(
        node["id"],
        "sidecar~10.244.1.10~web-0.shop~shop.svc.cluster.local"
    );
    assert_eq!(node["cluster"], "web.shop");
    assert_eq!(node["locality"], json!({ "region": "eu", "zone": "eu-1" }));
    let metadata = &node["metadata"];
    assert_eq!(metadata["INSTANCE_IPS"], "10.244.1.10,fd00::10");
    assert_eq!(metadata["NODE_NAME"], "node-a");
    assert_eq!(metadata["WORKLOAD_CERT"], "none");
    assert_eq!(metadata["LABELS"], json!({ "app": "web" }));
    let ports: Value = serde_json::from_str(metadata["POD_PORTS"].as_str().unwrap()).unwrap();
    assert_eq!(
        ports,
        json!([{ "name": "http", "containerPort": 8080, "protocol": "TCP" }])
    );
    assert_eq!(metadata.get("ISTIO_VERSION"), None);
    assert_eq!(metadata.get("WORKLOAD_NAME"), None);
}

#[test]
fn settings_of_the_pod_add_metadata_and_replace_none() {
    let mut options = options();
    let config = "proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true', ISTIO_META_NAME: x, OTHER: y}";
    options
        .annotations
        .insert("proxy.istio.io/config".into(), config.into());
    let node = build(&options).unwrap()["node"].take();
    let metadata = &node["metadata"];
    assert_eq!(metadata["DNS_CAPTURE"], "true");
    assert_eq!(metadata["NAME"], "web-0");
    assert_eq!(metadata.get("OTHER"), None);
}

#[test]
fn a_name_is_looked_up_and_an_address_is_not() {
    let static_cluster = build(&options()).unwrap();
    assert_eq!(
        cluster(&static_cluster, "reef-xds").unwrap()["type"],
        "STATIC"
    );
    let mut by_name = options();
    by_name.discovery = "reef.reef-system.svc:15010".parse().unwrap();
    let by_name = build(&by_name).unwrap();
    let xds = cluster(&by_name, "reef-xds").unwrap();
    assert_eq!(xds["type"], "STRICT_DNS");
    let address = &xds["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"];
    assert_eq!(
        address["socket_address"],
        json!({ "address": "reef.reef-system.svc", "port_value": 15010 })
    );
}

#[test]
fn the_secret_cluster_is_there_exactly_if_the_metadata_says_so() {
    let none = build(&options()).unwrap();
    assert!(cluster(&none, "sds-grpc").is_none());
    let mut with = options();
    with.workload_cert = WorkloadCert::SdsGrpc {
        socket: "/run/sds".into(),
    };
    let with = build(&with).unwrap();
    assert!(cluster(&with, "sds-grpc").is_some());
    assert_eq!(with["node"]["metadata"]["WORKLOAD_CERT"], "sds-grpc");
}

#[test]
fn readiness_is_envoys_own_answer() {
    let bootstrap = build(&options()).unwrap();
    let listener = bootstrap["static_resources"]["listeners"]
        .as_array()
        .unwrap()
        .iter()
        .find(|listener| listener["address"]["socket_address"]["port_value"] == 15021)
        .unwrap();
    let manager = &listener["filter_chains"][0]["filters"][0]["typed_config"];
    let route = &manager["route_config"]["virtual_hosts"][0]["routes"][0];
    assert_eq!(route["match"]["path"], "/healthz/ready");
    assert_eq!(route["route"]["prefix_rewrite"], "/ready");
}

#[test]
fn what_envoy_keeps_for_statistics_and_frees_again_is_bounded() {
    let bootstrap = build(&options()).unwrap();
    let deferred = &bootstrap["deferred_stat_options"];
    assert_eq!(deferred["enable_deferred_creation_stats"], true);
    let memory = &bootstrap["memory_allocator_manager"];
    assert_eq!(
        *memory,
        json!({ "bytes_to_release": 52_428_800, "memory_release_interval": "1s" })
    );
    let matcher = &bootstrap["stats_config"]["stats_matcher"];
    let patterns = matcher["inclusion_list"]["patterns"].as_array().unwrap();
    let kept = |name: &str| {
        patterns.iter().any(|pattern| {
            let starts = pattern["prefix"].as_str();
            let ends = pattern["suffix"].as_str();
            starts.is_some_and(|text| name.starts_with(text))
                || ends.is_some_and(|text| name.ends_with(text))
        })
    };
    for name in [
        "cluster_manager.cds.update_success",
        "listener_manager.lds.update_rejected",
        "server.state",
        "cluster.reef-xds.upstream_cx_active",
    ] {
        assert!(kept(name), "{name}");
    }
    // A hundred of each kind for every service of the scope: half of a sidecar's memory.
    for name in [
        "cluster.outbound|80||web.shop.svc.cluster.local;.upstream_rq_total",
        "http.outbound_0.0.0.0_80;.downstream_rq_total",
        "listener.0.0.0.0_80.downstream_cx_total",
    ] {
        assert!(!kept(name), "{name}");
    }
}

#[test]
fn everything_comes_over_one_delta_stream_that_says_once_who_asks() {
    let bootstrap = build(&options()).unwrap();
    let dynamic = &bootstrap["dynamic_resources"];
    let ads = &dynamic["ads_config"];
    assert_eq!(ads["api_type"], "DELTA_GRPC");
    assert_eq!(ads["set_node_on_first_message_only"], true);
    for ty in ["cds_config", "lds_config"] {
        assert_eq!(
            dynamic[ty],
            json!({ "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s" })
        );
    }
}

#[test]
fn prometheus_reads_envoys_statistics_where_istio_has_them() {
    let bootstrap = build(&options()).unwrap();
    let listeners = bootstrap["static_resources"]["listeners"].as_array();
    let listener = listeners
        .unwrap()
        .iter()
        .find(|listener| listener["address"]["socket_address"]["port_value"] == 15090)
        .unwrap();
    assert_eq!(
        listener["address"]["socket_address"]["address"], "0.0.0.0",
        "it is asked from outside the pod"
    );
    let manager = &listener["filter_chains"][0]["filters"][0]["typed_config"];
    let routes = &manager["route_config"]["virtual_hosts"][0]["routes"];
    // Of the admin interface nothing else is reached from outside.
    assert_eq!(routes.as_array().unwrap().len(), 1);
    assert_eq!(routes[0]["match"], json!({ "path": "/stats/prometheus" }));
    let cluster = cluster(&bootstrap, "prometheus_stats").unwrap();
    let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    assert_eq!(
        endpoint["address"]["socket_address"],
        json!({ "address": "127.0.0.1", "port_value": 15000 })
    );
}

#[test]
fn sockets_are_marked_only_on_demand() {
    let plain = build(&options()).unwrap();
    assert_eq!(plain["cluster_manager"].get("upstream_bind_config"), None);
    let mut marked = options();
    marked.socket_mark = Some(1337);
    let marked = build(&marked).unwrap();
    let bind = &marked["cluster_manager"]["upstream_bind_config"];
    assert_eq!(bind["socket_options"][0]["int_value"], 1337);
}

#[test]
fn what_would_break_the_node_id_is_refused() {
    let mut tilde = options();
    tilde.pod = "a~b".into();
    assert_eq!(
        build(&tilde).unwrap_err(),
        BootstrapError::Name {
            what: "pod name",
            value: "a~b".into()
        }
    );
    let mut nowhere = options();
    nowhere.ips.clear();
    assert_eq!(build(&nowhere).unwrap_err(), BootstrapError::NoAddress);
}

#[test]
fn discovery_addresses_are_read_strictly() {
    for good in [
        "127.0.0.1:15010",
        "[fd00::1]:15010",
        "reef.reef-system.svc:15012",
    ] {
        assert!(good.parse::<DiscoveryAddress>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "host",
        ":1",
        "host:",
        "host:0",
        "host:70000",
        "fd00::1:5",
        "[x]:1",
        "a/b:1",
    ] {
        assert_eq!(
            bad.parse::<DiscoveryAddress>().unwrap_err(),
            BootstrapError::Discovery(bad.to_owned())
        );
    }
    assert!("a/b/c/d".parse::<Locality>().is_err());
}

fn secure(
    discovery: &str,
    name: Option<&str>,
    authority: Authority,
) -> Result<SecureChannel, BootstrapError> {
    let token = "/var/run/secrets/tokens/istio-token".into();
    SecureChannel::new(
        &discovery.parse().unwrap(),
        name,
        token,
        authority,
        "/etc/reef".into(),
    )
}

#[test]
fn an_encrypted_channel_sends_the_token_and_checks_the_name() {
    let host = "reef.reef-system.svc:15012";
    let authority = Authority::File("/var/run/secrets/istio/root-cert.pem".into());
    let channel = secure(host, None, authority).unwrap();
    let mut options = options();
    options.discovery = host.parse().unwrap();
    options.secure = Some(channel.clone());
    let bootstrap = build(&options).unwrap();
    let service = &bootstrap["dynamic_resources"]["ads_config"]["grpc_services"][0]["envoy_grpc"];
    assert_eq!(service["skip_envoy_headers"], true);
    let cluster = &bootstrap["static_resources"]["clusters"][1];
    let tls = &cluster["transport_socket"]["typed_config"];
    assert_eq!(tls["sni"], "reef.reef-system.svc");
    let common = &tls["common_tls_context"];
    assert_eq!(
        common["tls_params"]["tls_maximum_protocol_version"],
        "TLSv1_3"
    );
    assert_eq!(
        common["validation_context_sds_secret_config"]["sds_config"]["path_config_source"]["path"],
        "/etc/reef/ca.json"
    );
    let http = &cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
    assert!(http["explicit_http_config"].is_object());
    let injector = &http["http_filters"][0]["typed_config"];
    // A request without its token must not leave.
    assert!(injector.get("allow_request_without_credential").is_none());
    assert_eq!(
        injector["credential"]["typed_config"]["credential"]["sds_config"]["path_config_source"]["path"],
        "/etc/reef/token.json"
    );
    assert_eq!(
        http["http_filters"][1]["name"],
        "envoy.filters.http.upstream_codec"
    );

    let [(token_name, token), (ca_name, ca)] = channel.files();
    assert_eq!((token_name, ca_name), ("token.json", "ca.json"));
    assert_eq!(
        token["resources"][0]["generic_secret"]["secret"]["filename"],
        "/var/run/secrets/tokens/istio-token"
    );
    let context = &ca["resources"][0]["validation_context"];
    assert_eq!(
        context["trusted_ca"]["filename"],
        "/var/run/secrets/istio/root-cert.pem"
    );
    assert_eq!(
        context["match_typed_subject_alt_names"][0]["matcher"]["exact"],
        "reef.reef-system.svc"
    );
}

#[test]
fn who_is_reached_by_an_address_needs_a_name_to_check() {
    let inline = Authority::Inline("-----BEGIN CERTIFICATE-----".to_owned());
    let address = "10.0.0.1:15012";
    assert_eq!(
        secure(address, None, inline.clone()).unwrap_err(),
        BootstrapError::ServerName("10.0.0.1".to_owned())
    );
    let channel = secure(address, Some("reef.reef-system.svc"), inline).unwrap();
    assert_eq!(channel.server_name, "reef.reef-system.svc");
    let [_, (_, ca)] = channel.files();
    let trusted = &ca["resources"][0]["validation_context"]["trusted_ca"];
    assert_eq!(trusted["inline_string"], "-----BEGIN CERTIFICATE-----");
}

#[test]
fn plaintext_has_neither_token_nor_certificate() {
    let bootstrap = build(&options()).unwrap().to_string();
    assert!(
        !bootstrap.contains("credential_injector") && !bootstrap.contains("UpstreamTlsContext")
    );
}

fn probed(mode: InterceptionMode) -> Value {
    let probe = |at: &str, port, path: &str, tls| AppProbe {
        at: at.to_owned(),
        port,
        path: path.to_owned(),
        tls,
        keeps_host: tls,
        timeout_seconds: 3,
    };
    let mut options = options();
    options.interception = mode;
    options.app_probes = vec![
        probe("/app-health/web/livez", 8080, "/live", false),
        probe("/app-health/web/readyz", 8080, "/", false),
        probe("/app-health/web/startupz", 8443, "/start", true),
    ];
    build(&options).unwrap()
}

#[test]
fn probes_of_the_application_have_a_listener_and_a_cluster_per_port() {
    let bootstrap = probed(InterceptionMode::Redirect);
    let listeners = bootstrap["static_resources"]["listeners"].as_array();
    let listener = &listeners.unwrap()[2];
    assert_eq!(listener["name"], "0.0.0.0_15020");
    let manager = &listener["filter_chains"][0]["filters"][0]["typed_config"];
    let routes = &manager["route_config"]["virtual_hosts"][0]["routes"];
    assert_eq!(routes.as_array().unwrap().len(), 3);
    assert_eq!(routes[0]["match"]["path"], "/app-health/web/livez");
    assert_eq!(
        routes[0]["route"],
        json!({
            "cluster": "app-probe-http-8080",
            "prefix_rewrite": "/live",
            "timeout": "3s",
            "host_rewrite_literal": "10.244.1.10:8080",
        })
    );
    assert_eq!(routes[2]["route"].get("host_rewrite_literal"), None);
    let plain = cluster(&bootstrap, "app-probe-http-8080").unwrap();
    assert_eq!(plain.get("transport_socket"), None);
    // The source by which the rules let it through to the application.
    assert_eq!(
        plain["upstream_bind_config"]["source_address"]["address"],
        "127.0.0.6"
    );
    let tls = cluster(&bootstrap, "app-probe-https-8443").unwrap();
    assert_eq!(
        tls["transport_socket"]["name"],
        "envoy.transport_sockets.tls"
    );
    assert!(cluster(&build(&options()).unwrap(), "app-probe-http-8080").is_none());
}

#[test]
fn with_tproxy_the_application_is_probed_on_loopback() {
    let bootstrap = probed(InterceptionMode::Tproxy);
    let cluster = cluster(&bootstrap, "app-probe-http-8080").unwrap();
    let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    assert_eq!(
        endpoint["address"]["socket_address"],
        json!({ "address": "127.0.0.1", "port_value": 8080 })
    );
    assert_eq!(cluster.get("upstream_bind_config"), None);
}
