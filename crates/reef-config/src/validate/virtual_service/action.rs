//! What an http route does: redirect, direct response, rewrite, retries, faults, mirrors, CORS.

use super::super::check::{Check, Shown};
use super::super::{regex_rules, text};
use super::headers;
use crate::istio::{
    CorsPolicy, HttpDirectResponse, HttpFaultInjection, HttpRedirect, HttpRetry, HttpRewrite,
    HttpRoute, Percent, StringMatch,
};
use crate::kind::Kind;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::VirtualService];
    Error REDIRECT_EMPTY "vs-redirect-empty" "A redirect changes something: uri, authority, scheme or port";
    Error REDIRECT_CODE "vs-redirect-code" "The status of a redirect is 300 to 399";
    Error REDIRECT_SCHEME "vs-redirect-scheme" "The scheme of a redirect is http or https";
    Error REDIRECT_PORT "vs-redirect-port" "The port of a redirect is 1 to 65535";
    Error REDIRECT_PORTS "vs-redirect-ports" "A redirect has not both port and derivePort";
    Error RESPONSE_STATUS "vs-response-status" "The status of a direct response is 200 to 599";
    Error RESPONSE_LARGE "vs-response-large" "The body of a direct response is at most 1 MiB";
    Warning RESPONSE_BIG "vs-response-big" "The body of a direct response is at most 100 KiB: every proxy that may use the route gets it";
    Error RESPONSE_BODIES "vs-response-bodies" "The body of a direct response has not both string and bytes";
    Error RETRY_ATTEMPTS "vs-retry-attempts" "The attempts of retries are not negative";
    Error RETRY_OFF "vs-retry-off" "Retries with 0 attempts, which is none, have no further settings";
    Error RETRY_TIMEOUT "vs-retry-timeout" "perTryTimeout is at least 1ms and whole milliseconds";
    Error RETRY_BACKOFF "vs-retry-backoff" "backoff is at least 1ms and whole milliseconds";
    Error RETRY_ON "vs-retry-on" "retryOn is a list of Envoy's conditions and of statuses, with commas and without spaces";
    Error REWRITE_EMPTY "vs-rewrite-empty" "A rewrite has uri, uriRegexRewrite or authority";
    Error REWRITE_BOTH "vs-rewrite-both" "A rewrite has not both uri and uriRegexRewrite";
    Error REWRITE_REGEX "vs-rewrite-regex" "uriRegexRewrite has both match and rewrite";
    Error FAULT_EMPTY "vs-fault-empty" "A fault has a delay or an abort";
    Error FAULT_PERCENT "vs-fault-percent" "The percentage of a fault is 0, or 0.0001 to 100";
    Error FAULT_STATUS "vs-fault-status" "The status of an abort is 200 to 599";
    Error FAULT_GRPC "vs-fault-grpc" "The gRPC status of an abort is one of gRPC's, such as NOT_FOUND";
    Error FAULT_HTTP2 "vs-fault-http2" "http2Error is not supported";
    Warning FAULT_KIND "vs-fault-kind" "An abort has httpStatus or grpcStatus; else it does nothing";
    Error FAULT_KINDS "vs-fault-kinds" "An abort has not more than one of httpStatus, grpcStatus and http2Error";
    Error FAULT_DELAY "vs-fault-delay" "fixedDelay is at least 1ms and whole milliseconds";
    Error FAULT_EXPONENTIAL "vs-fault-exponential" "exponentialDelay is not supported";
    Error MIRROR_PERCENT "vs-mirror-percent" "The percentage of a mirror is 0 to 100";
    Warning MIRROR_OLD "vs-mirror-percent-old" "mirrorPercentage is used instead of mirrorPercent";
    Error CORS_ORIGIN "vs-cors-origin" "An allowed origin is not empty";
    Error CORS_METHOD "vs-cors-method" "An allowed method is one of HTTP, in capitals";
    Error CORS_HEADER "vs-cors-header" "Allowed and exposed headers are *, or letters, digits, '-' and '_'";
    Error CORS_AGE "vs-cors-age" "maxAge is at least 1s and whole seconds";
    Error (own) TEXT_CONTROL "vs-text-control" "A new path or authority has no line break and no NUL; Envoy refuses them";
}

/// From so many bytes on a body is refused.
const LARGE_BODY: usize = 1 << 20;

/// From so many bytes on a body is worth a warning.
const BIG_BODY: usize = 100 << 10;

