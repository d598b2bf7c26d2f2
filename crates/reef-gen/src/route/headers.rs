//! Changes of headers.

use std::collections::BTreeMap;

use reef_config::istio;
use xds_api::envoy::config::core::v3::{HeaderValue, HeaderValueOption, header_value_option};
use xds_api::envoy::config::route::v3 as rds;

use header_value_option::HeaderAppendAction;

/// Changes of requests and responses, in Envoy's terms.
#[derive(Debug, Default)]
pub(super) struct Operations {
    request_add: Vec<HeaderValueOption>,
    request_remove: Vec<String>,
    response_add: Vec<HeaderValueOption>,
    response_remove: Vec<String>,
    /// The host upstreams are asked for, if that is changed.
    pub authority: Option<String>,
}

impl Operations {
    pub(super) fn of(headers: Option<&istio::Headers>) -> Self {
        let request = headers.and_then(|headers| headers.request.as_ref());
        let response = headers.and_then(|headers| headers.response.as_ref());
        Self {
            request_add: request.map(additions).unwrap_or_default(),
            request_remove: request.map(removals).unwrap_or_default(),
            response_add: response.map(additions).unwrap_or_default(),
            response_remove: response.map(removals).unwrap_or_default(),
            authority: request
                .and_then(|request| authority(&request.set).or_else(|| authority(&request.add))),
        }
    }

    /// Adds the changes to those of a route.
    pub(super) fn add_to(self, route: &mut rds::Route) {
        route.request_headers_to_add.extend(self.request_add);
        route.request_headers_to_remove.extend(self.request_remove);
        route.response_headers_to_add.extend(self.response_add);
        route
            .response_headers_to_remove
            .extend(self.response_remove);
    }

    /// Adds the changes to a share of a route.
    pub(super) fn add_to_share(self, share: &mut rds::weighted_cluster::ClusterWeight) {
        share.request_headers_to_add = self.request_add;
        share.request_headers_to_remove = self.request_remove;
        share.response_headers_to_add = self.response_add;
        share.response_headers_to_remove = self.response_remove;
    }
}

/// What is set, then what is added, each by name.
fn additions(operations: &istio::HeaderOperations) -> Vec<HeaderValueOption> {
    let of = |headers: &BTreeMap<String, String>, action: HeaderAppendAction| {
        headers
            .iter()
            .filter(|(name, _)| !is_reserved(name))
            .map(move |(name, value)| HeaderValueOption {
                header: Some(HeaderValue {
                    key: name.clone(),
                    value: value.clone(),
                    ..Default::default()
                }),
                append_action: action.into(),
                ..Default::default()
            })
            .collect::<Vec<_>>()
    };
    let mut all = of(&operations.set, HeaderAppendAction::OverwriteIfExistsOrAdd);
    all.extend(of(&operations.add, HeaderAppendAction::AppendIfExistsOrAdd));
    all
}

fn removals(operations: &istio::HeaderOperations) -> Vec<String> {
    operations
        .remove
        .iter()
        .filter(|name| !is_reserved(name))
        .cloned()
        .collect()
}

/// True for names Envoy does not let be changed like others.
fn is_reserved(name: &str) -> bool {
    name.starts_with(':') || name.eq_ignore_ascii_case("host")
}

fn authority(headers: &BTreeMap<String, String>) -> Option<String> {
    let named =
        |name: &str| name.eq_ignore_ascii_case(":authority") || name.eq_ignore_ascii_case("host");
    headers
        .iter()
        .rfind(|(name, _)| named(name))
        .map(|(_, value)| value.clone())
        .filter(|value| !value.is_empty())
}
