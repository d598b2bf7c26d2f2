//! Tests of choosing policies and of what they say of ports and subsets.

use std::sync::Arc;

use reef_config::names::{Hostname, Namespace};
use reef_config::{ClusterId, Kind, Labels, ObjectKey, istio};
use reef_mesh::{DestinationPolicy, ExportTo};

use super::{Effective, general, pick, traffic_policy};

fn policy(name: &str, spec: serde_json::Value, selector: Option<Labels>) -> Arc<DestinationPolicy> {
    let spec: istio::DestinationRule = serde_json::from_value(spec).expect("a rule");
    let namespace = Namespace::from("a");
    Arc::new(DestinationPolicy {
        objects: [ObjectKey {
            cluster: ClusterId::default(),
            kind: Kind::DestinationRule,
            namespace: namespace.clone(),
            name: name.into(),
        }]
        .into(),
        namespace,
        host: Hostname::from("x.a.svc.cluster.local"),
        export_to: ExportTo::Public,
        selector,
        spec,
    })
}

fn connections(effective: &Effective<'_>) -> Option<i32> {
    effective
        .connection_pool
        .and_then(|pool| pool.tcp.as_ref())
        .and_then(|tcp| tcp.max_connections)
}

#[test]
fn settings_of_a_port_inherit_nothing() {
    let policy = policy(
        "r",
        serde_json::json!({"trafficPolicy": {
            "connectionPool": {"tcp": {"maxConnections": 7}},
            "tunnel": {"targetHost": "h", "targetPort": 1},
            "portLevelSettings": [{"port": {"number": 80}, "tls": {"mode": "SIMPLE"}}],
        }}),
        None,
    );
    let at = |port| traffic_policy(&policy, port, None);
    assert_eq!(connections(&at(81)), Some(7));
    assert!(at(81).tunnel.is_some() && at(81).tls.is_none());
    assert_eq!(connections(&at(80)), None);
    assert!(at(80).tunnel.is_none() && at(80).tls.is_some());
}

#[test]
fn a_subset_replaces_blocks_of_what_holds_for_its_port() {
    let policy = policy(
        "r",
        serde_json::json!({
            "trafficPolicy": {
                "connectionPool": {"tcp": {"maxConnections": 7}},
                "retryBudget": {"percent": 3.5},
                "loadBalancer": {"simple": "RANDOM"},
                "portLevelSettings": [{"port": {"number": 80}, "connectionPool": {"tcp": {"maxConnections": 8}}}],
            },
            "subsets": [
                {"name": "plain"},
                {"name": "own", "trafficPolicy": {
                    "connectionPool": {"http": {"maxRetries": 1}},
                    "portLevelSettings": [{"port": {"number": 81}, "tls": {"mode": "DISABLE"}}],
                }},
            ],
        }),
        None,
    );
    let at = |port, subset| traffic_policy(&policy, port, Some(subset));
    assert_eq!(connections(&at(80, "plain")), Some(8));
    assert_eq!(connections(&at(82, "plain")), Some(7));
    assert_eq!(connections(&at(82, "unknown")), Some(7));
    // The block is replaced whole: its TCP half is gone.
    assert_eq!(connections(&at(80, "own")), None);
    assert!(at(80, "own").load_balancer.is_none());
    assert!(at(82, "own").load_balancer.is_some());
    // The subset's own port settings silence what they may say, and leave the rest.
    let exact = at(81, "own");
    assert!(exact.connection_pool.is_none() && exact.load_balancer.is_none());
    assert!(exact.tls.is_some() && exact.retry_budget.is_some());
}

#[test]
fn the_first_selected_rule_counts_then_the_last_general_one() {
    let labels: Labels = [("app", "x")].into_iter().collect();
    let none = || serde_json::json!({});
    let all = [
        policy("s1", none(), Some(labels.clone())),
        policy("s2", none(), Some(labels)),
        policy("g1", none(), None),
        policy("g2", none(), None),
    ];
    let name = |found: Option<&Arc<DestinationPolicy>>| {
        found.map(|policy| policy.objects[0].name.to_string())
    };
    let key = |at: usize| all[at].objects[0].clone();
    assert_eq!(name(pick(&all, &[key(0), key(1)])).as_deref(), Some("s1"));
    assert_eq!(name(pick(&all, &[key(1)])).as_deref(), Some("s2"));
    assert_eq!(name(pick(&all, &[])).as_deref(), Some("g2"));
    assert_eq!(name(general(&all)).as_deref(), Some("g2"));
    assert_eq!(name(general(&all[..2])), None);
}
