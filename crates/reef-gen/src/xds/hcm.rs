//! HTTP connection managers, outbound and inbound, and their filters.
//!
//! Extensions that exist only in Istio's build of Envoy (`istio.alpn`, `istio.metadata_exchange`,
//! `istio.stats`) are never named: a plain Envoy rejects the listener that does.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use reef_config::connection_settings::{EscapedSlashesAction, UnderscoresAction};
use reef_config::proxy_config::ForwardClientCert;
use reef_mesh::{CertDetails, HttpConnections, PathNormalization, ServerName};
use xds_api::Any;
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::config::core::v3::http_protocol_options::HeadersWithUnderscoresAction;
use xds_api::envoy::config::listener::v3::{Filter, filter};
use xds_api::envoy::config::route::v3::RouteConfiguration;
use xds_api::envoy::extensions::filters::http;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use xds_api::envoy::extensions::request_id::uuid::v3::UuidRequestIdConfig;

use hcm::http_connection_manager::{
    ForwardClientCertDetails, PathWithEscapedSlashesAction, ServerHeaderTransformation,
    SetCurrentClientCertDetails,
};

use super::dynamic_dns::DnsCache;
use super::{ZERO, ads, case_as_received, duration, trace};
use crate::listener::ListenerDefaults;

/// Which side of a connection a manager is on, with what only that side has.
#[derive(Debug)]
pub(crate) enum Side {
    /// Requests leave the workload; routes are fetched by this name.
    Outbound {
        /// Name of the route configuration.
        route: String,
    },
    /// Requests leave the workload for hosts nobody declared.
    OutboundInline {
        /// The inline route configuration.
        routes: Box<RouteConfiguration>,
    },
    /// Requests arrive at the workload; its one route is inline.
    Inbound {
        /// The inline route configuration.
        routes: Box<RouteConfiguration>,
        /// The port is declared HTTP/2.
        http2: bool,
        /// Every request is refused.
        deny: bool,
    },
}

/// What a manager depends on.
#[derive(Debug)]
pub(crate) struct Manager<'a> {
    /// Prefix of its statistics, without the final `;`.
    pub stat_prefix: String,
    /// Side.
    pub side: Side,
    /// Adds the gRPC-Web filter.
    pub grpc_web: bool,
    /// Accepts absolute URLs: the explicit HTTP proxy.
    pub absolute_url: bool,
    /// Names resolved for wildcard services, besides those of unknown hosts.
    pub caches: &'a [Arc<DnsCache>],
    /// Settings all listeners of the class share.
    pub defaults: &'a ListenerDefaults,
}

