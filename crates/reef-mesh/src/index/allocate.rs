//! Addresses for hosts of service entries that declare none.
//!
//! A host's place is a hash of its namespace and name, so that it depends on nothing else. Of two
//! hosts that want one place the older has it and the younger goes to its next choice. What comes
//! out is what handing out places from the oldest to the youngest gives, yet a change costs only
//! the hosts it displaces: each place remembers who would rather be there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::fast::FixedState;
use reef_config::{Age, Object, istio};

use crate::{Address, Resolution, Service, ServiceKey};

/// The label by which a service entry says whether it gets addresses.
const LABEL: &str = "networking.istio.io/enable-autoallocate-ip";
/// Number of places: the largest prime in 16 bits, so that steps of any width reach every place.
const PLACES: u64 = 65_521;
/// Choices of a host. With nineteen of twenty places taken, one host in 500,000 finds none of as
/// many free; more would make a full range costly.
const CHOICES: u16 = 256;

/// What a host of a service entry says about its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// It has one, can't have one or doesn't want one.
    Nothing,
    /// These were given to it.
    Given(Box<[Address]>),
    /// One is to be found.
    Any,
}

/// What `service`, declared by `entry`, says about its address.
pub(super) fn wish(object: &Object, entry: &istio::ServiceEntry, service: &Service) -> Wish {
    let host = &service.key.hostname;
    let refused = object.meta.labels.get(LABEL);
    let refused = refused.is_some_and(|value| value.eq_ignore_ascii_case("false"));
    let able = !host.is_wildcard()
        && service.resolution != Resolution::Passthrough
        && service.addresses.is_empty();
    if refused || !able {
        return Wish::Nothing;
    }
    let status = entry.status.iter().flat_map(|status| &status.addresses);
    let given: Box<[Address]> = status
        .filter(|address| address.host.as_ref().is_none_or(|of| of == host))
        .filter_map(|address| address.value.parse().ok())
        .map(Address::Ip)
        .collect();
    if given.is_empty() {
        Wish::Any
    } else {
        Wish::Given(given)
    }
}

/// Older hosts first.
type Rank = (Age, ServiceKey);

#[derive(Debug, Default)]
struct Place {
    holder: Option<Rank>,
    /// Those who were here first in vain.
    waiting: BTreeSet<Rank>,
    /// How many hosts say themselves that their address is here.
    reserved: usize,
}

#[derive(Debug)]
struct Seat {
    age: Age,
    /// Which of its choices it has; [`CHOICES`] if none was free.
    choice: u16,
}

/// Who has which place.
#[derive(Debug, Default)]
pub(super) struct Allocator {
    seats: HashMap<ServiceKey, Seat, FixedState>,
    places: BTreeMap<u16, Place>,
    reservations: HashMap<ServiceKey, Box<[u16]>, FixedState>,
    moved: BTreeSet<ServiceKey>,
}

impl Allocator {
    /// Sets the age of a host that wants an address; `None` if it wants none.
    pub(super) fn seat(&mut self, key: &ServiceKey, age: Option<Age>) {
        if self.seats.get(key).map(|seat| &seat.age) == age.as_ref() {
            return;
        }
        if let Some(seat) = self.seats.remove(key) {
            let rank = (seat.age, key.clone());
            self.stop_waiting(&rank, 0..seat.choice);
            self.moved.insert(key.clone());
            if let Some(place) = place_of(key, seat.choice) {
                self.vacate(place);
            }
        }
        if let Some(age) = age {
            self.take((age, key.clone()), 0);
        }
    }

    /// Sets the addresses a host has from elsewhere: nobody else gets them.
    pub(super) fn reserve(&mut self, key: &ServiceKey, addresses: &[Address]) {
        let mut places: Vec<u16> = addresses
            .iter()
            .filter_map(Address::ip)
            .filter_map(place_at)
            .collect();
        places.sort_unstable();
        places.dedup();
        let old = self.reservations.get(key);
        if old.map_or(&[][..], |old| old) == places {
            return;
        }
        let old = self.reservations.remove(key).unwrap_or_default();
        for at in &places {
            let place = self.places.entry(*at).or_default();
            place.reserved += 1;
            if let Some(holder) = place.holder.take() {
                place.waiting.insert(holder.clone());
                let next = self.seats.get(&holder.1).map_or(0, |seat| seat.choice + 1);
                self.take(holder, next);
            }
        }
        for at in old {
            let Some(place) = self.places.get_mut(&at) else {
                continue;
            };
            place.reserved -= 1;
            if place.reserved == 0 {
                self.vacate(at);
            }
        }
        if !places.is_empty() {
            self.reservations.insert(key.clone(), places.into());
        }
    }

