//! The worked examples of Istio's sidecar configuration, asserted by hand: a re-recorded golden
//! file can't hide a change of these.

use xds_api::Any;
use xds_api::envoy::config::cluster::v3::{Cluster, cluster::DiscoveryType};
use xds_api::envoy::config::listener::v3::{FilterChain, Listener, filter};
use xds_api::envoy::config::route::v3::{RouteConfiguration, route, route_action};
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use xds_api::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;

use crate::world::{Output, named};

/// Where a chain leads: `tcp:<cluster>`, `rds:<name>` or `inline:<cluster>`.
fn leads(chain: &FilterChain) -> String {
    let filter = chain.filters.last().expect("a chain has a filter");
    let Some(filter::ConfigType::TypedConfig(config)) = &filter.config_type else {
        panic!("typed config expected")
    };
    if let Some(proxy) = config.unpack::<tcp::TcpProxy>() {
        let Some(tcp::tcp_proxy::ClusterSpecifier::Cluster(cluster)) =
            proxy.expect("valid").cluster_specifier
        else {
            panic!("one cluster expected")
        };
        return format!("tcp:{cluster}");
    }
    let manager: hcm::HttpConnectionManager =
        config.unpack().expect("an HTTP manager").expect("valid");
    match manager.route_specifier.expect("routes") {
        hcm::http_connection_manager::RouteSpecifier::Rds(rds) => {
            format!("rds:{}", rds.route_config_name)
        }
        hcm::http_connection_manager::RouteSpecifier::RouteConfig(config) => {
            format!("inline:{}", config.name)
        }
        other => panic!("unexpected {other:?}"),
    }
}

/// Chains as `name match -> target`, the default one last as `default …`.
fn chains(listener: &Listener) -> Vec<String> {
    let one = |chain: &FilterChain| {
        let matches = chain.filter_chain_match.clone().unwrap_or_default();
        let mut parts = Vec::new();
        parts.extend(matches.destination_port.map(|port| format!("port {port}")));
        parts.extend(matches.prefix_ranges.iter().map(|range| {
            format!(
                "{}/{}",
                range.address_prefix,
                range.prefix_len.unwrap_or_default()
            )
        }));
        parts.extend(
            matches
                .server_names
                .iter()
                .map(|name| format!("sni {name}")),
        );
        parts.push(matches.transport_protocol.clone());
        parts.push(matches.application_protocols.join(","));
        parts.retain(|part| !part.is_empty());
        format!("{}[{}] -> {}", chain.name, parts.join(" "), leads(chain))
    };
    let default = listener
        .default_filter_chain
        .iter()
        .map(|chain| format!("default {}", one(chain)));
    listener
        .filter_chains
        .iter()
        .map(one)
        .chain(default)
        .collect()
}

fn inspectors(listener: &Listener) -> Vec<&str> {
    listener
        .listener_filters
        .iter()
        .map(|filter| filter.name.rsplit('.').next().unwrap_or_default())
        .collect()
}

fn names<'a, T>(list: &'a [T], name: impl Fn(&'a T) -> &'a String) -> Vec<&'a str> {
    list.iter().map(|item| name(item).as_str()).collect()
}

impl Output {
    fn listener(&self, name: &str) -> &Listener {
        self.listeners
            .iter()
            .find(|listener| listener.name == name)
            .expect("the listener is sent")
    }

    fn cluster(&self, name: &str) -> &Cluster {
        self.clusters
            .iter()
            .find(|cluster| cluster.name == name)
            .expect("the cluster is sent")
    }

    fn route(&self, name: &str) -> &RouteConfiguration {
        self.routes
            .iter()
            .find(|route| route.name == name)
            .expect("the route is sent")
    }

    fn cluster_names(&self) -> Vec<&str> {
        names(&self.clusters, |cluster| &cluster.name)
    }

    fn listener_names(&self) -> Vec<&str> {
        names(&self.listeners, |listener| &listener.name)
    }

