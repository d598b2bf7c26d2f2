//! The matrix of `xds-protocol.md` section 7 (23.3 item 11), seen through what is sent.

use reef_server::protocol::Variant;
use reef_xds::ResourceType;

use crate::kit::*;

/// Types whose empty first request means everything.
fn has_legacy(ty: ResourceType) -> bool {
    matches!(
        ty,
        Cluster | Listener | VirtualHost | ResourceType::ScopedRoute | ResourceType::NameTable
    )
}

fn hand(variant: Variant, ty: ResourceType) -> Hand {
    let mut world = World::of(&[ty], &["a", "b"]);
    world.set_on_demand(ty, "x", "1");
    Hand::new(variant, None, world)
}

fn line(ty: ResourceType, rest: &str) -> String {
    format!("{}{rest}", ty.short_name())
}

#[test]
fn reef_11_empty_first_request_delta() {
    for ty in ResourceType::ALL {
        let mut hand = hand(Variant::Delta, ty);
        hand.subscribe(ty, &[], &[]);
        if has_legacy(ty) {
            hand.says_acked(&line(ty, " +a=1 +b=1"));
        }
        hand.silent();
    }
}

#[test]
fn reef_11_empty_first_request_sotw() {
    for ty in ResourceType::ALL {
        let mut hand = hand(Variant::Sotw, ty);
        hand.names(ty, &[]);
        if has_legacy(ty) {
            hand.says(&line(ty, " +a=1 +b=1"));
        }
        hand.silent();
    }
}

#[test]
fn the_table_of_names_has_no_name_and_is_sent_whole() {
    let table = ResourceType::NameTable;
    for variant in [Variant::Delta, Variant::Sotw] {
        let mut hand = Hand::new(variant, None, World::of(&[table], &[""]));
        let sotw = variant == Variant::Sotw;
        if sotw {
            hand.names(table, &[]);
        } else {
            hand.subscribe(table, &[], &[]);
        }
        for version in ["1", "2"] {
            hand.change(|world| {
                world.set(table, "", version);
            });
            let response = hand.says(&line(table, &format!(" +={version}")));
            if sotw {
                hand.names(table, &[]);
            } else {
                hand.ack(&response);
            }
            hand.silent();
        }
    }
}

#[test]
fn reef_11_first_wildcard_request_is_answered_when_there_is_nothing() {
    for ty in [Cluster, Listener] {
        let mut hand = Hand::delta(World::default());
        hand.subscribe(ty, &[], &[]);
        hand.says_acked(&line(ty, ""));
        hand.silent();
        let mut hand = Hand::sotw(World::default());
        hand.names(ty, &[]);
        hand.says(&line(ty, ""));
        hand.silent();
    }
}

#[test]
fn reef_11_explicit_wildcard_of_every_type_delta() {
    for ty in ResourceType::ALL {
        let mut hand = hand(Variant::Delta, ty);
        hand.subscribe(ty, &["*", "x"], &[]);
        hand.says_acked(&line(ty, " +x=1 +a=1 +b=1"));
        hand.silent();
    }
}

#[test]
fn reef_11_name_added_to_the_legacy_wildcard_keeps_it_delta() {
    for ty in [Cluster, Listener] {
        let mut hand = hand(Variant::Delta, ty);
        hand.subscribe(ty, &[], &["nobody"]);
        hand.says_acked(&line(ty, " +a=1 +b=1"));
        hand.subscribe(ty, &["x"], &[]);
        hand.says_acked(&line(ty, " +x=1"));
        hand.change(|world| {
            world.set(ty, "a", "2").set(ty, "x", "2");
        });
        hand.says_acked(&line(ty, " +a=2 +x=2"));
        hand.silent();
    }
}

#[test]
fn reef_11_wildcard_ends_and_returns_only_explicitly_delta() {
    for ty in [Cluster, Listener] {
        let mut hand = hand(Variant::Delta, ty);
        hand.subscribe(ty, &[], &[]);
        hand.says_acked(&line(ty, " +a=1 +b=1"));
        hand.subscribe(ty, &["x"], &[]);
        hand.says_acked(&line(ty, " +x=1"));
        hand.subscribe(ty, &[], &["*"]);
        hand.silent();
        hand.change(|world| {
            world.set(ty, "a", "2");
        });
        hand.silent();
        hand.subscribe(ty, &[], &["x"]);
        hand.subscribe(ty, &[], &[]);
        hand.silent();
        hand.subscribe(ty, &["*"], &[]);
        hand.says_acked(&line(ty, " +a=2 +b=1"));
        hand.silent();
    }
}

