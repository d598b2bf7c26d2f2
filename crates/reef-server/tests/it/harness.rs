//! The rows of `xds-protocol.md` 23.1 by their numbers, in their variants; single-type and aggregated streams run the
//! same lines.

use std::collections::BTreeSet;

use reef_server::protocol::{Response, Variant};
use reef_xds::ResourceType;

use crate::kit::*;

fn each(
    types: &[ResourceType],
    variant: Variant,
    names: &[&str],
    test: impl Fn(ResourceType, Hand),
) {
    for ty in types {
        for aggregated in BOTH {
            let only = (!aggregated).then_some(*ty);
            test(*ty, Hand::new(variant, only, World::of(&[*ty], names)));
        }
    }
}

fn sotw(types: &[ResourceType], names: &[&str], test: impl Fn(ResourceType, Hand)) {
    each(types, Variant::Sotw, names, test);
}

fn delta(types: &[ResourceType], names: &[&str], test: impl Fn(ResourceType, Hand)) {
    each(types, Variant::Delta, names, test);
}

fn line(ty: ResourceType, rest: &str) -> String {
    format!("{}{rest}", ty.short_name())
}

/// ACKs a `SotW` response and asserts that the ACK is not answered.
fn ack_names(hand: &mut Hand, ty: ResourceType, names: &[&str]) {
    hand.names(ty, names);
    hand.silent();
}

const ROOTS: [ResourceType; 2] = [Cluster, Listener];
const LEAVES: [ResourceType; 2] = [Route, Endpoint];

#[test]
fn harness_01_wildcard_returns_all_sotw() {
    sotw(&ROOTS, &["a", "b", "c"], |ty, mut hand| {
        hand.names(ty, &[]);
        hand.says(&line(ty, " +a=1 +b=1 +c=1"));
        ack_names(&mut hand, ty, &[]);
    });
}

#[test]
fn harness_02_wildcard_update_returns_all_with_new_version_sotw() {
    sotw(&ROOTS, &["a", "b", "c"], |ty, mut hand| {
        hand.names(ty, &[]);
        let before = hand.says(&line(ty, " +a=1 +b=1 +c=1"));
        ack_names(&mut hand, ty, &[]);
        hand.change(|world| {
            world.set(ty, "b", "2");
        });
        let after = hand.says(&line(ty, " +a=1 +b=2 +c=1"));
        assert_ne!(before.version, after.version);
        ack_names(&mut hand, ty, &[]);
    });
}

#[test]
fn harness_03_wildcard_addition_returns_all_sotw() {
    sotw(&ROOTS, &["a", "b"], |ty, mut hand| {
        hand.names(ty, &[]);
        hand.says(&line(ty, " +a=1 +b=1"));
        ack_names(&mut hand, ty, &[]);
        hand.change(|world| {
            world.set(ty, "d", "1");
        });
        hand.says(&line(ty, " +a=1 +b=1 +d=1"));
        ack_names(&mut hand, ty, &[]);
    });
}

#[test]
fn harness_04_named_subset_returns_only_it_sotw() {
    sotw(&FOUR, &["a", "b", "c"], |ty, mut hand| {
        hand.names(ty, &["a", "c"]);
        hand.says(&line(ty, " +a=1 +c=1"));
        ack_names(&mut hand, ty, &["a", "c"]);
    });
}

#[test]
fn harness_04_named_subset_returns_only_it_delta() {
    delta(&FOUR, &["a", "b", "c"], |ty, mut hand| {
        hand.subscribe(ty, &["a", "c"], &[]);
        hand.says_acked(&line(ty, " +a=1 +c=1"));
        hand.silent();
    });
}

#[test]
fn harness_05_named_subset_update_returns_whole_subset_sotw() {
    sotw(&ROOTS, &["a", "b", "c"], |ty, mut hand| {
        hand.names(ty, &["a", "c"]);
        hand.says(&line(ty, " +a=1 +c=1"));
        ack_names(&mut hand, ty, &["a", "c"]);
        hand.change(|world| {
            world.set(ty, "a", "2").set(ty, "b", "2");
        });
        hand.says(&line(ty, " +a=2 +c=1"));
        ack_names(&mut hand, ty, &["a", "c"]);
    });
}

