//! Random VirtualServices, and for each of their matches a request that is made for it.
//!
//! Names of routes and matches are lists of tags, so that whatever route a request takes tells which kinds
//! of match, action and precedence took part.

use serde_json::{Map, Value, json};

use crate::actions;
use crate::dice::Dice;
use crate::mesh::{Host, Mesh, object};

const API: &str = "networking.istio.io/v1";

/// A request, in parts that can be changed one by one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recipe {
    pub(crate) host: String,
    pub(crate) vip: String,
    pub(crate) port: u16,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
}

/// Adds VirtualServices to a mesh.
pub(crate) fn draw(dice: &mut Dice, mesh: &mut Mesh) {
    let hosts = mesh.hosts.clone();
    let mut age = 100;
    for host in hosts.iter().filter(|host| host.service) {
        if dice.percent(10) {
            continue;
        }
        age += 1;
        let (namespace, name) = if host.namespace == "default" && dice.percent(30) {
            let short = host.name.split('.').next().unwrap_or_default();
            ("default", (short.to_owned(), "vs_short_name"))
        } else {
            (host.namespace.as_str(), (host.name.clone(), "vs_exact"))
        };
        let contested = dice.percent(40);
        let mut tags = vec![name.1];
        tags.extend(contested.then_some("vs_oldest"));
        virtual_service(
            dice,
            mesh,
            &hosts,
            &[name.0],
            namespace,
            &tags,
            age,
            &[host],
        );
        if contested {
            // The older one has it.
            age += 1;
            let tags = ["vs_younger"];
            virtual_service(
                dice,
                mesh,
                &hosts,
                std::slice::from_ref(&host.name),
                "default",
                &tags,
                age,
                &[host],
            );
        }
    }
    let entries: Vec<&Host> = hosts.iter().filter(|host| !host.service).collect();
    let exact: Vec<&Host> = entries
        .iter()
        .filter(|host| host.name.starts_with('e'))
        .copied()
        .collect();
    age += 1;
    if dice.percent(50) {
        let names: Vec<String> = exact.iter().map(|host| host.name.clone()).collect();
        virtual_service(
            dice,
            mesh,
            &hosts,
            &names,
            "default",
            &["vs_several_hosts"],
            age,
            &exact,
        );
    } else {
        let names = ["*.example.com".to_owned()];
        virtual_service(
            dice,
            mesh,
            &hosts,
            &names,
            "default",
            &["vs_wildcard"],
            age,
            &exact,
        );
        if dice.percent(50) {
            age += 1;
            let names = ["e1.example.com".to_owned()];
            let tags = ["vs_exact_beats_wildcard"];
            virtual_service(
                dice,
                mesh,
                &hosts,
                &names,
                "default",
                &tags,
                age,
                &exact[..1],
            );
        }
    }
    let wild: Vec<&Host> = entries
        .iter()
        .filter(|host| host.name.contains("wild"))
        .copied()
        .collect();
    age += 1;
    let names = ["*.wild.example.com".to_owned()];
    let tags = ["vs_longest_wildcard"];
    virtual_service(dice, mesh, &hosts, &names, "default", &tags, age, &wild);
    age += 1;
    let unknown = Host {
        name: "nobody.example.org".to_owned(),
        namespace: "default".to_owned(),
        vip: "10.102.0.1".to_owned(),
        ports: vec![80],
        subsets: false,
        service: false,
    };
    let names = [unknown.name.clone()];
    virtual_service(
        dice,
        mesh,
        &hosts,
        &names,
        "default",
        &["vs_unregistered_host"],
        age,
        &[&unknown],
    );
    hidden(dice, mesh, &hosts, age + 1);
    opaque(dice, mesh, &hosts);
}

/// One that is exported to nobody here, or has other gateways only: it is not there.
fn hidden(dice: &mut Dice, mesh: &mut Mesh, hosts: &[Host], age: usize) {
    let Some(host) = hosts.first() else { return };
    let mut spec = json!({
        "hosts": [host.name],
        "http": [{"name": "never", "directResponse": {"status": 599}}],
    });
    if dice.percent(50) {
        spec["exportTo"] = json!(["~"]);
    } else {
        spec["gateways"] = json!(["some/gateway"]);
    }
    // It would be the oldest.
    let mut hidden = object(API, "VirtualService", "shop", "hidden", 0, spec);
    hidden["metadata"]["labels"] = json!({"age": age.to_string()});
    mesh.objects.push(hidden);
}

