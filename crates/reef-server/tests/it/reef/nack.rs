//! Item 6: rejected responses, isolation, and what is remembered of them.

use std::sync::Arc;
use std::time::Duration;

use reef_server::protocol::{NackMemory, UNRESOLVED_FOR, Variant};
use reef_server::provider::StreamReport;

use super::started;
use crate::kit::*;

#[test]
fn reef_06_nack_isolates_and_the_bad_one_is_not_sent_again() {
    let mut hand = started();
    hand.change(|world| {
        world
            .set(Cluster, "a", "2")
            .set(Cluster, "bad", "1")
            .set(Cluster, "c", "1");
    });
    let mixed = hand.says("CDS +a=2 +bad=1 +c=1");
    hand.says_acked("EDS +a=1");
    hand.nack(&mixed);
    let a = hand.says("CDS +a=2");
    hand.says_acked("EDS +a=1");
    hand.ack(&a);
    let bad = hand.says("CDS +bad=1");
    hand.nack(&bad);
    hand.says_acked("CDS +c=1");
    hand.silent();
    assert!(hand.reports().iter().any(|event| matches!(
        event,
        StreamReport::Rejected { name, .. } if &**name == "bad"
    )));

    // Not again, whatever else changes, also after a reconnect; but again when its content changes.
    hand.change(|world| {
        world.set(Cluster, "c", "2");
    });
    hand.says_acked("CDS +c=2");
    hand.silent();
    let mut hand = hand.reconnect();
    hand.resume(Cluster, &[], &[("a", "2"), ("b", "1"), ("c", "2")]);
    hand.wait(Duration::from_secs(5));
    hand.silent();
    hand.change(|world| {
        world.set(Cluster, "bad", "good now");
    });
    hand.says_acked("CDS +bad=good now");
    hand.silent();
    assert_eq!(hand.memory.nodes(), 0, "nothing is left to remember");
}

#[test]
fn reef_06_revert_after_a_nack_is_sent_although_the_version_is_the_last_acked() {
    let mut hand = started();
    hand.change(|world| {
        world.set(Cluster, "a", "2").set(Cluster, "bad", "1");
    });
    let mixed = hand.says("CDS +a=2 +bad=1");
    hand.says_acked("EDS +a=1");
    hand.change(|world| {
        world.set(Cluster, "a", "1").remove(Cluster, "bad");
    });
    hand.nack(&mixed);
    hand.says("CDS +a=1");
    hand.says("EDS +a=1");
    hand.says("CDS -bad");
}

#[test]
fn reef_06_revert_after_a_nack_is_sent_across_a_reconnect() {
    let mut hand = started();
    hand.change(|world| {
        world.set(Cluster, "a", "2").set(Cluster, "bad", "1");
    });
    let mixed = hand.says("CDS +a=2 +bad=1");
    hand.says_acked("EDS +a=1");
    hand.nack(&mixed);
    // The stream breaks before anything was tried alone; Envoy reports the versions from before.
    hand.world.set(Cluster, "a", "1").remove(Cluster, "bad");
    let mut hand = hand.reconnect();
    hand.resume(Cluster, &[], &[("a", "1"), ("b", "1")]);
    hand.resume(Listener, &[], &[("a", "1"), ("b", "1")]);
    hand.resume(Route, &["a", "b"], &[("a", "1"), ("b", "1")]);
    hand.says_acked("CDS +a=1");
    hand.says_acked("CDS -bad");
    hand.silent();

    // What an ACK resolved is not sent again on the next one.
    let mut hand = hand.reconnect();
    hand.resume(Cluster, &[], &[("a", "1"), ("b", "1")]);
    hand.silent();
}

#[test]
fn reef_06_revert_is_sent_although_the_nack_was_lost_with_the_stream() {
    let mut hand = started();
    hand.change(|world| {
        world.set(Cluster, "a", "2").set(Cluster, "bad", "1");
    });
    hand.says("CDS +a=2 +bad=1");
    hand.says_acked("EDS +a=1");
    // Half applied and rejected; the word about it never came. Envoy reports the versions from before.
    hand.world.set(Cluster, "a", "1").remove(Cluster, "bad");
    let mut hand = hand.reconnect();
    hand.resume(Cluster, &[], &[("a", "1"), ("b", "1")]);
    hand.resume(Listener, &[], &[("a", "1"), ("b", "1")]);
    hand.resume(Route, &["a", "b"], &[("a", "1"), ("b", "1")]);
    let clusters = hand.says("CDS +a=1");
    // Broken again before the answer: still in doubt. Then answered: settled.
    drop(clusters);
    let mut hand = hand.reconnect();
    hand.resume(Cluster, &[], &[("a", "1"), ("b", "1")]);
    hand.resume(Listener, &[], &[("a", "1"), ("b", "1")]);
    hand.resume(Route, &["a", "b"], &[("a", "1"), ("b", "1")]);
    hand.says_acked("CDS +a=1");
    hand.says_acked("CDS -bad");
    let mut hand = hand.reconnect();
    hand.resume(Cluster, &[], &[("a", "1"), ("b", "1")]);
    hand.silent();
    assert_eq!(hand.memory.nodes(), 0, "nothing is left to remember");
}

