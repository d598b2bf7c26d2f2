//! The items of `xds-protocol.md` 23.3 by their numbers, without those that need a real Envoy (15, 16); item 14 is in
//! `over_tonic`, item 11 in `subscriptions`.

use std::sync::Arc;
use std::time::Duration;

use reef_server::protocol::{NackMemory, Options, Outcome, Request, UNRESOLVED_FOR, Variant};
use reef_server::provider::StreamReport;

use crate::kit::*;

/// A delta client after its start: clusters, endpoints, listeners and routes `a` and `b`, everything ACKed.
fn started() -> Hand {
    let mut hand = Hand::delta(World::of(
        &[Cluster, Endpoint, Listener, Route],
        &["a", "b"],
    ));
    hand.subscribe(Cluster, &[], &[]);
    let clusters = hand.says("CDS +a=1 +b=1");
    hand.subscribe(Endpoint, &["a", "b"], &[]);
    hand.ack(&clusters);
    hand.says_acked("EDS +a=1 +b=1");
    hand.subscribe(Listener, &[], &[]);
    let listeners = hand.says("LDS +a=1 +b=1");
    hand.subscribe(Route, &["a", "b"], &[]);
    hand.ack(&listeners);
    hand.says_acked("RDS +a=1 +b=1");
    hand.silent();
    hand
}

#[test]
fn reef_01_changed_cluster_is_followed_by_its_endpoints_delta() {
    let mut hand = started();
    hand.change(|world| {
        world
            .set(Cluster, "a", "2")
            .set(Cluster, "c", "1")
            .set(Endpoint, "c", "1");
        world
            .set(Listener, "a", "2")
            .set(Route, "b", "2")
            .set(Endpoint, "b", "2");
    });
    let clusters = hand.says("CDS +a=2 +c=1");
    // Exactly these clusters, unchanged or new, and nothing in between.
    let follow = hand.says("EDS +a=1 +c=1");
    hand.says_acked("EDS +b=2");
    // The barrier: listeners and routes wait for the clusters.
    hand.silent();
    hand.ack(&follow);
    hand.silent();
    hand.ack(&clusters);
    hand.says_acked("LDS +a=2");
    hand.says_acked("RDS +b=2");
    hand.silent();
}

#[test]
fn reef_01_barrier_gives_way_after_its_timeout() {
    let mut hand = started();
    hand.change(|world| {
        world.set(Cluster, "a", "2").set(Route, "b", "2");
    });
    hand.says("CDS +a=2");
    hand.says_acked("EDS +a=1");
    hand.silent();
    let deadline = hand.state.next_deadline(hand.now).expect("something waits");
    assert!(
        deadline > hand.now + Duration::from_secs(15),
        "longer than initial_fetch_timeout"
    );
    hand.now = deadline;
    hand.says("RDS +b=2");
}

#[test]
fn reef_01_cluster_removal_is_last() {
    let mut hand = started();
    hand.change(|world| {
        world
            .remove(Cluster, "b")
            .remove(Endpoint, "b")
            .set(Cluster, "c", "1")
            .set(Endpoint, "c", "1");
        world.set(Route, "a", "2").set(Listener, "b", "2");
    });
    let clusters = hand.says("CDS +c=1");
    hand.says_acked("EDS +c=1");
    hand.ack(&clusters);
    let listeners = hand.says("LDS +b=2");
    let routes = hand.says("RDS +a=2");
    hand.silent();
    hand.ack(&listeners);
    hand.silent();
    hand.ack(&routes);
    let removal = hand.says("CDS -b");
    // The client unsubscribes the endpoints by itself; they are not removed before (9.3).
    hand.silent();
    hand.subscribe(Endpoint, &[], &["b"]);
    hand.ack(&removal);
    hand.silent();
}

#[test]
fn reef_01_cluster_removal_is_last_sotw() {
    let mut hand = Hand::sotw(World::of(&[Cluster, Route], &["a", "b"]));
    hand.names(Cluster, &[]);
    hand.says("CDS +a=1 +b=1");
    hand.names(Cluster, &[]);
    hand.names(Route, &["a"]);
    hand.says("RDS +a=1");
    hand.names(Route, &["a"]);
    hand.change(|world| {
        world
            .remove(Cluster, "b")
            .set(Cluster, "c", "1")
            .set(Route, "a", "2");
    });
    hand.says("CDS +a=1 +b=1 +c=1");
    hand.silent();
    hand.names(Cluster, &[]);
    hand.says("RDS +a=2");
    hand.silent();
    hand.names(Route, &["a"]);
    hand.says("CDS +a=1 +c=1");
    hand.names(Cluster, &[]);
    hand.silent();
}

