//! What is left of rules that can't be followed to the letter. Objects like these do not pass
//! validation; should one come by another way, no proxy may be sent what it refuses.

use reef_config::istio::{HttpRoute, Percent, StringMatch};
use reef_config::names::{ClusterId, Namespace};
use reef_config::{Kind, ObjectKey, Problem};

use super::{Found, Place, format};

fn found(yaml_like: HttpRoute) -> (usize, Vec<Problem>) {
    let mut found = Found::default();
    found.add(yaml_like, place());
    (found.rules.len(), found.problems)
}

fn place() -> Place {
    let key = ObjectKey {
        cluster: ClusterId::default(),
        kind: Kind::VirtualService,
        namespace: Namespace::default(),
        name: "v".into(),
    };
    Place::new(&key, 3)
}

fn route(json: &str) -> HttpRoute {
    serde_json::from_str(json).expect("a route")
}

const TO: &str = r#""route": [{"destination": {"host": "a"}}]"#;

#[test]
fn a_route_that_leads_nowhere_is_left_out() {
    for (json, reason) in [
        (r#"{}"#, "leads nowhere"),
        (r#"{"route": []}"#, "leads nowhere"),
        (
            r#"{"route": [{"destination": {"host": "a"}}, {"destination": {"host": "b"}}]}"#,
            "no destination has a weight",
        ),
        (
            r#"{"route": [{"destination": {"host": "a"}, "weight": -1}, {"destination": {"host": "b"}, "weight": 0}]}"#,
            "no destination has a weight",
        ),
        (
            r#"{"route": [{"destination": {"host": "a"}, "weight": 2147483647}, {"destination": {"host": "b"}, "weight": 2147483647}, {"destination": {"host": "c"}, "weight": 9}]}"#,
            "too large",
        ),
        (r#"{"redirect": {"redirectCode": 418}}"#, "can't redirect"),
    ] {
        let (left, problems) = found(route(json));
        assert_eq!(left, 0, "{json}");
        assert_eq!(problems.len(), 1, "{json}");
        assert!(problems[0].reason.contains(reason), "{json}: {problems:?}");
        assert!(
            problems[0].field.starts_with("spec.http[3]"),
            "{problems:?}"
        );
    }
}

#[test]
fn what_a_proxy_would_refuse_is_left_out_of_a_route() {
    let json = format!(
        r#"{{"fault": {{"delay": {{}}, "abort": {{}}}},
            "headers": {{"request": {{"set": {{"a": "%NO%", "b": "%REQ(x)%"}}}}}}, {TO}}}"#
    );
    let mut all = Found::default();
    all.add(route(&json), place());
    assert_eq!(all.problems.len(), 3, "{:?}", all.problems);
    let action = &all.rules[0].action.route;
    let fault = action.fault.as_ref().expect("a fault");
    assert!(fault.delay.is_none() && fault.abort.is_none());
    let request = action.headers.as_ref().and_then(|all| all.request.as_ref());
    let names: Vec<&String> = request.expect("operations").set.keys().collect();
    assert_eq!(names, ["b"]);
}

#[test]
fn a_condition_that_cannot_be_leaves_the_others() {
    let json = format!(
        r#"{{"match": [{{"headers": {{"": {{"exact": "x"}}}}}}, {{"uri": {{"prefix": ""}}}}], {TO}}}"#
    );
    let mut all = Found::default();
    all.add(route(&json), place());
    assert_eq!((all.rules.len(), all.problems.len()), (1, 1));
    let condition = all.rules[0].condition.as_ref().expect("a condition");
    assert_eq!(condition.uri, Some(StringMatch::Prefix("/".to_owned())));
    // A route whose only condition is gone must not become one for every request.
    let json = format!(r#"{{"match": [{{"queryParams": {{"": {{}}}}}}], {TO}}}"#);
    assert_eq!(found(route(&json)).0, 0);
}

#[test]
fn a_share_that_is_no_number_is_none_and_keys_stay_equal_to_themselves() {
    let mut mirrored = route(&format!(r#"{{"mirror": {{"host": "b"}}, {TO}}}"#));
    mirrored.mirror_percentage = Some(Percent { value: f64::NAN });
    let mut all = Found::default();
    all.add(mirrored, place());
    assert_eq!(all.rules[0], all.rules[0].clone());
}

#[test]
fn commands_in_values_are_known_to_a_proxy() {
    for good in [
        "",
        "plain",
        "100%%",
        "%%NOT%%",
        "%PROTOCOL%",
        "%REQ(X-A?:PATH):10%-%HOSTNAME%",
        "%START_TIME%",
        "%START_TIME(%Y/%m)%",
        "%DYNAMIC_METADATA(a:b)%",
    ] {
        assert_eq!(format::unknown_command(good), None, "{good}");
    }
    for bad in [
        "%",
        "%PROTOCOL",
        "%PROTO%",
        "%REQ%",
        "%REQ()%",
        "%PROTOCOL(x)%",
        "%REQ(x):y%",
        "%REQ(x",
        "50% of %PROTOCOL%",
    ] {
        assert!(format::unknown_command(bad).is_some(), "{bad}");
    }
}
