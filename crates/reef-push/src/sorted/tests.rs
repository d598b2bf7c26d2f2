//! The map against `BTreeMap`, and what it shares.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Item(Arc<str>, u32);

impl Named for Item {
    fn name(&self) -> &Arc<str> {
        &self.0
    }
}

fn item(name: u16, value: u32) -> Item {
    Item(format!("n{name}").into(), value)
}

proptest! {
    #[test]
    fn behaves_as_a_btree_map(
        first in prop::collection::vec((0u16..600, any::<u32>()), 0..500),
        batches in prop::collection::vec(
            prop::collection::vec((0u16..600, prop::option::of(any::<u32>())), 0..400), 0..6),
    ) {
        let mut model: BTreeMap<Arc<str>, Item> = BTreeMap::new();
        for (name, value) in &first {
            let item = item(*name, *value);
            model.entry(Arc::clone(&item.0)).or_insert(item);
        }
        let mut map = SortedMap::build(first.iter().map(|(name, value)| item(*name, *value)).collect());
        for batch in batches {
            let before = map.clone();
            let old: Vec<Item> = before.iter().cloned().collect();
            let mut changes = BTreeMap::new();
            for (name, value) in batch {
                let name_text: Arc<str> = format!("n{name}").into();
                let change = value.map(|value| item(name, value));
                match &change {
                    Some(item) => { model.insert(Arc::clone(&name_text), item.clone()); }
                    None => { model.remove(&name_text); }
                }
                changes.insert(name_text, change);
            }
            map = map.with(changes);
            prop_assert_eq!(before.iter().cloned().collect::<Vec<_>>(), old, "the old map must not change");
        }
        prop_assert_eq!(map.len(), model.len());
        prop_assert_eq!(map.iter().cloned().collect::<Vec<_>>(), model.values().cloned().collect::<Vec<_>>());
        for name in 0..600u16 {
            let name = format!("n{name}");
            prop_assert_eq!(map.get(&name), model.get(name.as_str()));
        }
    }
}

#[test]
fn a_change_copies_one_chunk() {
    let map = SortedMap::build((0..1280).map(|name| item(name, 0)).collect());
    let changed = map.with(BTreeMap::from([(Arc::from("n77"), Some(item(77, 9)))]));
    let shared = map
        .chunks
        .iter()
        .zip(changed.chunks.iter())
        .filter(|(a, b)| Arc::ptr_eq(a, b))
        .count();
    assert_eq!((map.chunks.len(), shared), (10, 9));
    assert_eq!(changed.get("n77").map(|item| item.1), Some(9));
}
