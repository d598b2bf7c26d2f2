//! Mesh-wide settings as one shared value, resolved: defaults filled in, names parsed, lists sorted.
//!
//! Generators read the typed fields; they can be parts of keys. [`MeshSettings::config`] is the
//! configuration as it was given, for people.

mod connections;
mod discovery;
mod logs;
mod proxy;
mod visibility;

use std::sync::Arc;
use std::time::Duration;

use reef_config::MeshConfig;
use reef_config::access_log::{LogValue, check_text};
use reef_config::istio::{H2UpgradePolicy, LocalityLoadBalancerSetting};
use reef_config::mesh_config::{AccessLogEncoding, InboundTrafficPolicyMode, NormalizationType};
use reef_config::names::{ClusterId, Hostname, Namespace};

pub use connections::HttpConnections;
pub use discovery::Discovery;
pub use logs::LogProviders;
pub use proxy::{CertDetails, HeaderPolicy, ProxySettings, ServerName, TagSource};
pub use visibility::VisibilityLimit;

/// What happens to workloads under a security rule that can't be enforced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unenforced {
    /// All traffic the rule is about is denied, so that nothing is open that somebody closed.
    #[default]
    Deny,
    /// It is let through, and told.
    Allow,
}

impl Unenforced {
    /// Code of the error-level problem that names a rule which is not enforced, whichever way its traffic goes.
    ///
    /// `reef check` counts it as "not applied" (exit code 2): the input is right, Reef lacks something.
    pub const PROBLEM: &'static str = "unenforced-security";
}

/// Settings that hold for the whole mesh; replaced as a whole, only when they differ.
#[derive(Debug, Clone, PartialEq)]
pub struct MeshSettings {
    /// The mesh configuration as given.
    pub config: Arc<MeshConfig>,
    /// Namespace whose rules apply to all others.
    pub root_namespace: Namespace,
    /// Cluster domain, `cluster.local`.
    pub domain: Arc<str>,
    /// Trust domain of SPIFFE identities.
    pub trust_domain: Arc<str>,
    /// What becomes of security rules that can't be enforced; a choice of the program, not of the
    /// mesh configuration.
    pub unenforced: Unenforced,
    /// The cluster of Reef's own objects, and of proxies that name none; a choice of the program too.
    pub cluster: ClusterId,
    /// The trust domain and its aliases, sorted: in each of them are the mesh's own identities.
    pub trust_domains: Arc<[Arc<str>]>,
    /// These and the trust domains of further authorities, sorted: whose clients are accepted.
    pub client_domains: Arc<[Arc<str>]>,
    /// Namespaces that are read.
    pub discovery: Discovery,
    /// How far service entries may be seen.
    pub entry_visibility: VisibilityLimit,
    /// What generators read.
    pub proxies: MeshDefaults,
    /// Settings of proxies that bring none, before anything is laid over them.
    pub proxy: Arc<ProxySettings>,
    /// Hosts whose endpoints in other clusters are not used.
    pub cluster_local: ClusterLocal,
    /// Providers of access logs that rules name.
    pub logs: LogProviders,
}

/// What generators read of the mesh configuration, the same for all proxies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeshDefaults {
    /// Inbound traffic is sent to the application on localhost (`LOCALHOST`) rather than to the
    /// address it came for (`PASSTHROUGH`, the default).
    pub inbound_to_localhost: bool,
    /// TLS is chosen by what an endpoint can do; yes.
    pub auto_mtls: bool,
    /// Proxies trace; yes.
    pub tracing: bool,
    /// Port of captured outbound traffic; 15001. `None` (0 in the API): no listeners at all.
    pub outbound_port: Option<u16>,
    /// Port of captured inbound traffic; 15006.
    pub inbound_port: u16,
    /// Port of the explicit HTTP proxy; none.
    pub http_proxy_port: Option<u16>,
    /// The access log file; none.
    pub access_log: Option<Arc<AccessLog>>,
    /// Time to connect; 10 s.
    pub connect_timeout: Duration,
    /// Pattern of the names of inbound clusters in statistics; none.
    pub inbound_stat_name: Option<Arc<str>>,
    /// Pattern of the names of outbound clusters in statistics; none.
    pub outbound_stat_name: Option<Arc<str>>,
    /// Keep-alive of outbound connections; none.
    pub keepalive: Option<Keepalive>,
    /// How long a listener waits for the first bytes to know the protocol; 0, for ever.
    pub detection_timeout: Duration,
    /// How often DNS is asked; 60 s.
    pub dns_refresh: Duration,
    /// Ports declared HTTP are called with HTTP/2; no.
    pub h2_upgrade: bool,
    /// Locality preference; `None` if it is turned off. On by default, without lists.
    pub locality: Option<Arc<LocalityPreference>>,
    /// How paths are normalised; RFC 3986.
    pub normalization: PathNormalization,
    /// TLS between sidecars.
    pub mesh_tls: Arc<TlsLimits>,
    /// TLS of everything else.
    pub external_tls: Arc<TlsLimits>,
}

