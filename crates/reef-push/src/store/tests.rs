//! Sharing, counting and dropping.

use reef_xds::xds_api::envoy::config::cluster::v3::Cluster;

use super::*;

/// A key of a cluster whose connect timeout does not show in the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TestKey {
    pub(crate) name: &'static str,
    pub(crate) shown: &'static str,
    pub(crate) hidden: u32,
}

impl ResourceKey for TestKey {
    fn build(&self, _: Option<(&Self, &EncodedResource)>) -> (EncodedResource, Vec<Problem>) {
        let cluster = Cluster {
            name: self.name.to_owned(),
            alt_stat_name: self.shown.to_owned(),
            ..Cluster::default()
        };
        let problems = if self.shown == "bad" {
            vec![Problem::warning("bad", "is bad")]
        } else {
            Vec::new()
        };
        (EncodedResource::encode(self.name, &cluster), problems)
    }
}

#[test]
fn equal_keys_share_and_the_last_user_drops() {
    let mut store = Store::new(Warm::default());
    let key = TestKey {
        name: "a",
        shown: "bad",
        hidden: 0,
    };
    let first = store.acquire(key.clone(), |_| None);
    let second = store.acquire(key, |_| None);
    assert!(Arc::ptr_eq(&first, &second));
    let stats = store.take_stats();
    assert_eq!((stats.built, stats.shared), (1, 1));
    assert_eq!(stats.bytes, first.resource().value().len());
    assert_eq!(store.problems().count(), 1);
    store.release(&first);
    assert_eq!(store.len(), 1);
    store.release(&second);
    assert_eq!((store.len(), store.problems().count()), (0, 0));
    assert_eq!(store.retained_bytes(), 0);
    assert!(store.buckets.is_empty());
}

#[test]
fn a_key_counts_wholly() {
    let mut store = Store::new(Warm::default());
    let one = store.acquire(
        TestKey {
            name: "a",
            shown: "",
            hidden: 0,
        },
        |_| None,
    );
    let other = store.acquire(
        TestKey {
            name: "a",
            shown: "",
            hidden: 1,
        },
        |_| None,
    );
    assert!(!Arc::ptr_eq(&one, &other));
    assert_eq!(one.resource(), other.resource());
    assert_eq!(store.len(), 2);
}
