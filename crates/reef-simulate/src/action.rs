//! What a route does with a request that takes it.

use std::time::Duration;

use xds_api::Any;
use xds_api::envoy::config::core::v3::data_source::Specifier;
use xds_api::envoy::config::route::v3::route::Action;
use xds_api::envoy::config::route::v3::route_action::hash_policy::PolicySpecifier;
use xds_api::envoy::config::route::v3::route_action::{
    ClusterNotFoundResponseCode, ClusterSpecifier, HashPolicy, HostRewriteSpecifier,
};
use xds_api::envoy::config::route::v3::weighted_cluster::{ClusterWeight, cluster_weight};
use xds_api::envoy::config::route::v3::{
    DirectResponseAction, RetryPolicy, Route, RouteAction, VirtualHost,
};
use xds_api::well_known;

use crate::answer::Outcome;
use crate::format::Context;
use crate::headers::{HeaderChanges, Headers};
use crate::http::{self, Exchange};
use crate::path::without_query;
use crate::{cluster, matcher, objects, redirect, route};

/// Envoy's time limit for a route that has none written.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

/// A route and, if it has weighted clusters, the one that chance took.
#[derive(Debug, Clone)]
pub(crate) struct Selected<'a> {
    pub(crate) host: &'a VirtualHost,
    pub(crate) index: usize,
    pub(crate) route: &'a Route,
    pub(crate) weight: Option<&'a ClusterWeight>,
    pub(crate) cluster: Option<String>,
}

/// The clusters of a route, each with its share.
pub(crate) fn expand<'a>(
    exchange: &Exchange<'a>,
    host: &'a VirtualHost,
    index: usize,
    route: &'a Route,
) -> Vec<(f64, Selected<'a>)> {
    let selected = |weight, cluster| Selected {
        host,
        index,
        route,
        weight,
        cluster,
    };
    let Some(Action::Route(action)) = &route.action else {
        return vec![(1.0, selected(None, None))];
    };
    let header = |name: &str| exchange.headers.first(name).unwrap_or_default().to_owned();
    match &action.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => vec![(1.0, selected(None, Some(name.clone())))],
        Some(ClusterSpecifier::ClusterHeader(name)) => {
            vec![(1.0, selected(None, Some(header(name))))]
        }
        Some(ClusterSpecifier::WeightedClusters(all)) => {
            let weight = |one: &ClusterWeight| f64::from(one.weight.unwrap_or(0));
            let total: f64 = all.clusters.iter().map(weight).sum();
            let each = all.clusters.iter().filter(|one| weight(one) > 0.0);
            each.map(|one| {
                let name = match one.name.is_empty() {
                    false => one.name.clone(),
                    true => header(&one.cluster_header),
                };
                (weight(one) / total, selected(Some(one), Some(name)))
            })
            .collect()
        }
        _ => vec![(1.0, selected(None, None))],
    }
}

