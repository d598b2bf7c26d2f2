//! Requests across origins.

use xds_api::envoy::extensions::filters::http::cors::v3::CorsPolicy;

use crate::action::Selected;
use crate::answer::{Fate, Outcome};
use crate::config::unpack;
use crate::headers::Headers;
use crate::http::Exchange;
use crate::matcher;

/// The policy of a route.
pub(crate) fn policy(selected: &Selected<'_>) -> Option<CorsPolicy> {
    unpack(selected.filter_config("envoy.filters.http.cors")?)
}

/// Answers a preflight request, or notes what the answer to another gets.
pub(crate) fn check(
    exchange: &Exchange<'_>,
    policy: &CorsPolicy,
    outcome: &mut Outcome,
) -> Option<Outcome> {
    let enabled = policy.filter_enabled.is_none()
        || matcher::runtime_fraction(policy.filter_enabled.as_ref()) >= 1.0;
    let origin = exchange.headers.first("origin").unwrap_or_default();
    if !enabled || origin.is_empty() {
        return None;
    }
    let allowed = policy
        .allow_origin_string_match
        .iter()
        .any(|one| matcher::string(one, "*") || matcher::string(one, origin));
    let mut headers = Headers::default();
    if allowed {
        headers.add("access-control-allow-origin", origin);
        if policy.allow_credentials == Some(true) {
            headers.add("access-control-allow-credentials", "true");
        }
    }
    let asked = exchange.headers.first("access-control-request-method");
    let preflight = exchange.headers.first(":method") == Some("OPTIONS")
        && asked.is_some_and(|method| !method.is_empty());
    if allowed && !policy.expose_headers.is_empty() {
        headers.add("access-control-expose-headers", &policy.expose_headers);
    }
    if !preflight {
        if allowed {
            outcome.cors = Some(headers);
        }
        return None;
    }
    if !allowed && policy.forward_not_matching_preflights.unwrap_or(true) {
        return None;
    }
    // Even to an origin that is not allowed.
    if policy.allow_credentials == Some(true) {
        headers.set("access-control-allow-credentials", "true");
    }
    for (name, value) in [
        ("access-control-allow-methods", &policy.allow_methods),
        ("access-control-allow-headers", &policy.allow_headers),
        ("access-control-max-age", &policy.max_age),
    ] {
        if !value.is_empty() {
            headers.add(name, value);
        }
    }
    let mut answer = outcome.clone();
    answer.fate = Fate::Answered;
    answer.status = Some(200);
    answer.body = Some(String::new());
    answer.details = Some("cors_response".to_owned());
    answer.response_headers = headers;
    Some(answer)
}
