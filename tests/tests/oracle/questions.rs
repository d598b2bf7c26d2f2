//! Random requests to a random mesh, most of them made for one of its rules and then changed a little.

use std::net::Ipv4Addr;

use reef_simulate::{Direction, Headers, Protocol, Request};

use crate::dice::Dice;
use crate::mesh::{Mesh, PROXY, SOCKET};
use crate::rules::Recipe;

/// Header that tells requests apart at the apps.
pub(crate) const ID: &str = "x-oracle-id";
/// Header with the status the app is to answer.
pub(crate) const FAIL: &str = "x-fail";
/// Header with the milliseconds the app is to wait: longer than any timeout of the meshes; only where there is one.
pub(crate) const SLEEP: &str = "x-sleep-ms";

/// Draws a request.
pub(crate) fn draw(dice: &mut Dice, mesh: &Mesh, id: usize) -> Request {
    let mut request = match dice.below(100) {
        0..=14 => connection(dice, mesh),
        15..=19 => unknown(dice, mesh),
        20..=29 => inbound(dice, mesh),
        number => {
            let recipe = dice.pick(&mesh.recipes).clone();
            let mut request = of_recipe(dice, recipe);
            if mesh.socket && number < 42 {
                request.to = Some(Ipv4Addr::LOCALHOST.into());
                request.port = SOCKET;
            }
            request
        }
    };
    if matches!(request.protocol, Protocol::Tcp | Protocol::Tls) {
        return request;
    }
    request.headers.add(ID, &id.to_string());
    if request.protocol == Protocol::Http && dice.percent(12) {
        request.protocol = Protocol::Http2;
    }
    sometimes(dice, &mut request.headers, 20, "x-remove", "me");
    sometimes(dice, &mut request.headers, 20, "x-set", "mine");
    sometimes(dice, &mut request.headers, 20, "x-both", "mine");
    sometimes(dice, &mut request.headers, 20, "x-hash", "h1");
    sometimes(dice, &mut request.headers, 35, "x-narrow", "1");
    sometimes(dice, &mut request.headers, 3, "x-forwarded-proto", "https");
    sometimes(
        dice,
        &mut request.headers,
        4,
        "content-type",
        "application/grpc",
    );
    sometimes(dice, &mut request.headers, 8, FAIL, "503");
    sometimes(dice, &mut request.headers, 8, SLEEP, "9000");
    if dice.percent(15) {
        let origins = [
            "https://good.example",
            "https://bad.test",
            "https://goodies.example",
        ];
        request.headers.add("origin", origins[dice.below(3)]);
        if dice.percent(60) {
            "OPTIONS".clone_into(&mut request.method);
            request.headers.add("access-control-request-method", "PUT");
        }
    }
    request
}

fn sometimes(dice: &mut Dice, headers: &mut Headers, percent: usize, name: &str, value: &str) {
    if dice.percent(percent) {
        headers.add(name, value);
    }
}

fn connection(dice: &mut Dice, mesh: &Mesh) -> Request {
    let (protocol, to, port, name) = dice.pick(&mesh.connections).clone();
    let mut request = Request {
        to: to.parse().ok(),
        port,
        ..Request::default()
    };
    match protocol {
        "tcp" => request.protocol = Protocol::Tcp,
        "tls" => {
            request.protocol = Protocol::Tls;
            request.sni = name;
            if dice.percent(50) {
                request.alpn = vec!["h2".to_owned(), "http/1.1".to_owned()];
            }
        }
        _ => request.host = name.unwrap_or_default(),
    }
    request
}

/// A call of the application beside the proxy.
fn inbound(dice: &mut Dice, mesh: &Mesh) -> Request {
    let (protocol, port) = *dice.pick(&mesh.inbound);
    Request {
        direction: Direction::Inbound,
        protocol: if protocol == "tcp" {
            Protocol::Tcp
        } else {
            Protocol::Http
        },
        to: PROXY.parse().ok(),
        port,
        host: (*dice.pick(&["own.default", "own", "10.244.0.1:8080", "any.test"])).to_owned(),
        path: (*dice.pick(&["/", "/a?b=c", "/x//y/../z", "/%41/%2e%2e/q"])).to_owned(),
        ..Request::default()
    }
}

/// A host, or a port, that nobody declared.
fn unknown(dice: &mut Dice, mesh: &Mesh) -> Request {
    let to = dice.pick(&mesh.hosts).vip.parse().ok();
    let hosts = [
        "nowhere.example.net",
        "s1",
        "s9.default",
        "e9.example.com",
        "wild.example.com",
        "10.96.1.2",
        "[::1]:80",
        "S1.Default.SVC.cluster.local:1234",
    ];
    Request {
        to,
        port: *dice.pick(&[80, 80, 8081]),
        host: (*dice.pick(&hosts)).to_owned(),
        path: "/a?b=c".to_owned(),
        ..Request::default()
    }
}

fn of_recipe(dice: &mut Dice, mut made: Recipe) -> Request {
    match dice.below(24) {
        0 => made.headers.truncate(1),
        1 => made.headers.clear(),
        2 => made.query.clear(),
        3 => made.query.insert(0, ("q".to_owned(), "0".to_owned())),
        4 => made.query.push(("q".to_owned(), "later".to_owned())),
        5 => made.path.push_str("/more"),
        6 => made.path = made.path.to_uppercase(),
        7 => made.path.push('/'),
        8 => made.method = "PATCH".to_owned(),
        9 => made.host = made.host.to_uppercase(),
        10 => made.host.push_str(":8081"),
        11 => {
            let one = made.headers.first().cloned();
            made.headers.extend(one);
        }
        12 => made
            .headers
            .iter_mut()
            .for_each(|(_, value)| value.insert(0, 'x')),
        13 => made.path = format!("/x/..{}", made.path),
        _ => {}
    }
    let query: Vec<String> = made
        .query
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let path = match query.is_empty() {
        true => made.path,
        false => format!("{}?{}", made.path, query.join("&")),
    };
    Request {
        to: made.vip.parse().ok(),
        port: made.port,
        host: made.host,
        method: made.method,
        path,
        headers: made.headers.iter().map(|(n, v)| (n, v)).collect(),
        ..Request::default()
    }
}
