//! Two parts as one.

use reef_xds::Warm;

use super::*;
use crate::part::Part;
use crate::store::Store;
use crate::store::tests::TestKey;

fn key(name: &'static str, shown: &'static str) -> TestKey {
    TestKey {
        name,
        shown,
        hidden: 0,
    }
}

fn names(joined: &Joined<TestKey>) -> Vec<String> {
    let mut all = Vec::new();
    joined.for_each(|resource| all.push(resource.name().to_string()));
    all
}

#[test]
fn two_parts_are_one_list_in_name_order() {
    let mut store = Store::new(Warm::default());
    let mut part = |names: &[&'static str]| {
        let keys = names.iter().map(|name| key(name, "1"));
        Part::new(&mut store, keys.collect(), 1).view().clone()
    };
    for (outbound, inbound, all) in [
        (&["a", "c", "e"][..], &["b", "d"][..], "a b c d e"),
        (&["c"], &["a", "b", "d", "e"], "a b c d e"),
        (&[], &["a"], "a"),
        (&["a"], &[], "a"),
        (&[], &[], ""),
    ] {
        let joined = Joined {
            outbound: part(outbound),
            inbound: part(inbound),
        };
        assert_eq!(names(&joined).join(" "), all);
        assert_eq!(joined.len(), outbound.len() + inbound.len());
        for name in names(&joined) {
            let found = joined
                .get(&name)
                .map(|resource| resource.name().to_string());
            assert_eq!(found, Some(name));
        }
        assert!(joined.get("f").is_none());
    }
}

#[test]
fn what_changed_in_either_part_has_changed() {
    let mut store = Store::new(Warm::default());
    let mut outbound = Part::new(&mut store, vec![key("b", "1"), key("c", "1")], 1);
    let mut inbound = Part::new(&mut store, vec![key("a", "1")], 3);
    let joined = |outbound: &Part<TestKey>, inbound: &Part<TestKey>| Joined {
        outbound: outbound.view().clone(),
        inbound: inbound.view().clone(),
    };
    assert_eq!(joined(&outbound, &inbound).generation(), 3);
    assert!(outbound.update(&mut store, Vec::new(), vec![key("b", "2")], 4));
    assert!(inbound.replace(&mut store, vec![key("a", "2")], 5));
    let now = joined(&outbound, &inbound);
    assert_eq!(now.generation(), 5);
    let since = |generation| {
        let names = now.changed_since(generation)?;
        Some(names.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(since(5), Some(vec![]));
    assert_eq!(since(4), Some(vec!["a".into()]));
    assert_eq!(since(3), Some(vec!["a".into(), "b".into()]));
    assert_eq!(since(2), None, "the inbound part was not there");
}
