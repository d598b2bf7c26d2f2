//! `istio.mesh.v1alpha1.MeshConfig`: the fields rules read, with Istio's defaults.
//!
//! Defaults are those of Istio's `pkg/config/mesh/mesh.go`, as IC 3.4, 5 and 7 state them, else the
//! zero value of the API.
//!
//! [`APPLIED`] lists what Reef acts upon today. A field that is present and not in that list is named in a
//! [`Problem`](crate::Problem) when the configuration is parsed, so nothing is dropped in silence.

use serde::{Deserialize, Serialize};

use crate::istio::{
    ConnectionPoolSettings, H2UpgradePolicy, HttpRetry, LabelSelector, LocalityLoadBalancerSetting,
    OutboundTrafficPolicy, OutboundTrafficPolicyMode, OutlierDetection, TcpKeepalive,
    ZoneAwareLoadBalancerSetting,
};
use crate::names::Namespace;
use crate::proxy_config::MeshProxyConfig;
use crate::scalar::ApiDuration;

/// The fields of `MeshConfig` that Reef acts upon today, by their API names.
///
/// Whoever makes a generator read another field adds it here in the same commit.
pub const APPLIED: &[&str] = &[
    "rootNamespace",
    "outboundTrafficPolicy",
    "defaultServiceExportTo",
    "defaultVirtualServiceExportTo",
    "defaultDestinationRuleExportTo",
    "connectTimeout",
    "protocolDetectionTimeout",
    "proxyListenPort",
    "proxyInboundListenPort",
    "proxyHttpPort",
    "inboundTrafficPolicy",
    "tcpKeepalive",
    "dnsRefreshRate",
    "enableTracing",
    "accessLogFile",
    "accessLogFormat",
    "accessLogEncoding",
    "disableEnvoyListenerLog",
    "pathNormalization",
    "defaultHttpRetryPolicy",
    "defaultInboundHttpRetryPolicy",
    "trustDomain",
    "trustDomainAliases",
    "caCertificates",
    "enableAutoMtls",
    "meshMTLS",
    "discoverySelectors",
    "h2UpgradePolicy",
    "inboundClusterStatName",
    "outboundClusterStatName",
    "localityLbSetting",
    "zoneAwareLbSetting",
    "defaultTrafficPolicy",
    "tlsDefaults",
    "serviceSettings",
    "serviceEntryVisibility",
    "extensionProviders",
    "defaultProviders",
];

/// As [`APPLIED`], for the fields of `defaultConfig` and of everything that is merged over it. Those of Envoy's command
/// line and bootstrap are applied to pods that the webhook gives their proxy.
pub const APPLIED_TO_PROXIES: &[&str] = &[
    "concurrency",
    "drainDuration",
    "holdApplicationUntilProxyStarts",
    "proxyAdminPort",
    "terminationDrainDuration",
    "interceptionMode",
    "proxyHeaders",
    "tracing",
    "connectionSettings",
];

