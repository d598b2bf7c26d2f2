//! Header operations of http routes and their destinations.

use std::collections::BTreeMap;

use super::super::check::{Check, Shown};
use super::super::header_value;
use crate::istio::{HeaderOperations, Headers, HttpRoute};
use crate::kind::Kind;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::VirtualService];
    Error HEADER_EMPTY "vs-header-empty" "A header operation names a header";
    Error HEADER_REQUEST "vs-header-request" "A request's headers that begin with a colon are not set or added, :authority apart";
    Error HEADER_RESPONSE "vs-header-response" "Host and headers that begin with a colon are not removed, nor changed in a response";
    Error HEADER_CONTROL "vs-header-control" "The value of a header has no control characters";
    Error HEADER_FORMAT "vs-header-format" "In the value of a header a % begins a command, and %% is the character";
    Error (own) HEADER_LONG "vs-header-long" "The value of a header is at most 16,384 bytes long; Envoy refuses more";
    Error AUTHORITY_TWICE "vs-authority-twice" "The authority is rewritten in one place: rewrite.authority, or one operation on Host or :authority";
}

/// Checks the operations of one place.
pub(super) fn check(check: &mut Check<'_>, at: &Path<'_>, headers: Option<&Headers>) {
    let Some(headers) = headers else { return };
    if let Some(request) = &headers.request {
        operations(check, &at.key("request"), request, true);
    }
    if let Some(response) = &headers.response {
        operations(check, &at.key("response"), response, false);
    }
}

fn operations(check: &mut Check<'_>, at: &Path<'_>, all: &HeaderOperations, request: bool) {
    for (field, headers) in [("set", &all.set), ("add", &all.add)] {
        let at = at.key(field);
        for (name, text) in headers {
            let at = at.key(name);
            if request {
                if name.is_empty() {
                    check.tell(&HEADER_EMPTY, &at, "a header must have a name");
                } else if name.starts_with(':') && !is_authority(name) {
                    let reason = format_args!("{} must not be set", Shown(name));
                    check.tell(&HEADER_REQUEST, &at, reason);
                }
            } else {
                fixed(check, &at, name);
            }
            value(check, &at, text);
        }
    }
    for (index, name) in all.remove.iter().enumerate() {
        let at = at.key("remove");
        fixed(check, &at.index(index), name);
    }
}

/// A header that is removed, or changed in a response.
fn fixed(check: &mut Check<'_>, at: &Path<'_>, name: &str) {
    if name.is_empty() {
        check.tell(&HEADER_EMPTY, at, "a header must have a name");
    } else if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        let reason = format_args!("{} must not be changed here", Shown(name));
        check.tell(&HEADER_RESPONSE, at, reason);
    }
}

fn value(check: &mut Check<'_>, at: &Path<'_>, text: &str) {
    if text.len() > header_value::LONGEST {
        let reason = format_args!(
            "the value must not be longer than {} bytes, this one has {}",
            header_value::LONGEST,
            text.len()
        );
        check.tell(&HEADER_LONG, at, reason);
    } else if header_value::has_control(text) {
        check.tell(
            &HEADER_CONTROL,
            at,
            "the value must not have control characters",
        );
    } else {
        check.tell_err(&HEADER_FORMAT, at, text, header_value::format(text));
    }
}

fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case(":authority") || name.eq_ignore_ascii_case("host")
}

/// The authority is changed in one place.
pub(super) fn authority(check: &mut Check<'_>, at: &Path<'_>, route: &HttpRoute) {
    let rewrite = route
        .rewrite
        .as_ref()
        .and_then(|rewrite| rewrite.authority.as_deref());
    let request = route
        .headers
        .as_ref()
        .and_then(|headers| headers.request.as_ref());
    let changes = |all: &BTreeMap<String, String>| {
        all.iter()
            .filter(|(name, value)| is_authority(name) && !value.is_empty())
            .count()
    };
    let operations = request.map_or(0, |request| changes(&request.set) + changes(&request.add));
    let places = usize::from(rewrite.is_some_and(|text| !text.is_empty())) + operations;
    let reason = "the authority must be changed in one place only";
    check.tell_if(places > 1, &AUTHORITY_TWICE, at, reason);
}