/// Conditions of retries that Envoy knows.
const RETRY_CONDITIONS: [&str; 16] = [
    "5xx",
    "cancelled",
    "connect-failure",
    "deadline-exceeded",
    "envoy-ratelimited",
    "gateway-error",
    "http3-post-connect-failure",
    "internal",
    "refused-stream",
    "reset",
    "reset-before-request",
    "resource-exhausted",
    "retriable-4xx",
    "retriable-headers",
    "retriable-status-codes",
    "unavailable",
];

/// gRPC's statuses.
const GRPC_STATUSES: [&str; 17] = [
    "ABORTED",
    "ALREADY_EXISTS",
    "CANCELLED",
    "DATA_LOSS",
    "DEADLINE_EXCEEDED",
    "FAILED_PRECONDITION",
    "INTERNAL",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "OK",
    "OUT_OF_RANGE",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "UNAUTHENTICATED",
    "UNAVAILABLE",
    "UNIMPLEMENTED",
    "UNKNOWN",
];

/// Methods of HTTP, and `*` for any.
const METHODS: [&str; 10] = [
    "*", "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
];

/// Checks what a route does.
pub(super) fn check(check: &mut Check<'_>, at: &Path<'_>, route: &HttpRoute) {
    if let Some(redirect) = &route.redirect {
        redirects(check, &at.key("redirect"), redirect);
    }
    if let Some(response) = &route.direct_response {
        responds(check, &at.key("directResponse"), response);
    }
    if let Some(retries) = &route.retries {
        retried(check, &at.key("retries"), retries);
    }
    if let Some(rewrite) = &route.rewrite {
        rewrites(check, &at.key("rewrite"), rewrite);
    }
    headers::authority(check, at, route);
    if let Some(fault) = &route.fault {
        faults(check, &at.key("fault"), fault);
    }
    mirrored(check, at, route);
    if let Some(cors) = &route.cors_policy {
        cross_origin(check, &at.key("corsPolicy"), cors);
    }
}