    /// Virtual hosts of a route configuration as (name, domains).
    fn hosts(&self, name: &str) -> Vec<(&str, Vec<&str>)> {
        let hosts = &self.route(name).virtual_hosts;
        hosts
            .iter()
            .map(|host| (&*host.name, names(&host.domains, |domain| domain)))
            .collect()
    }
}

fn kind(cluster: &Cluster) -> DiscoveryType {
    match cluster.cluster_discovery_type {
        Some(xds_api::envoy::config::cluster::v3::cluster::ClusterDiscoveryType::Type(kind)) => {
            DiscoveryType::try_from(kind).expect("known type")
        }
        _ => panic!("no discovery type"),
    }
}

const WILDCARD_HTTP: &str = "[raw_buffer http/1.1,h2c] -> rds:80";
const TO_PASSTHROUGH: &str = "default PassthroughFilterChain[] -> tcp:PassthroughCluster";

#[test]
fn example_11_1_http_service_that_selects_the_proxy() {
    let out = named("http_service_shares_the_wildcard_listener");
    let web = "outbound|80||web.default.svc.cluster.local";
    assert_eq!(
        out.cluster_names(),
        [
            web,
            "BlackHoleCluster",
            "PassthroughCluster",
            "inbound|8080||",
            "InboundPassthroughCluster"
        ]
    );
    assert_eq!(kind(out.cluster(web)), DiscoveryType::Eds);
    assert!(out.cluster(web).typed_extension_protocol_options.is_empty());
    let inbound = out.cluster("inbound|8080||");
    assert_eq!(kind(inbound), DiscoveryType::OriginalDst);
    let source = inbound
        .upstream_bind_config
        .clone()
        .and_then(|bind| bind.source_address);
    assert_eq!(source.expect("bound").address, "127.0.0.6");
    assert_eq!(
        out.listener_names(),
        ["0.0.0.0_80", "virtualOutbound", "virtualInbound"]
    );
    assert_eq!(
        chains(out.listener("0.0.0.0_80")),
        [WILDCARD_HTTP, TO_PASSTHROUGH]
    );
    assert_eq!(inspectors(out.listener("0.0.0.0_80")), ["http_inspector"]);
    assert_eq!(
        chains(out.listener("virtualInbound")),
        [
            "virtualInbound-blackhole[port 15006] -> tcp:BlackHoleCluster",
            "virtualInbound-catchall-http[raw_buffer http/1.1,h2c] -> inline:InboundPassthroughCluster",
            "virtualInbound[raw_buffer] -> tcp:InboundPassthroughCluster",
            "0.0.0.0_8080[port 8080 raw_buffer] -> inline:inbound|8080||",
        ]
    );
    let web_host = "web.default.svc.cluster.local:80";
    assert_eq!(
        out.hosts("80"),
        [
            (
                web_host,
                vec![
                    "web.default.svc.cluster.local",
                    "web.default.svc.cluster.local.",
                    "web",
                    "web.default.svc",
                    "web.default",
                    "10.96.0.10",
                ]
            ),
            ("allow_any", vec!["*"]),
        ]
    );
    let Some(route::Action::Route(action)) = &out.route("80").virtual_hosts[0].routes[0].action
    else {
        panic!("a route to a cluster expected")
    };
    assert_eq!(
        action.cluster_specifier,
        Some(route_action::ClusterSpecifier::Cluster(web.to_owned()))
    );
    let retry = action.retry_policy.as_ref().expect("retries by default");
    assert_eq!(
        retry.retry_on,
        "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
    );
    assert!(retry.retriable_status_codes.is_empty());
    assert_eq!(action.timeout.map(|timeout| timeout.seconds), Some(0));
}