#[test]
fn harness_06_named_subset_update_returns_the_changed_one_sotw() {
    sotw(&LEAVES, &["a", "b", "c"], |ty, mut hand| {
        hand.names(ty, &["a", "c"]);
        let before = hand.says(&line(ty, " +a=1 +c=1"));
        ack_names(&mut hand, ty, &["a", "c"]);
        hand.change(|world| {
            world.set(ty, "a", "2").set(ty, "b", "2");
        });
        let after = hand.says(&line(ty, " +a=2"));
        assert_ne!(before.version, after.version);
        ack_names(&mut hand, ty, &["a", "c"]);
    });
}

#[test]
fn harness_07_missing_name_created_later_returns_subset_sotw() {
    sotw(&ROOTS, &["a", "b"], |ty, mut hand| {
        hand.names(ty, &["a", "new"]);
        hand.says(&line(ty, " +a=1"));
        ack_names(&mut hand, ty, &["a", "new"]);
        hand.change(|world| {
            world.set(ty, "new", "1");
        });
        hand.says(&line(ty, " +a=1 +new=1"));
        ack_names(&mut hand, ty, &["a", "new"]);
    });
}

#[test]
fn harness_08_missing_name_created_later_returns_only_it_sotw() {
    sotw(&LEAVES, &["a", "b"], |ty, mut hand| {
        hand.names(ty, &["a", "new"]);
        hand.says(&line(ty, " +a=1"));
        ack_names(&mut hand, ty, &["a", "new"]);
        hand.change(|world| {
            world.set(ty, "new", "1");
        });
        hand.says(&line(ty, " +new=1"));
        ack_names(&mut hand, ty, &["a", "new"]);
    });
}

#[test]
fn harness_09_services_on_one_stream_are_updated_per_type_sotw() {
    for (one, other) in [(Cluster, Listener), (Endpoint, Route)] {
        let mut hand = Hand::sotw(World::of(&[one, other], &["a", "b"]));
        for ty in [one, other] {
            let names: &[&str] = if ty.is_full_state() { &[] } else { &["a", "b"] };
            hand.names(ty, names);
            hand.says(&line(ty, " +a=1 +b=1"));
            ack_names(&mut hand, ty, names);
        }
        for ty in [other, one] {
            let names: &[&str] = if ty.is_full_state() { &[] } else { &["a", "b"] };
            hand.change(|world| {
                world.set(ty, "a", "2");
            });
            let expected = if ty.is_full_state() {
                " +a=2 +b=1"
            } else {
                " +a=2"
            };
            hand.says(&line(ty, expected));
            ack_names(&mut hand, ty, names);
        }
    }
}

#[test]
fn harness_10_unsubscribed_names_leave_the_full_state_sotw() {
    sotw(&ROOTS, &["a", "b", "c"], |ty, mut hand| {
        hand.names(ty, &["a", "b", "c"]);
        hand.says(&line(ty, " +a=1 +b=1 +c=1"));
        ack_names(&mut hand, ty, &["a", "b", "c"]);
        ack_names(&mut hand, ty, &["b"]);
        hand.change(|world| {
            world.set(ty, "b", "2");
        });
        hand.says(&line(ty, " +b=2"));
        ack_names(&mut hand, ty, &["b"]);
    });
}

#[test]
fn harness_11_unsubscribed_names_are_not_updated_sotw() {
    sotw(&LEAVES, &["a", "b", "c"], |ty, mut hand| {
        hand.names(ty, &["a", "b", "c"]);
        hand.says(&line(ty, " +a=1 +b=1 +c=1"));
        ack_names(&mut hand, ty, &["a", "b", "c"]);
        ack_names(&mut hand, ty, &["b"]);
        hand.change(|world| {
            world.set(ty, "a", "2").set(ty, "b", "2");
        });
        hand.says(&line(ty, " +b=2"));
        ack_names(&mut hand, ty, &["b"]);
    });
}

