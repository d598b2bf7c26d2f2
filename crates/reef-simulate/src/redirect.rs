//! Where a redirect leads.

use xds_api::envoy::config::route::v3::redirect_action::{
    PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier,
};
use xds_api::envoy::config::route::v3::{RedirectAction, Route};

use crate::action::regex_rewrite;
use crate::headers::Headers;
use crate::host::port_start;
use crate::path::without_query;
use crate::route::replaced;

/// Status and location.
pub(crate) fn location(route: &Route, action: &RedirectAction, headers: &Headers) -> (u16, String) {
    let status = match action.response_code() {
        RedirectResponseCode::MovedPermanently => 301,
        RedirectResponseCode::Found => 302,
        RedirectResponseCode::SeeOther => 303,
        RedirectResponseCode::TemporaryRedirect => 307,
        RedirectResponseCode::PermanentRedirect => 308,
    };
    let scheme = match &action.scheme_rewrite_specifier {
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => "https",
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) if !scheme.is_empty() => scheme,
        _ => headers.first(":scheme").unwrap_or("http"),
    };
    let port = match action.port_redirect {
        0 => String::new(),
        port => format!(":{port}"),
    };
    let own = headers.first(":authority").unwrap_or_default();
    let host = match action.host_redirect.as_str() {
        "" => kept_host(own, headers, scheme, !port.is_empty()),
        host => host,
    };
    let mut path = path(route, action, headers.first(":path").unwrap_or_default());
    let names_query = matches!(
        &action.path_rewrite_specifier,
        Some(PathRewriteSpecifier::PathRedirect(new)) if new.contains('?')
    );
    if action.strip_query && !names_query {
        path = without_query(&path).to_owned();
    }
    (status, format!("{scheme}://{host}{port}{path}"))
}

fn path(route: &Route, action: &RedirectAction, old: &str) -> String {
    let query = || old.split_at(without_query(old).len()).1;
    match &action.path_rewrite_specifier {
        Some(PathRewriteSpecifier::PathRedirect(new)) if !new.is_empty() => {
            if new.contains('?') {
                new.clone()
            } else {
                format!("{new}{}", query())
            }
        }
        Some(PathRewriteSpecifier::PrefixRewrite(new)) if !new.is_empty() => {
            let (_, rest) = old.split_at(replaced(route.r#match.as_ref(), old).len());
            format!("{new}{rest}")
        }
        Some(PathRewriteSpecifier::RegexRewrite(rule)) => regex_rewrite(rule, old),
        _ => old.to_owned(),
    }
}

/// The request's host; its port goes if another is given, or if it was the usual one of another scheme.
fn kept_host<'a>(host: &'a str, headers: &Headers, scheme: &str, new_port: bool) -> &'a str {
    let Some(at) = port_start(host) else {
        return host;
    };
    let (name, port) = host.split_at(at);
    let came = headers.first("x-forwarded-proto").unwrap_or_default();
    let usual = match came {
        "https" => ":443",
        "http" => ":80",
        _ => "",
    };
    if new_port || (scheme != came && port == usual) {
        name
    } else {
        host
    }
}
