//! Filters that refuse everything, with a name that tells people why.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use xds_api::Any;
use xds_api::envoy::config::listener::v3::{Filter, filter};
use xds_api::envoy::config::rbac::v3::{
    Permission, Policy, Principal, Rbac, permission, principal, rbac::Action,
};
use xds_api::envoy::extensions::filters::http::rbac::v3::Rbac as HttpRbac;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpFilter, http_filter::ConfigType,
};
use xds_api::envoy::extensions::filters::network::rbac::v3::Rbac as NetworkRbac;

/// Name of the matching policy, as access logs show it.
const POLICY: &str = "reef-unenforced-security";

fn everything() -> Rbac {
    let policy = Policy {
        permissions: vec![Permission {
            rule: Some(permission::Rule::Any(true)),
        }],
        principals: vec![Principal {
            identifier: Some(principal::Identifier::Any(true)),
        }],
        ..Default::default()
    };
    Rbac {
        action: Action::Deny.into(),
        policies: BTreeMap::from([(POLICY.to_owned(), policy)]),
        ..Default::default()
    }
}

/// Answers every request with 403.
pub(crate) fn http_filter() -> HttpFilter {
    static CONFIG: LazyLock<Any> = LazyLock::new(|| {
        Any::pack(&HttpRbac {
            rules: Some(everything()),
            ..Default::default()
        })
    });
    HttpFilter {
        name: "envoy.filters.http.rbac".to_owned(),
        config_type: Some(ConfigType::TypedConfig(CONFIG.clone())),
        ..Default::default()
    }
}

/// Closes a connection at its first byte.
///
/// A server may speak first, and this filter does not hold that back: what follows it must not lead
/// to the workload either.
pub(crate) fn network_filter() -> Filter {
    static CONFIG: LazyLock<Any> = LazyLock::new(|| {
        Any::pack(&NetworkRbac {
            rules: Some(everything()),
            stat_prefix: "tcp.".to_owned(),
            ..Default::default()
        })
    });
    Filter {
        name: "envoy.filters.network.rbac".to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(CONFIG.clone())),
    }
}