#[test]
fn example_11_2_undeclared_protocol_and_headless() {
    let out = named("undeclared_protocol_gets_its_own_route_and_headless_one_listener_per_pod");
    let api = "outbound|9000||api.other.svc.cluster.local";
    let db = "outbound|5432||db.default.svc.cluster.local";
    assert_eq!(
        out.cluster_names(),
        [
            api,
            db,
            "BlackHoleCluster",
            "PassthroughCluster",
            "InboundPassthroughCluster"
        ]
    );
    assert_eq!(kind(out.cluster(db)), DiscoveryType::OriginalDst);
    assert_eq!(out.cluster(api).typed_extension_protocol_options.len(), 1);
    assert_eq!(
        names(&out.endpoints, |endpoints| &endpoints.cluster_name),
        [api]
    );
    assert_eq!(
        out.listener_names(),
        [
            "10.96.0.20_9000",
            "10.244.2.5_5432",
            "10.244.2.6_5432",
            "virtualOutbound",
            "virtualInbound"
        ]
    );
    assert_eq!(
        chains(out.listener("10.96.0.20_9000")),
        [
            "[raw_buffer http/1.1,h2c] -> rds:api.other.svc.cluster.local:9000".to_owned(),
            format!("default [] -> tcp:{api}"),
        ]
    );
    assert_eq!(
        inspectors(out.listener("10.96.0.20_9000")),
        ["http_inspector"]
    );
    for pod in ["10.244.2.5_5432", "10.244.2.6_5432"] {
        assert_eq!(chains(out.listener(pod)), [format!("[] -> tcp:{db}")]);
        assert!(inspectors(out.listener(pod)).is_empty());
    }
    assert_eq!(
        names(&out.routes, |route| &route.name),
        ["api.other.svc.cluster.local:9000"]
    );
    assert_eq!(
        out.hosts("api.other.svc.cluster.local:9000"),
        [("api.other.svc.cluster.local:9000", vec!["*"])]
    );
}

#[test]
fn example_11_3_service_entries() {
    let out = named("service_entries_by_resolution");
    assert_eq!(
        kind(out.cluster("outbound|443||api.example.com")),
        DiscoveryType::StrictDns
    );
    assert_eq!(
        kind(out.cluster("outbound|5432||db.corp.example")),
        DiscoveryType::OriginalDst
    );
    assert_eq!(
        kind(out.cluster("outbound|80||pay.example.com")),
        DiscoveryType::Eds
    );
    assert!(
        out.clusters
            .iter()
            .all(|cluster| cluster.transport_socket.is_none())
    );
    assert_eq!(
        out.listener_names(),
        [
            "0.0.0.0_80",
            "0.0.0.0_443",
            "0.0.0.0_5432",
            "virtualOutbound",
            "virtualInbound"
        ]
    );
    assert_eq!(
        chains(out.listener("0.0.0.0_443")),
        [
            "[sni api.example.com] -> tcp:outbound|443||api.example.com",
            TO_PASSTHROUGH
        ]
    );
    assert_eq!(inspectors(out.listener("0.0.0.0_443")), ["tls_inspector"]);
    assert_eq!(
        chains(out.listener("0.0.0.0_5432")),
        [
            "[192.0.2.0/24] -> tcp:outbound|5432||db.corp.example",
            TO_PASSTHROUGH
        ]
    );
    assert!(inspectors(out.listener("0.0.0.0_5432")).is_empty());
    assert_eq!(
        out.hosts("80"),
        [
            (
                "pay.example.com:80",
                vec!["pay.example.com", "pay.example.com.", "198.51.100.7"]
            ),
            ("allow_any", vec!["*"]),
        ]
    );
    let endpoints = format!("{:?}", out.endpoints);
    assert!(
        endpoints.contains("203.0.113.9") && endpoints.contains("PortValue(8080)"),
        "{endpoints}"
    );
}

