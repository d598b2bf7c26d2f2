//! Patterns of localities, priorities and shares by hand-made endpoints.

use reef_mesh::Locality;
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::config::endpoint::v3 as eds;

use super::{Preference, matches};

#[test]
fn patterns_match_part_by_part() {
    let place = ["eu", "a", "s"];
    for (pattern, expected) in [
        ("eu/a/s", true),
        ("eu/a/*", true),
        ("eu/*", true),
        ("eu", true),
        ("*", true),
        ("eu/b/s", false),
        ("us/*", false),
        ("eu/a/t", false),
        ("*/a", true),
        ("", false),
    ] {
        assert_eq!(matches(pattern, place), expected, "{pattern}");
    }
}

#[test]
fn shares_are_split_by_weight_rounded_up_and_the_rest_is_emptied() {
    let group = |text: &str, weight| {
        let at = Locality::parse(text);
        eds::LocalityLbEndpoints {
            locality: Some(core::Locality {
                region: at.region.to_string(),
                zone: at.zone.to_string(),
                sub_zone: at.subzone.to_string(),
            }),
            load_balancing_weight: Some(weight),
            lb_endpoints: vec![eds::LbEndpoint::default()],
            ..Default::default()
        }
    };
    let mut groups = [
        group("eu/a", 1),
        group("eu/b", 2),
        group("us/a", 5),
        group("asia", 1),
    ];
    Preference::Shares(Box::new([("eu/*".into(), 80), ("us/a".into(), 20)])).share(&mut groups);
    let found: Vec<(Option<u32>, usize)> = groups
        .iter()
        .map(|group| (group.load_balancing_weight, group.lb_endpoints.len()))
        .collect();
    assert_eq!(
        found,
        [(Some(27), 1), (Some(54), 1), (Some(20), 1), (Some(1), 0)]
    );
}
