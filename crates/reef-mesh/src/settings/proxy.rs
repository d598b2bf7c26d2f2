//! Settings of one proxy, resolved.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reef_config::istio::{CustomTag, NamedTag};
use reef_config::proxy_config::{ForwardClientCert, InterceptionMode, MeshProxyConfig};
use reef_config::{Labels, proxy_config};

use super::connections::HttpConnections;
use crate::Interception;

/// What `ProxyConfig` says about one proxy, with Istio's defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProxySettings {
    /// Worker threads; `None` means one per core.
    pub concurrency: Option<u32>,
    /// How traffic gets in, if the proxy itself does not tell; REDIRECT.
    pub interception: Interception,
    /// Grace time of draining; 45 s.
    pub drain: Duration,
    /// Grace time of ending; 5 s.
    pub termination_drain: Duration,
    /// Address of the control plane; `istiod.istio-system.svc:15012`.
    pub discovery_address: Arc<str>,
    /// Admin port; 15000.
    pub admin_port: u16,
    /// Port of the agent's status server; 15020.
    pub status_port: u16,
    /// Trusted proxies in front; 0.
    pub trusted_proxies: u32,
    /// What its HTTP listeners do with headers.
    pub headers: Arc<HeaderPolicy>,
    /// Hundredths of a percent of requests that are traced; 100, which is one percent.
    pub sampling: u32,
    /// A tracer is configured.
    pub has_tracer: bool,
    /// Tags its spans have besides Istio's, by name.
    pub trace_tags: Arc<[(Arc<str>, TagSource)]>,
    /// Bytes of a path that a span shows; Envoy's default if absent.
    pub max_path_tag_length: Option<u32>,
    /// Environment and metadata.
    pub metadata: Labels,
}

/// Where the value of a span's tag comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TagSource {
    /// It is this.
    Literal(Arc<str>),
    /// An environment variable of the proxy, or else this.
    Environment(Arc<str>, Arc<str>),
    /// A header of the request, or else this.
    Header(Arc<str>, Arc<str>),
}

impl TagSource {
    /// `None` if there is no source, or one that Envoy would reject the listener for.
    fn new(tag: &CustomTag) -> Option<Self> {
        let filled = |text: &str| (!text.is_empty()).then(|| Arc::from(text));
        let default = |tag: &NamedTag| Arc::from(tag.default_value.as_deref().unwrap_or_default());
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if let Some(literal) = &tag.literal {
            return filled(&literal.value).map(Self::Literal);
        }
        if let Some(named) = &tag.environment {
            return filled(&named.name).map(|name| Self::Environment(name, default(named)));
        }
        let named = tag.header.as_ref()?;
        let plain = named.name.strip_prefix(':').unwrap_or(&named.name);
        let valid = plain.chars().all(token) && !plain.is_empty();
        filled(&named.name)
            .filter(|_| valid)
            .map(|name| Self::Header(name, default(named)))
    }
}

/// What HTTP listeners of a proxy do with headers that say who it is, and with connections.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderPolicy {
    /// `x-forwarded-client-cert` inbound; `Undefined` means as the direction wants it.
    pub forward_client_cert: ForwardClientCert,
    /// What is written there; `None` means as the direction wants it.
    pub cert_details: Option<CertDetails>,
    /// `server`.
    pub server: ServerName,
    /// A `x-request-id` is made; yes.
    pub request_id: bool,
    /// `x-envoy-attempt-count` is sent; yes.
    pub attempt_count: bool,
    /// Envoy's debug headers are sent; yes.
    pub debug: bool,
    /// The case of HTTP/1 headers is kept; no.
    pub preserve_case: bool,
    /// `x-forwarded-host` is set; no.
    pub forwarded_host: bool,
    /// `x-forwarded-port` is set; no.
    pub forwarded_port: bool,
    /// How connections are treated; it comes from the same settings and goes to the same listeners.
    pub connections: HttpConnections,
}

