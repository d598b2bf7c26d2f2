//! `istio.mesh.v1alpha1.ProxyConfig`: settings of one proxy.
//!
//! The same message is `defaultConfig` of the mesh configuration, the text of the annotation
//! `proxy.istio.io/config` and the metadata `PROXY_CONFIG` of a node. A `ProxyConfig` object sets a
//! few of its fields ([`MeshProxyConfig::of_object`]). [`MeshProxyConfig::overlay`] lays one over
//! another as Istio does: what is set wins, maps are merged by key, messages field by field.

use std::collections::BTreeMap;

use crate::connection_settings::ConnectionSettings;
use crate::istio::{CustomTag, ProxyConfig, ProxyImage};
use crate::scalar::ApiDuration;

/// The annotation of a pod that holds such settings as text.
pub const ANNOTATION: &str = "proxy.istio.io/config";

api_structs! {
    /// `istio.mesh.v1alpha1.ProxyConfig`: settings of one proxy, also in node metadata.
    pub struct MeshProxyConfig {
        /// Worker threads; 0 means one per core.
        pub concurrency: Option<i32>,
        /// Grace time of draining.
        pub drain_duration: Option<ApiDuration>,
        /// Grace time of ending.
        pub termination_drain_duration: Option<ApiDuration>,
        /// Address of the control plane.
        pub discovery_address: Option<String>,
        /// Name of the proxy's own service.
        pub service_cluster: Option<String>,
        /// How traffic gets into the proxy.
        pub interception_mode: Option<InterceptionMode>,
        /// Admin port.
        pub proxy_admin_port: Option<u16>,
        /// Port of the status server.
        pub status_port: Option<u16>,
        /// Prefixes and suffixes of statistics that are kept.
        pub proxy_stats_matcher: Option<ProxyStatsMatcher>,
        /// Environment and metadata of the proxy.
        pub proxy_metadata: BTreeMap<String, String>,
        /// Whether the application waits for the proxy.
        pub hold_application_until_proxy_starts: Option<bool>,
        /// Tracing; kept raw.
        pub tracing: Option<serde_json::Value>,
        /// Trusted proxies in front.
        pub gateway_topology: Option<GatewayTopology>,
        /// Request headers of the proxy.
        pub proxy_headers: Option<ProxyHeaders>,
        /// Access log service; kept raw.
        pub envoy_access_log_service: Option<serde_json::Value>,
        /// Metrics service; kept raw.
        pub envoy_metrics_service: Option<serde_json::Value>,
        /// Statistics tags.
        pub extra_stat_tags: Vec<String>,
        /// Image.
        pub image: Option<ProxyImage>,
        /// Runtime values.
        pub runtime_values: BTreeMap<String, String>,
        /// Directory of the configuration.
        pub config_path: Option<String>,
        /// The proxy's binary.
        pub binary_path: Option<String>,
        /// How the connection to the control plane is secured.
        pub control_plane_auth_policy: Option<String>,
        /// How connections of clients are treated.
        pub connection_settings: Option<ConnectionSettings>,
    }

    /// `ProxyConfig.ProxyStatsMatcher`.
    pub struct ProxyStatsMatcher {
        /// Prefixes.
        pub inclusion_prefixes: Vec<String>,
        /// Suffixes.
        pub inclusion_suffixes: Vec<String>,
        /// Expressions.
        pub inclusion_regexps: Vec<String>,
    }

    /// `Topology`.
    pub struct GatewayTopology {
        /// Trusted proxies in front.
        pub num_trusted_proxies: Option<u32>,
        /// What happens to client certificate details.
        pub forward_client_cert_details: Option<ForwardClientCert>,
        /// Expect the PROXY protocol.
        pub proxy_protocol: Option<serde_json::Value>,
    }

    /// `ProxyConfig.ProxyHeaders`.
    pub struct ProxyHeaders {
        /// What happens to `x-forwarded-client-cert`.
        pub forwarded_client_cert: Option<ForwardClientCert>,
        /// Which details of the client's certificate are written there.
        pub set_current_client_cert_details: Option<ClientCertDetails>,
        /// `x-request-id`.
        pub request_id: Option<DisabledHeader>,
        /// `server`.
        pub server: Option<ServerHeader>,
        /// `x-envoy-attempt-count`.
        pub attempt_count: Option<DisabledHeader>,
        /// The `x-envoy-…` headers that help to debug.
        pub envoy_debug_headers: Option<DisabledHeader>,
        /// Peer metadata headers, which need an extension plain Envoy has not.
        pub metadata_exchange_headers: Option<serde_json::Value>,
        /// Whether the case of HTTP/1 headers is kept.
        #[serde(rename = "preserveHttp1HeaderCase")]
        pub preserve_http1_header_case: Option<bool>,
        /// `x-forwarded-host`.
        pub x_forwarded_host: Option<EnabledHeader>,
        /// `x-forwarded-port`.
        pub x_forwarded_port: Option<EnabledHeader>,
    }

    /// A header that is there unless it is turned off.
    pub struct DisabledHeader {
        /// Turned off.
        pub disabled: Option<bool>,
    }

    /// A header that is not there unless it is turned on.
    pub struct EnabledHeader {
        /// Turned on.
        pub enabled: Option<bool>,
    }

    /// `ProxyConfig.ProxyHeaders.Server`.
    pub struct ServerHeader {
        /// The header of the application passes.
        pub disabled: Option<bool>,
        /// Its value; `istio-envoy` if absent.
        pub value: Option<String>,
    }

    /// `ProxyConfig.ProxyHeaders.SetCurrentClientCertDetails`.
    pub struct ClientCertDetails {
        /// Subject; yes if absent.
        pub subject: Option<bool>,
        /// The certificate.
        pub cert: Option<bool>,
        /// The whole chain.
        pub chain: Option<bool>,
        /// DNS names; yes if absent.
        pub dns: Option<bool>,
        /// URI names; yes if absent.
        pub uri: Option<bool>,
    }
}

