//! The http routes of a `VirtualService`: which actions go together, and conditions.

use super::super::check::{Check, Shown};
use super::super::{regex_rules, text};
use super::{action, destination, gateways, headers, only_gateways, weighted};
use crate::istio::{HttpMatchRequest, HttpRoute, VirtualService};
use crate::kind::Kind;
use crate::labels::Labels;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::VirtualService];
    Error ROUTE_MISSING "vs-route-missing" "An http route has one of route, redirect, directResponse and delegate";
    Error ROUTE_AND_REDIRECT "vs-route-and-redirect" "An http route has not both route and redirect";
    Error FAULT_AND_REDIRECT "vs-fault-and-redirect" "An http route has not both fault and redirect";
    Error REWRITE_AND_REDIRECT "vs-rewrite-and-redirect" "An http route has not both rewrite and redirect";
    Error REDIRECT_AND_RESPONSE "vs-redirect-and-response" "An http route has not both redirect and directResponse";
    Error ROUTE_AND_RESPONSE "vs-route-and-response" "An http route has not both route and directResponse";
    Error FAULT_AND_RESPONSE "vs-fault-and-response" "An http route has not both fault and directResponse";
    Error REWRITE_AND_RESPONSE "vs-rewrite-and-response" "An http route has not both rewrite and directResponse";
    Error ROOT_ROUTE "vs-delegate-and-route" "An http route that delegates has no route";
    Error ROOT_REDIRECT "vs-delegate-and-redirect" "An http route that delegates has no redirect";
    Error DELEGATE_NESTED "vs-delegate-nested" "A delegate does not delegate further";
    Error (own) DELEGATE_NAME "vs-delegate-name" "A delegate has a name";
    Error MIRRORS "vs-mirror-and-mirrors" "An http route has not both mirror and mirrors";
    Error MATCH_HEADER "vs-match-header" "A header in a match is letters, digits, '-' and '_', or a claim such as @request.auth.claims.sub";
    Error MATCH_CLAIM "vs-match-claim" "Claims are matched at gateways only; a sidecar has none when it picks a route";
    Error MATCH_PORT "vs-match-port" "The port in a match is 1 to 65535";
    Error MATCH_LABELS "vs-match-labels" "sourceLabels in a match have the form of Kubernetes labels";
    Error MATCH_NAMESPACE "vs-match-namespace" "sourceNamespace in a match is 1 to 63 letters, digits and inner dashes";
    Error TIMEOUT "vs-timeout" "A timeout is at least 1ms and whole milliseconds; without a timeout there is none";
}

/// Checks the http routes.
pub(super) fn check(service: &VirtualService, check: &mut Check<'_>, spec: &Path<'_>) {
    let at = spec.key("http");
    let nested = service.hosts.is_empty();
    let claims = only_gateways(service);
    for (index, route) in service.http.iter().enumerate() {
        let at = at.index(index);
        actions(check, &at, route, nested);
        for (number, condition) in route.matches.iter().enumerate() {
            let field = at.key("match");
            request(check, &field.index(number), condition, claims);
        }
        headers::check(check, &at.key("headers"), route.headers.as_ref());
        let to = route.route.iter().map(|to| (&to.destination, to.weight));
        weighted(check, &at.key("route"), to);
        for (number, to) in route.route.iter().enumerate() {
            let field = at.key("route");
            let field = field.index(number);
            headers::check(check, &field.key("headers"), to.headers.as_ref());
        }
        if let Some(mirror) = &route.mirror {
            destination(check, &at.key("mirror"), mirror);
        }
        for (number, mirror) in route.mirrors.iter().enumerate() {
            let field = at.key("mirrors");
            let field = field.index(number);
            destination(check, &field.key("destination"), &mirror.destination);
        }
        check.duration(&TIMEOUT, &at.key("timeout"), route.timeout);
        action::check(check, &at, route);
    }
}

