//! No two chains match the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use reef_mesh::{Address, Cidr};

use super::{Chain, ChainMatch, Chains, Target};
use crate::listener::{Connections, Destinations, Forward};

fn chain(to: u8, names: &[u8], ranges: &[u8]) -> Chain {
    let cluster: Arc<str> = Arc::from(format!("c{to}"));
    let range = |at: &u8| match Address::parse(&format!("10.{at}.0.0/16")) {
        Address::Cidr(cidr) => cidr,
        other => panic!("{other} is a range"),
    };
    Chain {
        matches: ChainMatch {
            plaintext_http: false,
            server_names: names.iter().map(|at| Arc::from(format!("n{at}"))).collect(),
            ranges: ranges.iter().map(range).collect(),
        },
        target: Target::Tcp(Arc::new(Forward {
            to: Destinations::One(cluster.clone()),
            stat_name: cluster,
            before: None,
            connections: Connections::default(),
            rule: None,
        })),
    }
}

type Pair = (Option<Cidr>, Option<Arc<str>>);

fn pairs(chain: &Chain) -> Vec<Pair> {
    let ranges = super::optional(&chain.matches.ranges);
    let names = super::optional(&chain.matches.server_names);
    ranges
        .iter()
        .flat_map(|range| names.iter().map(|name| (*range, name.clone())))
        .collect()
}

proptest! {
    #[test]
    fn each_pair_belongs_to_the_first_that_asked(
        asked in prop::collection::vec(
            (prop::collection::btree_set(0..3u8, 0..3), prop::collection::btree_set(0..3u8, 0..3)),
            0..7,
        ),
    ) {
        let mut chains = Chains::default();
        let mut expected: Vec<(Pair, Target)> = Vec::new();
        for (to, (names, ranges)) in asked.iter().enumerate() {
            let names: Vec<u8> = names.iter().copied().collect();
            let ranges: Vec<u8> = ranges.iter().copied().collect();
            let chain = chain(u8::try_from(to).expect("few"), &names, &ranges);
            for pair in pairs(&chain) {
                if !expected.iter().any(|(known, _)| *known == pair) {
                    expected.push((pair, chain.target.clone()));
                }
            }
            chains.add(vec![chain]);
        }
        let list = chains.into_list();
        let mut seen = BTreeSet::new();
        for chain in &list {
            for pair in pairs(chain) {
                prop_assert!(seen.insert(pair.clone()), "{pair:?} twice");
                let owner = expected.iter().find(|(known, _)| *known == pair);
                prop_assert_eq!(Some(&chain.target), owner.map(|(_, target)| target));
            }
        }
        prop_assert_eq!(seen.len(), expected.len());
    }
}

#[test]
fn only_who_loses_to_another_target_is_told() {
    let mut chains = Chains::default();
    assert!(!chains.add(vec![chain(0, &[], &[]), chain(1, &[], &[])]));
    assert!(!chains.add(vec![chain(0, &[], &[])]), "it is there already");
    assert!(chains.add(vec![chain(1, &[], &[])]));
    assert!(!chains.add(vec![chain(1, &[4], &[])]));
    assert!(!chains.add(vec![chain(2, &[4, 5], &[])]), "a part is left");
}