/// Which details of a client's certificate are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "five independent switches of the API"
)]
pub struct CertDetails {
    /// Subject; yes.
    pub subject: bool,
    /// The certificate; no.
    pub cert: bool,
    /// The chain; no.
    pub chain: bool,
    /// DNS names; yes.
    pub dns: bool,
    /// URI names; yes.
    pub uri: bool,
}

/// The `server` header of responses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerName {
    /// `istio-envoy`.
    Default,
    /// This.
    Named(Arc<str>),
    /// What the application sent.
    Passed,
}

impl ProxySettings {
    /// Fills in the defaults of what is absent.
    #[must_use]
    pub fn new(config: &MeshProxyConfig) -> Self {
        let topology = config.gateway_topology.as_ref();
        let threads = config.concurrency.and_then(|n| u32::try_from(n).ok());
        Self {
            concurrency: threads.filter(|threads| *threads != 0),
            interception: match config.interception_mode.unwrap_or_default() {
                InterceptionMode::Redirect => Interception::Redirect,
                InterceptionMode::Tproxy => Interception::Tproxy,
                InterceptionMode::None => Interception::None,
            },
            drain: config
                .drain_duration
                .map_or(Duration::from_secs(45), |time| time.0),
            termination_drain: config
                .termination_drain_duration
                .map_or(Duration::from_secs(5), |time| time.0),
            discovery_address: config
                .discovery_address
                .as_deref()
                .filter(|address| !address.is_empty())
                .unwrap_or("istiod.istio-system.svc:15012")
                .into(),
            admin_port: config.proxy_admin_port.unwrap_or(15000),
            status_port: config.status_port.unwrap_or(15020),
            trusted_proxies: topology
                .and_then(|topology| topology.num_trusted_proxies)
                .unwrap_or(0),
            headers: Arc::new(HeaderPolicy::new(config)),
            sampling: config.sampling().unwrap_or(100),
            has_tracer: config.has_tracer(),
            trace_tags: config
                .trace_tags()
                .iter()
                .filter(|(name, _)| !name.is_empty())
                .filter_map(|(name, tag)| Some((Arc::from(name.as_str()), TagSource::new(tag)?)))
                .collect(),
            max_path_tag_length: config.max_path_tag_length(),
            metadata: metadata(&config.proxy_metadata),
        }
    }
}

fn metadata(map: &BTreeMap<String, String>) -> Labels {
    map.iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

impl HeaderPolicy {
    fn new(config: &MeshProxyConfig) -> Self {
        let headers = config.proxy_headers.clone().unwrap_or_default();
        let kept = |header: Option<proxy_config::DisabledHeader>| {
            header.and_then(|header| header.disabled) != Some(true)
        };
        let set = |header: Option<proxy_config::EnabledHeader>| {
            header.and_then(|header| header.enabled) == Some(true)
        };
        let server = headers.server.unwrap_or_default();
        Self {
            forward_client_cert: headers.forwarded_client_cert.unwrap_or_default(),
            cert_details: headers
                .set_current_client_cert_details
                .map(|details| CertDetails {
                    subject: details.subject.unwrap_or(true),
                    cert: details.cert.unwrap_or(false),
                    chain: details.chain.unwrap_or(false),
                    dns: details.dns.unwrap_or(true),
                    uri: details.uri.unwrap_or(true),
                }),
            server: match (server.disabled, server.value) {
                (Some(true), _) => ServerName::Passed,
                (_, Some(name)) if !name.is_empty() => ServerName::Named(name.into()),
                _ => ServerName::Default,
            },
            request_id: kept(headers.request_id),
            attempt_count: kept(headers.attempt_count),
            debug: kept(headers.envoy_debug_headers),
            preserve_case: headers.preserve_http1_header_case == Some(true),
            forwarded_host: set(headers.x_forwarded_host),
            forwarded_port: set(headers.x_forwarded_port),
            connections: config
                .connection_settings
                .as_ref()
                .map(HttpConnections::new)
                .unwrap_or_default(),
        }
    }
}