#[test]
fn reef_01_endpoint_update_waits_for_nothing() {
    let mut hand = started();
    hand.change(|world| {
        world.set(Cluster, "a", "2");
    });
    hand.says("CDS +a=2");
    hand.says("EDS +a=1");
    hand.change(|world| {
        world.set(Endpoint, "b", "2");
    });
    hand.says("EDS +b=2");
}

#[test]
fn reef_02_verbatim_repeat_of_an_endpoint_ack_is_answered_sotw() {
    let mut hand = Hand::sotw(World::of(&[Endpoint], &["a", "b"]));
    hand.names(Endpoint, &["a", "b"]);
    hand.says("EDS +a=1 +b=1");
    assert!(matches!(hand.names(Endpoint, &["a", "b"]), Outcome::Ack(_)));
    hand.silent();
    hand.names(Endpoint, &["a", "b"]);
    hand.says("EDS +a=1 +b=1");
    assert!(matches!(hand.names(Endpoint, &["a", "b"]), Outcome::Ack(_)));
    hand.silent();
}

#[test]
fn reef_02_repeat_after_pushed_endpoints_is_stale_and_not_answered_sotw() {
    let mut hand = Hand::sotw(World::of(&[Cluster, Endpoint], &["a", "b"]));
    hand.names(Cluster, &[]);
    hand.says("CDS +a=1 +b=1");
    hand.names(Endpoint, &["a", "b"]);
    let first = hand.says("EDS +a=1 +b=1");
    hand.names(Cluster, &[]);
    hand.names(Endpoint, &["a", "b"]);
    hand.change(|world| {
        world
            .set(Cluster, "a", "2")
            .set(Cluster, "c", "1")
            .set(Endpoint, "c", "1");
    });
    hand.says("CDS +a=2 +b=1 +c=1");
    hand.says("EDS +a=1 +c=1");
    let outcome = hand.names_with(
        Endpoint,
        &["a", "b", "c"],
        &first.nonce.to_string(),
        &first.version,
    );
    assert_eq!(outcome, Outcome::ExpiredNonce);
    hand.silent();
    // Subscribed all the same: changes of the new name come.
    hand.change(|world| {
        world.set(Endpoint, "c", "2");
    });
    hand.says("EDS +c=2");
}

#[test]
fn reef_03_late_acks_in_a_burst_and_a_nack_behind_a_newer_response() {
    let mut hand = Hand::delta(World::of(&[Endpoint], &["a", "b", "c"]));
    hand.subscribe(Endpoint, &["a", "b", "c"], &[]);
    let n1 = hand.says("EDS +a=1 +b=1 +c=1");
    hand.change(|world| {
        world.set(Endpoint, "a", "2");
    });
    let n2 = hand.says("EDS +a=2");
    hand.change(|world| {
        world.set(Endpoint, "b", "2");
    });
    let n3 = hand.says("EDS +b=2");
    for response in [&n1, &n2, &n3] {
        assert!(matches!(hand.ack(response), Outcome::Ack(_)));
    }
    assert_eq!(hand.ack(&n2), Outcome::ExpiredNonce);
    hand.silent();

    hand.change(|world| {
        world.set(Endpoint, "a", "3").set(Endpoint, "c", "bad");
    });
    let n4 = hand.says("EDS +a=3 +c=bad");
    hand.change(|world| {
        world.set(Endpoint, "a", "4");
    });
    let n5 = hand.says("EDS +a=4");
    hand.nack(&n4);
    // `a` is decided by the newer response; only `c` is tried alone.
    let alone = hand.says("EDS +c=bad");
    hand.ack(&n5);
    hand.nack(&alone);
    hand.silent();
}

#[test]
fn reef_04_endpoints_before_clusters_are_answered_in_full_delta() {
    let world = World::of(&[Cluster, Endpoint], &["a", "b"]);
    let mut hand = Hand::delta(world.clone());
    hand.resume(Endpoint, &["a", "b"], &[("a", "1"), ("b", "1")]);
    hand.says_acked("EDS +a=1 +b=1");
    hand.silent();

    let mut hand = Hand::delta(world);
    hand.resume(Cluster, &[], &[("a", "1"), ("b", "1")]);
    hand.resume(Endpoint, &["a", "b"], &[("a", "1"), ("b", "1")]);
    hand.silent();
}