impl Selected<'_> {
    /// The configuration of a filter for this route: of the most specific place that has one.
    pub(crate) fn filter_config(&self, name: &str) -> Option<&Any> {
        let weight = self
            .weight
            .and_then(|one| one.typed_per_filter_config.get(name));
        weight
            .or_else(|| self.route.typed_per_filter_config.get(name))
            .or_else(|| self.host.typed_per_filter_config.get(name))
    }

    /// Notes in an outcome which route it is.
    pub(crate) fn describe(&self, outcome: &mut Outcome) {
        outcome.route = Some(self.route.name.clone());
        outcome.route_index = Some(self.index);
        if let Some(object) = objects::of(self.route.metadata.as_ref())
            && !outcome.objects.contains(&object)
        {
            outcome.objects.push(object);
        }
        outcome.cluster.clone_from(&self.cluster);
    }

    /// Whether it leads to a cluster.
    pub(crate) fn forwards(&self) -> bool {
        matches!(self.route.action, Some(Action::Route(_)))
    }

    /// Carries out the route.
    pub(crate) fn route(&self, exchange: &Exchange<'_>, outcome: Outcome) -> Outcome {
        match &self.route.action {
            Some(Action::Route(action)) => self.forward(exchange, action, outcome),
            Some(Action::Redirect(action)) => {
                let (status, location) = redirect::location(self.route, action, &exchange.headers);
                let mut outcome = self.with_response_changes(exchange, outcome);
                outcome.location = Some(location.clone());
                outcome.response_headers.set("location", &location);
                http::own_answer(exchange, outcome, status, "direct_response", "")
            }
            Some(Action::DirectResponse(action)) => {
                let outcome = self.with_response_changes(exchange, outcome);
                let status = u16::try_from(action.status).unwrap_or(500);
                let body = body(action);
                http::own_answer(exchange, outcome, status, "direct_response", &body)
            }
            // Envoy accepts no such route from a server.
            _ => http::own_answer(exchange, outcome, 404, "route_not_found", ""),
        }
    }

    /// The changes to headers, most specific level first: that is the order Envoy makes them in.
    fn changes(&self, exchange: &Exchange<'_>, request: bool) -> Vec<HeaderChanges> {
        let (host, route, all) = (self.host, self.route, exchange.routes);
        let of = |put, remove| HeaderChanges::new(put, remove);
        let mut levels = Vec::new();
        if request {
            levels.extend(
                self.weight
                    .map(|one| of(&one.request_headers_to_add, &one.request_headers_to_remove)),
            );
            levels.push(of(
                &route.request_headers_to_add,
                &route.request_headers_to_remove,
            ));
            levels.push(of(
                &host.request_headers_to_add,
                &host.request_headers_to_remove,
            ));
            levels.push(of(
                &all.request_headers_to_add,
                &all.request_headers_to_remove,
            ));
        } else {
            levels.extend(self.weight.map(|one| {
                of(
                    &one.response_headers_to_add,
                    &one.response_headers_to_remove,
                )
            }));
            levels.push(of(
                &route.response_headers_to_add,
                &route.response_headers_to_remove,
            ));
            levels.push(of(
                &host.response_headers_to_add,
                &host.response_headers_to_remove,
            ));
            levels.push(of(
                &all.response_headers_to_add,
                &all.response_headers_to_remove,
            ));
        }
        if all.most_specific_header_mutations_wins {
            let weight = usize::from(self.weight.is_some());
            levels.get_mut(weight..).unwrap_or_default().reverse();
        }
        levels.retain(|changes| !changes.is_empty());
        levels
    }

    pub(crate) fn with_response_changes(
        &self,
        exchange: &Exchange<'_>,
        mut outcome: Outcome,
    ) -> Outcome {
        outcome.response_changes = self.changes(exchange, false);
        outcome
    }

    fn forward(&self, exchange: &Exchange<'_>, action: &RouteAction, outcome: Outcome) -> Outcome {
        let mut outcome = outcome;
        outcome.timeout = Some(action.timeout.as_ref().map_or(DEFAULT_TIMEOUT, duration));
        let retry = action
            .retry_policy
            .as_ref()
            .or(self.host.retry_policy.as_ref());
        retries(retry, &mut outcome);
        outcome.mirrors = self.mirrors(exchange, action);
        self.rewrite(exchange, action, &mut outcome);
        grpc_timeout(exchange, action, &mut outcome);
        let known = cluster::reach(&exchange.connection, &mut outcome);
        if !known {
            let status = match action.cluster_not_found_response_code() {
                ClusterNotFoundResponseCode::ServiceUnavailable => 503,
                ClusterNotFoundResponseCode::NotFound => 404,
                ClusterNotFoundResponseCode::InternalServerError => 500,
            };
            return http::own_answer(exchange, outcome, status, "cluster_not_found", "");
        }
        let name = outcome.cluster.as_deref().unwrap_or_default();
        let config = exchange.connection.config.clusters.get(name);
        if config.is_some_and(cluster::hashes) {
            outcome.hash_policies = action.hash_policy.iter().map(hash_policy).collect();
        }
        if outcome.endpoints.is_empty() {
            let details = "no_healthy_upstream";
            return http::own_answer(exchange, outcome, 503, details, "no healthy upstream");
        }
        outcome.response_headers = outcome.response_to(&Headers::default());
        outcome.response_headers_removed = outcome
            .response_changes
            .iter()
            .flat_map(|changes| changes.removed().iter().cloned())
            .collect();
        outcome
    }

    /// Changes headers, host and path, in this order.
    fn rewrite(&self, exchange: &Exchange<'_>, action: &RouteAction, outcome: &mut Outcome) {
        let mut headers = exchange.headers.clone();
        let before = headers.clone();
        let context = Context {
            request: &before,
            protocol: exchange.protocol,
            route: &self.route.name,
            cluster: self.cluster.as_deref().unwrap_or_default(),
        };
        for (index, changes) in self.changes(exchange, true).iter().enumerate() {
            let now = headers.clone();
            let context = Context {
                request: if index == 0 { &before } else { &now },
                ..context
            };
            changes.apply(&mut headers, &context);
        }
        let weight = self
            .weight
            .and_then(|one| one.host_rewrite_specifier.as_ref());
        if let Some(cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(host)) = weight {
            headers.set(":authority", host);
        }
        rewrite_host(action, &mut headers, outcome);
        let host = before.first(":authority").unwrap_or_default();
        let rewritten = action.host_rewrite_specifier.is_some();
        if rewritten && headers.first("x-envoy-original-host").is_none() {
            headers.set("x-envoy-original-host", host);
        }
        self.rewrite_path(action, &mut headers);
        outcome.host = headers.first(":authority").unwrap_or_default().to_owned();
        outcome.path = headers.first(":path").unwrap_or_default().to_owned();
        outcome.headers = headers
            .iter()
            .filter(|(name, _)| !name.starts_with(':') && *name != "x-forwarded-proto")
            .collect();
    }

    fn rewrite_path(&self, action: &RouteAction, headers: &mut Headers) {
        let old = headers.first(":path").unwrap_or_default().to_owned();
        let new = if let Some(rule) = &action.regex_rewrite {
            regex_rewrite(rule, &old)
        } else if action.prefix_rewrite.is_empty() {
            return;
        } else {
            let replaced = route::replaced(self.route.r#match.as_ref(), &old).len();
            let (_, rest) = old.split_at(replaced);
            format!("{}{rest}", action.prefix_rewrite)
        };
        headers.set("x-envoy-original-path", &old);
        headers.set(":path", &new);
    }

    fn mirrors(
        &self,
        exchange: &Exchange<'_>,
        action: &RouteAction,
    ) -> std::collections::BTreeMap<String, f64> {
        let levels = [
            &action.request_mirror_policies,
            &self.host.request_mirror_policies,
            &exchange.routes.request_mirror_policies,
        ];
        let policies = levels.into_iter().find(|one| !one.is_empty());
        let mut found: std::collections::BTreeMap<String, f64> = std::collections::BTreeMap::new();
        for policy in policies.into_iter().flatten() {
            let name = match policy.cluster.is_empty() {
                false => policy.cluster.clone(),
                true => exchange
                    .headers
                    .first(&policy.cluster_header)
                    .unwrap_or_default()
                    .to_owned(),
            };
            let percent = matcher::runtime_fraction(policy.runtime_fraction.as_ref()) * 100.0;
            // Two copies to one cluster are twice as many.
            *found.entry(name).or_default() += percent;
        }
        found
    }
}