#[test]
fn reef_06_what_was_taken_is_not_sent_again_although_the_ack_was_lost() {
    let mut hand = started();
    hand.change(|world| {
        world.set(Listener, "a", "2").remove(Listener, "b");
    });
    hand.says("LDS +a=2 -b");
    let mut hand = hand.reconnect();
    hand.resume(Listener, &[], &[("a", "2")]);
    hand.silent();
    assert_eq!(hand.memory.nodes(), 0, "nothing is left to remember");
}

#[test]
fn reef_06_more_lost_answers_than_are_remembered_by_name_put_the_type_in_doubt() {
    let names: Vec<String> = (0..1000).map(|n| format!("n{n:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut hand = Hand::delta(World::of(&[Listener], &names));
    hand.subscribe(Listener, &[], &[]);
    hand.all_acked();
    hand.change(|world| {
        for name in &names {
            world.set(Listener, name, "2");
        }
    });
    hand.next().expect("the change is told");
    for name in &names {
        hand.world.set(Listener, name, "1");
    }
    let mut hand = hand.reconnect();
    let held: Vec<(&str, &str)> = names.iter().map(|name| (*name, "1")).collect();
    hand.resume(Listener, &[], &held);
    let again: usize = hand
        .all_acked()
        .iter()
        .map(|response| response.resources().len())
        .sum();
    assert_eq!(again, 1000, "each once");
    assert_eq!(hand.memory.nodes(), 0, "nothing is left to remember");
}

#[test]
fn reef_06_removal_of_a_nacked_response_is_unknown_as_well() {
    let mut hand = Hand::delta(World::of(&[Listener], &["a", "b"]));
    hand.subscribe(Listener, &[], &[]);
    hand.says_acked("LDS +a=1 +b=1");
    hand.change(|world| {
        world.set(Listener, "a", "bad").remove(Listener, "b");
    });
    let mixed = hand.says("LDS +a=bad -b");
    hand.nack(&mixed);
    let a = hand.says("LDS +a=bad");
    hand.nack(&a);
    hand.says_acked("LDS -b");
    hand.silent();
}

#[test]
fn reef_06_unresolved_names_are_forgotten_after_ten_minutes() {
    let mut hand = Hand::delta(World::of(&[Listener], &["a", "b"]));
    hand.subscribe(Listener, &[], &[]);
    let both = hand.says("LDS +a=1 +b=1");
    hand.nack(&both);
    let mut late = hand.reconnect();
    late.now += UNRESOLVED_FOR;
    late.resume(Listener, &[], &[("a", "1"), ("b", "1")]);
    late.silent();
}

#[test]
fn reef_06_resources_alone_are_bad_at_once_and_a_revert_comes_back() {
    let mut hand = started();
    hand.change(|world| {
        world.set(Route, "a", "bad");
    });
    let alone = hand.says("RDS +a=bad");
    hand.nack(&alone);
    hand.silent();
    hand.change(|world| {
        world.set(Route, "a", "1");
    });
    hand.says_acked("RDS +a=1");
    hand.silent();
}

#[test]
fn reef_06_another_node_is_not_affected() {
    let memory = Arc::new(NackMemory::new());
    memory.bad(
        &Arc::from("other"),
        Listener,
        &Arc::from("a"),
        version(Listener, "a", "1"),
        Duration::ZERO,
    );
    let world = World::of(&[Listener], &["a"]);
    let mut hand = Hand::with_memory(Variant::Delta, None, world, memory, Duration::ZERO);
    hand.subscribe(Listener, &[], &[]);
    hand.says("LDS +a=1");
}

#[test]
fn reef_06_partial_types_isolate_sotw() {
    let mut hand = Hand::sotw(World::of(&[Endpoint], &["a", "bad"]));
    let names = ["a", "bad"];
    hand.names(Endpoint, &names);
    hand.says("EDS +a=1 +bad=1");
    hand.names_nack(Endpoint, &names);
    hand.says("EDS +a=1");
    hand.names(Endpoint, &names);
    hand.says("EDS +bad=1");
    hand.names_nack(Endpoint, &names);
    hand.silent();
}

#[test]
fn reef_06_full_state_isolates_on_top_of_what_was_acked_sotw() {
    let mut hand = Hand::sotw(World::of(&[Cluster], &["a", "b"]));
    hand.names(Cluster, &[]);
    hand.says("CDS +a=1 +b=1");
    hand.names(Cluster, &[]);
    hand.change(|world| {
        world
            .set(Cluster, "a", "2")
            .set(Cluster, "b", "bad")
            .set(Cluster, "c", "1");
    });
    hand.says("CDS +a=2 +b=bad +c=1");
    hand.names_nack(Cluster, &[]);
    // Never less than what the client took: omission would delete.
    hand.says("CDS +a=2 +b=1");
    hand.names(Cluster, &[]);
    hand.says("CDS +a=2 +b=bad");
    hand.names_nack(Cluster, &[]);
    hand.says("CDS +a=2 +b=1 +c=1");
    hand.names(Cluster, &[]);
    hand.silent();
    hand.change(|world| {
        world.set(Cluster, "b", "3");
    });
    hand.says("CDS +a=2 +b=3 +c=1");
}

#[test]
fn reef_06_full_state_rejected_before_any_ack_is_isolated_sotw() {
    let mut hand = Hand::sotw(World::of(&[Cluster], &["a", "bad", "c"]));
    hand.names(Cluster, &[]);
    hand.says("CDS +a=1 +bad=1 +c=1");
    hand.names_nack(Cluster, &[]);
    hand.says("CDS +a=1");
    // One trial at a time.
    hand.change(|world| {
        world.set(Cluster, "d", "1");
    });
    hand.silent();
    hand.names(Cluster, &[]);
    hand.says("CDS +a=1 +bad=1");
    hand.names_nack(Cluster, &[]);
    hand.says("CDS +a=1 +c=1");
    hand.names(Cluster, &[]);
    hand.says("CDS +a=1 +c=1 +d=1");
    hand.names(Cluster, &[]);
    hand.silent();
    // Remembered: a client that comes again with nothing is spared of it.
    let mut hand = hand.reconnect();
    hand.names(Cluster, &[]);
    hand.says("CDS +a=1 +c=1 +d=1");
    hand.names(Cluster, &[]);
    hand.change(|world| {
        world.set(Cluster, "bad", "good now");
    });
    hand.says("CDS +a=1 +bad=good now +c=1 +d=1");
    hand.names(Cluster, &[]);
    hand.silent();
}

#[test]
fn reef_06_one_bad_of_many_is_found_by_halves_sotw() {
    let names: Vec<String> = (0..1000).map(|n| format!("n{n:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::of(&[Listener], &names);
    world.set(Listener, "n0517", "bad");
    let mut hand = Hand::sotw(world);
    hand.names(Listener, &[]);
    let mut rounds = 0;
    let mut held = 0;
    while let Some(response) = hand.next() {
        rounds += 1;
        let rejected = said(&response).contains("=bad");
        if rejected {
            hand.names_nack(Listener, &[]);
        } else {
            assert!(
                response.resources().len() >= held,
                "nothing taken is taken away"
            );
            held = response.resources().len();
            hand.names(Listener, &[]);
        }
    }
    assert_eq!(held, 999);
    assert!(rounds < 30, "{rounds} rounds");
}

#[test]
fn reef_06_full_state_of_a_returning_client_is_never_made_smaller_sotw() {
    // Only the client knows what it holds; the version says nothing about names.
    let mut hand = Hand::sotw(World::of(&[Cluster], &["a", "bad"]));
    hand.names_with(Cluster, &[], "", "of before");
    hand.says("CDS +a=1 +bad=1");
    hand.names_nack(Cluster, &[]);
    hand.silent();
    hand.change(|world| {
        world.set(Cluster, "bad", "2");
    });
    hand.says("CDS +a=1 +bad=2");
}

#[test]
fn reef_06_full_state_of_a_returning_client_we_know_is_isolated_before_its_first_ack_sotw() {
    let mut hand = Hand::sotw(World::of(&[Cluster], &["a", "b"]));
    hand.names(Cluster, &[]);
    let taken = hand.says("CDS +a=1 +b=1").version;
    hand.names(Cluster, &[]);
    hand.world.set(Cluster, "a", "2").set(Cluster, "bad", "1");
    let mut hand = hand.reconnect();
    hand.names_with(Cluster, &[], "", &taken);
    hand.says("CDS +a=2 +b=1 +bad=1");
    hand.names_nack(Cluster, &[]);
    // What it holds is the base, for its version says that it is what it took before: nothing of it is taken away.
    hand.says("CDS +a=2 +b=1");
    hand.names(Cluster, &[]);
    hand.says("CDS +a=2 +b=1 +bad=1");
    hand.names_nack(Cluster, &[]);
    hand.silent();

    // Another version than the one it took proves nothing.
    hand.change(|world| {
        world.set(Cluster, "bad", "2");
    });
    hand.says("CDS +a=2 +b=1 +bad=2");
    let mut hand = hand.reconnect();
    hand.names_with(Cluster, &[], "", "of another replica");
    hand.says("CDS +a=2 +b=1 +bad=2");
    hand.names_nack(Cluster, &[]);
    hand.silent();
}

#[test]
fn reef_06_trial_without_an_answer_gives_way_sotw() {
    let mut hand = Hand::sotw(World::of(&[Listener], &["a", "b"]));
    hand.names(Listener, &[]);
    hand.says("LDS +a=1 +b=1");
    hand.names_nack(Listener, &[]);
    hand.says("LDS +a=1");
    hand.silent();
    hand.now = hand.state.next_deadline(hand.now).expect("not for ever");
    hand.says("LDS +a=1 +b=1");
}
