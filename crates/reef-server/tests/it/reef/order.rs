//! Items 1 to 5: what follows what on a stream, and what a reconnect is told.

use std::time::Duration;

use reef_server::protocol::{Outcome, Request};
use reef_server::provider::StreamReport;

use super::started;
use crate::kit::*;

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
