//! Rules of regular expressions, wherever they are.

use super::check::{Check, Shown};
use super::re2;
use crate::istio::StringMatch;
use crate::kind::Kind;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::VirtualService, Kind::EnvoyFilter];
    Error REGEX_EMPTY "regex-empty" "A regular expression is not empty";
    Error REGEX_LONG "regex-long" "A regular expression is at most 1,024 bytes long";
    Error REGEX_SYNTAX "regex-syntax" "A regular expression has the syntax of RE2, which Envoy uses: no lookaround, no back references, repeats up to 1,000";
    Error (own) REGEX_SIZE "regex-size" "A regular expression compiles to no more than the 32,768 instructions Envoy takes; for one that is larger it would refuse the whole route configuration";
    Error MATCH_PREFIX_EMPTY "match-prefix-empty" "A prefix of a header, query parameter, method, scheme or authority is not empty; Envoy refuses it";
}

/// A match may be empty, and a lone `*` says that the value is there.
pub(super) fn value(check: &mut Check<'_>, at: &Path<'_>, condition: &StringMatch) {
    match condition {
        StringMatch::Prefix(text) => {
            check.tell_if(
                text.is_empty(),
                &MATCH_PREFIX_EMPTY,
                &at.key("prefix"),
                "a prefix must not be empty",
            );
        }
        StringMatch::Regex(pattern) if pattern == "*" => {}
        StringMatch::Regex(pattern) => expression(check, &at.key("regex"), pattern),
        StringMatch::Exact(_) | StringMatch::Present => {}
    }
}

/// A match of a path: every prefix is allowed.
pub(super) fn path(check: &mut Check<'_>, at: &Path<'_>, condition: &StringMatch) {
    if let StringMatch::Regex(pattern) = condition {
        expression(check, &at.key("regex"), pattern);
    }
}

/// An expression.
pub(super) fn expression(check: &mut Check<'_>, at: &Path<'_>, pattern: &str) {
    if pattern.is_empty() {
        check.tell(&REGEX_EMPTY, at, "a regular expression must not be empty");
        return;
    }
    if pattern.len() > re2::LONGEST {
        let reason = format_args!(
            "a regular expression must not be longer than {} bytes, this one has {}",
            re2::LONGEST,
            pattern.len()
        );
        check.tell(&REGEX_LONG, at, reason);
        return;
    }
    match re2::check(pattern) {
        Ok(()) => {}
        Err(error @ re2::Error::Syntax { .. }) => {
            check.tell(
                &REGEX_SYNTAX,
                at,
                format_args!("{}: {error}", Shown(pattern)),
            );
        }
        Err(error @ re2::Error::Large(_)) => {
            check.tell(&REGEX_SIZE, at, format_args!("{}: {error}", Shown(pattern)));
        }
    }
}
