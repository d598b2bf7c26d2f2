//! Runs hold what a sorted set holds.

use std::collections::BTreeSet;

use super::*;

#[test]
fn a_list_holds_what_a_set_holds_while_it_grows_and_shrinks() {
    let (mut list, mut set) = (Runs::new(), BTreeSet::new());
    let mut number = 7_u64;
    for step in 0..6_000 {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let value = number >> 54;
        // Two of three values are added at first, and later taken out.
        if (number >> 20).is_multiple_of(3) == (step > 3_000) {
            list.insert(value);
            set.insert(value);
        } else {
            list.remove(&value);
            set.remove(&value);
        }
        assert_eq!((list.len(), list.is_empty()), (set.len(), set.is_empty()));
        assert!(
            list.runs
                .iter()
                .all(|run| (1..=LONGEST).contains(&run.len()))
        );
        if step % 50 == 0 {
            assert!(list.iter().eq(&set));
        }
    }
    for value in set {
        list.remove(&value);
    }
    assert_eq!((list.iter().count(), list.runs.len()), (0, 0));
}

#[test]
fn who_holds_a_list_keeps_it_and_shares_what_did_not_change() {
    let mut list = Runs::new();
    for value in 0..1_000 {
        list.insert(value);
    }
    let before = list.clone();
    list.insert(1_000);
    list.remove(&0);
    assert!(before.iter().copied().eq(0..1_000));
    assert!(list.iter().copied().eq(1..=1_000));
    let shared = before
        .runs
        .iter()
        .filter(|run| list.runs.iter().any(|other| Arc::ptr_eq(run, other)));
    assert_eq!(shared.count(), before.runs.len() - 2);
}