/// Which actions go together.
fn actions(check: &mut Check<'_>, at: &Path<'_>, route: &HttpRoute, nested: bool) {
    let routed = !route.route.is_empty();
    let redirect = route.redirect.is_some();
    let response = route.direct_response.is_some();
    let fault = route.fault.is_some();
    let rewrite = route.rewrite.is_some();
    let both: &[_] = if let Some(delegate) = &route.delegate {
        let field = at.key("delegate");
        check.tell_if(
            nested,
            &DELEGATE_NESTED,
            &field,
            "a delegate must not delegate further",
        );
        let name = delegate.name.is_empty();
        check.tell_if(
            name,
            &DELEGATE_NAME,
            &field.key("name"),
            "a delegate must have a name",
        );
        &[
            (routed, &ROOT_ROUTE, "delegate and route"),
            (redirect, &ROOT_REDIRECT, "delegate and redirect"),
        ]
    } else {
        let mirrors = route.mirror.is_some() && !route.mirrors.is_empty();
        let nothing = !routed && !redirect && !response;
        check.tell_if(
            nothing,
            &ROUTE_MISSING,
            at,
            "one of route, redirect, directResponse and delegate is needed",
        );
        &[
            (
                redirect && routed,
                &ROUTE_AND_REDIRECT,
                "route and redirect",
            ),
            (redirect && fault, &FAULT_AND_REDIRECT, "fault and redirect"),
            (
                redirect && rewrite,
                &REWRITE_AND_REDIRECT,
                "rewrite and redirect",
            ),
            (
                redirect && response,
                &REDIRECT_AND_RESPONSE,
                "redirect and directResponse",
            ),
            (
                response && !redirect && routed,
                &ROUTE_AND_RESPONSE,
                "route and directResponse",
            ),
            (
                response && !redirect && fault,
                &FAULT_AND_RESPONSE,
                "fault and directResponse",
            ),
            (
                response && !redirect && rewrite,
                &REWRITE_AND_RESPONSE,
                "rewrite and directResponse",
            ),
            (mirrors, &MIRRORS, "mirror and mirrors"),
        ]
    };
    for (broken, rule, pair) in both {
        if *broken {
            check.tell(rule, at, format_args!("{pair} must not be together"));
        }
    }
}

/// One condition.
fn request(check: &mut Check<'_>, at: &Path<'_>, condition: &HttpMatchRequest, claims: bool) {
    for (field, all) in [
        ("headers", &condition.headers),
        ("withoutHeaders", &condition.without_headers),
    ] {
        let at = at.key(field);
        for (name, value) in all {
            let at = at.key(name);
            if text::is_claim(name) {
                let reason =
                    "claims can be matched only where all gateways are named and mesh is not";
                check.tell_if(!claims, &MATCH_CLAIM, &at, reason);
            } else if !text::is_header_name(name) {
                let reason = format_args!("{} is not the name of a header", Shown(name));
                check.tell(&MATCH_HEADER, &at, reason);
            }
            regex_rules::value(check, &at, value);
        }
    }
    for (name, value) in &condition.query_params {
        let field = at.key("queryParams");
        regex_rules::value(check, &field.key(name), value);
    }
    if let Some(uri) = &condition.uri {
        regex_rules::path(check, &at.key("uri"), uri);
    }
    for (field, value) in [
        ("scheme", &condition.scheme),
        ("method", &condition.method),
        ("authority", &condition.authority),
    ] {
        if let Some(value) = value {
            regex_rules::value(check, &at.key(field), value);
        }
    }
    if let Some(port) = condition.port.filter(|port| *port != 0) {
        check.port(&MATCH_PORT, &at.key("port"), port);
    }
    source_labels(check, at, &condition.source_labels);
    gateways(check, &at.key("gateways"), &condition.gateways);
    if let Some(namespace) = condition.source_namespace.as_deref()
        && !namespace.is_empty()
        && !text::is_label(namespace)
    {
        let reason = format_args!("{} is not a namespace", Shown(namespace));
        check.tell(&MATCH_NAMESPACE, &at.key("sourceNamespace"), reason);
    }
}

/// Labels of clients.
pub(super) fn source_labels(check: &mut Check<'_>, at: &Path<'_>, labels: &Labels) {
    if let Err((key, reason)) = text::workload_labels(labels) {
        let at = at.key("sourceLabels");
        check.tell(&MATCH_LABELS, &at.key(key), reason);
    }
}
