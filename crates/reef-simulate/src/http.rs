//! A connection manager: path, virtual host, route, filters.

use std::borrow::Cow;

use xds_api::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, http_filter,
};
use xds_api::envoy::extensions::filters::http::rbac::v3::Rbac;
use xds_api::Any;

use crate::action::{self, Selected};
use crate::answer::{Fate, Outcome};
use crate::config::unpack;
use crate::headers::Headers;
use crate::path::{self, Normalized};
use crate::request::Protocol;
use crate::simulate::Connection;
use crate::{cors, fault, host, rbac, route};

/// HTTP filters that do not decide where a request goes.
const ONLOOKERS: [&str; 7] = [
    "envoy.filters.http.grpc_stats",
    "envoy.filters.http.grpc_web",
    "envoy.filters.http.stateful_session",
    "envoy.filters.http.dynamic_forward_proxy",
    "envoy.filters.http.set_filter_state",
    "envoy.filters.http.router",
    "istio.alpn",
];

/// Headers of which Envoy holds one, values joined.
const SINGLE: [&str; 4] = ["user-agent", "content-type", "origin", "x-forwarded-for"];

/// A request inside a connection manager.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) connection: Connection<'a>,
    pub(crate) routes: &'a RouteConfiguration,
    /// As it came in, pseudo headers among them, path normalised.
    pub(crate) headers: Headers,
    pub(crate) protocol: &'static str,
}

/// The name a connection manager asks its routes by.
pub(crate) fn route_config_name(hcm: &HttpConnectionManager) -> Option<String> {
    match &hcm.route_specifier {
        Some(RouteSpecifier::Rds(rds)) => Some(rds.route_config_name.clone()),
        Some(RouteSpecifier::RouteConfig(inline)) => Some(inline.name.clone()),
        _ => None,
    }
}

/// What can happen to a request.
pub(crate) fn evaluate(
    connection: &Connection<'_>,
    hcm: &HttpConnectionManager,
    base: &Outcome,
) -> Vec<Outcome> {
    let mut base = base.clone();
    let request = connection.request;
    let is_http = match request.protocol {
        Protocol::Http | Protocol::Http10 | Protocol::Http2 => true,
        Protocol::Tls => connection.tls,
        Protocol::Tcp => false,
    };
    if !is_http {
        return vec![answered(base, 400, "codec_error", "")];
    }
    let http1 = hcm.http_protocol_options.as_ref();
    if request.protocol == Protocol::Http10 && !http1.is_some_and(|one| one.accept_http_10) {
        return vec![answered(base, 426, "low_version", "")];
    }
    base.method.clone_from(&request.method);
    base.host.clone_from(&request.host);
    base.path.clone_from(&request.path);
    base.headers = request.headers.clone();
    let path = match path::normalize(hcm, &request.path) {
        Normalized::Path(path) => path,
        Normalized::Refused => return vec![answered(base, 400, "path_normalization_failed", "")],
        Normalized::Redirect(location) => {
            let mut outcome = answered(base, 307, "path_normalization_failed", "");
            outcome.location = Some(location.clone());
            outcome.response_headers.set("location", &location);
            return vec![outcome];
        }
    };
    base.path.clone_from(&path);
    let routes: Cow<'_, RouteConfiguration> = match &hcm.route_specifier {
        Some(RouteSpecifier::RouteConfig(inline)) => Cow::Borrowed(inline),
        Some(RouteSpecifier::Rds(rds)) => {
            match connection.config.routes.get(&rds.route_config_name) {
                Some(known) => Cow::Borrowed(known),
                None => {
                    base.notes.push(format!(
                        "route configuration {} is not known",
                        rds.route_config_name
                    ));
                    Cow::Owned(RouteConfiguration {
                        name: rds.route_config_name.clone(),
                        ..RouteConfiguration::default()
                    })
                }
            }
        }
        _ => {
            base.notes
                .push("scoped routes are not evaluated".to_owned());
            Cow::Owned(RouteConfiguration::default())
        }
    };
    base.route_config = Some(routes.name.clone());
    let exchange = Exchange {
        connection: *connection,
        routes: &routes,
        headers: incoming(connection, &path),
        protocol: request.protocol.http_name(),
    };
    let virtual_host = host::find(&routes, &request.host);
    base.virtual_host = virtual_host.map(|one| one.name.clone());
    let mut outcomes = Vec::new();
    for (probability, selected) in select(&exchange, virtual_host, &mut base.notes) {
        let mut outcome = base.clone();
        outcome.probability *= probability;
        outcomes.extend(filters(&exchange, hcm, selected.as_ref(), outcome));
    }
    outcomes
}

/// The headers of the request as Envoy holds them.
fn incoming(connection: &Connection<'_>, path: &str) -> Headers {
    let request = connection.request;
    let mut headers = Headers::default();
    headers.add(":method", &request.method);
    headers.add(":path", path);
    headers.add(":authority", &request.host);
    for (name, value) in request.headers.iter() {
        let before = headers.joined(name);
        match before {
            // Crumbs of HTTP/2 are one header.
            Some(before) if name == "cookie" && request.protocol == Protocol::Http2 => {
                headers.set(name, &format!("{before}; {value}"));
            }
            Some(before) if SINGLE.contains(&name) => {
                headers.set(name, &format!("{before},{value}"));
            }
            _ => headers.add(name, value),
        }
    }
    let own = if connection.tls { "https" } else { "http" };
    if headers.first("x-forwarded-proto").is_none() {
        headers.add("x-forwarded-proto", own);
    }
    let told = headers.first("x-forwarded-proto").unwrap_or_default();
    let scheme = match told {
        // HTTP/2 says it itself.
        "http" | "https" if request.protocol != Protocol::Http2 => told.to_owned(),
        _ => own.to_owned(),
    };
    headers.add(":scheme", &scheme);
    headers
}

