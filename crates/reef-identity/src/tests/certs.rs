//! The certificates that are made: who signed them, for what, for how long.

use std::time::Duration;

use super::kit::NOW;
use crate::certs::{
    CA_LIFE, LEAF_LIFE, issue_leaf, make_ca, needs_rotation, rotation_due, validity,
};

fn names() -> Vec<String> {
    vec![
        "reef.reef-system.svc".to_owned(),
        "reef.reef-system.svc.cluster.local".to_owned(),
    ]
}

#[test]
fn an_authority_lives_ten_years_and_a_leaf_is_renewed_after_two_thirds_of_its_life() {
    let ca = make_ca("reef-ca", NOW).unwrap();
    assert_eq!(
        validity(&ca.cert).unwrap(),
        (NOW - 300, NOW + CA_LIFE.as_secs())
    );
    let leaf = issue_leaf(&ca, &names(), NOW, LEAF_LIFE).unwrap();
    let life = LEAF_LIFE.as_secs();
    assert_eq!(validity(&leaf.cert).unwrap(), (NOW - 300, NOW + life));
    let due = |now| needs_rotation(&leaf.cert, &ca.cert, &names(), now);
    assert!(!due(NOW) && !due(NOW + life / 2));
    assert!(due(NOW + life * 7 / 10) && due(NOW + life + 1));
    assert!(due(NOW - 301), "a clock that went back");
    let at = rotation_due(&leaf.cert).unwrap();
    assert!(!due(at - 1) && due(at), "{at}");
    assert_eq!(at, NOW + life - (life + 300) / 3);
    assert!(rotation_due("").is_err());
}

#[test]
fn a_leaf_for_other_names_or_of_another_authority_is_made_anew() {
    let (ca, other) = (
        make_ca("reef-ca", NOW).unwrap(),
        make_ca("reef-ca", NOW).unwrap(),
    );
    let leaf = issue_leaf(&ca, &names(), NOW, LEAF_LIFE).unwrap();
    assert!(!needs_rotation(&leaf.cert, &ca.cert, &names(), NOW));
    assert!(needs_rotation(&leaf.cert, &other.cert, &names(), NOW));
    assert!(needs_rotation(
        &leaf.cert,
        &ca.cert,
        &["elsewhere".to_owned()],
        NOW
    ));
    for broken in [
        "",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        assert!(needs_rotation(broken, &ca.cert, &names(), NOW));
        assert!(needs_rotation(&leaf.cert, broken, &names(), NOW));
    }
}

#[test]
fn a_leaf_does_not_outlive_its_authority_and_no_authority_is_taken_that_is_none() {
    let ca = make_ca("reef-ca", NOW).unwrap();
    let late = NOW + CA_LIFE.as_secs() - 1000;
    let leaf = issue_leaf(&ca, &names(), late, LEAF_LIFE).unwrap();
    assert_eq!(validity(&leaf.cert).unwrap().1, NOW + CA_LIFE.as_secs());
    let mut broken = ca.clone();
    broken.cert.clear();
    assert!(issue_leaf(&broken, &names(), NOW, Duration::from_secs(1)).is_err());
    assert!(issue_leaf(&ca, &["n\u{e4}me".to_owned()], NOW, LEAF_LIFE).is_err());
}

#[test]
fn a_key_does_not_show_itself() {
    let ca = make_ca("reef-ca", NOW).unwrap();
    assert!(ca.key.contains("PRIVATE KEY") && !format!("{ca:?}").contains("PRIVATE KEY"));
}
