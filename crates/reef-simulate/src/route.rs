//! Which route a request takes.

use xds_api::envoy::config::route::v3::route_match::PathSpecifier;
use xds_api::envoy::config::route::v3::{Route, RouteMatch, VirtualHost};

use crate::headers::Headers;
use crate::matcher;
use crate::path::without_query;

/// The routes a request can take, with their probabilities, which sum up to one; `None` for no route.
pub(crate) fn find<'a>(
    host: &'a VirtualHost,
    headers: &Headers,
    notes: &mut Vec<String>,
) -> Vec<(f64, Option<(usize, &'a Route)>)> {
    let mut found = Vec::new();
    let mut left = 1.0;
    for (index, route) in host.routes.iter().enumerate() {
        let Some(rule) = &route.r#match else { continue };
        if !matches(rule, headers, notes) {
            continue;
        }
        let share = match &rule.runtime_fraction {
            None => 1.0,
            Some(fraction) => matcher::runtime_fraction(Some(fraction)),
        };
        if share > 0.0 {
            found.push((left * share, Some((index, route))));
        }
        left *= 1.0 - share;
        if left <= 0.0 {
            return found;
        }
    }
    found.push((left, None));
    found
}

fn matches(rule: &RouteMatch, headers: &Headers, notes: &mut Vec<String>) -> bool {
    let whole = headers.first(":path").unwrap_or_default();
    if !path_matches(rule, without_query(whole)) {
        return false;
    }
    let fields = rule.headers.iter();
    if !fields.into_iter().all(|one| matcher::header(one, headers)) {
        return false;
    }
    if !rule
        .query_parameters
        .iter()
        .all(|one| matcher::query(one, whole))
    {
        return false;
    }
    if rule.grpc.is_some() && !is_grpc(headers) {
        return false;
    }
    if !rule.dynamic_metadata.is_empty()
        || !rule.cookies.is_empty()
        || !rule.filter_state.is_empty()
    {
        // Claims of a token: nobody checks tokens here, so none has any.
        notes.push("a route that asks for metadata, cookies or state was passed over".to_owned());
        return false;
    }
    true
}

/// Whether it is a request of gRPC.
pub(crate) fn is_grpc(headers: &Headers) -> bool {
    let kind = headers.first("content-type").unwrap_or_default();
    kind == "application/grpc"
        || kind.starts_with("application/grpc+")
        || kind.starts_with("application/grpc;")
}

fn path_matches(rule: &RouteMatch, path: &str) -> bool {
    let sensitive = rule.case_sensitive.unwrap_or(true);
    let fold = |text: &str| {
        if sensitive {
            text.to_owned()
        } else {
            text.to_ascii_lowercase()
        }
    };
    match &rule.path_specifier {
        Some(PathSpecifier::Prefix(wanted)) => fold(path).starts_with(&fold(wanted)),
        Some(PathSpecifier::Path(wanted)) => fold(path) == fold(wanted),
        Some(PathSpecifier::SafeRegex(wanted)) => matcher::full_match(&wanted.regex, path),
        Some(PathSpecifier::PathSeparatedPrefix(wanted)) => {
            let (path, wanted) = (fold(path), fold(wanted));
            path.strip_prefix(&wanted)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        Some(PathSpecifier::ConnectMatcher(_) | PathSpecifier::PathMatchPolicy(_)) | None => false,
    }
}

/// The part of a path that a prefix rewrite replaces.
pub(crate) fn replaced<'a>(rule: Option<&RouteMatch>, path: &'a str) -> &'a str {
    let whole = without_query(path);
    let length = match rule.and_then(|rule| rule.path_specifier.as_ref()) {
        Some(PathSpecifier::Prefix(prefix) | PathSpecifier::PathSeparatedPrefix(prefix)) => {
            prefix.len()
        }
        _ => whole.len(),
    };
    whole
        .split_at_checked(length)
        .map_or(whole, |(first, _)| first)
}