#[test]
fn reef_11_wildcard_and_back_in_one_request_is_nothing_delta() {
    let mut hand = hand(Variant::Delta, Cluster);
    hand.subscribe(Cluster, &["*"], &["*"]);
    hand.silent();
    hand.change(|world| {
        world.set(Cluster, "a", "2");
    });
    hand.silent();
}

#[test]
fn reef_11_matrix_sotw() {
    for ty in [Cluster, Listener] {
        let mut hand = hand(Variant::Sotw, ty);
        let ack = |hand: &mut Hand, names: &[&str]| {
            hand.names(ty, names);
            hand.silent();
        };
        hand.names(ty, &[]);
        hand.says(&line(ty, " +a=1 +b=1"));
        ack(&mut hand, &[]);
        hand.names(ty, &["*", "x"]);
        hand.says(&line(ty, " +a=1 +b=1 +x=1"));
        ack(&mut hand, &["*", "x"]);
        ack(&mut hand, &["x"]);
        hand.change(|world| {
            world.set(ty, "x", "2").set(ty, "a", "2");
        });
        hand.says(&line(ty, " +x=2"));
        ack(&mut hand, &["x"]);
        // Subscribed to nothing, not to everything.
        ack(&mut hand, &[]);
        hand.change(|world| {
            world.set(ty, "b", "2");
        });
        hand.silent();
        hand.names(ty, &["*"]);
        hand.says(&line(ty, " +a=2 +b=2"));
        ack(&mut hand, &["*"]);
    }
}

#[test]
fn resubscription_is_answered_again() {
    let mut delta = Hand::delta(World::of(&[Endpoint], &["a"]));
    for _ in 0..2 {
        delta.subscribe(Endpoint, &["a"], &[]);
        delta.says_acked("EDS +a=1");
    }
    delta.subscribe(Endpoint, &[], &["a"]);
    delta.silent();
    delta.subscribe(Endpoint, &["a"], &[]);
    delta.says_acked("EDS +a=1");

    let mut sotw = Hand::sotw(World::of(&[Endpoint], &["a", "b"]));
    sotw.names(Endpoint, &["a", "b"]);
    sotw.says("EDS +a=1 +b=1");
    sotw.names(Endpoint, &["b"]);
    sotw.silent();
    sotw.names(Endpoint, &["a", "b"]);
    sotw.says("EDS +a=1");
}

#[test]
fn collections_are_ignored() {
    let mut hand = hand(Variant::Delta, Endpoint);
    hand.subscribe(Endpoint, &["prefix/*", "", "a"], &[]);
    hand.says_acked("EDS +a=1");
    hand.silent();
}

#[test]
fn first_request_is_always_answered_sotw() {
    // W-2: even with the current version.
    let mut hand = hand(Variant::Sotw, Cluster);
    hand.names(Cluster, &[]);
    let current = hand.says("CDS +a=1 +b=1").version;
    let mut hand = hand.reconnect();
    hand.names_with(Cluster, &[], "", &current);
    let again = hand.says("CDS +a=1 +b=1");
    assert_eq!(again.version, current, "the version belongs to the data");
}

#[test]
fn unknown_types_and_types_of_other_services() {
    use reef_server::protocol::{Outcome, Request};
    use reef_server::status::StreamEnd;
    let request = |url: &str| Request {
        type_url: url.into(),
        ..Request::default()
    };
    let mut ads = Hand::delta(World::of(&[Cluster], &["a"]));
    assert_eq!(
        ads.request(&request("type.googleapis.com/x.Y")),
        Ok(Outcome::UnknownType)
    );
    assert_eq!(ads.request(&request("")), Err(StreamEnd::MissingType));
    ads.subscribe(Cluster, &[], &[]);
    ads.says_acked("CDS +a=1");
    let mut eds = Hand::new(
        Variant::Delta,
        Some(Endpoint),
        World::of(&[Endpoint], &["a"]),
    );
    assert!(matches!(
        eds.request(&request(Cluster.type_url())),
        Err(StreamEnd::WrongType { .. })
    ));
    assert_eq!(eds.request(&request("")), Ok(Outcome::Subscription));
}
