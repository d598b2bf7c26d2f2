//! A table does what a map does.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{MOST, Table};

fn same(table: &Table<usize>, map: &BTreeMap<Arc<str>, usize>) {
    assert_eq!(table.len(), map.len());
    assert_eq!(table.is_empty(), map.is_empty());
    assert!(table.iter().eq(map.iter()));
    assert!(table.names().eq(map.keys()));
    assert!(
        table
            .lists
            .iter()
            .all(|list| (1..=MOST).contains(&list.len()))
    );
}

#[test]
fn names_in_any_order_are_found_and_removed_again() {
    let (mut table, mut map) = (Table::default(), BTreeMap::new());
    // A multiplicative generator: some thousand names in an order that is neither up nor down, some of them twice.
    let mut at = 1_u64;
    for step in 0..6 * MOST {
        at = at * 48_271 % 2_147_483_647;
        let name: Arc<str> = format!("cluster-{}", at % 1000).into();
        if step % 5 == 4 {
            assert_eq!(table.remove(&name), map.remove_entry(&name));
        } else {
            table.insert(Arc::clone(&name), step);
            map.insert(Arc::clone(&name), step);
            assert_eq!(table.get(&name), Some(&step));
            assert_eq!(table.get_name(&name), Some(&name));
        }
        assert_eq!(table.contains("cluster-7"), map.contains_key("cluster-7"));
    }
    assert!(table.lists.len() > 2, "it is long enough for many lists");
    same(&table, &map);
    table.retain(|name, _| name.ends_with('3'));
    map.retain(|name, _| name.ends_with('3'));
    for (_, value) in table.iter_mut() {
        *value += 1;
    }
    map.values_mut().for_each(|value| *value += 1);
    table.shrink();
    same(&table, &map);
    table.retain(|_, _| false);
    same(&table, &BTreeMap::new());
}

#[test]
fn names_in_order_fill_their_lists() {
    let mut table = Table::default();
    for number in 0..4 * MOST {
        table.insert(format!("{number:06}").into(), ());
    }
    assert_eq!(table.lists.len(), 4);
}
