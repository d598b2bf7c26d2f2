//! What the allocator gives is what handing out places from the oldest to the youngest gives.

use std::sync::Arc;

use proptest::prelude::*;
use reef_config::names::{Hostname, Namespace};

use super::*;

fn key(at: usize) -> ServiceKey {
    ServiceKey {
        hostname: Hostname::from(format!("h{at}.example.com").as_str()),
        namespace: Namespace::from("a"),
    }
}

fn age(created: i64) -> Age {
    Age {
        created: Some(created),
        name: Arc::from("se"),
        namespace: Namespace::from("a"),
    }
}

/// Hosts of which several want one place first.
fn crowd() -> Vec<ServiceKey> {
    let mut by_place: BTreeMap<u16, Vec<ServiceKey>> = BTreeMap::new();
    for at in 0..3_000 {
        let key = key(at);
        by_place
            .entry(place_of(&key, 0).expect("a first choice"))
            .or_default()
            .push(key);
    }
    let crowded = by_place.into_values().filter(|keys| keys.len() > 1);
    let crowd: Vec<ServiceKey> = crowded.flatten().collect();
    assert!(crowd.len() > 40, "only {} collide", crowd.len());
    crowd
}

/// Places from the oldest to the youngest.
fn by_age(
    hosts: &BTreeMap<ServiceKey, Age>,
    reserved: &BTreeSet<u16>,
) -> BTreeMap<ServiceKey, u16> {
    let mut ranks: Vec<Rank> = hosts
        .iter()
        .map(|(key, age)| (age.clone(), key.clone()))
        .collect();
    ranks.sort();
    let mut taken = reserved.clone();
    let seats = ranks.into_iter().filter_map(|(_, key)| {
        let mut places = (0..CHOICES).filter_map(|choice| place_of(&key, choice));
        let place = places.find(|place| taken.insert(*place))?;
        Some((key, place))
    });
    seats.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_wishes_gives_what_age_gives(
        steps in proptest::collection::vec((0..40_usize, prop::option::of(0..8_i64), any::<bool>()), 1..120),
    ) {
        let crowd = crowd();
        let mut allocator = Allocator::default();
        let mut hosts: BTreeMap<ServiceKey, Age> = BTreeMap::new();
        let mut given: BTreeMap<ServiceKey, u16> = BTreeMap::new();
        let mut before = by_age(&hosts, &BTreeSet::new());
        for (at, created, gives) in steps {
            let key = &crowd[at];
            if gives {
                // Somebody else says that the first choice of this host is theirs, or no longer.
                let other = self::key(10_000 + at);
                let place = place_of(key, 0).expect("a first choice");
                let address = created.map(|_| addresses_at(place).map(Address::Ip));
                allocator.reserve(&other, address.as_ref().map_or(&[][..], |list| list));
                match created {
                    Some(_) => given.insert(other, place),
                    None => given.remove(&other),
                };
            } else {
                allocator.seat(key, created.map(age));
                match created {
                    Some(created) => hosts.insert(key.clone(), age(created)),
                    None => hosts.remove(key),
                };
            }
            let wanted = by_age(&hosts, &given.values().copied().collect());
            let moved = allocator.take_moved();
            for key in &crowd {
                let addresses: Vec<IpAddr> =
                    allocator.addresses(key).iter().filter_map(Address::ip).collect();
                let place = addresses.first().copied().and_then(place_at);
                prop_assert_eq!(place, wanted.get(key).copied());
                prop_assert!(before.get(key) == wanted.get(key) || moved.contains(key));
            }
            before = wanted;
        }
        for key in crowd {
            allocator.seat(&key, None);
        }
        let others: Vec<ServiceKey> = given.into_keys().collect();
        for key in others {
            allocator.reserve(&key, &[]);
        }
        prop_assert!(allocator.places.is_empty() && allocator.seats.is_empty());
        prop_assert!(allocator.reservations.is_empty());
    }
}

#[test]
fn one_more_host_moves_only_younger_ones_that_collide() {
    let crowd = crowd();
    let (first, second) = (&crowd[0], &crowd[1]);
    let mut allocator = Allocator::default();
    let everybody: Vec<ServiceKey> = (0..3_000).map(key).collect();
    for key in everybody.iter().filter(|key| *key != first) {
        allocator.seat(key, Some(age(5)));
    }
    allocator.take_moved();
    allocator.seat(first, Some(age(9)));
    assert_eq!(allocator.take_moved(), BTreeSet::from([first.clone()]));
    allocator.seat(first, Some(age(1)));
    let moved = allocator.take_moved();
    assert!(moved.contains(first) && moved.contains(second), "{moved:?}");
    assert!(moved.len() < 6, "{moved:?}");
}

#[test]
fn a_full_range_leaves_the_youngest_without() {
    let mut allocator = Allocator::default();
    for at in 0..65_700 {
        allocator.seat(&key(at), Some(age(i64::try_from(at).expect("small"))));
    }
    assert!((0..60_000).all(|at| !allocator.in_vain(&key(at))));
    assert!((60_000..65_700).any(|at| allocator.in_vain(&key(at))));
    let held: BTreeSet<Address> = (0..65_700)
        .flat_map(|at| allocator.addresses(&key(at)))
        .collect();
    let seated = (0..65_700)
        .filter(|at| !allocator.in_vain(&key(*at)))
        .count();
    assert_eq!(held.len(), 2 * seated, "nobody shares an address");
}

#[test]
fn places_are_in_the_ranges_and_told_by_their_addresses() {
    for place in [0, 1, 254, 255, 65_520] {
        let [four, six] = addresses_at(place);
        assert_eq!((place_at(four), place_at(six)), (Some(place), Some(place)));
        assert!(four.to_string().starts_with("240.240."), "{four}");
        assert!(six.to_string().starts_with("2001:2::f0f0:"), "{six}");
    }
    for other in ["240.240.0.0", "240.240.255.255", "10.0.0.1", "2001:2::1"] {
        assert_eq!(
            place_at(other.parse().expect("an address")),
            None,
            "{other}"
        );
    }
}