/// Builds the network filter.
pub(crate) fn filter(manager: Manager<'_>) -> Filter {
    let Manager {
        stat_prefix,
        side,
        grpc_web,
        absolute_url,
        caches,
        defaults,
    } = manager;
    // Inbound requests never go to names.
    let unknown_hosts = match side {
        Side::Inbound { .. } => None,
        Side::Outbound { .. } | Side::OutboundInline { .. } => defaults.unknown_hosts.as_ref(),
    };
    let headers = &*defaults.headers;
    let http1 = (defaults.http10 || absolute_url || headers.preserve_case).then(|| {
        core::Http1ProtocolOptions {
            accept_http_10: defaults.http10,
            allow_absolute_url: absolute_url.then_some(true),
            header_key_format: headers.preserve_case.then(case_as_received),
            ..Default::default()
        }
    });
    let inbound = matches!(side, Side::Inbound { .. });
    let (server_name, passed) = match &headers.server {
        ServerName::Default if inbound => ("istio-envoy", false),
        // Envoy's own name.
        ServerName::Default => ("", false),
        ServerName::Named(name) => (&**name, false),
        ServerName::Passed => ("", true),
    };
    let transformation = if passed {
        ServerHeaderTransformation::PassThrough
    } else {
        ServerHeaderTransformation::Overwrite
    };
    let (normalize, merge, escaped) = match defaults.normalization {
        PathNormalization::Off => (false, false, false),
        PathNormalization::Base => (true, false, false),
        PathNormalization::MergeSlashes => (true, true, false),
        PathNormalization::DecodeAndMergeSlashes => (true, true, true),
    };
    let connections = &headers.connections;
    let mut config = hcm::HttpConnectionManager {
        stat_prefix: format!("{stat_prefix};"),
        server_name: server_name.to_owned(),
        server_header_transformation: transformation.into(),
        http_filters: http_filters(grpc_web, caches.iter().chain(unknown_hosts), !headers.debug),
        access_log: defaults.logs.of_requests(),
        use_remote_address: Some(false),
        normalize_path: Some(normalize),
        merge_slashes: connections.merge_slashes.unwrap_or(merge),
        path_with_escaped_slashes_action: escaped_slashes(connections, escaped).into(),
        generate_request_id: (!headers.request_id).then_some(false),
        append_x_forwarded_port: headers.forwarded_port,
        stream_idle_timeout: Some(connections.stream_idle.map_or(ZERO, duration)),
        drain_timeout: connections.drain.map(duration),
        request_timeout: connections.request.map(duration),
        request_headers_timeout: connections.request_headers.map(duration),
        upgrade_configs: vec![hcm::http_connection_manager::UpgradeConfig {
            upgrade_type: "websocket".to_owned(),
            ..Default::default()
        }],
        proxy_100_continue: true,
        request_id_extension: Some(hcm::RequestIdExtension {
            typed_config: Some(REQUEST_ID.clone()),
        }),
        tracing: defaults.tracing.as_ref().map(trace::tracing),
        http_protocol_options: http1,
        common_http_protocol_options: common_options(connections, defaults.idle_timeout),
        http2_protocol_options: http2_options(connections),
        ..Default::default()
    };
    match side {
        Side::Outbound { route } => {
            config.route_specifier = Some(hcm::http_connection_manager::RouteSpecifier::Rds(
                hcm::Rds {
                    config_source: Some(ads()),
                    route_config_name: route,
                },
            ));
        }
        Side::OutboundInline { routes } => {
            config.route_specifier = Some(
                hcm::http_connection_manager::RouteSpecifier::RouteConfig(*routes),
            );
        }
        Side::Inbound {
            routes,
            http2,
            deny,
        } => {
            // Authorization comes before everything that reads requests.
            if deny {
                config
                    .http_filters
                    .insert(0, crate::security::http_filter());
            }
            config.forward_client_cert_details = forwarding(headers.forward_client_cert).into();
            config.set_current_client_cert_details = Some(cert_details(headers.cert_details));
            if http2 {
                config.http2_protocol_options.get_or_insert_default();
            }
            config.route_specifier = Some(
                hcm::http_connection_manager::RouteSpecifier::RouteConfig(*routes),
            );
        }
    }
    Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(Any::pack(&config))),
    }
}

/// Limits of connections of both versions; `None` leaves all to Envoy. `idle` is what the proxy's metadata say.
fn common_options(
    connections: &HttpConnections,
    idle: Option<Duration>,
) -> Option<core::HttpProtocolOptions> {
    let underscores = match connections.underscores {
        UnderscoresAction::Unspecified | UnderscoresAction::Allow => {
            HeadersWithUnderscoresAction::Allow
        }
        UnderscoresAction::RejectRequest => HeadersWithUnderscoresAction::RejectRequest,
        UnderscoresAction::DropHeader => HeadersWithUnderscoresAction::DropHeader,
    };
    let options = core::HttpProtocolOptions {
        idle_timeout: connections.idle.or(idle).map(duration),
        max_connection_duration: connections.longest.map(duration),
        max_stream_duration: connections.longest_stream.map(duration),
        headers_with_underscores_action: underscores.into(),
        ..Default::default()
    };
    (options != core::HttpProtocolOptions::default()).then_some(options)
}

fn http2_options(connections: &HttpConnections) -> Option<core::Http2ProtocolOptions> {
    let options = core::Http2ProtocolOptions {
        max_concurrent_streams: connections.streams,
        initial_stream_window_size: connections.stream_window,
        initial_connection_window_size: connections.connection_window,
        ..Default::default()
    };
    (options != core::Http2ProtocolOptions::default()).then_some(options)
}