#[test]
fn reef_05_reconnect_reports_what_is_gone_and_resends_what_is_not_ours() {
    let mut world = World::of(&[Cluster, Listener, Route], &["a", "b"]);
    world.set_on_demand(Cluster, "x", "1");
    let mut hand = Hand::delta(world);
    hand.request(&Request {
        type_url: Cluster.type_url().into(),
        subscribe: strings(&["*", "x"]),
        initial: vec![
            ("a".into(), version(Cluster, "a", "1").to_string()),
            ("b".into(), "of another server".into()),
            ("dead".into(), version(Cluster, "dead", "1").to_string()),
            ("x".into(), version(Cluster, "x", "1").to_string()),
        ],
        ..Request::default()
    })
    .unwrap();
    hand.resume(Listener, &[], &[("a", "1"), ("b", "1"), ("gone", "1")]);
    hand.resume(Route, &["a"], &[("a", "1")]);
    hand.says_acked("CDS +b=1");
    hand.says_acked("LDS -gone");
    // Out of scope, but named: kept.
    hand.says_acked("CDS -dead");
    hand.silent();
    assert!(
        hand.reports()
            .iter()
            .any(|event| matches!(event, StreamReport::Settled { .. })),
        "everything is told"
    );
}

#[test]
fn reef_05_cluster_removals_wait_for_the_burst_of_a_reconnect() {
    let mut hand = Hand::delta(World::of(&[Cluster, Listener, Route], &["a"]));
    hand.resume(Cluster, &[], &[("a", "1"), ("dead", "1")]);
    hand.silent();
    hand.now = hand.state.next_deadline(hand.now).expect("it will be told");
    hand.says_acked("CDS -dead");
}

#[test]
fn reef_05_current_versions_get_nothing_again() {
    let mut hand = Hand::delta(World::of(&FOUR, &["a", "b"]));
    let held = [("a", "1"), ("b", "1")];
    hand.resume(Cluster, &[], &held);
    hand.resume(Endpoint, &["a", "b"], &held);
    hand.resume(Listener, &[], &held);
    hand.resume(Route, &["a", "b"], &held);
    hand.silent();
    hand.wait(Duration::from_secs(60));
    hand.silent();
    hand.change(|world| {
        world.lineage += 1;
    });
    hand.silent();
}

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
fn reef_06_full_state_without_anything_acked_is_not_repeated_sotw() {
    let mut hand = Hand::sotw(World::of(&[Cluster], &["a", "bad"]));
    hand.names(Cluster, &[]);
    hand.says("CDS +a=1 +bad=1");
    hand.names_nack(Cluster, &[]);
    hand.silent();
    hand.change(|world| {
        world.set(Cluster, "bad", "2");
    });
    hand.says("CDS +a=1 +bad=2");
}

#[test]
fn reef_07_missing_route_is_an_empty_one_and_replaced_later() {
    let mut world = World::of(&[Route], &["a"]);
    world.negatives.insert(Route);
    let mut hand = Hand::delta(world);
    hand.subscribe(Route, &["a", "new"], &[]);
    hand.says_acked("RDS +a=1 +new=empty");
    hand.change(|world| {
        world.set(Route, "new", "1");
    });
    hand.says_acked("RDS +new=1");
    // A table in use is left to a listener that drains.
    hand.change(|world| {
        world.remove(Route, "new");
    });
    hand.silent();
    // Asked again, it is answered, again not as removed; and again after a reconnect.
    hand.subscribe(Route, &["new"], &[]);
    hand.says_acked("RDS +new=empty");
    let mut hand = hand.reconnect();
    hand.resume(Route, &["a", "new"], &[("a", "1"), ("new", "1")]);
    hand.says_acked("RDS +new=empty");
    hand.silent();
}

#[test]
fn reef_07_vanished_endpoints_of_a_live_cluster_become_none() {
    let mut hand = started();
    hand.change(|world| {
        world.negatives.insert(Endpoint);
        world.remove(Endpoint, "a").set(Cluster, "b", "2");
    });
    let clusters = hand.says("CDS +b=2");
    hand.says_acked("EDS +b=1");
    hand.silent();
    hand.ack(&clusters);
    hand.says_acked("EDS +a=empty");
    hand.silent();
}

