//! What happens to a request: it is forwarded, redirected or answered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use reef_config::istio::{
    HttpDirectResponse, HttpRedirect, HttpRoute, Percent, RedirectPortSelection,
};
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::config::route::v3 as rds;
use xds_api::envoy::r#type::matcher::v3 as matching;
use xds_api::envoy::r#type::v3::FractionalPercent;

use rds::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
use rds::route_action::{ClusterSpecifier, HostRewriteSpecifier, RequestMirrorPolicy};
use rds::weighted_cluster::{ClusterWeight, cluster_weight};

use super::hash::HashPolicy;
use super::retry::Retries;
use super::table::TableRoute;
use super::{RoutePolicy, condition, filters, headers};
use crate::xds;

/// The redirect; requests came in on `port`.
pub(super) fn redirect(redirect: &HttpRedirect, port: u16) -> rds::RedirectAction {
    let scheme = redirect
        .scheme
        .as_deref()
        .filter(|scheme| !scheme.is_empty());
    let own = match redirect.derive_port {
        Some(RedirectPortSelection::FromRequestPort) => u32::from(port),
        _ => redirect.port.unwrap_or_default(),
    };
    let needless = matches!(
        (own, scheme.unwrap_or("http")),
        (80, "http") | (443, "https")
    );
    rds::RedirectAction {
        host_redirect: redirect.authority.clone().unwrap_or_default(),
        port_redirect: if needless { 0 } else { own },
        scheme_rewrite_specifier: scheme
            .map(|scheme| SchemeRewriteSpecifier::SchemeRedirect(scheme.to_owned())),
        path_rewrite_specifier: redirect
            .uri
            .clone()
            .filter(|uri| !uri.is_empty())
            .map(PathRewriteSpecifier::PathRedirect),
        response_code: code(redirect).unwrap_or_default().into(),
        ..Default::default()
    }
}

fn code(redirect: &HttpRedirect) -> Option<RedirectResponseCode> {
    match redirect.redirect_code.unwrap_or_default() {
        0 | 301 => Some(RedirectResponseCode::MovedPermanently),
        302 => Some(RedirectResponseCode::Found),
        303 => Some(RedirectResponseCode::SeeOther),
        307 => Some(RedirectResponseCode::TemporaryRedirect),
        308 => Some(RedirectResponseCode::PermanentRedirect),
        _ => None,
    }
}

