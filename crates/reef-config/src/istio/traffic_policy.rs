//! `TrafficPolicy`: load balancing, connection pools, outlier detection, client TLS.

use std::collections::BTreeMap;

use crate::scalar::ApiDuration;

use super::PortNumber;

api_structs! {
    /// `TrafficPolicy`.
    pub struct TrafficPolicy {
        /// Load balancing.
        pub load_balancer: Option<LoadBalancerSettings>,
        /// Connection limits.
        pub connection_pool: Option<ConnectionPoolSettings>,
        /// Ejection of failing hosts.
        pub outlier_detection: Option<OutlierDetection>,
        /// TLS towards the host.
        pub tls: Option<ClientTlsSettings>,
        /// Policies per port; each replaces the fields above, not merged.
        pub port_level_settings: Vec<PortTrafficPolicy>,
        /// Tunnel over CONNECT or POST.
        pub tunnel: Option<TunnelSettings>,
        /// PROXY protocol towards the host.
        pub proxy_protocol: Option<ProxyProtocol>,
        /// Limit of concurrent retries.
        pub retry_budget: Option<RetryBudget>,
    }

    /// `TrafficPolicy.PortTrafficPolicy`.
    pub struct PortTrafficPolicy {
        /// Which port.
        pub port: Option<PortNumber>,
        /// Load balancing.
        pub load_balancer: Option<LoadBalancerSettings>,
        /// Connection limits.
        pub connection_pool: Option<ConnectionPoolSettings>,
        /// Ejection of failing hosts.
        pub outlier_detection: Option<OutlierDetection>,
        /// TLS towards the host.
        pub tls: Option<ClientTlsSettings>,
    }

    /// `TrafficPolicy.TunnelSettings`.
    pub struct TunnelSettings {
        /// `CONNECT` (default) or `POST`.
        pub protocol: Option<String>,
        /// Host the tunnel leads to.
        pub target_host: String,
        /// Port the tunnel leads to.
        pub target_port: u32,
    }

    /// `TrafficPolicy.ProxyProtocol`.
    pub struct ProxyProtocol {
        /// Version.
        pub version: ProxyProtocolVersion,
    }

    /// `TrafficPolicy.RetryBudget`.
    pub struct RetryBudget {
        /// Percent of active requests, 20 if absent.
        pub percent: Option<f64>,
        /// Retries that are always allowed, 3 if absent.
        pub min_retry_concurrency: Option<u32>,
        /// Time over which active requests are counted; none if absent.
        pub interval: Option<ApiDuration>,
    }

    /// `LoadBalancerSettings`.
    pub struct LoadBalancerSettings {
        /// Algorithm.
        pub simple: Option<SimpleLb>,
        /// Hashing instead.
        pub consistent_hash: Option<ConsistentHash>,
        /// Locality preference.
        pub locality_lb_setting: Option<LocalityLoadBalancerSetting>,
        /// Preference of the own zone instead.
        pub zone_aware_lb_setting: Option<ZoneAwareLoadBalancerSetting>,
        /// Deprecated form of `warmup`.
        pub warmup_duration_secs: Option<ApiDuration>,
        /// Slow start of new hosts.
        pub warmup: Option<WarmupConfiguration>,
    }

    /// `WarmupConfiguration`.
    pub struct WarmupConfiguration {
        /// How long.
        pub duration: Option<ApiDuration>,
        /// Share at the beginning, 10 if absent.
        pub minimum_percent: Option<f64>,
        /// Steepness, 1 if absent.
        pub aggression: Option<f64>,
    }

    /// `LoadBalancerSettings.ConsistentHashLB`.
    pub struct ConsistentHash {
        /// Hash of this header.
        pub http_header_name: Option<String>,
        /// Hash of this cookie.
        pub http_cookie: Option<HttpCookie>,
        /// Hash of the client's address.
        pub use_source_ip: Option<bool>,
        /// Hash of this query parameter.
        pub http_query_parameter_name: Option<String>,
        /// Ring hash.
        pub ring_hash: Option<RingHash>,
        /// Maglev.
        pub maglev: Option<MagLev>,
        /// Deprecated form of `ringHash`.
        pub minimum_ring_size: Option<u64>,
    }

    /// `HTTPCookie`.
    pub struct HttpCookie {
        /// Name.
        pub name: String,
        /// Path.
        pub path: Option<String>,
        /// Life time; 0 makes a session cookie.
        pub ttl: Option<ApiDuration>,
        /// Further attributes.
        pub attributes: Vec<CookieAttribute>,
    }

    /// `HTTPCookie.Attribute`.
    pub struct CookieAttribute {
        /// Name.
        pub name: String,
        /// Value.
        pub value: String,
    }

    /// `RingHash`.
    pub struct RingHash {
        /// Smallest number of virtual nodes, 1024 if absent.
        pub minimum_ring_size: Option<u64>,
    }

    /// `MagLev`.
    pub struct MagLev {
        /// Table size, 65537 if absent.
        pub table_size: Option<u64>,
    }

    /// `LocalityLoadBalancerSetting`.
    pub struct LocalityLoadBalancerSetting {
        /// Explicit shares.
        pub distribute: Vec<Distribute>,
        /// Regions to fail over to.
        pub failover: Vec<Failover>,
        /// Labels that order endpoints by closeness.
        pub failover_priority: Vec<String>,
        /// Overrides the mesh setting.
        pub enabled: Option<bool>,
    }

    /// `ZoneAwareLoadBalancerSetting`: the proxy balances zones of its region by itself.
    pub struct ZoneAwareLoadBalancerSetting {
        /// Turns it on.
        pub enabled: Option<bool>,
        /// Regions to fail over to.
        pub failover: Vec<Failover>,
        /// Labels that order endpoints of other regions by closeness.
        pub failover_priority: Vec<String>,
        /// Hosts from which on zones count, 6 if absent.
        pub min_cluster_size: Option<u32>,
    }

    /// `LocalityLoadBalancerSetting.Distribute`.
    pub struct Distribute {
        /// Locality of the client, `region/zone/sub-zone`, `*` allowed.
        pub from: String,
        /// Percent by locality of the endpoints.
        pub to: BTreeMap<String, u32>,
    }

    /// `LocalityLoadBalancerSetting.Failover`.
    pub struct Failover {
        /// Region.
        pub from: String,
        /// Region used when all of `from` fails.
        pub to: String,
    }

    /// `ConnectionPoolSettings`.
    pub struct ConnectionPoolSettings {
        /// TCP and HTTP.
        pub tcp: Option<TcpConnectionPool>,
        /// HTTP only.
        pub http: Option<HttpConnectionPool>,
    }

    /// `ConnectionPoolSettings.TCPSettings`.
    pub struct TcpConnectionPool {
        /// Connections.
        pub max_connections: Option<i32>,
        /// Time to connect, 10 s if absent.
        pub connect_timeout: Option<ApiDuration>,
        /// Keep-alive.
        pub tcp_keepalive: Option<TcpKeepalive>,
        /// Longest life of a connection.
        pub max_connection_duration: Option<ApiDuration>,
        /// Longest silence of a connection.
        pub idle_timeout: Option<ApiDuration>,
    }

    /// `TcpKeepalive`.
    pub struct TcpKeepalive {
        /// Probes.
        pub probes: Option<u32>,
        /// Silence before the first probe.
        pub time: Option<ApiDuration>,
        /// Pause between probes.
        pub interval: Option<ApiDuration>,
    }

    /// `ConnectionPoolSettings.HTTPSettings`.
    pub struct HttpConnectionPool {
        /// Requests that wait for a connection.
        pub http1_max_pending_requests: Option<i32>,
        /// Active requests.
        pub http2_max_requests: Option<i32>,
        /// Requests per connection.
        pub max_requests_per_connection: Option<i32>,
        /// Concurrent retries.
        pub max_retries: Option<i32>,
        /// Longest silence of a connection, 1 h if absent.
        pub idle_timeout: Option<ApiDuration>,
        /// Whether HTTP/1.1 is upgraded.
        pub h2_upgrade_policy: Option<H2UpgradePolicy>,
        /// Whether the client's protocol is kept.
        pub use_client_protocol: Option<bool>,
        /// Streams per HTTP/2 connection.
        pub max_concurrent_streams: Option<i32>,
        /// Pings of HTTP/2 connections.
        pub http2_keep_alive: Option<Http2KeepAlive>,
    }

    /// `ConnectionPoolSettings.HTTPSettings.HTTP2KeepAlive`.
    pub struct Http2KeepAlive {
        /// Time between pings.
        pub interval: Option<ApiDuration>,
        /// How long an answer may take.
        pub timeout: Option<ApiDuration>,
    }

    /// `OutlierDetection`.
    pub struct OutlierDetection {
        /// Deprecated form of `consecutive5xxErrors`.
        pub consecutive_errors: Option<i32>,
        /// Whether errors of the connection count apart.
        pub split_external_local_origin_errors: Option<bool>,
        /// Errors of the connection before ejection.
        pub consecutive_local_origin_failures: Option<u32>,
        /// 502, 503, 504 before ejection; 0 turns it off.
        pub consecutive_gateway_errors: Option<u32>,
        /// 5xx before ejection; 0 turns it off.
        #[serde(rename = "consecutive5xxErrors")]
        pub consecutive_5xx_errors: Option<u32>,
        /// Time between analyses, 10 s if absent.
        pub interval: Option<ApiDuration>,
        /// Shortest ejection, 30 s if absent.
        pub base_ejection_time: Option<ApiDuration>,
        /// Largest share of ejected hosts in percent, 10 if absent.
        pub max_ejection_percent: Option<i32>,
        /// Share of healthy hosts below which ejection stops.
        pub min_health_percent: Option<i32>,
        /// Status codes that count as errors; those of 5xx if empty.
        pub outlier_detection_http_error_codes: Vec<u32>,
    }

    /// `ClientTLSSettings`.
    pub struct ClientTlsSettings {
        /// Mode.
        pub mode: ClientTlsMode,
        /// File of the client's certificate.
        pub client_certificate: Option<String>,
        /// File of the client's key.
        pub private_key: Option<String>,
        /// File of the authorities.
        pub ca_certificates: Option<String>,
        /// Secret with all of these.
        pub credential_name: Option<String>,
        /// Names the server's certificate must have.
        pub subject_alt_names: Vec<String>,
        /// Server name sent.
        pub sni: Option<String>,
        /// Whether the server's certificate is not checked.
        pub insecure_skip_verify: Option<bool>,
        /// File of revoked certificates.
        pub ca_crl: Option<String>,
    }
}

