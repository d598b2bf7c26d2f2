//! `HTTPRoute` of a VirtualService.

use std::collections::BTreeMap;

use crate::labels::Labels;
use crate::scalar::ApiDuration;

use super::{Destination, Headers, Percent, StringMatch};

api_structs! {
    /// `HTTPRoute`.
    pub struct HttpRoute {
        /// Name, for logs.
        pub name: Option<String>,
        /// Conditions, one of which must hold; none means always.
        #[serde(rename = "match")]
        pub matches: Vec<HttpMatchRequest>,
        /// Weighted destinations.
        pub route: Vec<HttpRouteDestination>,
        /// A redirect instead.
        pub redirect: Option<HttpRedirect>,
        /// A fixed answer instead.
        pub direct_response: Option<HttpDirectResponse>,
        /// The VirtualService that continues this route.
        pub delegate: Option<Delegate>,
        /// Changes of path and authority.
        pub rewrite: Option<HttpRewrite>,
        /// Time for the whole request.
        pub timeout: Option<ApiDuration>,
        /// Retries.
        pub retries: Option<HttpRetry>,
        /// Faults to inject.
        pub fault: Option<HttpFaultInjection>,
        /// Where a copy of the traffic goes.
        pub mirror: Option<Destination>,
        /// Where copies of the traffic go.
        pub mirrors: Vec<HttpMirrorPolicy>,
        /// Deprecated form of `mirrorPercentage`.
        pub mirror_percent: Option<u32>,
        /// Share of the traffic that `mirror` gets.
        pub mirror_percentage: Option<Percent>,
        /// Cross-origin policy.
        pub cors_policy: Option<CorsPolicy>,
        /// Header changes.
        pub headers: Option<Headers>,
    }

    /// `HTTPMatchRequest`.
    pub struct HttpMatchRequest {
        /// Name, for logs.
        pub name: Option<String>,
        /// Path.
        pub uri: Option<StringMatch>,
        /// Scheme.
        pub scheme: Option<StringMatch>,
        /// Method.
        pub method: Option<StringMatch>,
        /// Authority.
        pub authority: Option<StringMatch>,
        /// Headers by lower-case name.
        pub headers: BTreeMap<String, StringMatch>,
        /// Destination port.
        pub port: Option<u32>,
        /// Labels of the client.
        pub source_labels: Labels,
        /// Gateways; overrides those of the VirtualService.
        pub gateways: Vec<String>,
        /// Query parameters.
        pub query_params: BTreeMap<String, StringMatch>,
        /// Whether the case of exact and prefix paths counts.
        pub ignore_uri_case: bool,
        /// Headers that must not match.
        pub without_headers: BTreeMap<String, StringMatch>,
        /// Namespace of the client.
        pub source_namespace: Option<String>,
        /// Prefix of the route's statistics.
        pub stat_prefix: Option<String>,
    }

    /// `HTTPRouteDestination`.
    pub struct HttpRouteDestination {
        /// Where to.
        pub destination: Destination,
        /// Share of the traffic relative to the other destinations.
        pub weight: Option<i32>,
        /// Header changes.
        pub headers: Option<Headers>,
    }

    /// `HTTPRedirect`.
    pub struct HttpRedirect {
        /// New path.
        pub uri: Option<String>,
        /// New authority.
        pub authority: Option<String>,
        /// New port.
        pub port: Option<u32>,
        /// How the new port follows from the request.
        pub derive_port: Option<RedirectPortSelection>,
        /// New scheme.
        pub scheme: Option<String>,
        /// Status, 301 if absent.
        pub redirect_code: Option<u32>,
    }

    /// `HTTPDirectResponse`.
    pub struct HttpDirectResponse {
        /// Status.
        pub status: u32,
        /// Body.
        pub body: Option<DirectResponseBody>,
    }

    /// `HTTPBody`: one of the two.
    pub struct DirectResponseBody {
        /// Text.
        pub string: Option<String>,
        /// Base64.
        pub bytes: Option<String>,
    }

    /// `Delegate`.
    pub struct Delegate {
        /// Name of the VirtualService.
        pub name: String,
        /// Its namespace; the root's own if absent.
        pub namespace: Option<String>,
    }

    /// `HTTPRewrite`.
    pub struct HttpRewrite {
        /// New path or prefix.
        pub uri: Option<String>,
        /// New authority.
        pub authority: Option<String>,
        /// New path by expression.
        pub uri_regex_rewrite: Option<RegexRewrite>,
    }

    /// `RegexRewrite`.
    pub struct RegexRewrite {
        /// RE2 expression.
        #[serde(rename = "match")]
        pub pattern: String,
        /// Replacement.
        pub rewrite: String,
    }

    /// `HTTPRetry`.
    pub struct HttpRetry {
        /// How often; 0 turns retries off.
        pub attempts: i32,
        /// Time for each try.
        pub per_try_timeout: Option<ApiDuration>,
        /// Conditions, comma separated.
        pub retry_on: Option<String>,
        /// Whether retries may go to other localities.
        pub retry_remote_localities: Option<bool>,
        /// Whether hosts tried before are skipped; absent means yes.
        pub retry_ignore_previous_hosts: Option<bool>,
        /// Shortest pause between tries.
        pub backoff: Option<ApiDuration>,
    }

    /// `HTTPFaultInjection`.
    pub struct HttpFaultInjection {
        /// Delay before forwarding.
        pub delay: Option<Delay>,
        /// Answer instead of forwarding.
        pub abort: Option<Abort>,
    }

    /// `HTTPFaultInjection.Delay`.
    pub struct Delay {
        /// Deprecated form of `percentage`.
        pub percent: Option<i32>,
        /// How long.
        pub fixed_delay: Option<ApiDuration>,
        /// Not implemented by Istio either.
        pub exponential_delay: Option<ApiDuration>,
        /// Share of the requests.
        pub percentage: Option<Percent>,
    }

    /// `HTTPFaultInjection.Abort`.
    pub struct Abort {
        /// HTTP status.
        pub http_status: Option<i32>,
        /// gRPC status by name.
        pub grpc_status: Option<String>,
        /// Not implemented by Istio either.
        pub http2_error: Option<String>,
        /// Share of the requests.
        pub percentage: Option<Percent>,
    }

    /// `HTTPMirrorPolicy`.
    pub struct HttpMirrorPolicy {
        /// Where to.
        pub destination: Destination,
        /// Share of the requests; all if absent.
        pub percentage: Option<Percent>,
    }

    /// `CorsPolicy`.
    pub struct CorsPolicy {
        /// Deprecated form of `allowOrigins`, exact only.
        pub allow_origin: Vec<String>,
        /// Origins.
        pub allow_origins: Vec<StringMatch>,
        /// Methods.
        pub allow_methods: Vec<String>,
        /// Headers.
        pub allow_headers: Vec<String>,
        /// Headers the browser may read.
        pub expose_headers: Vec<String>,
        /// How long a preflight may be cached.
        pub max_age: Option<ApiDuration>,
        /// Whether credentials are allowed.
        pub allow_credentials: Option<bool>,
        /// What happens to preflights that match no origin.
        pub unmatched_preflights: Option<UnmatchedPreflights>,
    }
}

api_enum! {
    /// `HTTPRedirect.RedirectPortSelection`.
    pub enum RedirectPortSelection {
        /// 80 or 443, by scheme.
        FromProtocolDefault = "FROM_PROTOCOL_DEFAULT",
        /// The request's port.
        FromRequestPort = "FROM_REQUEST_PORT",
    } default FromProtocolDefault
}

api_enum! {
    /// `CorsPolicy.UnmatchedPreflights`.
    pub enum UnmatchedPreflights {
        /// As `Forward`.
        Unspecified = "UNSPECIFIED",
        /// Forwarded to the service.
        Forward = "FORWARD",
        /// Answered by the proxy.
        Ignore = "IGNORE",
    } default Unspecified
}