#[expect(clippy::too_many_arguments, reason = "one place says all of an object")]
fn virtual_service(
    dice: &mut Dice,
    mesh: &mut Mesh,
    hosts: &[Host],
    names: &[String],
    namespace: &str,
    tags: &[&str],
    age: usize,
    for_hosts: &[&Host],
) {
    let mut routes = Vec::new();
    let count = dice.below(4) + 2;
    for index in 0..count {
        let last = index + 1 == count;
        let (action, mut route) = actions::draw(dice, hosts, namespace);
        let mut name: Vec<&str> = tags.to_vec();
        name.extend(action);
        if last && dice.percent(60) {
            name.push("match_none");
            route["name"] = json!(name.join("+"));
            for host in for_hosts {
                mesh.recipes.push(recipe(dice, host));
            }
            routes.push(route);
            continue;
        }
        let mut matches = Vec::new();
        for _ in 0..dice.below(2) + 1 {
            let host = *dice.pick(for_hosts);
            let (rule, recipe) = one_match(dice, host);
            matches.push(rule);
            mesh.recipes.push(recipe);
        }
        route["name"] = json!(name.join("+"));
        route["match"] = json!(matches);
        if dice.percent(18) && route.get("delegate").is_none() {
            route = delegated(mesh, namespace, route, age * 10 + index);
        }
        routes.push(route);
    }
    let mut spec = json!({"hosts": names, "http": routes});
    if dice.percent(30) {
        spec["gateways"] = json!(["mesh", "some/gateway"]);
    }
    if dice.percent(20) {
        spec["exportTo"] = if namespace == "default" || dice.percent(50) {
            json!(["*"])
        } else {
            json!(["default"])
        };
    }
    let name = format!("vs-{age}");
    mesh.objects
        .push(object(API, "VirtualService", namespace, &name, age, spec));
}

/// Moves what a route does into a VirtualService of its own; the match stays, and is narrowed there.
fn delegated(mesh: &mut Mesh, namespace: &str, mut route: Value, number: usize) -> Value {
    let name = format!("delegate-{number}");
    let matches = route["match"].take();
    let mut inner = route.clone();
    inner["name"] = json!(format!(
        "delegate+{}",
        route["name"].as_str().unwrap_or_default()
    ));
    let fields = inner.as_object_mut();
    let Some(fields) = fields else { return route };
    fields.remove("match");
    let spec = json!({"http": [{
        "name": "delegate_narrower", "match": [{"headers": {"x-narrow": {"exact": "1"}}}],
        "directResponse": {"status": 207},
    }, inner]});
    mesh.objects.push(object(
        API,
        "VirtualService",
        namespace,
        &name,
        number,
        spec,
    ));
    json!({"name": "root", "match": matches, "delegate": {"name": name}})
}

fn recipe(dice: &mut Dice, host: &Host) -> Recipe {
    let path = *dice.pick(&[
        "/",
        "/other",
        "/a/b",
        "/api/v1/x",
        "/UP",
        "/x//y/../z",
        "/%41/%2e%2e/q",
    ]);
    Recipe {
        host: dice.pick(&host.names()).clone(),
        vip: host.vip.clone(),
        port: *dice.pick(&host.ports),
        method: (*dice.pick(&["GET", "GET", "POST", "DELETE"])).to_owned(),
        path: path.to_owned(),
        query: Vec::new(),
        headers: Vec::new(),
    }
}

/// A match with one to three conditions, and a request that meets them.
fn one_match(dice: &mut Dice, host: &Host) -> (Value, Recipe) {
    let mut rule = Map::new();
    let mut tags = Vec::new();
    let mut made = recipe(dice, host);
    for _ in 0..dice.below(3) + 1 {
        tags.push(condition(dice, &mut rule, &mut made));
    }
    tags.dedup();
    rule.insert("name".to_owned(), json!(tags.join("+")));
    (Value::Object(rule), made)
}

/// Regular expressions, each with a text that it matches as a whole.
const PATTERNS: [(&str, &str); 5] = [
    ("/re/[0-9]+", "/re/42"),
    ("/re/(a|b)/.*", "/re/b/c"),
    ("/.*\\.html", "/re/page.html"),
    ("/re(/x)?", "/re"),
    ("(?i)/re/case", "/RE/Case"),
];