#[test]
fn reef_08_virtual_hosts_are_answered_in_each_name_space() {
    let mut world = World::of(&[Route], &["r1", "r2"]);
    world
        .set(VirtualHost, "r1/a.test", "1")
        .set_on_demand(VirtualHost, "r2/late.test", "1");
    let mut hand = Hand::delta(world);
    hand.subscribe(Route, &["r1", "r2"], &[]);
    hand.says_acked("RDS +r1=1 +r2=1");
    hand.subscribe(VirtualHost, &[], &[]);
    hand.says_acked("VHDS +r1/a.test=1 -r2/");
    // A route configuration that appears later has its name space answered unasked, once.
    hand.change(|world| {
        world.set(Route, "r3", "1");
    });
    hand.subscribe(Route, &["r3"], &[]);
    hand.says_acked("RDS +r3=1");
    hand.says_acked("VHDS -r3/");
    hand.change(|world| {
        world.set(Route, "r3", "2");
    });
    hand.says_acked("RDS +r3=2");
    hand.silent();
    // On demand: found out of scope; not found without body; found later.
    hand.subscribe(VirtualHost, &["r2/late.test"], &[]);
    hand.says_acked("VHDS +r2/late.test=1");
    hand.subscribe(VirtualHost, &["r2/none.test"], &[]);
    hand.says_acked("VHDS ?r2/none.test");
    hand.change(|world| {
        world.set_on_demand(VirtualHost, "r2/none.test", "1");
    });
    hand.says_acked("VHDS +r2/none.test=1");
    hand.change(|world| {
        world.remove(VirtualHost, "r2/none.test");
    });
    hand.says_acked("VHDS -r2/none.test");
    hand.silent();
}

#[test]
fn reef_09_on_demand_cluster_comes_with_its_endpoints() {
    let mut world = World::of(&[Cluster, Endpoint], &["a"]);
    world
        .set_on_demand(Cluster, "x", "1")
        .set(Endpoint, "x", "1");
    let mut hand = Hand::delta(world);
    hand.subscribe(Cluster, &[], &[]);
    hand.says_acked("CDS +a=1");
    hand.subscribe(Endpoint, &["a"], &[]);
    hand.says_acked("EDS +a=1");
    hand.subscribe(Cluster, &["x"], &[]);
    hand.says_acked("CDS +x=1");
    hand.says_acked("EDS +x=1");
    // Unknown: the provider's placeholder; created later: pushed unasked.
    hand.change(|world| {
        world.negatives.insert(Cluster);
        world.generation += 1;
    });
    hand.subscribe(Cluster, &["y"], &[]);
    hand.says_acked("CDS +y=empty");
    hand.change(|world| {
        world
            .set_on_demand(Cluster, "y", "1")
            .set(Endpoint, "y", "1");
    });
    hand.says_acked("CDS +y=1");
    hand.says_acked("EDS +y=1");
    hand.silent();
}

#[test]
fn reef_10_sotw_clusters_by_name_end_the_wildcard_and_raise_an_alarm() {
    let mut hand = Hand::sotw(World::of(&[Cluster], &["a", "x1"]));
    hand.names(Cluster, &[]);
    hand.says("CDS +a=1 +x1=1");
    hand.names(Cluster, &[]);
    hand.reports();
    hand.names(Cluster, &["x1"]);
    hand.says("CDS +x1=1");
    assert!(
        hand.reports()
            .contains(&StreamReport::WildcardLost { ty: Cluster })
    );
    hand.change(|world| {
        world.set(Cluster, "a", "2");
    });
    hand.silent();
}

#[test]
fn reef_12_unsubscription_under_wildcard_is_answered() {
    for ty in [Cluster, Listener] {
        let mut world = World::of(&[ty], &["a"]);
        world.set_on_demand(ty, "x", "1");
        let mut hand = Hand::delta(world);
        hand.subscribe(ty, &["*", "a", "x", "never"], &[]);
        hand.says_acked(&format!("{} +a=1 +x=1 -never", ty.short_name()));
        hand.subscribe(ty, &[], &["a"]);
        hand.says_acked(&format!("{} +a=1", ty.short_name()));
        hand.subscribe(ty, &[], &["x"]);
        hand.says_acked(&format!("{} -x", ty.short_name()));
        hand.subscribe(ty, &[], &["never"]);
        hand.says_acked(&format!("{} -never", ty.short_name()));
        hand.silent();
    }
}

