//! Hostname relations, ages, labels and durations.

use proptest::prelude::*;
use reef_config::{Age, ApiDuration, Hostname, Labels, Namespace, ObjectKey};

fn host() -> impl Strategy<Value = Hostname> {
    "(\\*|\\*\\.)?[ab]{0,2}(\\.[ab]{1,2}){0,2}".prop_map(Hostname::from)
}

/// Whether a pattern covers a concrete name, from the definition alone.
fn covers(pattern: &Hostname, name: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => name.ends_with(suffix),
        None => pattern.as_str() == name,
    }
}

proptest! {
    #[test]
    fn matches_is_symmetric_and_reflexive(a in host(), b in host()) {
        prop_assert_eq!(a.matches(&b), b.matches(&a));
        prop_assert!(a.matches(&a));
    }

    #[test]
    fn subset_implies_overlap_and_is_transitive(a in host(), b in host(), c in host()) {
        prop_assert!(a.subset_of(&a));
        if a.subset_of(&b) {
            prop_assert!(a.matches(&b));
            if b.subset_of(&c) {
                prop_assert!(a.subset_of(&c));
            }
        }
    }

    #[test]
    fn relations_agree_with_the_names_they_cover(a in host(), b in host(), name in "[ab.]{0,6}") {
        if covers(&a, &name) && covers(&b, &name) {
            prop_assert!(a.matches(&b));
        }
        if a.subset_of(&b) && covers(&a, &name) {
            prop_assert!(covers(&b, &name));
        }
    }

    #[test]
    fn whole_durations_read_back(hours in 0u64..100, minutes in 0u64..60, millis in 0u64..60_000) {
        let text = format!("{hours}h{minutes}m{millis}ms");
        let read = ApiDuration::parse(&text).unwrap();
        prop_assert_eq!(read.as_millis(), u128::from((hours * 60 + minutes) * 60_000 + millis));
    }

    #[test]
    fn no_text_panics_as_a_duration(text in "[0-9.hmsun]{0,12}|\\PC{0,8}") {
        if let Some(read) = ApiDuration::parse(&text) {
            prop_assert!(!text.is_empty(), "nothing was read as {read:?}");
        }
    }
}

#[test]
fn documented_host_examples_hold() {
    let host = Hostname::from;
    assert!(host("*.com").matches(&host("a.b.com")));
    assert!(host("*foo.com").matches(&host("barfoo.com")));
    assert!(host("A.COM").matches(&host("a.com")));
    assert!(!host("a.b.com").matches(&host("b.com")));
    assert!(host("*.b.com").subset_of(&host("*.com")));
    assert!(!host("*.com").subset_of(&host("*.b.com")));
    assert!(host("a.com").subset_of(&host("*")));
    let namespace = Namespace::new("n");
    assert_eq!(
        host("a").resolve(&namespace, "cluster.local"),
        "a.n.svc.cluster.local"
    );
    assert_eq!(host("a.b").resolve(&namespace, "cluster.local"), "a.b");
}

#[test]
fn odd_durations_are_refused() {
    for text in [
        "",
        "5",
        "-1s",
        "1",
        "s",
        ".s",
        "1.2.3s",
        "1x",
        "1s2",
        "99999999999999999999h",
    ] {
        assert_eq!(ApiDuration::parse(text), None, "{text}");
    }
    assert_eq!(
        ApiDuration::parse("1.5s"),
        Some(ApiDuration::from_millis(1500))
    );
    assert_eq!(ApiDuration::parse("0"), Some(ApiDuration::default()));
}

#[test]
fn older_objects_come_first_and_unknown_age_last() {
    let age = |created, name: &str, namespace: &str| Age {
        created,
        name: name.into(),
        namespace: namespace.into(),
    };
    let mut ages = [
        age(None, "a", "n"),
        age(Some(2), "b", "n"),
        age(Some(2), "a", "z"),
        age(Some(1), "z", "n"),
    ];
    ages.sort();
    let order: Vec<_> = ages.iter().map(|age| (age.created, &*age.name)).collect();
    assert_eq!(
        order,
        [(Some(1), "z"), (Some(2), "a"), (Some(2), "b"), (None, "a")]
    );
}

#[test]
fn selectors_select_supersets() {
    let labels: Labels = [("a", "1"), ("b", "2")].into_iter().collect();
    let selector: Labels = [("b", "2")].into_iter().collect();
    assert!(selector.selects(&labels) && Labels::default().selects(&labels));
    assert!(!labels.selects(&selector));
    assert_eq!(labels.get("a").map(|value| &**value), Some("1"));
}

#[test]
fn keys_name_the_cluster_only_where_it_is_another() {
    let mut key = ObjectKey::new(reef_config::Kind::Sidecar, "n", "s");
    assert_eq!(key.to_string(), "Sidecar n/s");
    key.cluster = "east".into();
    assert_eq!(key.to_string(), "Sidecar n/s (cluster east)");
}