/// The mesh configuration.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MeshConfig {
    /// Namespace whose rules hold for the whole mesh; `istio-system`.
    pub root_namespace: Namespace,
    /// Trust domain of identities; `cluster.local`.
    pub trust_domain: String,
    /// Further trust domains that are accepted as this one.
    pub trust_domain_aliases: Vec<String>,
    /// Further authorities; of them only the trust domains are read.
    pub ca_certificates: Vec<CaCertificate>,
    /// What happens to unknown destinations; `ALLOW_ANY`.
    pub outbound_traffic_policy: OutboundTrafficPolicy,
    /// What happens to inbound traffic without a service; `PASSTHROUGH`.
    pub inbound_traffic_policy: InboundTrafficPolicy,
    /// Whether TLS is chosen by what the endpoint can do; yes.
    pub enable_auto_mtls: bool,
    /// Whether proxies trace; yes.
    pub enable_tracing: bool,
    /// Port of captured outbound traffic; 15001.
    pub proxy_listen_port: u16,
    /// Port of captured inbound traffic; 15006.
    pub proxy_inbound_listen_port: u16,
    /// Port of an explicit HTTP proxy; 0 means none.
    pub proxy_http_port: u16,
    /// Visibility of services that do not say; `*`.
    pub default_service_export_to: Vec<String>,
    /// Visibility of VirtualServices that do not say; `*`.
    pub default_virtual_service_export_to: Vec<String>,
    /// Visibility of DestinationRules that do not say; `*`.
    pub default_destination_rule_export_to: Vec<String>,
    /// Namespaces that are read; empty means all.
    pub discovery_selectors: Vec<LabelSelector>,
    /// File of the access log; empty means none.
    pub access_log_file: String,
    /// Format of the access log; empty means Istio's.
    pub access_log_format: String,
    /// Encoding of the access log; `TEXT`.
    pub access_log_encoding: AccessLogEncoding,
    /// Whether logs go to the access log service of the proxy configuration; no.
    pub enable_envoy_access_log_service: bool,
    /// Whether listeners log connections that match no chain; no.
    pub disable_envoy_listener_log: bool,
    /// Time to connect; 10 s.
    pub connect_timeout: ApiDuration,
    /// Pattern of the names of inbound clusters in statistics; empty means their own.
    pub inbound_cluster_stat_name: String,
    /// Pattern of the names of outbound clusters in statistics; empty means their own.
    pub outbound_cluster_stat_name: String,
    /// Keep-alive of outbound connections; none.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// How long a listener waits for the first bytes to know the protocol; 0 means for ever.
    pub protocol_detection_timeout: ApiDuration,
    /// How often DNS is asked; 60 s.
    pub dns_refresh_rate: ApiDuration,
    /// Locality preference; on, by locality of the proxy.
    pub locality_lb_setting: LocalityLoadBalancerSetting,
    /// Preference of the own zone instead; off.
    pub zone_aware_lb_setting: Option<ZoneAwareLoadBalancerSetting>,
    /// Limits of services whose rules do not say; none.
    pub default_traffic_policy: Option<DefaultTrafficPolicy>,
    /// Whether HTTP/1.1 is upgraded; `DO_NOT_UPGRADE`.
    pub h2_upgrade_policy: H2UpgradePolicy,
    /// Settings by host.
    pub service_settings: Vec<ServiceSettings>,
    /// How far service entries may be seen, whatever they export; by default as far as they say.
    pub service_entry_visibility: Option<ServiceEntryVisibility>,
    /// Settings of proxies that bring none.
    pub default_config: MeshProxyConfig,
    /// Retries of routes that do not say; two, as Istio.
    pub default_http_retry_policy: Option<HttpRetry>,
    /// Retries of requests that arrived at a workload; two, if the connection was reset before, as
    /// Istio.
    pub default_inbound_http_retry_policy: Option<HttpRetry>,
    /// How paths are normalised; `BASE`.
    pub path_normalization: PathNormalization,
    /// External services rules may refer to; only those for access logs have an effect, see
    /// [`log_provider`](crate::log_provider).
    pub extension_providers: Vec<serde_json::Value>,
    /// Providers of rules that name none.
    pub default_providers: DefaultProviders,
    /// TLS of the mesh.
    #[serde(rename = "meshMTLS")]
    pub mesh_mtls: Option<TlsConfig>,
    /// TLS of everything else.
    pub tls_defaults: Option<TlsConfig>,
    /// Class of Ingress objects that are read; `istio`.
    pub ingress_class: String,
    /// Deprecated selector of ingress gateways.
    pub ingress_selector: String,
    /// Deprecated name of the ingress service.
    pub ingress_service: String,
    /// When ingress is read; off for files.
    pub ingress_controller_mode: String,
    /// Whether Prometheus metrics are merged by the agent; yes.
    pub enable_prometheus_merge: bool,
    /// Deprecated: whether server certificates are checked against the system's authorities.
    pub verify_certificate_at_client: Option<bool>,
}

impl Default for MeshConfig {
    fn default() -> Self {
        let everyone = || vec!["*".to_owned()];
        Self {
            root_namespace: Namespace::new("istio-system"),
            trust_domain: "cluster.local".to_owned(),
            trust_domain_aliases: Vec::new(),
            ca_certificates: Vec::new(),
            outbound_traffic_policy: OutboundTrafficPolicy {
                mode: OutboundTrafficPolicyMode::AllowAny,
                egress_proxy: None,
            },
            inbound_traffic_policy: InboundTrafficPolicy::default(),
            enable_auto_mtls: true,
            enable_tracing: true,
            proxy_listen_port: 15001,
            proxy_inbound_listen_port: 15006,
            proxy_http_port: 0,
            default_service_export_to: everyone(),
            default_virtual_service_export_to: everyone(),
            default_destination_rule_export_to: everyone(),
            discovery_selectors: Vec::new(),
            access_log_file: String::new(),
            access_log_format: String::new(),
            access_log_encoding: AccessLogEncoding::Text,
            enable_envoy_access_log_service: false,
            disable_envoy_listener_log: false,
            connect_timeout: ApiDuration::from_secs(10),
            inbound_cluster_stat_name: String::new(),
            outbound_cluster_stat_name: String::new(),
            tcp_keepalive: None,
            protocol_detection_timeout: ApiDuration::default(),
            dns_refresh_rate: ApiDuration::from_secs(60),
            locality_lb_setting: LocalityLoadBalancerSetting {
                enabled: Some(true),
                ..LocalityLoadBalancerSetting::default()
            },
            zone_aware_lb_setting: None,
            default_traffic_policy: None,
            h2_upgrade_policy: H2UpgradePolicy::DoNotUpgrade,
            service_settings: Vec::new(),
            service_entry_visibility: None,
            default_config: MeshProxyConfig::default(),
            default_http_retry_policy: None,
            default_inbound_http_retry_policy: None,
            path_normalization: PathNormalization::default(),
            extension_providers: Vec::new(),
            default_providers: DefaultProviders::default(),
            mesh_mtls: None,
            tls_defaults: None,
            ingress_class: "istio".to_owned(),
            ingress_selector: String::new(),
            ingress_service: String::new(),
            ingress_controller_mode: "STRICT".to_owned(),
            enable_prometheus_merge: true,
            verify_certificate_at_client: None,
        }
    }
}

