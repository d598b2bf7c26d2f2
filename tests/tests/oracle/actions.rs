//! What random routes do.

use serde_json::{Value, json};

use crate::dice::Dice;
use crate::mesh::Host;

/// Tags of what it does, and the route without its matches.
pub(crate) fn draw(dice: &mut Dice, hosts: &[Host], namespace: &str) -> (Vec<&'static str>, Value) {
    let mut tags = Vec::new();
    let mut route = json!({});
    match dice.below(22) {
        0..=3 => {
            tags.push(redirect(dice, &mut route));
            more_headers(dice, &mut route, &mut tags);
            return (tags, route);
        }
        4 | 5 => {
            let status = *dice.pick(&[200, 404, 418, 503]);
            route["directResponse"] = json!({"status": status});
            if dice.percent(70) {
                route["directResponse"]["body"] = json!({"string": "made here"});
            }
            tags.push("direct_response");
            more_headers(dice, &mut route, &mut tags);
            return (tags, route);
        }
        6..=12 => {
            let mut all = Vec::new();
            for _ in 0..dice.below(2) + 2 {
                let mut one = destination(dice, hosts, namespace);
                one["weight"] = json!(dice.below(5) * 10);
                if dice.percent(40) {
                    one["headers"] = operations(dice, "w");
                    tags.push("headers_of_weighted_destination");
                }
                all.push(one);
            }
            all[0]["weight"] = json!(10 + dice.below(9) * 10);
            if all[1]["weight"] == json!(0) {
                tags.push("weight_zero");
            }
            route["route"] = json!(all);
            tags.push("weighted");
        }
        _ => {
            let mut one = destination(dice, hosts, namespace);
            if dice.percent(20) {
                one["headers"] = operations(dice, "d");
                tags.push("headers_of_destination");
            }
            route["route"] = json!([one]);
            tags.push("single");
        }
    }
    rewrite(dice, &mut route, &mut tags);
    more_headers(dice, &mut route, &mut tags);
    resilience(dice, &mut route, &mut tags);
    extras(dice, hosts, namespace, &mut route, &mut tags);
    (tags, route)
}

fn destination(dice: &mut Dice, hosts: &[Host], namespace: &str) -> Value {
    let usable: Vec<&Host> = hosts
        .iter()
        .filter(|host| !host.name.contains("wild"))
        .collect();
    let host = *dice.pick(&usable);
    let short = host.name.split('.').next().unwrap_or_default();
    let name = if host.service && host.namespace == namespace && dice.percent(40) {
        short
    } else {
        host.name.as_str()
    };
    let mut one = json!({"host": name});
    if dice.percent(60) || host.ports.len() > 1 {
        one["port"] = json!({"number": dice.pick(&host.ports)});
    }
    if host.subsets && dice.percent(50) {
        one["subset"] = json!(dice.pick(&["v1", "v2"]));
    } else if dice.percent(4) {
        one["subset"] = json!("nobody");
    }
    json!({"destination": one})
}

fn redirect(dice: &mut Dice, route: &mut Value) -> &'static str {
    let mut to = json!({});
    let tag = match dice.below(6) {
        0 => {
            to["uri"] = json!("/moved");
            "redirect_uri"
        }
        1 => {
            to["authority"] = json!("other.example.com");
            "redirect_authority"
        }
        2 => {
            to["scheme"] = json!("https");
            "redirect_scheme"
        }
        3 => {
            to["port"] = json!(8443);
            "redirect_port"
        }
        4 => {
            to["derivePort"] = json!("FROM_REQUEST_PORT");
            to["authority"] = json!("other.example.com");
            "redirect_derived_port"
        }
        _ => {
            to["uri"] = json!("/moved?with=query");
            to["redirectCode"] = json!(302);
            "redirect_uri_with_query"
        }
    };
    if dice.percent(40) {
        to["redirectCode"] = json!(dice.pick(&[301, 302, 303, 307, 308]));
    }
    route["redirect"] = to;
    tag
}

fn rewrite(dice: &mut Dice, route: &mut Value, tags: &mut Vec<&'static str>) {
    let mut to = json!({});
    match dice.below(8) {
        0 => {
            to["uri"] = json!(dice.pick(&["/new", "/new/", "/"]));
            tags.push("rewrite_uri");
        }
        1 => {
            to["uriRegexRewrite"] = dice
                .pick(&[
                    json!({"match": "^/([^/]+)(.*)$", "rewrite": "/r\\2/\\1"}),
                    json!({"match": "[aeiou]", "rewrite": "_"}),
                ])
                .clone();
            tags.push("rewrite_uri_regex");
        }
        2 => {
            to["authority"] = json!("rewritten.example.com");
            tags.push("rewrite_authority");
        }
        _ => return,
    }
    if dice.percent(25) && to.get("authority").is_none() {
        to["authority"] = json!("rewritten.example.com");
        tags.push("rewrite_authority");
    }
    route["rewrite"] = to;
}