#[test]
fn reef_13_new_name_under_constant_pushes_is_answered_with_a_stale_nonce() {
    let mut hand = Hand::sotw(World::of(&[Endpoint], &["a", "b"]));
    hand.names(Endpoint, &["a"]);
    let first = hand.says("EDS +a=1");
    for round in 2..8 {
        hand.change(|world| {
            world.set(Endpoint, "a", &round.to_string());
        });
        let mut said = vec![hand.says(&format!("EDS +a={round}"))];
        // Always one push behind.
        hand.names_with(
            Endpoint,
            &["a", "b"],
            &first.nonce.to_string(),
            &first.version,
        );
        said.extend(hand.all());
        let told = said
            .iter()
            .flat_map(|response| response.resources())
            .any(|sent| &**sent.name() == "b");
        assert_eq!(told, round == 2, "answered at once, and once");
    }
}

#[test]
fn reef_17_grpc_client_names_grow_shrink_and_omission_deletes() {
    let mut hand = Hand::sotw(World::of(
        &[Listener, Cluster, Route, Endpoint],
        &["a", "b"],
    ));
    hand.names(Listener, &["a"]);
    hand.says("LDS +a=1");
    // ACK and a larger set in one request, with the last nonce.
    hand.names(Listener, &["a", "b"]);
    hand.says("LDS +a=1 +b=1");
    // Shrinking reuses the nonce: no answer, and the next full state respects it.
    hand.names(Listener, &["b"]);
    hand.silent();
    hand.names(Listener, &["b"]);
    hand.silent();
    hand.change(|world| {
        world.set(Listener, "a", "2").set(Listener, "b", "2");
    });
    hand.says("LDS +b=2");
    hand.names(Listener, &["b"]);
    // Deleted: omitted from a full state.
    hand.change(|world| {
        world.remove(Listener, "b");
    });
    hand.says("LDS");
    hand.names(Listener, &["b"]);
    // Empty names are an unsubscription, not a wildcard.
    hand.names(Listener, &[]);
    hand.change(|world| {
        world.set(Listener, "c", "1").set(Listener, "b", "3");
    });
    hand.silent();
    // Not there yet: silence; the client has its own timer. There: sent.
    hand.names(Route, &["new"]);
    hand.silent();
    hand.change(|world| {
        world.set(Route, "new", "1");
    });
    hand.says("RDS +new=1");
}

#[test]
fn reef_17_names_in_an_empty_first_request_of_a_partial_type_mean_nothing() {
    let mut hand = Hand::sotw(World::of(&[Endpoint, Route], &["a"]));
    hand.names(Endpoint, &[]);
    hand.names(Route, &[]);
    hand.silent();
}

#[test]
fn reef_18_unread_updates_merge() {
    let mut hand = started();
    for round in 2..1000 {
        hand.change(|world| {
            world.set(Endpoint, "a", &round.to_string());
        });
    }
    hand.says("EDS +a=999");
    hand.silent();
    // The same where the log does not reach back.
    hand.change(|world| {
        world.set(Endpoint, "b", "2");
        world.forgotten = world.generation + 1;
    });
    hand.says("EDS +b=2");
    hand.silent();
}

#[test]
fn reef_18_large_delta_responses_are_split_with_endpoints_behind_each_part() {
    let options = Options {
        split_bytes: 200,
        ..Options::default()
    };
    let names: Vec<String> = (0..10).map(|n| format!("n{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::of(&[Cluster, Endpoint], &names);
    let memory = Arc::new(NackMemory::new());
    let mut hand = Hand::with_options(Variant::Delta, None, world, memory, Duration::ZERO, options);
    hand.subscribe(Endpoint, &["n0"], &[]);
    hand.says_acked("EDS +n0=1");
    hand.subscribe(Cluster, &[], &[]);
    let parts: Vec<String> = hand.all_acked().iter().map(said).collect();
    let mut pending = Vec::new();
    let mut cluster_parts = 0;
    for part in &parts {
        let mut words = part.split(' ');
        let ty = words.next();
        if ty == Some("CDS") {
            assert!(
                pending.is_empty(),
                "endpoints of the part before are missing: {parts:?}"
            );
            cluster_parts += 1;
            pending.extend(words);
        } else {
            for name in words {
                assert_eq!(pending.remove(0), name, "{parts:?}");
            }
        }
    }
    assert!(cluster_parts > 2 && pending.is_empty(), "{parts:?}");
}
