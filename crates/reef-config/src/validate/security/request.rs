//! `RequestAuthentication`.

use serde_json::Value;

use super::super::check::{Check, Shown};
use super::super::selector::targets;
use super::super::text;
use crate::istio::{JwtRule, RequestAuthentication};
use crate::kind::Kind;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::RequestAuthentication];
    Error ISSUER "ra-issuer" "A JWT rule has an issuer";
    Error AUDIENCE "ra-audience" "An audience is not empty";
    Error KEYS_URI "ra-jwks-uri" "jwksUri begins with http:// or https:// and names a host";
    Error KEYS "ra-jwks" "jwks is a JSON object: a set of keys, or one key";
    Error HEADER "ra-header" "A header that holds a token has a name";
    Error PARAMETER "ra-parameter" "A query parameter that holds a token has a name";
    Error COOKIE "ra-cookie" "A cookie that holds a token has a name";
    Error CLAIM_EMPTY "ra-claim-empty" "An entry of outputClaimToHeaders has header and claim";
    Error CLAIM_HEADER "ra-claim-header" "The header of outputClaimToHeaders is letters, digits, '-' and '_'";
    Error TIMEOUT "ra-timeout" "The timeout of a JWT rule is at least 1ms and whole milliseconds";
}

/// Checks a `RequestAuthentication`.
pub(in super::super) fn check(policy: &RequestAuthentication, check: &mut Check<'_>) {
    let root = Path::Root;
    let spec = root.key("spec");
    let (selector, target) = (policy.selector.as_ref(), policy.target_ref.as_ref());
    targets::check(check, &spec, selector, target, &policy.target_refs);
    let field = spec.key("jwtRules");
    for (index, rule) in policy.jwt_rules.iter().enumerate() {
        jwt(check, &field.index(index), rule);
    }
}

fn jwt(check: &mut Check<'_>, at: &Path<'_>, rule: &JwtRule) {
    let none = rule.issuer.is_empty();
    check.tell_if(none, &ISSUER, &at.key("issuer"), "an issuer is needed");
    empty(
        check,
        &AUDIENCE,
        &at.key("audiences"),
        rule.audiences.iter(),
    );
    let names = rule.from_headers.iter().map(|header| &header.name);
    empty(check, &HEADER, &at.key("fromHeaders"), names);
    empty(
        check,
        &PARAMETER,
        &at.key("fromParams"),
        rule.from_params.iter(),
    );
    empty(
        check,
        &COOKIE,
        &at.key("fromCookies"),
        rule.from_cookies.iter(),
    );
    if let Some(uri) = rule.jwks_uri.as_deref().filter(|uri| !uri.is_empty()) {
        let rest = uri
            .strip_prefix("http://")
            .or_else(|| uri.strip_prefix("https://"));
        if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with(['/', ':'])) {
            let reason = format_args!("{} is not a URL of HTTP", Shown(uri));
            check.tell(&KEYS_URI, &at.key("jwksUri"), reason);
        }
    }
    if let Some(keys) = rule.jwks.as_deref().filter(|keys| !keys.is_empty()) {
        let fits = serde_json::from_str::<Value>(keys).is_ok_and(|keys| keys.is_object());
        check.tell_if(!fits, &KEYS, &at.key("jwks"), "this is not a set of keys");
    }
    let field = at.key("outputClaimToHeaders");
    for (index, output) in rule.output_claim_to_headers.iter().enumerate() {
        let at = field.index(index);
        if output.header.is_empty() || output.claim.is_empty() {
            check.tell(&CLAIM_EMPTY, &at, "both header and claim are needed");
        } else if !text::is_header_name(&output.header) {
            let reason = format_args!("{} is not the name of a header", Shown(&output.header));
            check.tell(&CLAIM_HEADER, &at.key("header"), reason);
        }
    }
    check.duration(&TIMEOUT, &at.key("timeout"), rule.timeout);
}

fn empty<'n>(
    check: &mut Check<'_>,
    rule: &'static super::Rule,
    at: &Path<'_>,
    names: impl Iterator<Item = &'n String>,
) {
    for (index, name) in names.enumerate() {
        check.tell_if(name.is_empty(), rule, &at.index(index), "must not be empty");
    }
}