/// Operations on headers; `mark` tells levels apart.
fn operations(dice: &mut Dice, mark: &str) -> Value {
    let mut all = json!({});
    for side in ["request", "response"] {
        if dice.percent(30) {
            continue;
        }
        let mut one = json!({});
        if dice.percent(60) {
            one["set"] = json!({"x-set": format!("set-{mark}"), "x-both": format!("both-{mark}")});
        }
        if dice.percent(60) {
            one["add"] = json!({"x-add": format!("add-{mark}"), "x-path": "%REQ(:path)%"});
        }
        if dice.percent(40) {
            one["remove"] = json!(["x-remove", "x-group"]);
        }
        all[side] = one;
    }
    if mark == "r" && dice.percent(15) {
        all["request"]["set"]["host"] = json!("by-header.example.com");
    }
    all
}

fn more_headers(dice: &mut Dice, route: &mut Value, tags: &mut Vec<&'static str>) {
    if dice.percent(30) {
        route["headers"] = operations(dice, "r");
        tags.push("headers");
        if route["headers"]["request"]["set"]["host"].is_string() {
            tags.push("headers_set_host");
        }
    }
}

fn resilience(dice: &mut Dice, route: &mut Value, tags: &mut Vec<&'static str>) {
    if dice.percent(12) {
        route["timeout"] = json!("2s");
        tags.push("timeout");
    }
    match dice.below(8) {
        0 => {
            route["retries"] = json!({
                "attempts": dice.below(3) + 1, "retryOn": dice.pick(&["5xx", "503", "gateway-error,reset"]),
            });
            tags.push("retries");
        }
        1 => {
            route["retries"] = json!({"attempts": 0});
            tags.push("retries_off");
        }
        _ => {}
    }
    match dice.below(10) {
        0 => {
            let percent = *dice.pick(&[100.0, 100.0, 40.0]);
            let mut abort = json!({"percentage": {"value": percent}});
            if dice.percent(45) {
                abort["grpcStatus"] = json!("RESOURCE_EXHAUSTED");
                tags.push("fault_abort_of_grpc");
            } else {
                abort["httpStatus"] = json!(dice.pick(&[400, 503, 555]));
                tags.push("fault_abort");
            }
            route["fault"] = json!({"abort": abort});
        }
        1 => {
            let percent = *dice.pick(&[100.0, 100.0, 50.0]);
            route["fault"] =
                json!({"delay": {"fixedDelay": "0.02s", "percentage": {"value": percent}}});
            tags.push("fault_delay");
        }
        _ => {}
    }
}

fn extras(
    dice: &mut Dice,
    hosts: &[Host],
    namespace: &str,
    route: &mut Value,
    tags: &mut Vec<&'static str>,
) {
    match dice.below(8) {
        0 => {
            route["mirror"] = destination(dice, hosts, namespace)["destination"].take();
            route["mirrorPercentage"] = json!({"value": dice.pick(&[100.0, 100.0, 50.0, 0.0])});
            tags.push("mirror");
        }
        1 => {
            let mut one = destination(dice, hosts, namespace);
            one["percentage"] = json!({"value": 100.0});
            route["mirrors"] = json!([one, destination(dice, hosts, namespace)]);
            tags.push("mirrors");
        }
        _ => {}
    }
    if dice.percent(18) {
        let origins = [
            json!({"exact": "https://good.example"}),
            json!({"prefix": "https://good"}),
            json!({"regex": "https://.*\\.example"}),
        ];
        let origin = dice.pick(&origins);
        let mut policy = json!({
            "allowOrigins": [origin], "allowMethods": ["GET", "PUT"], "allowHeaders": ["x-a", "x-b"],
            "exposeHeaders": ["x-c"], "maxAge": "24h", "allowCredentials": dice.percent(50),
        });
        if dice.percent(40) {
            policy["unmatchedPreflights"] = json!(dice.pick(&["IGNORE", "FORWARD"]));
        }
        route["corsPolicy"] = policy;
        tags.push("cors");
    }
}
