//! Messages of the routes of a `VirtualService`.

use std::collections::BTreeMap;

use reef_config::istio::{HttpMatchRequest, HttpRoute, StringMatch};
use xds_api::envoy::config::route::v3 as rds;
use xds_api::well_known;

use super::table::{Table, TableRoute};
use super::{RoutePolicy, action, condition, filters, headers};
use crate::xds;

/// Messages of all routes of a table, in order.
pub(crate) fn routes(table: &Table, policy: &RoutePolicy) -> Vec<rds::Route> {
    let metadata = metadata(table);
    table
        .routes
        .iter()
        .map(|route| message(table, route, policy, &metadata))
        .collect()
}

fn message(
    table: &Table,
    route: &TableRoute,
    policy: &RoutePolicy,
    metadata: &xds_api::envoy::config::core::v3::Metadata,
) -> rds::Route {
    let condition = route.rule.condition.as_ref();
    let spec = &route.rule.action.route;
    let mut message = rds::Route {
        name: name(spec, condition),
        r#match: Some(condition::message(condition)),
        metadata: Some(metadata.clone()),
        stat_prefix: condition
            .and_then(|condition| condition.stat_prefix.clone())
            .unwrap_or_default(),
        typed_per_filter_config: filters::of_route(spec, policy.proxyless),
        ..Default::default()
    };
    let operations = headers::Operations::of(spec.headers.as_ref());
    let authority = operations.authority.clone();
    operations.add_to(&mut message);
    let action = if let Some(redirect) = &spec.redirect {
        rds::route::Action::Redirect(action::redirect(redirect, table.listener.port))
    } else if let Some(response) = &spec.direct_response {
        rds::route::Action::DirectResponse(action::direct_response(response))
    } else {
        let action = action::forward(route, policy, authority, &mut message);
        rds::route::Action::Route(action)
    };
    message.action = Some(action);
    message.decorator = Some(rds::Decorator {
        operation: operation(table, route),
        ..Default::default()
    });
    message
}

/// `<route>.<match>`, of which either may be missing.
fn name(route: &HttpRoute, condition: Option<&HttpMatchRequest>) -> String {
    let own = route.name.clone().unwrap_or_default();
    match condition.and_then(|condition| condition.name.as_deref()) {
        Some(name) if !name.is_empty() => format!("{own}.{name}"),
        _ => own,
    }
}

/// What it is called in traces: the destination, or the `VirtualService` if that is not one, and the
/// path.
fn operation(table: &Table, route: &TableRoute) -> String {
    let uri = route
        .rule
        .condition
        .as_ref()
        .and_then(|condition| condition.uri.as_ref());
    let path = match uri {
        None | Some(StringMatch::Present) => "/*".to_owned(),
        Some(StringMatch::Prefix(prefix)) => format!("{prefix}*"),
        Some(StringMatch::Exact(text) | StringMatch::Regex(text)) => text.clone(),
    };
    let spec = &route.rule.action.route;
    let forwards = spec.redirect.is_none() && spec.direct_response.is_none();
    if let [cluster] = &*route.destinations
        && forwards
        && let [_, port, _, host] = cluster.split('|').collect::<Vec<_>>()[..]
    {
        return format!("{host}:{port}{path}");
    }
    format!("{}:{}{path}", table.object.name, table.listener.port)
}

/// Where the `VirtualService` is in the Kubernetes API.
fn metadata(table: &Table) -> xds_api::envoy::config::core::v3::Metadata {
    let path = format!(
        "/apis/networking.istio.io/v1/namespaces/{}/virtual-service/{}",
        table.object.namespace, table.object.name
    );
    let fields: BTreeMap<String, well_known::Value> =
        BTreeMap::from([("config".to_owned(), xds::text(path))]);
    xds::istio_metadata(fields)
}
