//! `EnvoyFilter`, as far as its form goes: what it patches in is Envoy's to judge.

use super::check::Check;
use super::{regex_rules, selector};
use crate::istio::{
    ApplyTo, EnvoyConfigObjectPatch, EnvoyFilter, ListenerMatch, ObjectMatch, Patch, PatchOperation,
};
use crate::kind::Kind;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::EnvoyFilter];
    Error APPLY_TO "ef-apply-to" "A patch has applyTo";
    Error PATCH "ef-patch" "A patch has a patch";
    Error OPERATION "ef-operation" "A patch has an operation";
    Error VALUE "ef-value" "A patch has a value, unless it removes";
    Error MATCH_LISTENER "ef-match-listener" "What is applied to listeners, filter chains and filters matches listeners";
    Error MATCH_ROUTE "ef-match-route" "What is applied to routes and virtual hosts matches route configurations";
    Error MATCH_CLUSTER "ef-match-cluster" "What is applied to clusters matches clusters";
    Error FILTER_NAME "ef-filter-name" "A match of a filter has its name";
    Error SUB_FILTER "ef-sub-filter" "A match of a subFilter goes with applyTo HTTP_FILTER";
    Error SUB_FILTER_IN "ef-sub-filter-in" "A match of a subFilter is inside envoy.filters.network.http_connection_manager";
    Error SUB_FILTER_NAME "ef-sub-filter-name" "A match of a subFilter has its name";
    Warning FILTER_USELESS "ef-filter-useless" "A match of a filter goes with applyTo NETWORK_FILTER and HTTP_FILTER";
    Warning ("IST0151") RELATIVE "ef-relative" "A patch relative to another filter's goes with a priority: filters of one level have no other order";
    Warning ("IST0152") REPLACE "ef-replace" "REPLACE is for HTTP_FILTER and NETWORK_FILTER";
    Warning ("IST0153") ADD "ef-add" "ADD is not for ROUTE_CONFIGURATION and HTTP_ROUTE";
    Warning ("IST0154") REMOVE "ef-remove" "REMOVE is not for ROUTE_CONFIGURATION and HTTP_ROUTE";
}

/// Names of the filter that holds HTTP filters, the old one included.
const MANAGERS: [&str; 2] = [
    "envoy.filters.network.http_connection_manager",
    "envoy.http_connection_manager",
];

/// Checks an `EnvoyFilter`.
pub(super) fn check(filter: &EnvoyFilter, check: &mut Check<'_>) {
    let root = Path::Root;
    let spec = root.key("spec");
    let selector = filter.workload_selector.as_ref();
    selector::workload(check, &spec.key("workloadSelector"), selector);
    let field = spec.key("configPatches");
    for (index, patch) in filter.config_patches.iter().enumerate() {
        one(check, &field.index(index), patch, filter.priority);
    }
}

fn one(check: &mut Check<'_>, at: &Path<'_>, patch: &EnvoyConfigObjectPatch, priority: i32) {
    if patch.apply_to == ApplyTo::Invalid {
        check.tell(
            &APPLY_TO,
            &at.key("applyTo"),
            "what is patched must be said",
        );
        return;
    }
    let field = at.key("patch");
    let Some(change) = &patch.patch else {
        check.tell(&PATCH, &field, "a patch is needed");
        return;
    };
    if change.operation == PatchOperation::Invalid {
        check.tell(
            &OPERATION,
            &field.key("operation"),
            "an operation is needed",
        );
        return;
    }
    if change.operation != PatchOperation::Remove && change.value.is_none() {
        check.tell(&VALUE, &field.key("value"), "a value is needed");
        return;
    }
    operations(
        check,
        &field.key("operation"),
        patch.apply_to,
        change,
        priority,
    );
    let Some(condition) = &patch.object_match else {
        return;
    };
    let at = at.key("match");
    let version = condition
        .proxy
        .as_ref()
        .and_then(|proxy| proxy.proxy_version.as_deref());
    if let Some(version) = version.filter(|version| !version.is_empty()) {
        let field = at.key("proxy");
        regex_rules::expression(check, &field.key("proxyVersion"), version);
    }
    matches(check, &at, patch.apply_to, condition);
}