#[test]
fn example_11_5_sidecar_with_restricted_egress() {
    let out = named("sidecar_limits_egress_and_declares_ingress");
    assert_eq!(
        out.cluster_names(),
        [
            "outbound|8000||catalog.shop.svc.cluster.local",
            "outbound|8000||orders.shop.svc.cluster.local",
            "outbound|80||client.default.svc.cluster.local",
            "outbound|6379||redis.default.svc.cluster.local",
            "BlackHoleCluster",
            "PassthroughCluster",
            "inbound|9000||",
            "InboundPassthroughCluster",
        ]
    );
    let inbound = out.cluster("inbound|9000||");
    assert_eq!(kind(inbound), DiscoveryType::Static);
    assert!(inbound.upstream_bind_config.is_none());
    assert_eq!(
        out.listener_names(),
        [
            "0.0.0.0_80",
            "0.0.0.0_8000",
            "10.96.5.5_6379",
            "virtualOutbound",
            "virtualInbound"
        ]
    );
    let blocked = "default PassthroughFilterChain[] -> tcp:BlackHoleCluster";
    assert_eq!(chains(out.listener("0.0.0.0_80")), [WILDCARD_HTTP, blocked]);
    assert_eq!(
        chains(out.listener("virtualOutbound"))
            .last()
            .map(String::as_str),
        Some("virtualOutbound-catchall-tcp[] -> tcp:BlackHoleCluster")
    );
    assert_eq!(
        chains(out.listener("virtualInbound"))
            .last()
            .map(String::as_str),
        Some("10.244.1.10_9000[port 9000 raw_buffer] -> inline:inbound|9000||")
    );
    let shop = |name: &'static str| match name {
        "catalog" => vec![
            "catalog.shop.svc.cluster.local",
            "catalog.shop.svc.cluster.local.",
            "catalog.shop",
            "catalog.shop.svc",
            "10.96.5.1",
        ],
        _ => vec![
            "orders.shop.svc.cluster.local",
            "orders.shop.svc.cluster.local.",
            "orders.shop",
            "orders.shop.svc",
            "10.96.5.2",
        ],
    };
    assert_eq!(
        out.hosts("8000"),
        [
            ("catalog.shop.svc.cluster.local:8000", shop("catalog")),
            ("orders.shop.svc.cluster.local:8000", shop("orders")),
            ("block_all", vec!["*"]),
        ]
    );
    let hosts = names(&out.route("80").virtual_hosts, |host| &host.name);
    assert_eq!(hosts, ["client.default.svc.cluster.local:80", "block_all"]);
}

#[test]
fn http_joins_an_older_tcp_listener_and_the_tcp_chain_stays_the_default() {
    let out = named("http_joins_a_tcp_listener_by_detection");
    assert_eq!(
        chains(out.listener("0.0.0.0_8088")),
        [
            "[raw_buffer http/1.1,h2c] -> rds:8088",
            "default [] -> tcp:outbound|8088||plain.example.com",
        ]
    );
}

#[test]
fn the_older_tcp_service_gets_the_traffic_and_the_younger_is_a_problem() {
    let out = named("older_tcp_service_wins_a_shared_address");
    assert_eq!(
        chains(out.listener("0.0.0.0_9999")),
        ["[] -> tcp:outbound|9999||first.example.com"]
    );
    let text: String = out
        .problems
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect();
    assert!(
        text.contains("second") && text.contains("0.0.0.0_9999"),
        "{text}"
    );
}

#[test]
fn only_proxies_with_an_agent_are_sent_something_that_waits_for_a_secret() {
    let mut asking = 0;
    for case in crate::world::cases() {
        let input = crate::world::class_of_case(&case);
        let agent = input.proxy.workload_cert == reef_mesh::WorkloadCert::SdsGrpc;
        let out = crate::world::output(&input);
        let all = out
            .listeners
            .iter()
            .map(Any::pack)
            .chain(out.clusters.iter().map(Any::pack));
        for any in all {
            let text = String::from_utf8_lossy(&any.value).into_owned();
            let asks = text.contains("ROOTCA") || text.contains("sds-grpc");
            assert!(agent || !asks, "{}", case.display());
            asking += usize::from(asks);
        }
    }
    assert!(asking > 10, "cases with an agent ask it");
}

#[test]
fn no_resource_names_an_extension_of_the_istio_build() {
    for case in crate::world::cases() {
        let out = crate::world::of_case(&case);
        let all = out
            .listeners
            .iter()
            .map(Any::pack)
            .chain(out.clusters.iter().map(Any::pack));
        for any in all {
            let text = String::from_utf8_lossy(&any.value).into_owned();
            for banned in ["istio.alpn", "istio.metadata_exchange", "istio.stats"] {
                assert!(!text.contains(banned), "{}: {banned}", case.display());
            }
        }
    }
}
