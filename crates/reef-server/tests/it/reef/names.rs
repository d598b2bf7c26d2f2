//! Items 7 to 18: names that do not exist, wildcards, stale nonces, gRPC clients, slow readers.

use std::sync::Arc;
use std::time::Duration;

use reef_server::protocol::{NackMemory, Options, Variant};
use reef_server::provider::StreamReport;

use super::started;
use crate::kit::*;

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