fn operations(
    check: &mut Check<'_>,
    at: &Path<'_>,
    apply_to: ApplyTo,
    change: &Patch,
    priority: i32,
) {
    let filters = matches!(apply_to, ApplyTo::HttpFilter | ApplyTo::NetworkFilter);
    let routes = matches!(apply_to, ApplyTo::RouteConfiguration | ApplyTo::HttpRoute);
    match change.operation {
        PatchOperation::InsertBefore | PatchOperation::InsertAfter => {
            let reason = "whether the filter beside which this is put is there yet depends on order; set a priority";
            check.tell_if(priority == 0, &RELATIVE, at, reason);
        }
        PatchOperation::Replace => {
            let reason = "only HTTP_FILTER and NETWORK_FILTER can be replaced";
            check.tell_if(!filters, &REPLACE, at, reason);
            let reason = "whether what this replaces is there yet depends on order; set a priority";
            check.tell_if(filters && priority == 0, &RELATIVE, at, reason);
        }
        PatchOperation::Add => check.tell_if(routes, &ADD, at, "this has no effect here"),
        PatchOperation::Remove => check.tell_if(routes, &REMOVE, at, "this has no effect here"),
        _ => {}
    }
}

fn matches(check: &mut Check<'_>, at: &Path<'_>, apply_to: ApplyTo, condition: &ObjectMatch) {
    let (listener, route, cluster) = (
        condition.listener.is_some(),
        condition.route_configuration.is_some(),
        condition.cluster.is_some(),
    );
    match apply_to {
        ApplyTo::Listener | ApplyTo::FilterChain | ApplyTo::NetworkFilter | ApplyTo::HttpFilter => {
            let other = !listener && (route || cluster);
            check.tell_if(other, &MATCH_LISTENER, at, "listener is needed here");
            if let Some(listener) = &condition.listener {
                listener_match(check, &at.key("listener"), apply_to, listener);
            }
        }
        ApplyTo::RouteConfiguration | ApplyTo::VirtualHost | ApplyTo::HttpRoute => {
            let other = !route && (listener || cluster);
            check.tell_if(other, &MATCH_ROUTE, at, "routeConfiguration is needed here");
        }
        ApplyTo::Cluster => {
            let other = !cluster && (listener || route);
            check.tell_if(other, &MATCH_CLUSTER, at, "cluster is needed here");
        }
        _ => {}
    }
}

fn listener_match(
    check: &mut Check<'_>,
    at: &Path<'_>,
    apply_to: ApplyTo,
    condition: &ListenerMatch,
) {
    let chain = condition.filter_chain.as_ref();
    let Some(filter) = chain.and_then(|chain| chain.filter.as_ref()) else {
        return;
    };
    let at = at.key("filterChain");
    let at = at.key("filter");
    let whole = matches!(apply_to, ApplyTo::Listener | ApplyTo::FilterChain);
    let reason = "a match of a filter has no effect here";
    check.tell_if(whole, &FILTER_USELESS, &at, reason);
    let name = filter.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        check.tell(&FILTER_NAME, &at.key("name"), "a name is needed");
        return;
    }
    let Some(sub_filter) = &filter.sub_filter else {
        return;
    };
    let field = at.key("subFilter");
    if apply_to != ApplyTo::HttpFilter {
        check.tell(
            &SUB_FILTER,
            &field,
            "this goes with applyTo HTTP_FILTER only",
        );
    } else if !MANAGERS.contains(&name) {
        check.tell(
            &SUB_FILTER_IN,
            &at.key("name"),
            "no filter of this name has others in it",
        );
    } else if sub_filter.name.as_deref().unwrap_or_default().is_empty() {
        check.tell(&SUB_FILTER_NAME, &field.key("name"), "a name is needed");
    }
}
