//! Generations, the log and what is given back.

use reef_xds::Warm;

use super::*;
use crate::store::tests::TestKey;

fn key(name: &'static str, shown: &'static str, hidden: u32) -> TestKey {
    TestKey {
        name,
        shown,
        hidden,
    }
}

fn names(set: Option<BTreeSet<Arc<str>>>) -> Option<Vec<String>> {
    set.map(|set| set.iter().map(|name| name.to_string()).collect())
}

#[test]
fn equal_bytes_are_no_new_generation() {
    let mut store = Store::new(Warm::default());
    let mut part = Part::new(&mut store, vec![key("a", "1", 0), key("b", "1", 0)], 1);
    assert!(!part.replace(&mut store, vec![key("b", "1", 7), key("a", "1", 0)], 2));
    assert_eq!(part.view().generation(), 1);
    assert_eq!(store.len(), 2, "the old key of b is dropped");
    assert!(part.replace(&mut store, vec![key("b", "2", 7), key("c", "1", 0)], 3));
    assert_eq!(
        names(part.view().changed_since(1)),
        Some(vec!["a".into(), "b".into(), "c".into()])
    );
    assert!(part.view().resources().get("a").is_none());
    part.release(&mut store);
    assert_eq!(store.len(), 0);
}

#[test]
fn an_update_leaves_the_others() {
    let mut store = Store::new(Warm::default());
    let mut part = Part::new(&mut store, vec![key("a", "1", 0), key("b", "1", 0)], 1);
    let before = part.view().clone();
    assert!(part.update(&mut store, Vec::new(), vec![key("b", "2", 0)], 5));
    assert!(!part.update(&mut store, Vec::new(), vec![key("b", "2", 0)], 6));
    assert_eq!(part.view().generation(), 5);
    assert_eq!(names(part.view().changed_since(4)), Some(vec!["b".into()]));
    assert_eq!(names(part.view().changed_since(5)), Some(vec![]));
    let old = before
        .resources()
        .get("b")
        .map(|slot| slot.resource().clone());
    assert_eq!(
        old,
        Some(key("b", "1", 0).build(None).0),
        "an old view keeps what it showed"
    );
}

#[test]
fn of_two_keys_with_one_name_the_first_counts() {
    let mut store = Store::new(Warm::default());
    let part = Part::new(
        &mut store,
        vec![key("a", "first", 0), key("a", "second", 0)],
        1,
    );
    let held = part
        .view()
        .resources()
        .get("a")
        .map(|slot| slot.resource().clone());
    assert_eq!(held, Some(key("a", "first", 0).build(None).0));
    assert_eq!(store.len(), 1);
}

#[test]
fn the_log_is_bounded_and_says_so() {
    let mut store = Store::new(Warm::default());
    let mut part = Part::new(&mut store, vec![key("a", "1", 0)], 10);
    assert_eq!(
        names(part.view().changed_since(9)),
        None,
        "from before the part existed"
    );
    for generation in 11..=90 {
        let shown = if generation % 2 == 0 { "even" } else { "odd" };
        assert!(part.replace(&mut store, vec![key("a", shown, 0)], generation));
    }
    assert_eq!(names(part.view().changed_since(25)), None);
    assert_eq!(names(part.view().changed_since(26)), Some(vec!["a".into()]));
}