/// A file access log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessLog {
    /// The file.
    pub path: Arc<str>,
    /// How lines look.
    pub format: AccessLogFormat,
    /// Listeners log connections that match no chain; yes unless `disableEnvoyListenerLog`.
    pub of_listeners: bool,
}

/// How lines of an access log look.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccessLogFormat {
    /// Istio's text format.
    DefaultText,
    /// This text; ends with a newline.
    Text(Arc<str>),
    /// Istio's fields as JSON.
    DefaultJson,
    /// These fields: always a map.
    Json(Arc<LogValue>),
}

/// TCP keep-alive; absent parts are the system's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Keepalive {
    /// Probes.
    pub probes: Option<u32>,
    /// Silence before the first probe.
    pub time: Option<Duration>,
    /// Pause between probes.
    pub interval: Option<Duration>,
}

/// How paths are normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathNormalization {
    /// Not at all.
    Off,
    /// RFC 3986.
    Base,
    /// And slashes merged.
    MergeSlashes,
    /// And escaped slashes decoded before.
    DecodeAndMergeSlashes,
}

/// Preference of near endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalityPreference {
    /// Shares by locality of the client, in declared order; the first that matches holds.
    pub distribute: Box<[Distribution]>,
    /// Region → region used when all of it fails, in declared order.
    pub failover: Box<[(Arc<str>, Arc<str>)]>,
    /// Labels that order endpoints by closeness.
    pub priority: Box<[Arc<str>]>,
}

/// Shares of localities for clients in one locality.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Distribution {
    /// Locality of the client; `*` stands for any rest.
    pub from: Arc<str>,
    /// Percent by locality of the endpoints, sorted by locality.
    pub to: Box<[(Arc<str>, u32)]>,
}

/// Limits of TLS connections; empty lists mean the defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TlsLimits {
    /// TLS 1.3 at least; else 1.2.
    pub only_tls13: bool,
    /// Curves.
    pub curves: Box<[Arc<str>]>,
    /// Ciphers.
    pub ciphers: Box<[Arc<str>]>,
}

/// Which hosts are only used inside their own cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterLocal(Box<[(Hostname, bool)]>);

impl ClusterLocal {
    fn new(config: &MeshConfig, domain: &str, discovery: &str) -> Self {
        let default = |host: String| (Hostname::from(host.as_str()), true);
        let discovery_host = discovery
            .rsplit_once(':')
            .map_or(discovery, |(host, _)| host);
        let mut hosts: std::collections::BTreeMap<Hostname, bool> = [
            default(format!("*.kube-system.svc.{domain}")),
            default(format!("kubernetes.default.svc.{domain}")),
            default(match discovery_host.strip_suffix(".svc") {
                Some(name) => format!("{name}.svc.{domain}"),
                None => discovery_host.to_owned(),
            }),
        ]
        .into();
        for settings in &config.service_settings {
            for host in &settings.hosts {
                let host = Hostname::from(host.as_str());
                hosts.insert(host, settings.settings.cluster_local);
            }
        }
        Self(hosts.into_iter().collect())
    }

    /// True if endpoints of `host` in other clusters are not used: what the entry with the most
    /// specific host says.
    #[must_use]
    pub fn contains(&self, host: &Hostname) -> bool {
        self.0
            .iter()
            .filter(|(pattern, _)| host.subset_of(pattern))
            .max_by_key(|(pattern, _)| (!pattern.is_wildcard(), pattern.len()))
            .is_some_and(|(_, local)| *local)
    }
}

impl MeshSettings {
    /// Derives the settings from a mesh configuration and the cluster domain.
    #[must_use]
    pub fn new(config: Arc<MeshConfig>, domain: &str) -> Self {
        let trust_domain: Arc<str> = Arc::from(config.trust_domain.as_str());
        let aliases = config.trust_domain_aliases.iter().map(|alias| &**alias);
        let mut trust_domains: Vec<Arc<str>> = aliases.map(Arc::from).collect();
        trust_domains.push(trust_domain.clone());
        trust_domains.sort();
        trust_domains.dedup();
        let authorities = config.ca_certificates.iter();
        let foreign = authorities.flat_map(|one| &one.trust_domains);
        let mut client_domains = trust_domains.clone();
        client_domains.extend(foreign.map(|domain| Arc::from(domain.as_str())));
        client_domains.sort();
        client_domains.dedup();
        let proxy = Arc::new(ProxySettings::new(&config.default_config));
        Self {
            root_namespace: config.root_namespace.clone(),
            domain: Arc::from(domain),
            unenforced: Unenforced::default(),
            trust_domain,
            trust_domains: trust_domains.into(),
            client_domains: client_domains.into(),
            discovery: Discovery::new(&config.discovery_selectors),
            entry_visibility: VisibilityLimit::new(&config),
            proxies: MeshDefaults::new(&config),
            cluster_local: ClusterLocal::new(&config, domain, &proxy.discovery_address),
            proxy,
            logs: LogProviders::new(&config),
            cluster: ClusterId::default(),
            config,
        }
    }

    /// Host name of the Kubernetes service `name` in `namespace`.
    #[must_use]
    pub fn service_hostname(&self, name: &str, namespace: &str) -> Hostname {
        Hostname::new(format!("{name}.{namespace}.svc.{}", self.domain))
    }

