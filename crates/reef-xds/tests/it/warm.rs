//! Resources give bytes back that nobody asks for, and have the same again when somebody does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use reef_xds::{EncodedResource, Source, Warm};
use xds_api::envoy::config::cluster::v3::Cluster;

use crate::samples;

/// A cluster that counts how often it was made again.
#[derive(Default)]
struct Counted {
    cluster: Cluster,
    made: AtomicUsize,
}

impl Source for Counted {
    fn make(&self) -> EncodedResource {
        self.made.fetch_add(1, Ordering::Relaxed);
        EncodedResource::encode("c", &self.cluster)
    }
}

fn counted() -> Arc<Counted> {
    Arc::new(Counted {
        cluster: samples::cluster_with_maps(),
        ..Counted::default()
    })
}

fn made(source: &Counted) -> usize {
    source.made.load(Ordering::Relaxed)
}

fn renewable(source: &Arc<Counted>, warm: &Warm) -> EncodedResource {
    EncodedResource::encode("c", &source.cluster).renewable(Arc::<Counted>::clone(source), warm)
}

#[test]
fn bytes_nobody_asks_for_between_two_looks_are_given_back_and_made_again_the_same() {
    let (warm, source) = (Warm::default(), counted());
    let fixed = EncodedResource::encode("c", &source.cluster);
    let resource = renewable(&source, &warm);
    assert!(resource.is_warm(), "a new resource is about to be sent");
    assert_eq!((warm.cool(), resource.is_warm()), (1, true));
    assert_eq!((warm.cool(), resource.is_warm()), (0, false));

    assert_eq!(resource, fixed, "what it is does not depend on its bytes");
    assert_eq!(resource.value_len(), fixed.value().len());
    assert_eq!(resource.wire_any_len(), fixed.wire_any().len());
    assert_eq!(resource.wire_delta_len(), fixed.wire_delta().len());
    assert_eq!(made(&source), 0, "none of these makes it");

    let clone = resource.clone();
    assert_eq!(clone.wire_delta(), fixed.wire_delta());
    assert_eq!(resource.wire_any(), fixed.wire_any());
    assert_eq!(resource.any(), fixed.any());
    assert_eq!(made(&source), 1, "made once for all clones");
    assert_eq!(warm.cool(), 1);
    assert_eq!((warm.cool(), resource.is_warm()), (0, false));
}

#[test]
fn what_is_asked_for_stays() {
    let (warm, source) = (Warm::default(), counted());
    let resource = renewable(&source, &warm);
    for _ in 0..5 {
        assert_eq!(warm.cool(), 1);
        assert!(!resource.wire_delta().is_empty());
    }
    assert_eq!(made(&source), 0);
}

#[test]
fn a_resource_that_is_not_renewable_and_one_that_is_shared_keep_their_bytes() {
    let (warm, source) = (Warm::default(), counted());
    let fixed = EncodedResource::encode("c", &source.cluster);
    let shared = fixed.clone();
    let late = fixed.renewable(Arc::<Counted>::clone(&source), &warm);
    for _ in 0..3 {
        assert_eq!(warm.cool(), 0);
    }
    assert!(shared.is_warm() && late.is_warm());
}

#[test]
fn dropped_resources_are_forgotten() {
    let (warm, source) = (Warm::default(), counted());
    drop(renewable(&source, &warm));
    assert_eq!(warm.len(), 1);
    assert_eq!(warm.cool(), 0);
    assert!(warm.is_empty());
}

#[test]
fn one_call_looks_at_a_part_of_many() {
    let (warm, source) = (Warm::default(), counted());
    let all: Vec<_> = (0..8000).map(|_| renewable(&source, &warm)).collect();
    let looks = (0..7).map(|_| warm.cool()).collect::<Vec<_>>();
    assert_eq!(looks.last(), Some(&8000), "each was asked for when made");
    let mut calls = 0;
    while warm.cool() > 0 {
        calls += 1;
        assert!(calls < 40, "the last ones are not long in coming");
    }
    assert!(all.iter().all(|one| !one.is_warm()));
}

#[test]
fn who_asks_at_the_same_time_waits_for_one_making() {
    let (warm, source) = (Warm::default(), counted());
    let resource = renewable(&source, &warm);
    warm.cool();
    warm.cool();
    let together = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                together.wait();
                assert!(!resource.wire_delta().is_empty());
            });
        }
    });
    assert_eq!((made(&source), warm.len()), (1, 1));
}