/// Routes a request can take and, of those with weighted clusters, the clusters.
fn select<'a>(
    exchange: &Exchange<'a>,
    host: Option<&'a VirtualHost>,
    notes: &mut Vec<String>,
) -> Vec<(f64, Option<Selected<'a>>)> {
    let Some(host) = host else {
        return vec![(1.0, None)];
    };
    let mut all = Vec::new();
    for (probability, found) in route::find(host, &exchange.headers, notes) {
        match found {
            None => all.push((probability, None)),
            Some((index, route)) => {
                for (share, selected) in action::expand(exchange, host, index, route) {
                    all.push((probability * share, Some(selected)));
                }
            }
        }
    }
    all
}

/// Lets a request through the filters in their order, and then to the router.
fn filters(
    exchange: &Exchange<'_>,
    hcm: &HttpConnectionManager,
    selected: Option<&Selected<'_>>,
    mut outcome: Outcome,
) -> Vec<Outcome> {
    if let Some(selected) = selected {
        selected.describe(&mut outcome);
        if selected.forwards() {
            // Answers of filters get the headers that answers from upstream would get.
            outcome = selected.with_response_changes(exchange, outcome);
        }
    }
    let mut ended = Vec::new();
    for filter in &hcm.http_filters {
        if filter.disabled || ONLOOKERS.contains(&filter.name.as_str()) {
            continue;
        }
        match filter.name.as_str() {
            "envoy.filters.http.fault" => {
                let Some(selected) = selected else { continue };
                let Some(config) = fault::config(selected, config(filter)) else {
                    continue;
                };
                let (aborted, share) = fault::inject(exchange, &config, &mut outcome);
                ended.extend(aborted);
                outcome.probability *= 1.0 - share;
                if share >= 1.0 {
                    return ended;
                }
            }
            "envoy.filters.http.cors" => {
                let policy = selected.and_then(cors::policy);
                let Some(policy) = policy else { continue };
                if let Some(answer) = cors::check(exchange, &policy, &mut outcome) {
                    ended.push(answer);
                    return ended;
                }
            }
            "envoy.filters.http.rbac" => {
                let rules: Option<Rbac> = config(filter).and_then(unpack);
                let rules = rules.and_then(|rules| rules.rules);
                match rbac::denies(rules.as_ref()) {
                    rbac::Verdict::Denied(policy) => {
                        let details = format!("rbac_access_denied_matched_policy[{policy}]");
                        ended.push(answered(outcome, 403, &details, "RBAC: access denied"));
                        return ended;
                    }
                    rbac::Verdict::Passed => {}
                    rbac::Verdict::Unknown => not_evaluated(&mut outcome, filter),
                }
            }
            _ => not_evaluated(&mut outcome, filter),
        }
    }
    ended.push(match selected {
        None => own_answer(exchange, outcome, 404, "route_not_found", ""),
        Some(selected) => selected.route(exchange, outcome),
    });
    ended
}

fn not_evaluated(outcome: &mut Outcome, filter: &HttpFilter) {
    outcome
        .notes
        .push(format!("filter {} is not evaluated", filter.name));
}

fn config(filter: &HttpFilter) -> Option<&Any> {
    match &filter.config_type {
        Some(http_filter::ConfigType::TypedConfig(any)) => Some(any),
        _ => None,
    }
}

fn answered(mut outcome: Outcome, status: u16, details: &str, body: &str) -> Outcome {
    outcome.fate = Fate::Answered;
    outcome.status = Some(status);
    outcome.details = Some(details.to_owned());
    outcome.body = Some(body.to_owned());
    outcome
}

/// An answer that Envoy gives in the upstream's place; a gRPC client gets it in gRPC's form.
pub(crate) fn own_answer(
    exchange: &Exchange<'_>,
    outcome: Outcome,
    status: u16,
    details: &str,
    body: &str,
) -> Outcome {
    let mut outcome = answered(outcome, status, details, body);
    if route::is_grpc(&exchange.headers) {
        let code = outcome.grpc_status.unwrap_or_else(|| grpc_status(status));
        outcome.status = Some(200);
        outcome.grpc_status = Some(code);
        outcome
            .response_headers
            .set("grpc-status", &code.to_string());
        if !body.is_empty() {
            outcome.response_headers.set("grpc-message", body);
        }
        outcome.body = Some(String::new());
    } else {
        outcome.grpc_status = None;
    }
    let mut headers = std::mem::take(&mut outcome.response_headers);
    outcome.change_response(&mut headers, &exchange.headers);
    for (name, value) in outcome.cors.iter().flat_map(Headers::iter) {
        headers.set(name, value);
    }
    outcome.response_headers = headers;
    outcome
}

/// gRPC's code for a status of HTTP.
fn grpc_status(status: u16) -> u16 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}
