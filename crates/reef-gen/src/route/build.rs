//! Messages of route configurations.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use reef_config::Problem;
use reef_mesh::{HeaderPolicy, Protocol};
use xds_api::envoy::config::route::v3 as rds;

use rds::route_action::{ClusterSpecifier, MaxStreamDuration};

use super::retry::Retries;
use super::table::Table;
use super::{Frame, HostRoutes, Rest, RouteKey, RoutePolicy, domains, rule};
use crate::names;
use crate::xds::ZERO;

/// Name of everything that is about hosts whose names are resolved.
const RESOLVED: &str = "allow_any_dynamic_dns";

/// Builds the route configuration.
#[must_use]
pub fn build_route(key: &RouteKey) -> (rds::RouteConfiguration, Vec<Problem>) {
    let mut tables = Tables::of(&key.hosts);
    let hosts = key.hosts.iter();
    let hosts = hosts.map(|routes| virtual_host(routes, &key.frame, &mut tables));
    let hosts = hosts.chain(rest_of(&key.frame)).collect();
    (configuration(&key.name, hosts), Vec::new())
}

/// What hosts get that have no virtual host of their own.
fn rest_of(frame: &Frame) -> Option<rds::VirtualHost> {
    let rest = frame.rest.as_ref()?;
    Some(catch_all(rest, &frame.policy))
}

/// Messages of tables: hosts of one `VirtualService` have equal routes.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// By the table's address: how many hosts have yet to get it, and its routes once made.
    made: HashMap<*const Table, (usize, Vec<rds::Route>), FixedState>,
}

impl Tables {
    /// For these hosts.
    pub(super) fn of(hosts: &[Arc<HostRoutes>]) -> Self {
        let mut made: HashMap<_, (usize, Vec<_>), _> = HashMap::default();
        for table in hosts.iter().filter_map(|routes| routes.table.as_ref()) {
            made.entry(Arc::as_ptr(table)).or_default().0 += 1;
        }
        Self { made }
    }

    fn routes(&mut self, table: &Arc<Table>, policy: &RoutePolicy) -> Vec<rds::Route> {
        let Some((left, routes)) = self.made.get_mut(&Arc::as_ptr(table)) else {
            return rule::routes(table, policy);
        };
        if routes.is_empty() {
            *routes = rule::routes(table, policy);
        }
        *left = left.saturating_sub(1);
        if *left == 0 {
            std::mem::take(routes)
        } else {
            routes.clone()
        }
    }
}

/// Builds the inline route configuration of a port of the workload: one route to it.
pub(crate) fn inbound_routes(
    cluster: &str,
    protocol: Protocol,
    host: &str,
    port: u16,
    retries: Option<&Retries>,
) -> rds::RouteConfiguration {
    let retried = !matches!(protocol, Protocol::Grpc | Protocol::GrpcWeb);
    let action = rds::RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        timeout: Some(ZERO),
        max_stream_duration: Some(MaxStreamDuration {
            max_stream_duration: Some(ZERO),
            grpc_timeout_header_max: Some(ZERO),
            ..Default::default()
        }),
        retry_policy: retries.filter(|_| retried).map(Retries::message),
        ..Default::default()
    };
    rds::RouteConfiguration {
        name: cluster.to_owned(),
        virtual_hosts: vec![rds::VirtualHost {
            name: format!("inbound|http|{port}"),
            domains: vec!["*".to_owned()],
            routes: vec![route("default", Some(format!("{host}:{port}/*")), action)],
            ..Default::default()
        }],
        validate_clusters: Some(false),
        ..Default::default()
    }
}

/// Builds the inline route configuration of requests to hosts nobody declared, where their names
/// are resolved.
pub(crate) fn unknown_host_routes(headers: &HeaderPolicy) -> rds::RouteConfiguration {
    let policy = RoutePolicy {
        retries: None,
        attempt_count: headers.attempt_count,
        forwarded_host: headers.forwarded_host,
        auto_addresses: false,
        proxyless: false,
    };
    configuration(RESOLVED, vec![catch_all(&Rest::Resolve, &policy)])
}

fn configuration(name: &str, virtual_hosts: Vec<rds::VirtualHost>) -> rds::RouteConfiguration {
    rds::RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts,
        validate_clusters: Some(false),
        ignore_port_in_host_matching: true,
        max_direct_response_body_size_bytes: Some(1_048_576),
        ..Default::default()
    }
}

/// Builds one virtual host.
pub(super) fn virtual_host(
    routes: &HostRoutes,
    frame: &Frame,
    tables: &mut Tables,
) -> rds::VirtualHost {
    let (name, policy) = (routes.name(), &frame.policy);
    let domains = match &frame.asked {
        None => vec!["*".to_owned()],
        Some(asked) => (0u32..)
            .zip(domains::candidates(routes, asked, policy.auto_addresses))
            .filter(|(at, _)| routes.lost.binary_search(at).is_err())
            .map(|(_, domain)| domain.text)
            .collect(),
    };
    let messages = match &routes.table {
        Some(table) => tables.routes(table, policy),
        None => {
            let operation = format!("{name}/*");
            let cluster = names::outbound_cluster(routes.number, routes.host.name());
            let action = rds::RouteAction {
                retry_policy: policy.retries.as_ref().map(Retries::message),
                append_x_forwarded_host: policy.forwarded_host,
                hash_policy: routes.hash.iter().map(|hash| hash.message()).collect(),
                ..to_cluster(&cluster)
            };
            vec![route("default", Some(operation), action)]
        }
    };
    rds::VirtualHost {
        name,
        domains,
        routes: messages,
        include_request_attempt_count: policy.attempt_count,
        ..Default::default()
    }
}

/// To a cluster, without limit of time.
fn to_cluster(cluster: &str) -> rds::RouteAction {
    rds::RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        timeout: Some(ZERO),
        max_grpc_timeout: Some(ZERO),
        ..Default::default()
    }
}

fn route(name: &str, operation: Option<String>, action: rds::RouteAction) -> rds::Route {
    rds::Route {
        name: name.to_owned(),
        r#match: any_path(),
        decorator: operation.map(|operation| rds::Decorator {
            operation,
            ..Default::default()
        }),
        action: Some(rds::route::Action::Route(action)),
        ..Default::default()
    }
}

fn any_path() -> Option<rds::RouteMatch> {
    Some(rds::RouteMatch {
        path_specifier: Some(rds::route_match::PathSpecifier::Prefix("/".to_owned())),
        ..Default::default()
    })
}

fn catch_all(rest: &Rest, policy: &RoutePolicy) -> rds::VirtualHost {
    let (name, only) = match rest {
        Rest::Allow(cluster) => ("allow_any", route("allow_any", None, to_cluster(cluster))),
        Rest::Resolve => {
            let action = to_cluster(names::ALLOW_ANY_DYNAMIC_DNS);
            (RESOLVED, route(RESOLVED, None, action))
        }
        Rest::Block => {
            let refusal = rds::DirectResponseAction {
                status: 502,
                ..Default::default()
            };
            let only = rds::Route {
                name: "block_all".to_owned(),
                r#match: any_path(),
                action: Some(rds::route::Action::DirectResponse(refusal)),
                ..Default::default()
            };
            ("block_all", only)
        }
    };
    rds::VirtualHost {
        name: name.to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![only],
        include_request_attempt_count: policy.attempt_count,
        ..Default::default()
    }
}
