//! What is put in is found, whatever was put in and taken out beside it.

use super::*;

/// A number that is its own rank.
#[derive(Debug, Clone, PartialEq)]
struct Number(u32, &'static str);

impl Ranked for Number {
    type Rank<'a> = u32;

    fn rank(&self) -> u32 {
        self.0
    }
}

fn at(map: &Sharded<Number>, hash: u32) -> Vec<(u32, &'static str)> {
    map.at(hash).map(|number| (number.0, number.1)).collect()
}

#[test]
fn values_of_one_hash_are_apart_and_in_order() {
    let mut map = Sharded::new();
    for (hash, rank) in [(7, 3), (7, 1), (7 + SHARDS, 2), (8, 2), (7, 2)] {
        map.insert(hash, Number(rank, "new"));
    }
    assert_eq!(at(&map, 7), [(1, "new"), (2, "new"), (3, "new")]);
    assert_eq!(at(&map, 7 + SHARDS), [(2, "new")], "the same list");
    assert_eq!(at(&map, 6), []);
    map.remove(7, &Number(2, "whatever"));
    map.remove(9, &Number(2, "not there"));
    assert_eq!(at(&map, 7), [(1, "new"), (3, "new")]);
    assert_eq!(at(&map, 8), [(2, "new")]);
    assert_eq!(map.iter().count(), 4);
}

#[test]
fn a_value_takes_the_place_of_its_like() {
    let mut map = Sharded::new();
    map.insert(1, Number(5, "old"));
    let before = map.clone();
    map.insert(1, Number(5, "new"));
    assert_eq!(at(&map, 1), [(5, "new")]);
    assert_eq!(at(&before, 1), [(5, "old")], "who holds a map keeps it");
    map.remove(1, &Number(5, ""));
    assert!(map.is_empty());
    assert_eq!(map.iter().count(), 0);
    assert_eq!(at(&before, 1), [(5, "old")]);
}

#[test]
fn a_change_copies_no_more_than_its_own_list() {
    let mut map = Sharded::new();
    for number in 0..1000 {
        map.insert(hash(number), Number(number, "old"));
    }
    let before = map.clone();
    map.insert(hash(3), Number(3, "new"));
    let shards = |map: &Sharded<Number>| -> Vec<_> {
        let groups = map.groups.iter();
        let shards = groups.flat_map(|group| group.iter().map(Arc::as_ptr));
        shards.collect()
    };
    let (old, new) = (shards(&before), shards(&map));
    let apart = old
        .iter()
        .zip(&new)
        .filter(|(old, new)| !std::ptr::eq(**old, **new));
    assert_eq!(apart.count(), 1);
}

#[test]
fn what_is_in_a_map_and_not_how_it_came_there_decides_its_order() {
    let (mut one, mut two) = (Sharded::new(), Sharded::new());
    for number in 0..300 {
        one.insert(hash(number), Number(number, "v"));
        two.insert(hash(299 - number), Number(299 - number, "v"));
    }
    two.insert(hash(1000), Number(1000, "v"));
    two.remove(hash(1000), &Number(1000, "v"));
    assert!(one.iter().eq(two.iter()));
}
