//! Joins a route that delegates with the routes of its delegate.
//!
//! A delegate narrows its root: each of its conditions must lie within some condition of the root,
//! and what it does not say itself is as the root says it.

use std::collections::BTreeMap;

use reef_config::Labels;
use reef_config::istio::{HttpMatchRequest, HttpRoute, StringMatch};

/// The delegate's route under the root's conditions, or why it has no effect.
pub(super) fn merge(root: &HttpRoute, delegate: HttpRoute) -> Result<HttpRoute, &'static str> {
    if delegate.delegate.is_some() {
        return Err("a delegate's route can't delegate");
    }
    let matches = conditions(&root.matches, delegate.matches)
        .ok_or("a condition lies outside those of the root's route")?;
    Ok(HttpRoute {
        name: joined(root.name.as_deref(), delegate.name.as_deref()),
        matches,
        rewrite: delegate.rewrite.or_else(|| root.rewrite.clone()),
        direct_response: delegate
            .direct_response
            .or_else(|| root.direct_response.clone()),
        timeout: delegate.timeout.or(root.timeout),
        retries: delegate.retries.or_else(|| root.retries.clone()),
        fault: delegate.fault.or_else(|| root.fault.clone()),
        mirror: delegate.mirror.or_else(|| root.mirror.clone()),
        mirror_percent: delegate.mirror_percent.or(root.mirror_percent),
        mirror_percentage: delegate
            .mirror_percentage
            .or_else(|| root.mirror_percentage.clone()),
        mirrors: if delegate.mirrors.is_empty() {
            root.mirrors.clone()
        } else {
            delegate.mirrors
        },
        cors_policy: delegate.cors_policy.or_else(|| root.cors_policy.clone()),
        headers: delegate.headers.or_else(|| root.headers.clone()),
        route: delegate.route,
        redirect: delegate.redirect,
        delegate: None,
    })
}

fn joined(root: Option<&str>, own: Option<&str>) -> Option<String> {
    let given = |name: Option<&str>| name.filter(|name| !name.is_empty()).map(str::to_owned);
    match (given(root), given(own)) {
        (Some(root), Some(own)) => Some(format!("{root}-{own}")),
        (root, own) => own.or(root),
    }
}

/// All pairs of conditions that agree; `None` if one of the delegate's agrees with none.
fn conditions(
    root: &[HttpMatchRequest],
    own: Vec<HttpMatchRequest>,
) -> Option<Vec<HttpMatchRequest>> {
    if root.is_empty() {
        return Some(own);
    }
    if own.is_empty() {
        return Some(root.to_vec());
    }
    let mut all = Vec::new();
    for mine in &own {
        let before = all.len();
        all.extend(
            root.iter()
                .filter(|root| !conflict(root, mine))
                .map(|root| both(root, mine)),
        );
        if all.len() == before {
            return None;
        }
    }
    Some(all)
}

fn both(root: &HttpMatchRequest, own: &HttpMatchRequest) -> HttpMatchRequest {
    fn either<T: Clone>(own: Option<&T>, root: Option<&T>) -> Option<T> {
        own.or(root).cloned()
    }
    fn maps<T: Clone>(
        root: &BTreeMap<String, T>,
        own: &BTreeMap<String, T>,
    ) -> BTreeMap<String, T> {
        let mut all = root.clone();
        all.extend(
            own.iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        all
    }
    let labels = root.source_labels.iter().chain(own.source_labels.iter());
    let text = |own: &Option<String>, root: &Option<String>| {
        let own = own.as_ref().filter(|text| !text.is_empty());
        either(own, root.as_ref())
    };
    HttpMatchRequest {
        name: joined(root.name.as_deref(), own.name.as_deref()),
        uri: either(own.uri.as_ref(), root.uri.as_ref()),
        scheme: either(own.scheme.as_ref(), root.scheme.as_ref()),
        method: either(own.method.as_ref(), root.method.as_ref()),
        authority: either(own.authority.as_ref(), root.authority.as_ref()),
        headers: maps(&root.headers, &own.headers),
        without_headers: maps(&root.without_headers, &own.without_headers),
        query_params: maps(&root.query_params, &own.query_params),
        port: own.port.filter(|port| *port != 0).or(root.port),
        source_labels: labels
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect::<Labels>(),
        source_namespace: text(&own.source_namespace, &root.source_namespace),
        gateways: if own.gateways.is_empty() {
            root.gateways.clone()
        } else {
            own.gateways.clone()
        },
        ignore_uri_case: own.ignore_uri_case,
        stat_prefix: text(&own.stat_prefix, &root.stat_prefix),
    }
}

/// True if requests for the delegate's condition may lie outside the root's.
fn conflict(root: &HttpMatchRequest, own: &HttpMatchRequest) -> bool {
    let texts = [
        (&root.uri, &own.uri),
        (&root.scheme, &own.scheme),
        (&root.method, &own.method),
        (&root.authority, &own.authority),
    ];
    let maps = [
        (&root.headers, &own.headers),
        (&root.without_headers, &own.without_headers),
        (&root.query_params, &own.query_params),
    ];
    let given = |port: Option<u32>| port.filter(|port| *port != 0);
    let namespace = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    texts
        .into_iter()
        .any(|(root, own)| differ(root.as_ref(), own.as_ref()))
        || maps.into_iter().any(|(root, own)| {
            own.iter()
                .any(|(name, value)| differ(root.get(name), Some(value)))
        })
        || root.ignore_uri_case != own.ignore_uri_case
        || unequal(given(root.port), given(own.port))
        || unequal(
            namespace(&root.source_namespace),
            namespace(&own.source_namespace),
        )
        || own.source_labels.iter().any(|(key, value)| {
            root.source_labels
                .get(key)
                .is_some_and(|root| root != value)
        })
        || (!root.gateways.is_empty()
            && own
                .gateways
                .iter()
                .any(|gateway| !root.gateways.contains(gateway)))
}

fn unequal<T: PartialEq>(root: Option<T>, own: Option<T>) -> bool {
    root.zip(own).is_some_and(|(root, own)| root != own)
}

/// True if a text may fit the delegate's condition and not the root's. Of expressions nothing is
/// known, so both may not have one beside another condition.
fn differ(root: Option<&StringMatch>, own: Option<&StringMatch>) -> bool {
    let (Some(root), Some(own)) = (root, own) else {
        return false;
    };
    match (root, own) {
        (StringMatch::Exact(root), StringMatch::Exact(own)) => root != own,
        (StringMatch::Prefix(root), StringMatch::Prefix(own) | StringMatch::Exact(own)) => {
            !own.starts_with(root.as_str())
        }
        _ => true,
    }
}