/// The answer without upstream.
pub(super) fn direct_response(response: &HttpDirectResponse) -> rds::DirectResponseAction {
    let body = response.body.as_ref().and_then(|body| {
        let text = body.string.clone().filter(|text| !text.is_empty());
        let bytes = || {
            let bytes = BASE64.decode(body.bytes.as_deref()?).ok()?;
            (!bytes.is_empty())
                .then(|| core::data_source::Specifier::InlineBytes(Bytes::from(bytes)))
        };
        text.map(core::data_source::Specifier::InlineString)
            .or_else(bytes)
    });
    rds::DirectResponseAction {
        status: response.status,
        body: body.map(|specifier| core::DataSource {
            specifier: Some(specifier),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Forwarding; header changes of a single destination become those of the route.
pub(super) fn forward(
    route: &TableRoute,
    policy: &RoutePolicy,
    authority: Option<String>,
    message: &mut rds::Route,
) -> rds::RouteAction {
    let spec = &route.rule.action.route;
    let time = spec.timeout.map_or(xds::ZERO, |time| xds::duration(time.0));
    let mut authority = authority;
    let specifier = if let ([to], [cluster]) = (&*spec.route, &*route.destinations) {
        let operations = headers::Operations::of(to.headers.as_ref());
        authority = operations.authority.clone().or(authority);
        operations.add_to(message);
        ClusterSpecifier::Cluster(cluster.to_string())
    } else {
        ClusterSpecifier::WeightedClusters(shares(route))
    };
    let rewrite = spec.rewrite.as_ref();
    let regex = rewrite.and_then(|rewrite| rewrite.uri_regex_rewrite.as_ref());
    let given = |text: Option<&String>| text.cloned().filter(|text| !text.is_empty());
    let authority = given(rewrite.and_then(|rewrite| rewrite.authority.as_ref())).or(authority);
    rds::RouteAction {
        cluster_specifier: Some(specifier),
        timeout: Some(time),
        max_grpc_timeout: Some(time),
        retry_policy: retries(route, policy),
        hash_policy: route.hashes.iter().map(HashPolicy::message).collect(),
        append_x_forwarded_host: policy.forwarded_host,
        prefix_rewrite: if regex.is_some() {
            String::new()
        } else {
            given(rewrite.and_then(|rewrite| rewrite.uri.as_ref())).unwrap_or_default()
        },
        regex_rewrite: regex.map(|regex| matching::RegexMatchAndSubstitute {
            pattern: Some(condition::regex(&regex.pattern)),
            substitution: regex.rewrite.clone(),
        }),
        host_rewrite_specifier: authority.map(HostRewriteSpecifier::HostRewriteLiteral),
        request_mirror_policies: mirrors(route),
        ..Default::default()
    }
}

/// Destinations with a weight; one of them is chosen for each request.
fn shares(route: &TableRoute) -> rds::WeightedCluster {
    let all = route.rule.action.route.route.iter();
    let clusters = all
        .zip(&route.destinations)
        .filter_map(|(to, cluster)| {
            let weight = u32::try_from(to.weight.unwrap_or_default()).ok()?;
            (weight > 0).then(|| {
                let operations = headers::Operations::of(to.headers.as_ref());
                let mut share = ClusterWeight {
                    name: cluster.to_string(),
                    weight: Some(weight),
                    host_rewrite_specifier: operations
                        .authority
                        .clone()
                        .map(cluster_weight::HostRewriteSpecifier::HostRewriteLiteral),
                    ..Default::default()
                };
                operations.add_to_share(&mut share);
                share
            })
        })
        .collect();
    rds::WeightedCluster {
        clusters,
        ..Default::default()
    }
}

/// When requests are sent again. Where a single destination hashes, the hash says to which host.
fn retries(route: &TableRoute, policy: &RoutePolicy) -> Option<rds::RetryPolicy> {
    let message = match &route.rule.action.route.retries {
        Some(own) => Retries::of(own).as_ref().map(Retries::message),
        None => policy.retries.as_ref().map(Retries::message),
    };
    let hashed = route.destinations.len() == 1 && !route.hashes.is_empty();
    message.map(|message| rds::RetryPolicy {
        retry_host_predicate: if hashed {
            Vec::new()
        } else {
            message.retry_host_predicate
        },
        ..message
    })
}

fn mirrors(route: &TableRoute) -> Vec<RequestMirrorPolicy> {
    let spec = &route.rule.action.route;
    let one = route.mirror.as_ref().zip(mirror_share(spec));
    let more = spec
        .mirrors
        .iter()
        .zip(&route.mirrors)
        .filter_map(|(to, cluster)| Some((cluster, share(to.percentage.as_ref())?)));
    one.into_iter()
        .chain(more)
        .map(|(cluster, share)| RequestMirrorPolicy {
            cluster: cluster.to_string(),
            runtime_fraction: Some(filters::default_of(share)),
            trace_sampled: Some(false),
            disable_shadow_host_suffix_append: true,
            ..Default::default()
        })
        .collect()
}

fn mirror_share(route: &HttpRoute) -> Option<FractionalPercent> {
    match (&route.mirror_percentage, route.mirror_percent) {
        (None, Some(percent)) => (percent > 0).then(|| filters::hundredths(Some(percent))),
        (percentage, _) => share(percentage.as_ref()),
    }
}

/// Everything if nothing is said; `None` for nothing.
fn share(percentage: Option<&Percent>) -> Option<FractionalPercent> {
    match percentage {
        None => Some(filters::hundredths(Some(100))),
        Some(share) if share.value > 0.0 => Some(filters::millionths(share)),
        Some(_) => None,
    }
}
