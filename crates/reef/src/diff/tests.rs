//! Tests of comparing and of what Envoy does about it. The whole command is tested in `tests/it`.

use reef_xds::ResourceType;
use serde_json::{Value, json};

use super::effect::{self, Effect};
use super::fields::changes;

fn shown(old: &Value, new: &Value) -> Vec<String> {
    changes(old, new)
        .into_iter()
        .map(|change| {
            let text = |value: Option<Value>| value.map_or("-".to_owned(), |v| v.to_string());
            format!("{} {} {}", change.path, text(change.old), text(change.new))
        })
        .collect()
}

#[test]
fn fields_that_come_go_and_change_are_named() {
    let old = json!({"a": 1, "b": {"c": "x", "d": 2}, "e": [1, 2, 3]});
    let new = json!({"b": {"c": "y", "d": 2}, "e": [1, 9, 3], "f": true});
    assert_eq!(
        shown(&old, &new),
        ["a 1 -", "b.c \"x\" \"y\"", "e[1] 2 9", "f - true"]
    );
    assert!(shown(&old, &old).is_empty());
}

#[test]
fn elements_are_told_by_their_names_not_by_their_place() {
    let chain = |name: &str, port: u16| json!({"name": name, "port": port});
    let old = json!({"chains": [chain("a", 1), chain("b", 2), chain("c", 3)]});
    let new = json!({"chains": [chain("c", 3), chain("b", 5), chain("d", 4)]});
    assert_eq!(
        shown(&old, &new),
        [
            "chains[name=a] {\"name\":\"a\",\"port\":1} -",
            "chains[name=b].port 2 5",
            "chains[name=d] - {\"name\":\"d\",\"port\":4}",
            "chains (order) [\"name=b\",\"name=c\"] [\"name=c\",\"name=b\"]",
        ]
    );
}

#[test]
fn endpoints_are_told_by_their_addresses() {
    let host = |ip: &str| json!({"endpoint": {"address": {"socket_address": {"address": ip, "port_value": 80}}}});
    let of = |hosts: Vec<Value>| json!({"endpoints": [{"locality": {"region": "r"}, "lb_endpoints": hosts}]});
    let found = changes(
        &of(vec![host("10.0.0.1"), host("10.0.0.2")]),
        &of(vec![host("10.0.0.2"), host("10.0.0.3")]),
    );
    let paths: Vec<&str> = found.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "endpoints[r// priority 0].lb_endpoints[10.0.0.1:80]",
            "endpoints[r// priority 0].lb_endpoints[10.0.0.3:80]"
        ]
    );
}

#[test]
fn elements_without_names_are_compared_between_what_is_equal() {
    let old = json!([1, 2, 3, 4]);
    let new = json!([1, 9, 8, 3, 4]);
    assert_eq!(shown(&old, &new), ["[1] 2 9", "[2] - 8"]);
}

fn effect_of(ty: ResourceType, old: &Value, new: &Value) -> Effect {
    effect::of(ty, old, new)
}

#[test]
fn listener_with_other_chains_drains_those_alone() {
    let chain =
        |name: &str, route: &str| json!({"name": name, "filters": [{"route_config_name": route}]});
    let listener = |chains: Value, address: &str| json!({"name": "l", "address": address, "filter_chains": chains});
    let old = listener(json!([chain("a", "80"), chain("b", "81")]), "x");
    let ty = ResourceType::Listener;

    let swapped = effect_of(
        ty,
        &old,
        &listener(json!([chain("a", "80"), chain("b", "82")]), "x"),
    );
    assert!(swapped.drains && swapped.warms, "{swapped:?}");
    assert!(
        swapped.meaning.contains("connections of b drain"),
        "{swapped:?}"
    );
    assert!(swapped.meaning.contains("`82`"), "{swapped:?}");

    let more = json!([chain("a", "80"), chain("b", "81"), chain("c", "80")]);
    let added = effect_of(ty, &old, &listener(more, "x"));
    assert!(!added.drains && !added.warms, "{added:?}");

    let moved = effect_of(
        ty,
        &old,
        &listener(json!([chain("a", "80"), chain("b", "81")]), "y"),
    );
    assert!(
        moved.drains && moved.meaning.contains("as a whole"),
        "{moved:?}"
    );

    let gone = effect_of(ty, &old, &Value::Null);
    assert!(gone.drains && !gone.warms, "{gone:?}");
    let come = effect_of(ty, &Value::Null, &old);
    assert!(!come.drains && come.warms, "{come:?}");
}

#[test]
fn cluster_warms_and_the_old_one_drains_afterwards() {
    let cluster = |timeout: &str| json!({"name": "c", "type": "EDS", "connect_timeout": timeout});
    let ty = ResourceType::Cluster;
    let changed = effect_of(ty, &cluster("1s"), &cluster("2s"));
    assert!(changed.drains && changed.warms, "{changed:?}");
    let added = effect_of(ty, &Value::Null, &cluster("1s"));
    assert!(!added.drains && added.warms, "{added:?}");
    let gone = effect_of(ty, &cluster("1s"), &Value::Null);
    assert!(gone.drains && gone.meaning.contains("503"), "{gone:?}");
}

#[test]
fn routes_and_endpoints_are_swapped_in_place() {
    for ty in [ResourceType::Route, ResourceType::Endpoint] {
        let effect = effect_of(ty, &json!({"a": 1}), &json!({"a": 2}));
        assert!(!effect.drains && !effect.warms, "{effect:?}");
    }
}
