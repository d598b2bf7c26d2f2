//! Messages of route configurations.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::sync::Arc;

use reef_config::Problem;
use reef_mesh::{HeaderPolicy, Protocol};
use xds_api::envoy::config::route::v3 as rds;

use rds::route_action::{ClusterSpecifier, MaxStreamDuration};

use super::hash::HashPolicy;
use super::retry::Retries;
use super::table::Table;
use super::{Host, HostRoutes, Hosts, Rest, RouteKey, RoutePolicy, domains, rule};
use crate::names;
use crate::xds::ZERO;

/// Name of everything that is about hosts whose names are resolved.
const RESOLVED: &str = "allow_any_dynamic_dns";

/// Builds the route configuration.
#[must_use]
pub fn build_route(key: &RouteKey) -> (rds::RouteConfiguration, Vec<Problem>) {
    let mut tables = Tables::default();
    let virtual_hosts = match &key.hosts {
        Hosts::Single(routes) => {
            vec![virtual_host(
                routes,
                vec!["*".to_owned()],
                &key.policy,
                &mut tables,
            )]
        }
        Hosts::Shared {
            hosts: all,
            dns_domain,
            ip_mode,
            with_ports,
            rest,
        } => {
            let known: BTreeSet<&str> = all
                .iter()
                .filter(|routes| matches!(routes.host, Host::Service(_)))
                .map(|routes| &**routes.host.name())
                .collect();
            let mut names_seen = BTreeSet::new();
            let mut seen = BTreeSet::new();
            let mut hosts = Vec::with_capacity(all.len() + 1);
            for routes in all {
                let domains = match &routes.host {
                    Host::Service(service) => {
                        let addresses = (*ip_mode, key.policy.auto_addresses);
                        domains::of_service(service, dns_domain, addresses, &known)
                    }
                    Host::Named(name) => vec![domains::bare(name)],
                };
                let domains = if *with_ports {
                    ported(domains, routes.number)
                } else {
                    domains
                };
                let mine: Vec<String> = domains
                    .into_iter()
                    .filter(|domain| seen.insert(domain.to_lowercase()))
                    .collect();
                if !mine.is_empty() && names_seen.insert((routes.host.name(), routes.number)) {
                    hosts.push(virtual_host(routes, mine, &key.policy, &mut tables));
                }
            }
            hosts.sort_by(|a, b| a.name.cmp(&b.name));
            // Only one virtual host may have the domain `*`.
            if seen.insert("*".to_owned()) {
                hosts.push(catch_all(rest, &key.policy));
            }
            hosts
        }
    };
    (configuration(&key.name, virtual_hosts), Vec::new())
}

/// Messages of the last table: hosts of one `VirtualService` follow each other and have equal routes.
#[derive(Debug, Default)]
struct Tables<'a> {
    last: Option<(&'a Arc<Table>, Vec<rds::Route>)>,
}

impl<'a> Tables<'a> {
    fn routes(&mut self, table: &'a Arc<Table>, policy: &RoutePolicy) -> Vec<rds::Route> {
        if let Some((last, routes)) = &self.last
            && Arc::ptr_eq(last, table)
        {
            return routes.clone();
        }
        let routes = rule::routes(table, policy);
        self.last = Some((table, routes.clone()));
        routes
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

/// Adds each domain with its port. Unless it is the default port only what holds a colon remains;
/// an IPv6 address does.
fn ported(domains: Vec<String>, port: u16) -> Vec<String> {
    domains
        .into_iter()
        .flat_map(|domain| {
            let with_port = format!("{domain}:{port}");
            [domain, with_port]
        })
        .filter(|domain| port == 80 || domain.contains(':'))
        .collect()
}

fn virtual_host<'a>(
    routes: &'a HostRoutes,
    domains: Vec<String>,
    policy: &RoutePolicy,
    tables: &mut Tables<'a>,
) -> rds::VirtualHost {
    let host = routes.host.name();
    let name = if host.parse::<Ipv6Addr>().is_ok() {
        format!("[{host}]:{}", routes.number)
    } else {
        format!("{host}:{}", routes.number)
    };
    let messages = match &routes.table {
        Some(table) => tables.routes(table, policy),
        None => {
            let operation = format!("{name}/*");
            let cluster = names::outbound_cluster(routes.number, host);
            let action = rds::RouteAction {
                retry_policy: policy.retries.as_ref().map(Retries::message),
                append_x_forwarded_host: policy.forwarded_host,
                hash_policy: routes.hash.iter().map(HashPolicy::message).collect(),
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