fn condition(dice: &mut Dice, rule: &mut Map<String, Value>, made: &mut Recipe) -> &'static str {
    match dice.below(19) {
        0 => {
            made.path = "/exact/path".to_owned();
            rule.insert("uri".to_owned(), json!({"exact": made.path}));
            "uri_exact"
        }
        1 | 2 => {
            let prefix = *dice.pick(&["/api", "/api/", "/pre/fix"]);
            made.path = format!("{prefix}{}", dice.pick(&["", "/x", "y/z", "/..;/a"]));
            rule.insert("uri".to_owned(), json!({"prefix": prefix}));
            "uri_prefix"
        }
        3 => {
            let (pattern, text) = *dice.pick(&PATTERNS);
            made.path = text.to_owned();
            rule.insert("uri".to_owned(), json!({"regex": pattern}));
            "uri_regex"
        }
        4 => {
            made.path = "/CaSe/less".to_owned();
            let kind = *dice.pick(&["exact", "prefix"]);
            rule.insert("uri".to_owned(), json!({kind: "/case/LESS"}));
            rule.insert("ignoreUriCase".to_owned(), json!(true));
            "uri_ignoring_case"
        }
        number @ 5..=8 => {
            let name = *dice.pick(&["x-user", "X-Group", "cookie", "user-agent"]);
            let (tag, matcher, value) = match number {
                5 => ("header_exact", json!({"exact": "alice"}), "alice"),
                6 => ("header_prefix", json!({"prefix": "al"}), "albert"),
                7 => ("header_regex", json!({"regex": "a.*[0-9]{2}"}), "agent07"),
                _ => ("header_present", json!({}), "anything"),
            };
            insert(rule, "headers", name, matcher);
            made.headers
                .push((name.to_ascii_lowercase(), value.to_owned()));
            tag
        }
        9 => {
            let (matcher, value) = match dice.below(4) {
                0 => (json!({"exact": "no"}), Some("yes")),
                1 => (json!({"prefix": "no"}), None),
                2 => (json!({"regex": "n.*"}), Some("yes")),
                _ => (json!({}), None),
            };
            insert(rule, "withoutHeaders", "x-without", matcher);
            let value = value.map(|value| ("x-without".to_owned(), value.to_owned()));
            made.headers.extend(value);
            "without_headers"
        }
        10 => {
            made.method = "PUT".to_owned();
            let matchers = [json!({"exact": "PUT"}), json!({"regex": "PUT|PATCH"})];
            rule.insert("method".to_owned(), dice.pick(&matchers).clone());
            "method"
        }
        11 => {
            let name = made.host.clone();
            let matcher = match dice.below(3) {
                0 => json!({"exact": name}),
                1 => json!({"prefix": name.split('.').next()}),
                _ => json!({"regex": ".*[a-z.]"}),
            };
            rule.insert("authority".to_owned(), matcher);
            "authority"
        }
        12 => {
            rule.insert("scheme".to_owned(), json!({"exact": "http"}));
            "scheme"
        }
        number @ 13..=15 => {
            let (tag, matcher, value) = match number {
                13 => ("query_exact", json!({"exact": "1 %2"}), "1%20%2"),
                14 => ("query_regex", json!({"regex": "[0-9]+"}), "17"),
                _ => ("query_present", json!({}), ""),
            };
            let (matcher, value) = if number == 13 && dice.percent(70) {
                (json!({"exact": "v"}), "v")
            } else {
                (matcher, value)
            };
            insert(rule, "queryParams", "q", matcher);
            made.query.push(("q".to_owned(), value.to_owned()));
            tag
        }
        16 => {
            rule.insert("port".to_owned(), json!(made.port));
            "port"
        }
        17 => {
            rule.insert("sourceLabels".to_owned(), json!({"app": "client"}));
            "source_labels"
        }
        _ => {
            if dice.percent(50) {
                rule.insert("sourceNamespace".to_owned(), json!("default"));
                "source_namespace"
            } else {
                rule.insert("gateways".to_owned(), json!(["mesh"]));
                "gateways"
            }
        }
    }
}

fn insert(rule: &mut Map<String, Value>, field: &str, key: &str, value: Value) {
    let map = rule.entry(field).or_insert_with(|| json!({}));
    map[key] = value;
}

/// Rules of TLS and TCP.
fn opaque(dice: &mut Dice, mesh: &mut Mesh, hosts: &[Host]) {
    let services: Vec<&Host> = hosts.iter().filter(|host| host.service).collect();
    let target = |dice: &mut Dice, port: u16| {
        let host = *dice.pick(&services);
        json!({"destination": {"host": host.name, "port": {"number": port}}})
    };
    for host in services.iter().take(2) {
        let mut several = target(dice, 9000);
        several["weight"] = json!(60);
        let mut other = target(dice, 9000);
        other["weight"] = json!(40);
        let spec = json!({"hosts": [host.name], "tcp": [
            {"match": [{"port": 9000, "destinationSubnets": ["10.96.1.0/25"], "sourceLabels": {"app": "client"}}],
             "route": [several, other]},
            {"route": [target(dice, 9000)]},
        ]});
        let name = format!("tcp-{}", host.name.split('.').next().unwrap_or_default());
        mesh.objects.push(object(
            API,
            "VirtualService",
            &host.namespace,
            &name,
            900,
            spec,
        ));
    }
    let to = target(dice, 9443);
    let spec = json!({"hosts": ["*.t2.example.com"], "tls": [
        {"match": [{"port": 443, "sniHosts": ["a.t2.example.com"]}], "route": [to]},
        {"match": [{"port": 443, "sniHosts": ["*.t2.example.com"]}],
         "route": [{"destination": {"host": "t1.example.com", "port": {"number": 443}}}]},
    ]});
    if dice.percent(70) {
        mesh.objects.push(object(
            API,
            "VirtualService",
            "default",
            "tls-rules",
            901,
            spec,
        ));
    }
}
