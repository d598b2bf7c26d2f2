//! Conditions of routes: path, headers, query parameters.

use std::collections::BTreeMap;

use reef_config::istio::{HttpMatchRequest, StringMatch};
use xds_api::envoy::config::route::v3 as rds;
use xds_api::envoy::r#type::matcher::v3 as matching;

use rds::header_matcher::HeaderMatchSpecifier;
use rds::query_parameter_matcher::QueryParameterMatchSpecifier;
use rds::route_match::PathSpecifier;

/// The filter whose metadata holds what a token claims.
const JWT: &str = "envoy.filters.http.jwt_authn";

/// The condition of a route; without one it matches every request.
pub(super) fn message(condition: Option<&HttpMatchRequest>) -> rds::RouteMatch {
    let Some(condition) = condition else {
        return rds::RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
            ..Default::default()
        };
    };
    let mut message = rds::RouteMatch {
        path_specifier: Some(path(condition.uri.as_ref())),
        case_sensitive: Some(!condition.ignore_uri_case),
        ..Default::default()
    };
    add_headers(&condition.headers, false, &mut message);
    add_headers(&condition.without_headers, true, &mut message);
    // Stable: what must be there comes before what must not.
    message.headers.sort_by(|a, b| a.name.cmp(&b.name));
    let pseudo = [
        (":method", &condition.method),
        (":authority", &condition.authority),
        (":scheme", &condition.scheme),
    ];
    for (name, value) in pseudo {
        let matcher = value.as_ref().map(|value| header(name, value, false));
        message.headers.extend(matcher);
    }
    message.query_parameters = condition
        .query_params
        .iter()
        .map(|(name, value)| rds::QueryParameterMatcher {
            name: name.clone(),
            query_parameter_match_specifier: Some(text(value).map_or(
                QueryParameterMatchSpecifier::PresentMatch(true),
                QueryParameterMatchSpecifier::StringMatch,
            )),
        })
        .collect();
    message
}

fn path(uri: Option<&StringMatch>) -> PathSpecifier {
    match uri {
        None | Some(StringMatch::Present) => PathSpecifier::Prefix("/".to_owned()),
        Some(StringMatch::Exact(path)) => PathSpecifier::Path(path.clone()),
        Some(StringMatch::Prefix(prefix)) => PathSpecifier::Prefix(prefix.clone()),
        Some(StringMatch::Regex(pattern)) => PathSpecifier::SafeRegex(regex(pattern)),
    }
}

fn add_headers(
    headers: &BTreeMap<String, StringMatch>,
    inverted: bool,
    message: &mut rds::RouteMatch,
) {
    for (name, value) in headers {
        match claims(name) {
            Some(path) => message.dynamic_metadata.push(claim(path, value, inverted)),
            None => message.headers.push(header(name, value, inverted)),
        }
    }
}

fn header(name: &str, value: &StringMatch, inverted: bool) -> rds::HeaderMatcher {
    let text = text(value);
    rds::HeaderMatcher {
        name: name.to_owned(),
        invert_match: inverted,
        treat_missing_header_as_empty: inverted && text.is_some(),
        header_match_specifier: Some(text.map_or(
            HeaderMatchSpecifier::PresentMatch(true),
            HeaderMatchSpecifier::StringMatch,
        )),
    }
}

/// A matcher of a text; `None` if it only has to be there.
fn text(value: &StringMatch) -> Option<matching::StringMatcher> {
    match value {
        StringMatch::Present => None,
        StringMatch::Regex(pattern) if pattern == "*" => None,
        // Envoy refuses an empty prefix.
        StringMatch::Prefix(prefix) if prefix.is_empty() => None,
        some => Some(string(some)),
    }
}

/// A matcher of a text that says something about it.
pub(super) fn string(value: &StringMatch) -> matching::StringMatcher {
    use matching::string_matcher::MatchPattern;
    matching::StringMatcher {
        match_pattern: Some(match value {
            StringMatch::Exact(text) => MatchPattern::Exact(text.clone()),
            StringMatch::Prefix(prefix) => MatchPattern::Prefix(prefix.clone()),
            StringMatch::Regex(pattern) => MatchPattern::SafeRegex(regex(pattern)),
            StringMatch::Present => MatchPattern::SafeRegex(regex(".*")),
        }),
        ..Default::default()
    }
}

/// An expression in RE2's syntax, for the whole of a text.
pub(super) fn regex(pattern: &str) -> matching::RegexMatcher {
    matching::RegexMatcher {
        regex: pattern.to_owned(),
        ..Default::default()
    }
}

/// The path of a claim, if a header's name stands for one: `@request.auth.claims.a.b` or
/// `@request.auth.claims[a][b]`.
fn claims(name: &str) -> Option<Vec<&str>> {
    let rest = name.strip_prefix("@request.auth.claims")?;
    if let Some(dotted) = rest.strip_prefix('.') {
        return Some(dotted.split('.').collect());
    }
    let inner = rest.strip_prefix('[')?.strip_suffix(']')?;
    Some(inner.split("][").collect())
}

/// A condition on a claim of a token: a text, or one of a list of texts.
fn claim(path: Vec<&str>, value: &StringMatch, inverted: bool) -> matching::MetadataMatcher {
    use matching::value_matcher::MatchPattern;
    let segments =
        std::iter::once("payload")
            .chain(path)
            .map(|key| matching::metadata_matcher::PathSegment {
                segment: Some(matching::metadata_matcher::path_segment::Segment::Key(
                    key.to_owned(),
                )),
            });
    let pattern = |pattern| matching::ValueMatcher {
        match_pattern: Some(pattern),
    };
    let value = match text(value) {
        None => pattern(MatchPattern::PresentMatch(true)),
        Some(text) => {
            let one = pattern(MatchPattern::StringMatch(text));
            let some = pattern(MatchPattern::ListMatch(Box::new(matching::ListMatcher {
                match_pattern: Some(matching::list_matcher::MatchPattern::OneOf(Box::new(
                    one.clone(),
                ))),
            })));
            pattern(MatchPattern::OrMatch(matching::OrMatcher {
                value_matchers: vec![one, some],
            }))
        }
    };
    matching::MetadataMatcher {
        filter: JWT.to_owned(),
        path: segments.collect(),
        value: Some(value),
        invert: inverted,
    }
}