fn set(text: Option<&String>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

fn plain(check: &mut Check<'_>, at: &Path<'_>, field: &str, text: Option<&String>) {
    if let Some(text) = text
        && text.contains(['\0', '\r', '\n'])
    {
        check.tell(
            &TEXT_CONTROL,
            &at.key(field),
            "a line break or NUL is not allowed",
        );
    }
}

fn redirects(check: &mut Check<'_>, at: &Path<'_>, to: &HttpRedirect) {
    let something = set(to.uri.as_ref())
        || set(to.authority.as_ref())
        || set(to.scheme.as_ref())
        || to.port.is_some()
        || to.derive_port.is_some();
    let reason = "one of uri, authority, scheme, port and derivePort is needed";
    check.tell_if(!something, &REDIRECT_EMPTY, at, reason);
    plain(check, at, "uri", to.uri.as_ref());
    plain(check, at, "authority", to.authority.as_ref());
    if let Some(code) = to.redirect_code
        && code != 0
        && !(300..=399).contains(&code)
    {
        let reason = format_args!("{code} is not a status of redirects, which is 300 to 399");
        check.tell(&REDIRECT_CODE, &at.key("redirectCode"), reason);
    }
    if let Some(scheme) = to.scheme.as_deref()
        && !["", "http", "https"].contains(&scheme)
    {
        let reason = format_args!("{} is neither http nor https", Shown(scheme));
        check.tell(&REDIRECT_SCHEME, &at.key("scheme"), reason);
    }
    if let Some(port) = to.port.filter(|port| *port != 0) {
        check.port(&REDIRECT_PORT, &at.key("port"), port);
    }
    let both = to.port.is_some() && to.derive_port.is_some();
    check.tell_if(
        both,
        &REDIRECT_PORTS,
        at,
        "port and derivePort must not be together",
    );
}

fn responds(check: &mut Check<'_>, at: &Path<'_>, response: &HttpDirectResponse) {
    if !(200..=599).contains(&response.status) {
        let reason = format_args!("{} is not a status, which is 200 to 599", response.status);
        check.tell(&RESPONSE_STATUS, &at.key("status"), reason);
    }
    let Some(body) = &response.body else { return };
    let at = at.key("body");
    let both = body.string.is_some() && body.bytes.is_some();
    check.tell_if(
        both,
        &RESPONSE_BODIES,
        &at,
        "string and bytes must not be together",
    );
    let text = body.string.as_ref().map_or(0, String::len);
    // Base64 has four characters for three bytes.
    let bytes = body.bytes.as_ref().map_or(0, |bytes| bytes.len() / 4 * 3);
    let size = text.max(bytes);
    if size > LARGE_BODY {
        let reason =
            format_args!("a body must not be larger than 1 MiB, this one has {size} bytes");
        check.tell(&RESPONSE_LARGE, &at, reason);
    } else if size > BIG_BODY {
        let reason =
            format_args!("a body of {size} bytes is sent to every proxy that may use the route");
        check.tell(&RESPONSE_BIG, &at, reason);
    }
}

fn retried(check: &mut Check<'_>, at: &Path<'_>, retries: &HttpRetry) {
    let negative = retries.attempts < 0;
    check.tell_if(
        negative,
        &RETRY_ATTEMPTS,
        &at.key("attempts"),
        "must not be negative",
    );
    let settings = retries.per_try_timeout.is_some()
        || set(retries.retry_on.as_ref())
        || retries.retry_remote_localities.is_some();
    check.tell_if(
        retries.attempts == 0 && settings,
        &RETRY_OFF,
        at,
        "0 attempts turn retries off, so no other setting counts",
    );
    check.duration(
        &RETRY_TIMEOUT,
        &at.key("perTryTimeout"),
        retries.per_try_timeout,
    );
    check.duration(&RETRY_BACKOFF, &at.key("backoff"), retries.backoff);
    let conditions = retries.retry_on.as_deref().filter(|all| !all.is_empty());
    for condition in conditions.into_iter().flat_map(|all| all.split(',')) {
        if !RETRY_CONDITIONS.contains(&condition) && !is_known_status(condition) {
            let reason = format_args!("{} is not a condition of retries", Shown(condition));
            check.tell(&RETRY_ON, &at.key("retryOn"), reason);
        }
    }
}

/// Whether HTTP gives a status a meaning.
fn is_known_status(text: &str) -> bool {
    matches!(
        text.parse::<u16>(),
        Ok(
            100..=103
            | 200..=208
            | 226
            | 300..=305
            | 307
            | 308
            | 400..=418
            | 421..=426
            | 428
            | 429
            | 431
            | 451
            | 500..=508
            | 510
            | 511,
        )
    )
}

fn rewrites(check: &mut Check<'_>, at: &Path<'_>, rewrite: &HttpRewrite) {
    let uri = set(rewrite.uri.as_ref());
    let regex = rewrite.uri_regex_rewrite.as_ref();
    let nothing = !uri && regex.is_none() && !set(rewrite.authority.as_ref());
    let reason = "one of uri, uriRegexRewrite and authority is needed";
    check.tell_if(nothing, &REWRITE_EMPTY, at, reason);
    let both = uri && regex.is_some();
    check.tell_if(
        both,
        &REWRITE_BOTH,
        at,
        "uri and uriRegexRewrite must not be together",
    );
    plain(check, at, "uri", rewrite.uri.as_ref());
    plain(check, at, "authority", rewrite.authority.as_ref());
    if let Some(regex) = regex {
        let at = at.key("uriRegexRewrite");
        if regex.pattern.is_empty() || regex.rewrite.is_empty() {
            check.tell(&REWRITE_REGEX, &at, "both match and rewrite are needed");
        } else {
            regex_rules::expression(check, &at.key("match"), &regex.pattern);
        }
        plain(check, &at, "rewrite", Some(&regex.rewrite));
    }
}

fn percent(check: &mut Check<'_>, at: &Path<'_>, percent: Option<&Percent>) {
    let Some(Percent { value }) = percent else {
        return;
    };
    let fits = *value == 0.0 || (0.0001..=100.0).contains(value);
    if !fits {
        let reason = format_args!("{value} is neither 0 nor 0.0001 to 100");
        check.tell(&FAULT_PERCENT, &at.key("percentage"), reason);
    }
}

fn faults(check: &mut Check<'_>, at: &Path<'_>, fault: &HttpFaultInjection) {
    let nothing = fault.abort.is_none() && fault.delay.is_none();
    check.tell_if(nothing, &FAULT_EMPTY, at, "a delay or an abort is needed");
    if let Some(abort) = &fault.abort {
        let at = at.key("abort");
        percent(check, &at, abort.percentage.as_ref());
        let kinds = usize::from(abort.http_status.is_some())
            + usize::from(abort.grpc_status.is_some())
            + usize::from(abort.http2_error.is_some());
        let reason = "httpStatus, grpcStatus and http2Error must not be together";
        check.tell_if(kinds > 1, &FAULT_KINDS, &at, reason);
        let reason = "without httpStatus or grpcStatus nothing is aborted";
        check.tell_if(kinds == 0, &FAULT_KIND, &at, reason);
        if let Some(status) = abort.http_status
            && !(200..=599).contains(&status)
        {
            let reason = format_args!("{status} is not a status, which is 200 to 599");
            check.tell(&FAULT_STATUS, &at.key("httpStatus"), reason);
        }
        if let Some(status) = abort.grpc_status.as_deref()
            && !GRPC_STATUSES.contains(&status)
        {
            let reason = format_args!("{} is not a status of gRPC", Shown(status));
            check.tell(&FAULT_GRPC, &at.key("grpcStatus"), reason);
        }
        let http2 = abort.http2_error.is_some() && kinds == 1;
        check.tell_if(
            http2,
            &FAULT_HTTP2,
            &at.key("http2Error"),
            "this is not supported",
        );
    }
    if let Some(delay) = &fault.delay {
        let at = at.key("delay");
        percent(check, &at, delay.percentage.as_ref());
        check.duration(&FAULT_DELAY, &at.key("fixedDelay"), delay.fixed_delay);
        let exponential = delay.exponential_delay.is_some();
        let field = at.key("exponentialDelay");
        check.tell_if(
            exponential,
            &FAULT_EXPONENTIAL,
            &field,
            "this is not supported",
        );
    }
}

fn mirrored(check: &mut Check<'_>, at: &Path<'_>, route: &HttpRoute) {
    if let Some(percent) = route.mirror_percent {
        let field = at.key("mirrorPercent");
        check.tell(
            &MIRROR_OLD,
            &field,
            "mirrorPercentage has taken the place of this field",
        );
        mirror_percent(check, &field, f64::from(percent));
    }
    if let Some(percent) = &route.mirror_percentage {
        mirror_percent(check, &at.key("mirrorPercentage"), percent.value);
    }
    for (index, mirror) in route.mirrors.iter().enumerate() {
        if let Some(percent) = &mirror.percentage {
            let field = at.key("mirrors");
            let field = field.index(index);
            mirror_percent(check, &field.key("percentage"), percent.value);
        }
    }
}

fn mirror_percent(check: &mut Check<'_>, at: &Path<'_>, percent: f64) {
    if !(0.0..=100.0).contains(&percent) {
        let reason = format_args!("{percent} is not a percentage, which is 0 to 100");
        check.tell(&MIRROR_PERCENT, at, reason);
    }
}

fn cross_origin(check: &mut Check<'_>, at: &Path<'_>, policy: &CorsPolicy) {
    for (index, origin) in policy.allow_origins.iter().enumerate() {
        let field = at.key("allowOrigins");
        let at = field.index(index);
        match origin {
            StringMatch::Exact(text) | StringMatch::Prefix(text) | StringMatch::Regex(text)
                if text.is_empty() =>
            {
                check.tell(&CORS_ORIGIN, &at, "an origin must not be empty");
            }
            StringMatch::Present => {
                check.tell(
                    &CORS_ORIGIN,
                    &at,
                    "one of exact, prefix and regex is needed",
                );
            }
            StringMatch::Regex(pattern) => {
                regex_rules::expression(check, &at.key("regex"), pattern);
            }
            StringMatch::Exact(_) | StringMatch::Prefix(_) => {}
        }
    }
    for (index, method) in policy.allow_methods.iter().enumerate() {
        if !METHODS.contains(&method.as_str()) {
            let field = at.key("allowMethods");
            let reason = format_args!("{} is not a method", Shown(method));
            check.tell(&CORS_METHOD, &field.index(index), reason);
        }
    }
    for (field, names) in [
        ("allowHeaders", &policy.allow_headers),
        ("exposeHeaders", &policy.expose_headers),
    ] {
        for (index, name) in names.iter().enumerate() {
            if name != "*" && !text::is_header_name(name) {
                let field = at.key(field);
                let reason = format_args!("{} is not the name of a header", Shown(name));
                check.tell(&CORS_HEADER, &field.index(index), reason);
            }
        }
    }
    if let Some(age) = policy.max_age {
        let field = at.key("maxAge");
        if age.subsec_nanos() != 0 || age.as_secs() == 0 {
            check.tell(&CORS_AGE, &field, "must be at least 1s and whole seconds");
        }
    }
}