/// `decoded` is what the mesh says.
fn escaped_slashes(connections: &HttpConnections, decoded: bool) -> PathWithEscapedSlashesAction {
    match connections.escaped_slashes {
        EscapedSlashesAction::Unspecified if decoded => {
            PathWithEscapedSlashesAction::UnescapeAndForward
        }
        EscapedSlashesAction::Unspecified | EscapedSlashesAction::KeepUnchanged => {
            PathWithEscapedSlashesAction::KeepUnchanged
        }
        EscapedSlashesAction::RejectRequest => PathWithEscapedSlashesAction::RejectRequest,
        EscapedSlashesAction::UnescapeAndRedirect => {
            PathWithEscapedSlashesAction::UnescapeAndRedirect
        }
        EscapedSlashesAction::UnescapeAndForward => {
            PathWithEscapedSlashesAction::UnescapeAndForward
        }
    }
}

static REQUEST_ID: LazyLock<Any> = LazyLock::new(|| {
    Any::pack(&UuidRequestIdConfig {
        use_request_id_for_trace_sampling: Some(true),
        ..Default::default()
    })
});

static HTTP_FILTERS: LazyLock<Vec<hcm::HttpFilter>> = LazyLock::new(|| {
    let grpc_stats = http::grpc_stats::v3::FilterConfig {
        emit_filter_state: true,
        per_method_stat_specifier: Some(
            http::grpc_stats::v3::filter_config::PerMethodStatSpecifier::StatsForAllMethods(false),
        ),
        ..Default::default()
    };
    vec![
        http_filter("envoy.filters.http.grpc_stats", Any::pack(&grpc_stats)),
        http_filter(
            "envoy.filters.http.fault",
            Any::pack(&http::fault::v3::HttpFault::default()),
        ),
        http_filter(
            "envoy.filters.http.cors",
            Any::pack(&http::cors::v3::Cors {}),
        ),
    ]
});

static ROUTER: LazyLock<hcm::HttpFilter> = LazyLock::new(|| router(false));

/// The router; a quiet one adds no `x-envoy-…` headers.
fn router(quiet: bool) -> hcm::HttpFilter {
    let config = http::router::v3::Router {
        suppress_envoy_headers: quiet,
        ..Default::default()
    };
    http_filter("envoy.filters.http.router", Any::pack(&config))
}

fn http_filters<'a>(
    grpc_web: bool,
    caches: impl Iterator<Item = &'a Arc<DnsCache>>,
    quiet: bool,
) -> Vec<hcm::HttpFilter> {
    let web = grpc_web.then(|| {
        http_filter(
            "envoy.filters.http.grpc_web",
            Any::pack(&http::grpc_web::v3::GrpcWeb {}),
        )
    });
    web.into_iter()
        .chain(HTTP_FILTERS.iter().cloned())
        .chain(caches.map(|cache| cache.http_filter()))
        .chain([if quiet { router(true) } else { ROUTER.clone() }])
        .collect()
}

fn http_filter(name: &str, config: Any) -> hcm::HttpFilter {
    hcm::HttpFilter {
        name: name.to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

fn forwarding(details: ForwardClientCert) -> ForwardClientCertDetails {
    match details {
        ForwardClientCert::Undefined | ForwardClientCert::AppendForward => {
            ForwardClientCertDetails::AppendForward
        }
        ForwardClientCert::Sanitize => ForwardClientCertDetails::Sanitize,
        ForwardClientCert::ForwardOnly => ForwardClientCertDetails::ForwardOnly,
        ForwardClientCert::SanitizeSet => ForwardClientCertDetails::SanitizeSet,
        ForwardClientCert::AlwaysForwardOnly => ForwardClientCertDetails::AlwaysForwardOnly,
    }
}

fn cert_details(details: Option<CertDetails>) -> SetCurrentClientCertDetails {
    let details = details.unwrap_or(CertDetails {
        subject: true,
        cert: false,
        chain: false,
        dns: true,
        uri: true,
    });
    SetCurrentClientCertDetails {
        subject: details.subject.then_some(true),
        cert: details.cert,
        chain: details.chain,
        dns: details.dns,
        uri: details.uri,
        ..Default::default()
    }
}