api_structs! {
    /// `MeshConfig.CertificateData`; what is not here is told as not read.
    pub struct CaCertificate {
        /// Trust domains it vouches for.
        pub trust_domains: Vec<String>,
    }

    /// `MeshConfig.DefaultTrafficPolicy`: each part stands where a rule is silent.
    pub struct DefaultTrafficPolicy {
        /// Connection limits.
        pub connection_pool: Option<ConnectionPoolSettings>,
        /// Ejection of failing hosts.
        pub outlier_detection: Option<OutlierDetection>,
    }

    /// `MeshConfig.InboundTrafficPolicy`.
    pub struct InboundTrafficPolicy {
        /// Mode.
        pub mode: InboundTrafficPolicyMode,
    }

    /// `MeshConfig.ServiceSettings`.
    pub struct ServiceSettings {
        /// The settings.
        pub settings: ServiceSettingsValues,
        /// Hosts, wildcards allowed.
        pub hosts: Vec<String>,
    }

    /// `MeshConfig.ServiceSettings.Settings`.
    pub struct ServiceSettingsValues {
        /// Whether the service is only used inside its own cluster.
        pub cluster_local: bool,
    }

    /// `MeshConfig.ServiceEntryVisibility`.
    pub struct ServiceEntryVisibility {
        /// Of entries no policy is about.
        pub default_visibility: EntryVisibility,
        /// By namespace of the entry; the first that matches decides.
        pub policies: Vec<EntryVisibilityPolicy>,
        /// Whether any of this holds for proxies beside workloads.
        pub apply_to_sidecars: bool,
    }

    /// `MeshConfig.ServiceEntryVisibility.Policy`.
    pub struct EntryVisibilityPolicy {
        /// The visibility.
        pub visibility: EntryVisibility,
        /// All have to match; none matches every entry.
        pub matching_rules: Vec<EntryVisibilityRule>,
    }

    /// `MeshConfig.ServiceEntryVisibility.MatchRule`.
    pub struct EntryVisibilityRule {
        /// Labels of the entry's namespace; a rule without matches nothing.
        pub namespace_selector: Option<LabelSelector>,
    }

    /// `MeshConfig.ProxyPathNormalization`.
    pub struct PathNormalization {
        /// Kind.
        pub normalization: NormalizationType,
    }

    /// `MeshConfig.DefaultProviders`.
    pub struct DefaultProviders {
        /// Of tracing.
        pub tracing: Vec<String>,
        /// Of metrics.
        pub metrics: Vec<String>,
        /// Of access logs.
        pub access_logging: Vec<String>,
    }

    /// `MeshConfig.TLSConfig`.
    pub struct TlsConfig {
        /// Oldest protocol: `TLSV1_2` or `TLSV1_3`.
        pub min_protocol_version: Option<String>,
        /// Curves.
        pub ecdh_curves: Vec<String>,
        /// Allowed ciphers.
        pub cipher_suites: Vec<String>,
    }
}

api_enum! {
    /// `MeshConfig.InboundTrafficPolicy.Mode`.
    pub enum InboundTrafficPolicyMode {
        /// To the application, from the proxy's own address.
        Passthrough = "PASSTHROUGH",
        /// To the application on localhost.
        Localhost = "LOCALHOST",
    } default Passthrough
}

api_enum! {
    /// `MeshConfig.ServiceEntryVisibility.Visibility`.
    pub enum EntryVisibility {
        /// As `PUBLIC`.
        Unspecified = "UNSPECIFIED",
        /// As far as the entry itself says.
        Public = "PUBLIC",
        /// In the namespace of the entry.
        Namespace = "NAMESPACE",
        /// Nowhere.
        None = "NONE",
    } default Unspecified
}

api_enum! {
    /// `MeshConfig.AccessLogEncoding`.
    pub enum AccessLogEncoding {
        /// Lines of text.
        Text = "TEXT",
        /// Lines of JSON.
        Json = "JSON",
    } default Text
}

api_enum! {
    /// `MeshConfig.ProxyPathNormalization.NormalizationType`.
    pub enum NormalizationType {
        /// `BASE`.
        Default = "DEFAULT",
        /// Not at all.
        None = "NONE",
        /// RFC 3986.
        Base = "BASE",
        /// And slashes merged.
        MergeSlashes = "MERGE_SLASHES",
        /// And escaped slashes decoded.
        DecodeAndMergeSlashes = "DECODE_AND_MERGE_SLASHES",
    } default Default
}