api_enum! {
    /// `ProxyConfig.InboundInterceptionMode`.
    pub enum InterceptionMode {
        /// iptables REDIRECT.
        Redirect = "REDIRECT",
        /// iptables TPROXY.
        Tproxy = "TPROXY",
        /// Not at all.
        None = "NONE",
    } default Redirect
}

api_enum! {
    /// `ForwardClientCertDetails`.
    pub enum ForwardClientCert {
        /// As the direction wants it.
        Undefined = "UNDEFINED",
        /// Removed.
        Sanitize = "SANITIZE",
        /// Passed on over mTLS.
        ForwardOnly = "FORWARD_ONLY",
        /// Passed on over mTLS with the client's own added.
        AppendForward = "APPEND_FORWARD",
        /// Replaced by the client's own.
        SanitizeSet = "SANITIZE_SET",
        /// Passed on always.
        AlwaysForwardOnly = "ALWAYS_FORWARD_ONLY",
    } default Undefined
}

/// Sets each named field of `$base` that is set in `$over`.
macro_rules! set {
    ($base:ident, $over:ident; $($field:ident)*) => {
        $(if $over.$field.is_some() {
            $base.$field.clone_from(&$over.$field);
        })*
    };
}

/// As [`set`], for messages, whose fields are merged one by one.
macro_rules! merge {
    ($base:ident, $over:ident; $($field:ident)*) => {
        $(if let Some(over) = &$over.$field {
            $base.$field.get_or_insert_default().overlay(over);
        })*
    };
}

impl MeshProxyConfig {
    /// What a `ProxyConfig` object says, in this form.
    #[must_use]
    pub fn of_object(object: &ProxyConfig) -> Self {
        Self {
            concurrency: object.concurrency,
            proxy_metadata: object.environment_variables.clone(),
            image: object.image.clone(),
            ..Self::default()
        }
    }

