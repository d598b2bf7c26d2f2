//! What states say.

use super::*;

#[test]
fn readiness_names_what_is_missing_and_why() {
    let states = States::new([Kind::Pod, Kind::Sidecar, Kind::Service]);
    let told = states.subscribe();
    states.live(Kind::Service, 3);
    states.forbidden(Kind::Sidecar, Instant::now(), "watch");
    let told = told.borrow().clone();
    assert!(!told.complete());
    assert_eq!(
        told.waiting().unwrap(),
        "waiting for Pod (listing), Sidecar (forbidden: no permission to watch sidecars.networking.istio.io)"
    );
}

#[test]
fn kind_that_was_listed_stays_complete_while_it_is_stale() {
    let states = States::new([Kind::Pod]);
    let told = states.subscribe();
    states.live(Kind::Pod, 7);
    states.stale(Kind::Pod, Instant::now(), "no answer");
    let told = told.borrow().clone();
    assert!(told.complete() && told.waiting().is_none());
    let pod = &told.kinds[&Kind::Pod];
    assert_eq!(pod.objects, 7);
    assert_eq!(pod.state.to_string(), "stale: no answer");
    assert!(pod.state.stale_since().is_some());
}

#[test]
fn kind_that_is_not_installed_is_waited_for_by_nobody() {
    let states = States::new([Kind::Telemetry]);
    let mut told = states.subscribe();
    states.not_installed(Kind::Telemetry);
    assert!(told.borrow_and_update().complete());
    states.not_installed(Kind::Telemetry);
    assert!(!told.has_changed().unwrap(), "nothing differs");
}
