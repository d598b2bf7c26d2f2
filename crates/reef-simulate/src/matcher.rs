//! Envoy's matchers: of strings, headers, query parameters and fractions.

use regex::Regex;
use xds_api::envoy::config::core::v3::RuntimeFractionalPercent;
use xds_api::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use xds_api::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier;
use xds_api::envoy::config::route::v3::{HeaderMatcher, QueryParameterMatcher};
use xds_api::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use xds_api::envoy::r#type::matcher::v3::{RegexMatchAndSubstitute, StringMatcher};
use xds_api::envoy::r#type::v3::FractionalPercent;
use xds_api::envoy::r#type::v3::fractional_percent::DenominatorType;

use crate::headers::Headers;

/// Whether a regular expression matches the whole text; never, if it is none.
pub(crate) fn full_match(pattern: &str, text: &str) -> bool {
    Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|regex| regex.is_match(text))
}

/// Replaces every match, with RE2's `\1` for groups.
pub(crate) fn substitute(rule: &RegexMatchAndSubstitute, text: &str) -> String {
    let pattern = rule.pattern.as_ref().map_or("", |pattern| &pattern.regex);
    let Ok(regex) = Regex::new(pattern) else {
        return text.to_owned();
    };
    let replace = |found: &regex::Captures<'_>| {
        let mut out = String::new();
        let mut letters = rule.substitution.chars();
        while let Some(letter) = letters.next() {
            if letter != '\\' {
                out.push(letter);
                continue;
            }
            match letters.next() {
                Some(digit) if digit.is_ascii_digit() => {
                    let group = digit
                        .to_digit(10)
                        .and_then(|group| usize::try_from(group).ok());
                    out.push_str(
                        group
                            .and_then(|group| found.get(group))
                            .map_or("", |group| group.as_str()),
                    );
                }
                Some(other) => out.push(other),
                None => {}
            }
        }
        out
    };
    regex.replace_all(text, replace).into_owned()
}

/// Whether a text matches.
pub(crate) fn string(matcher: &StringMatcher, text: &str) -> bool {
    let fold = |text: &str| {
        if matcher.ignore_case {
            text.to_ascii_lowercase()
        } else {
            text.to_owned()
        }
    };
    match &matcher.match_pattern {
        Some(MatchPattern::Exact(wanted)) => fold(text) == fold(wanted),
        Some(MatchPattern::Prefix(wanted)) => fold(text).starts_with(&fold(wanted)),
        Some(MatchPattern::Suffix(wanted)) => fold(text).ends_with(&fold(wanted)),
        Some(MatchPattern::Contains(wanted)) => fold(text).contains(&fold(wanted)),
        Some(MatchPattern::SafeRegex(wanted)) => full_match(&wanted.regex, text),
        Some(MatchPattern::Custom(_)) | None => false,
    }
}

/// Whether the headers match: of several values of a name one is enough.
pub(crate) fn header(matcher: &HeaderMatcher, headers: &Headers) -> bool {
    let mut found: Vec<&str> = headers.all(&matcher.name).collect();
    if found.is_empty() && matcher.treat_missing_header_as_empty {
        found.push("");
    }
    match &matcher.header_match_specifier {
        None => found.is_empty() == matcher.invert_match,
        Some(HeaderMatchSpecifier::PresentMatch(present)) => {
            (found.is_empty() != *present) != matcher.invert_match
        }
        // A header that is not there matches neither way.
        Some(_) if found.is_empty() => false,
        Some(wanted) => {
            found.iter().any(|value| header_value(wanted, value)) != matcher.invert_match
        }
    }
}

fn header_value(wanted: &HeaderMatchSpecifier, value: &str) -> bool {
    match wanted {
        HeaderMatchSpecifier::ExactMatch(wanted) => value == wanted,
        HeaderMatchSpecifier::PrefixMatch(wanted) => value.starts_with(wanted),
        HeaderMatchSpecifier::SuffixMatch(wanted) => value.ends_with(wanted),
        HeaderMatchSpecifier::ContainsMatch(wanted) => value.contains(wanted),
        HeaderMatchSpecifier::SafeRegexMatch(wanted) => full_match(&wanted.regex, value),
        HeaderMatchSpecifier::RangeMatch(range) => value
            .parse::<i64>()
            .is_ok_and(|value| range.start <= value && value < range.end),
        HeaderMatchSpecifier::StringMatch(wanted) => string(wanted, value),
        HeaderMatchSpecifier::PresentMatch(present) => *present,
    }
}

/// Whether the query of a path matches; of a name that is there twice the first value counts.
pub(crate) fn query(matcher: &QueryParameterMatcher, path: &str) -> bool {
    let found = parameters(path)
        .into_iter()
        .find(|(name, _)| *name == matcher.name);
    match &matcher.query_parameter_match_specifier {
        None => found.is_some(),
        Some(QueryParameterMatchSpecifier::PresentMatch(present)) => found.is_some() == *present,
        Some(QueryParameterMatchSpecifier::StringMatch(wanted)) => {
            found.is_some_and(|(_, value)| string(wanted, value))
        }
    }
}

/// Names and values of a query, as written.
fn parameters(path: &str) -> Vec<(&str, &str)> {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .collect()
}

/// How many of one.
pub(crate) fn fraction(percent: &FractionalPercent) -> f64 {
    let of = match percent.denominator() {
        DenominatorType::Hundred => 100.0,
        DenominatorType::TenThousand => 10_000.0,
        DenominatorType::Million => 1_000_000.0,
    };
    (f64::from(percent.numerator) / of).min(1.0)
}

/// How many of one, at the value the configuration gives; all if it gives none.
pub(crate) fn runtime_fraction(percent: Option<&RuntimeFractionalPercent>) -> f64 {
    let value = percent.and_then(|percent| percent.default_value.as_ref());
    value.map_or(1.0, fraction)
}
