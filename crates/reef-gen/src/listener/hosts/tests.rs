//! The index finds what asking every rule would.

use std::sync::Arc;

use proptest::prelude::*;
use reef_config::names::{Hostname, Namespace};
use reef_config::{Age, ClusterId, Kind, ObjectKey, istio};
use reef_mesh::{ExportTo, VirtualServiceRule};

use super::HostIndex;

fn rule(hosts: Vec<Hostname>) -> Arc<VirtualServiceRule> {
    let spec = istio::VirtualService {
        tcp: vec![istio::TcpRoute::default()],
        ..Default::default()
    };
    Arc::new(VirtualServiceRule {
        object: ObjectKey {
            cluster: ClusterId::default(),
            kind: Kind::VirtualService,
            namespace: Namespace::default(),
            name: "r".into(),
        },
        age: Age {
            created: None,
            name: "r".into(),
            namespace: Namespace::default(),
        },
        hosts: hosts.into(),
        gateways: Box::default(),
        export_to: ExportTo::Public,
        destinations: Box::default(),
        delegates: Box::default(),
        spec,
        http: Box::default(),
        problems: Box::default(),
    })
}

fn host() -> impl Strategy<Value = Hostname> {
    "(\\*|\\*\\.|)((a|b|ab)\\.){0,3}(a|ba)?".prop_map(Hostname::from)
}

proptest! {
    #[test]
    fn finds_the_rules_that_overlap_in_their_order(
        rules in prop::collection::vec(prop::collection::vec(host(), 1..4), 0..6),
        asked in host(),
    ) {
        let rules: Vec<_> = rules.into_iter().map(rule).collect();
        let overlapping = |rule: &VirtualServiceRule| rule.hosts.iter().any(|host| host.matches(&asked));
        let expected: Vec<usize> = rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| overlapping(rule))
            .map(|(at, _)| at)
            .collect();
        prop_assert_eq!(HostIndex::new(&rules).of_host(&asked), expected);
    }
}

#[test]
fn rules_for_http_alone_are_not_found() {
    let mut other = rule(vec![Hostname::from("a.b")]);
    Arc::make_mut(&mut other).spec.tcp.clear();
    assert!(
        HostIndex::new(&[other])
            .of_host(&Hostname::from("a.b"))
            .is_empty()
    );
}