api_enum! {
    /// `LoadBalancerSettings.SimpleLB`.
    pub enum SimpleLb {
        /// Istio chooses: least request.
        Unspecified = "UNSPECIFIED",
        /// Deprecated spelling of `LeastRequest`.
        LeastConn = "LEAST_CONN",
        /// Random.
        Random = "RANDOM",
        /// The address the client asked for.
        Passthrough = "PASSTHROUGH",
        /// Round robin.
        RoundRobin = "ROUND_ROBIN",
        /// Fewest active requests of two.
        LeastRequest = "LEAST_REQUEST",
    } default Unspecified
}

api_enum! {
    /// `ConnectionPoolSettings.HTTPSettings.H2UpgradePolicy`.
    pub enum H2UpgradePolicy {
        /// As the mesh says.
        Default = "DEFAULT",
        /// Never.
        DoNotUpgrade = "DO_NOT_UPGRADE",
        /// Always.
        Upgrade = "UPGRADE",
    } default Default
}

api_enum! {
    /// `ClientTLSSettings.TLSmode`.
    pub enum ClientTlsMode {
        /// Plain text.
        Disable = "DISABLE",
        /// TLS.
        Simple = "SIMPLE",
        /// TLS with a client certificate given here.
        Mutual = "MUTUAL",
        /// TLS with the workload's certificate.
        IstioMutual = "ISTIO_MUTUAL",
    } default Disable
}

api_enum! {
    /// `TrafficPolicy.ProxyProtocol.VERSION`.
    pub enum ProxyProtocolVersion {
        /// Text form.
        V1 = "V1",
        /// Binary form.
        V2 = "V2",
    } default V1
}