    /// The addresses of a host; none if it wants none or none is left.
    pub(super) fn addresses(&self, key: &ServiceKey) -> Box<[Address]> {
        let seat = self.seats.get(key);
        let place = seat.and_then(|seat| place_of(key, seat.choice));
        place.map_or_else(Default::default, |place| {
            addresses_at(place).map(Address::Ip).into()
        })
    }

    /// True if a host wants an address and there is none.
    pub(super) fn in_vain(&self, key: &ServiceKey) -> bool {
        self.seats
            .get(key)
            .is_some_and(|seat| seat.choice >= CHOICES)
    }

    /// Hosts whose addresses may differ since the last call.
    pub(super) fn take_moved(&mut self) -> BTreeSet<ServiceKey> {
        std::mem::take(&mut self.moved)
    }

    /// Finds a place from its choice `choice` on; whoever is displaced finds another.
    fn take(&mut self, mut rank: Rank, mut choice: u16) {
        loop {
            let place = place_of(&rank.1, choice);
            let before = match place {
                None => None,
                Some(at) => {
                    let place = self.places.entry(at).or_default();
                    let stays = place.holder.as_ref().is_some_and(|holder| *holder < rank);
                    if place.reserved > 0 || stays {
                        place.waiting.insert(rank.clone());
                        choice += 1;
                        continue;
                    }
                    let before = place.holder.replace(rank.clone());
                    if let Some(before) = &before {
                        place.waiting.insert(before.clone());
                    }
                    before
                }
            };
            let (age, key) = rank;
            self.moved.insert(key.clone());
            self.seats.insert(key, Seat { age, choice });
            let Some(next) = before else { return };
            choice = self.seats.get(&next.1).map_or(0, |seat| seat.choice + 1);
            rank = next;
        }
    }

    /// Gives a free place to the oldest who would rather be there, and so on.
    fn vacate(&mut self, mut at: u16) {
        loop {
            let Some(place) = self.places.get_mut(&at) else {
                return;
            };
            place.holder = None;
            if place.reserved > 0 {
                return;
            }
            let Some(next) = place.waiting.pop_first() else {
                self.places.remove(&at);
                return;
            };
            place.holder = Some(next.clone());
            let Some(seat) = self.seats.get_mut(&next.1) else {
                return;
            };
            let before = seat.choice;
            let here = (0..before).find(|choice| place_of(&next.1, *choice) == Some(at));
            let here = here.unwrap_or_default();
            seat.choice = here;
            self.moved.insert(next.1.clone());
            self.stop_waiting(&next, here + 1..before);
            match place_of(&next.1, before) {
                Some(left) => at = left,
                None => return,
            }
        }
    }

    fn stop_waiting(&mut self, rank: &Rank, choices: std::ops::Range<u16>) {
        for at in choices.filter_map(|choice| place_of(&rank.1, choice)) {
            if let Some(place) = self.places.get_mut(&at) {
                place.waiting.remove(rank);
            }
        }
    }
}

/// A host's place by choice; `None` beyond the last choice.
fn place_of(key: &ServiceKey, choice: u16) -> Option<u16> {
    if choice >= CHOICES {
        return None;
    }
    let hash = hash(&key.namespace, &key.hostname);
    let (start, step) = (hash % PLACES, 1 + (hash >> 32) % (PLACES - 1));
    u16::try_from((start + u64::from(choice) * step) % PLACES).ok()
}

/// FNV-1a with its bits mixed: the same in every process and release.
fn hash(namespace: &str, host: &str) -> u64 {
    let bytes = namespace.bytes().chain([b'/']).chain(host.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 29)
}

/// The addresses of a place: `240.240.0.0/16` and its counterpart in `2001:2::/48`.
fn addresses_at(place: u16) -> [IpAddr; 2] {
    // The first address of the network is nobody's.
    let [high, low] = (place + 1).to_be_bytes();
    [
        Ipv4Addr::new(240, 240, high, low).into(),
        Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0xf0f0, place + 1).into(),
    ]
}

/// The place an address is the address of.
fn place_at(ip: IpAddr) -> Option<u16> {
    let number = match ip {
        IpAddr::V4(ip) => {
            let [a, b, high, low] = ip.octets();
            ((a, b) == (240, 240)).then_some(u16::from_be_bytes([high, low]))
        }
        IpAddr::V6(ip) => match ip.segments() {
            [0x2001, 2, 0, 0, 0, 0, 0xf0f0, number] => Some(number),
            _ => None,
        },
    };
    number?
        .checked_sub(1)
        .filter(|place| u64::from(*place) < PLACES)
}

#[cfg(test)]
mod tests;