#[test]
fn harness_12_nothing_follows_an_unsubscription_of_everything_sotw() {
    sotw(&FOUR, &["a", "b"], |ty, mut hand| {
        hand.names(ty, &["a", "b"]);
        hand.says(&line(ty, " +a=1 +b=1"));
        ack_names(&mut hand, ty, &["a", "b"]);
        ack_names(&mut hand, ty, &[]);
        hand.change(|world| {
            world.set(ty, "a", "2").remove(ty, "b").set(ty, "c", "1");
        });
        hand.silent();
    });
}

#[test]
fn harness_13_each_newly_named_resource_alone_delta() {
    delta(&FOUR, &["a", "b", "c"], |ty, mut hand| {
        for name in ["a", "b", "c"] {
            hand.subscribe(ty, &[name], &[]);
            hand.says_acked(&line(ty, &format!(" +{name}=1")));
            hand.silent();
        }
    });
}

#[test]
fn harness_14_update_returns_only_it_with_own_version_and_nonce_delta() {
    delta(&FOUR, &["a", "b", "c"], |ty, mut hand| {
        hand.subscribe(ty, &["a", "b", "c"], &[]);
        let before = hand.says_acked(&line(ty, " +a=1 +b=1 +c=1"));
        hand.change(|world| {
            world.set(ty, "b", "2");
        });
        let after = hand.says_acked(&line(ty, " +b=2"));
        assert_ne!(before.nonce, after.nonce);
        let versions: BTreeSet<_> = [&before, &after]
            .into_iter()
            .flat_map(|response: &Response| response.resources())
            .map(|sent| sent.version())
            .collect();
        assert_eq!(versions.len(), 4, "no two contents share a version");
        hand.silent();
    });
}

#[test]
fn harness_15_missing_name_is_told_and_sent_when_created_delta() {
    delta(&FOUR, &["a"], |ty, mut hand| {
        hand.subscribe(ty, &["a", "new"], &[]);
        let before = hand.says_acked(&line(ty, " +a=1 -new"));
        hand.change(|world| {
            world.set(ty, "new", "1");
        });
        let after = hand.says_acked(&line(ty, " +new=1"));
        assert_ne!(before.nonce, after.nonce);
        hand.silent();
    });
}

#[test]
fn harness_16_removed_then_added_again_delta() {
    delta(&FOUR, &["a", "b"], |ty, mut hand| {
        hand.subscribe(ty, &["a", "b"], &[]);
        hand.says_acked(&line(ty, " +a=1 +b=1"));
        hand.change(|world| {
            world.remove(ty, "b");
        });
        hand.says_acked(&line(ty, " -b"));
        hand.silent();
        hand.change(|world| {
            world.set(ty, "b", "1");
        });
        hand.says_acked(&line(ty, " +b=1"));
        hand.silent();
    });
}

#[test]
fn harness_17_unsubscribed_one_by_one_delta() {
    delta(&FOUR, &["a", "b", "c"], |ty, mut hand| {
        hand.subscribe(ty, &["a", "b", "c"], &[]);
        hand.says_acked(&line(ty, " +a=1 +b=1 +c=1"));
        let names = ["a", "b", "c"];
        for (count, name) in names.iter().enumerate() {
            hand.subscribe(ty, &[], &[name]);
            hand.silent();
            let content = (count + 2).to_string();
            hand.change(|world| {
                for name in names {
                    world.set(ty, name, &content);
                }
            });
            let rest: String = names[count + 1..]
                .iter()
                .map(|name| format!(" +{name}={content}"))
                .collect();
            if rest.is_empty() {
                hand.silent();
            } else {
                hand.says_acked(&line(ty, &rest));
            }
        }
    });
}

#[test]
fn harness_18_several_services_over_ads_delta() {
    for (one, other) in [
        (Cluster, Listener),
        (Listener, Cluster),
        (Route, Endpoint),
        (Endpoint, Route),
    ] {
        let mut hand = Hand::delta(World::of(&[one, other], &["a", "b"]));
        for ty in [one, other] {
            hand.subscribe(ty, &["a", "b"], &[]);
            hand.says_acked(&line(ty, " +a=1 +b=1"));
        }
        for ty in [other, one] {
            hand.change(|world| {
                world.set(ty, "b", "2");
            });
            hand.says_acked(&line(ty, " +b=2"));
            hand.silent();
        }
    }
}