fn rewrite_host(action: &RouteAction, headers: &mut Headers, outcome: &mut Outcome) {
    match &action.host_rewrite_specifier {
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) if !host.is_empty() => {
            headers.set(":authority", host);
        }
        Some(HostRewriteSpecifier::HostRewriteHeader(name)) => {
            if let Some(host) = headers.first(name).map(str::to_owned) {
                headers.set(":authority", &host);
            }
        }
        Some(HostRewriteSpecifier::HostRewritePathRegex(rule)) => {
            let path = headers.first(":path").unwrap_or_default();
            let host = matcher::substitute(rule, without_query(path));
            headers.set(":authority", &host);
        }
        Some(HostRewriteSpecifier::AutoHostRewrite(true)) => outcome
            .notes
            .push("the host becomes the endpoint's name".to_owned()),
        _ => {}
    }
}

/// Rewrites the path and leaves the query.
pub(crate) fn regex_rewrite(
    rule: &xds_api::envoy::r#type::matcher::v3::RegexMatchAndSubstitute,
    path: &str,
) -> String {
    let (path, query) = path.split_at(without_query(path).len());
    format!("{}{query}", matcher::substitute(rule, path))
}

fn retries(policy: Option<&RetryPolicy>, outcome: &mut Outcome) {
    let used = policy.filter(|policy| !policy.retry_on.is_empty());
    outcome.attempts = Some(used.map_or(1, |policy| policy.num_retries.unwrap_or(1) + 1));
    outcome.retry_on = used.map(|policy| policy.retry_on.clone());
    let per_try = policy.and_then(|policy| policy.per_try_timeout.as_ref());
    outcome.per_try_timeout = per_try.map(duration).filter(|time| !time.is_zero());
}

/// Of gRPC the client's limit counts, if the route has a limit of limits; the upstream is told the result.
fn grpc_timeout(exchange: &Exchange<'_>, action: &RouteAction, outcome: &mut Outcome) {
    let Some(most) = action.max_grpc_timeout.as_ref().map(duration) else {
        return;
    };
    if !route::is_grpc(&exchange.headers) {
        return;
    }
    let told = exchange.headers.first("grpc-timeout");
    let told = told.and_then(read_grpc_timeout).unwrap_or_default();
    let limit = match (told.is_zero(), most.is_zero()) {
        (true, _) => most,
        (false, true) => told,
        (false, false) => told.min(most),
    };
    outcome.timeout = Some(limit);
    let each = outcome
        .per_try_timeout
        .filter(|each| *each < limit || limit.is_zero());
    let expected = each.unwrap_or(limit);
    if !expected.is_zero() {
        let text = format!("{}m", expected.as_millis());
        outcome.headers.set("grpc-timeout", &text);
    }
}

fn read_grpc_timeout(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// A duration; one below zero is none.
pub(crate) fn duration(value: &well_known::Duration) -> Duration {
    Duration::try_from(*value).unwrap_or_default()
}

fn body(action: &DirectResponseAction) -> String {
    match action
        .body
        .as_ref()
        .and_then(|body| body.specifier.as_ref())
    {
        Some(Specifier::InlineString(text)) => text.clone(),
        Some(Specifier::InlineBytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}

fn hash_policy(policy: &HashPolicy) -> String {
    match &policy.policy_specifier {
        Some(PolicySpecifier::Header(header)) => format!("header {}", header.header_name),
        Some(PolicySpecifier::Cookie(cookie)) => format!("cookie {}", cookie.name),
        Some(PolicySpecifier::ConnectionProperties(_)) => "source_ip".to_owned(),
        Some(PolicySpecifier::QueryParameter(one)) => format!("query {}", one.name),
        Some(PolicySpecifier::FilterState(state)) => format!("filter_state {}", state.key),
        None => "nothing".to_owned(),
    }
}