    /// Share of requests that are traced, in hundredths of a percent; `None` if none or no share is
    /// given.
    #[must_use]
    pub fn sampling(&self) -> Option<u32> {
        let percent = self.tracing.as_ref()?.get("sampling")?.as_f64()?;
        let share = percent > 0.0 && percent <= 100.0;
        let text = share.then(|| format!("{:.0}", percent * 100.0))?;
        text.parse().ok()
    }

    /// Tags that `tracing.customTags` adds to every span, by name; what cannot be read is left out.
    #[must_use]
    pub fn trace_tags(&self) -> BTreeMap<String, CustomTag> {
        let tags = self.tracing.as_ref().and_then(|it| it.get("customTags"));
        let tags = tags.and_then(|tags| tags.as_object()).into_iter().flatten();
        tags.filter_map(|(name, tag)| {
            let tag = serde_json::from_value(tag.clone()).ok()?;
            Some((name.clone(), tag))
        })
        .collect()
    }

    /// `tracing.maxPathTagLength`: bytes of a path that a span shows.
    #[must_use]
    pub fn max_path_tag_length(&self) -> Option<u32> {
        let length = self.tracing.as_ref()?.get("maxPathTagLength")?.as_u64()?;
        u32::try_from(length).ok()
    }

    /// True if a tracer is configured.
    #[must_use]
    pub fn has_tracer(&self) -> bool {
        self.tracing
            .as_ref()
            .is_some_and(|tracing| tracing.is_object())
    }

    /// Lays `over` over this: what it sets wins, maps are merged by key, lists are joined.
    pub fn overlay(&mut self, over: &Self) {
        set!(self, over;
            concurrency drain_duration termination_drain_duration discovery_address
            service_cluster interception_mode proxy_admin_port status_port
            hold_application_until_proxy_starts tracing envoy_access_log_service
            envoy_metrics_service image config_path binary_path control_plane_auth_policy
        );
        merge!(self, over;
            proxy_stats_matcher gateway_topology proxy_headers connection_settings
        );
        let own = |map: &BTreeMap<String, String>| map.clone().into_iter();
        self.proxy_metadata.extend(own(&over.proxy_metadata));
        self.runtime_values.extend(own(&over.runtime_values));
        self.extra_stat_tags.extend(over.extra_stat_tags.clone());
    }
}

impl ProxyStatsMatcher {
    fn overlay(&mut self, over: &Self) {
        let join = |own: &mut Vec<String>, more: &[String]| own.extend(more.iter().cloned());
        join(&mut self.inclusion_prefixes, &over.inclusion_prefixes);
        join(&mut self.inclusion_suffixes, &over.inclusion_suffixes);
        join(&mut self.inclusion_regexps, &over.inclusion_regexps);
    }
}

impl GatewayTopology {
    fn overlay(&mut self, over: &Self) {
        set!(self, over; num_trusted_proxies forward_client_cert_details proxy_protocol);
    }
}

impl ProxyHeaders {
    fn overlay(&mut self, over: &Self) {
        set!(self, over;
            forwarded_client_cert metadata_exchange_headers preserve_http1_header_case
        );
        merge!(self, over;
            set_current_client_cert_details request_id server attempt_count envoy_debug_headers
            x_forwarded_host x_forwarded_port
        );
    }
}

impl DisabledHeader {
    fn overlay(&mut self, over: &Self) {
        set!(self, over; disabled);
    }
}

impl EnabledHeader {
    fn overlay(&mut self, over: &Self) {
        set!(self, over; enabled);
    }
}

impl ServerHeader {
    fn overlay(&mut self, over: &Self) {
        set!(self, over; disabled value);
    }
}

impl ClientCertDetails {
    fn overlay(&mut self, over: &Self) {
        set!(self, over; subject cert chain dns uri);
    }
}