    /// SPIFFE identity of a service account.
    #[must_use]
    pub fn spiffe_id(&self, namespace: &str, account: &str) -> String {
        format!("spiffe://{}/ns/{namespace}/sa/{account}", self.trust_domain)
    }
}

impl Default for MeshSettings {
    fn default() -> Self {
        Self::new(Arc::default(), "cluster.local")
    }
}

impl MeshDefaults {
    fn new(config: &MeshConfig) -> Self {
        let port = |port: u16| (port != 0).then_some(port);
        let pattern = |text: &str| (!text.is_empty()).then(|| Arc::from(text));
        let limits = |tls: &Option<reef_config::mesh_config::TlsConfig>| {
            Arc::new(tls.as_ref().map(TlsLimits::new).unwrap_or_default())
        };
        Self {
            inbound_to_localhost: config.inbound_traffic_policy.mode
                == InboundTrafficPolicyMode::Localhost,
            auto_mtls: config.enable_auto_mtls,
            tracing: config.enable_tracing,
            outbound_port: port(config.proxy_listen_port),
            inbound_port: config.proxy_inbound_listen_port,
            http_proxy_port: port(config.proxy_http_port),
            access_log: AccessLog::new(config).map(Arc::new),
            connect_timeout: config.connect_timeout.0,
            inbound_stat_name: pattern(&config.inbound_cluster_stat_name),
            outbound_stat_name: pattern(&config.outbound_cluster_stat_name),
            keepalive: config.tcp_keepalive.as_ref().map(|keepalive| Keepalive {
                probes: keepalive.probes,
                time: keepalive.time.map(|time| time.0),
                interval: keepalive.interval.map(|interval| interval.0),
            }),
            detection_timeout: config.protocol_detection_timeout.0,
            dns_refresh: config.dns_refresh_rate.0,
            h2_upgrade: config.h2_upgrade_policy == H2UpgradePolicy::Upgrade,
            locality: LocalityPreference::new(&config.locality_lb_setting).map(Arc::new),
            normalization: match config.path_normalization.normalization {
                NormalizationType::None => PathNormalization::Off,
                NormalizationType::Default | NormalizationType::Base => PathNormalization::Base,
                NormalizationType::MergeSlashes => PathNormalization::MergeSlashes,
                NormalizationType::DecodeAndMergeSlashes => {
                    PathNormalization::DecodeAndMergeSlashes
                }
            },
            mesh_tls: limits(&config.mesh_mtls),
            external_tls: limits(&config.tls_defaults),
        }
    }
}

impl AccessLog {
    fn new(config: &MeshConfig) -> Option<Self> {
        (!config.access_log_file.is_empty()).then(|| Self {
            path: Arc::from(config.access_log_file.as_str()),
            format: AccessLogFormat::of_mesh(config),
            of_listeners: !config.disable_envoy_listener_log,
        })
    }
}

impl AccessLogFormat {
    /// The format the mesh configuration says, whether or not it names a file.
    #[must_use]
    pub fn of_mesh(config: &MeshConfig) -> Self {
        let format = config.access_log_format.as_str();
        match config.access_log_encoding {
            AccessLogEncoding::Text => Self::of_text(format),
            // One that is not JSON was told as a problem when it was parsed.
            AccessLogEncoding::Json => LogValue::parse(format)
                .map_or(Self::DefaultJson, |value| Self::Json(Arc::new(value))),
        }
    }

    /// A line of this text; Istio's if there is none.
    #[must_use]
    pub fn of_text(format: &str) -> Self {
        // What Envoy would not take was told as a problem when it was parsed.
        if format.is_empty() || check_text(format).is_err() {
            Self::DefaultText
        } else if format.ends_with('\n') {
            Self::Text(Arc::from(format))
        } else {
            Self::Text(Arc::from(format!("{format}\n")))
        }
    }
}

impl LocalityPreference {
    /// Resolves a setting; `None` if it is turned off. Also for the setting of a service's rule.
    #[must_use]
    pub fn new(setting: &LocalityLoadBalancerSetting) -> Option<Self> {
        let text = |text: &String| Arc::from(text.as_str());
        (setting.enabled != Some(false)).then(|| Self {
            distribute: setting
                .distribute
                .iter()
                .map(|rule| Distribution {
                    from: text(&rule.from),
                    to: rule
                        .to
                        .iter()
                        .map(|(to, share)| (text(to), *share))
                        .collect(),
                })
                .collect(),
            failover: setting
                .failover
                .iter()
                .map(|rule| (text(&rule.from), text(&rule.to)))
                .collect(),
            priority: setting.failover_priority.iter().map(text).collect(),
        })
    }
}

impl TlsLimits {
    fn new(config: &reef_config::mesh_config::TlsConfig) -> Self {
        let texts = |list: &[String]| list.iter().map(|text| Arc::from(text.as_str())).collect();
        Self {
            only_tls13: config.min_protocol_version.as_deref() == Some("TLSV1_3"),
            curves: texts(&config.ecdh_curves),
            ciphers: texts(&config.cipher_suites),
        }
    }
}
