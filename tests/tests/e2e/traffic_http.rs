//! HTTP routes of VirtualServices: which app answers, and what it was asked, by real Envoys.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reef_e2e::call::{Call, Protocol::Http1};
use reef_e2e::mesh::{comes_true, now};
use reef_e2e::namespace::isolated;
use serde_json::Value;

use crate::pods::under_traffic;
use crate::support::{Fixture, READY, pod, service, slice};

/// Port of all services, and of their endpoints.
const PORT: &str = "{name: http, port: 8080}";

/// Where the service `web` is.
const WEB: &str = "10.96.1.1:8080";

/// Where the service `split` is.
const SPLIT: &str = "10.96.1.5:8080";

const RULES: &str = r#"
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - {match: [{headers: {x-team: {exact: blue}}}], route: [{destination: {host: b}}]}
  - {match: [{method: {exact: DELETE}}], route: [{destination: {host: b}}]}
  - {match: [{queryParams: {v: {exact: "2"}}}], route: [{destination: {host: b}}]}
  - {match: [{sourceLabels: {app: other}, uri: {prefix: /who}}], route: [{destination: {host: b}}]}
  - match: [{uri: {prefix: /old/}}]
    rewrite: {uri: /new/, authority: real.example.com}
    route: [{destination: {host: a}}]
  - match: [{uri: {regex: "/user/[a-z]+"}}]
    rewrite: {uriRegexRewrite: {match: "^/user/([a-z]+)$", rewrite: "/users/by-name/\\1"}}
    route: [{destination: {host: a}}]
  - {match: [{uri: {exact: /moved}}], redirect: {uri: /there, authority: new.example.com, redirectCode: 302}}
  - {match: [{uri: {exact: /closed}}], directResponse: {status: 418, body: {string: teapot}}}
  - match: [{uri: {prefix: /broken}}]
    fault: {abort: {percentage: {value: 100}, httpStatus: 555}}
    route: [{destination: {host: a}}]
  - match: [{uri: {prefix: /late}}]
    fault: {delay: {percentage: {value: 100}, fixedDelay: 700ms}}
    route: [{destination: {host: a}}]
  - {match: [{uri: {prefix: /slow}}], timeout: 300ms, route: [{destination: {host: a}}]}
  - match: [{uri: {prefix: /flaky/again}}]
    retries: {attempts: 2, retryOn: "503"}
    route: [{destination: {host: a}}]
  - {match: [{uri: {prefix: /flaky}}], retries: {attempts: 0}, route: [{destination: {host: a}}]}
  - {match: [{uri: {prefix: /copy}}], mirror: {host: b}, route: [{destination: {host: a}}]}
  - match: [{uri: {prefix: /cors}}]
    corsPolicy: {allowOrigins: [{exact: "https://ok.example"}], allowMethods: [PUT], maxAge: 60s}
    route: [{destination: {host: a}}]
  - match: [{uri: {prefix: /headers}}]
    headers: {request: {set: {x-new: "1"}, remove: [x-old]}, response: {add: {x-back: "2"}}}
    route: [{destination: {host: a}}]
  - {match: [{uri: {prefix: /shop}}], delegate: {name: part}}
  - {route: [{destination: {host: web}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: part, namespace: shop}
spec:
  http:
  - {match: [{uri: {prefix: /shop/cart}}], route: [{destination: {host: b}}]}
  - {route: [{destination: {host: a}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: split, namespace: shop}
spec:
  hosts: [split]
  http:
  - route:
    - {destination: {host: a}, weight: 90}
    - {destination: {host: b}, weight: 10}
"#;

fn manifests() -> String {
    let mut text = pod("client", "10.244.1.10", "") + &pod("other", "10.244.1.20", "");
    for (name, last) in [("web", 1_u8), ("a", 2), ("b", 3)] {
        let (app, ip) = (format!("{name}-1"), format!("10.244.1.{}", 10 + last));
        text += &pod(&app, &ip, "--http 8080");
        text += &service(name, name, PORT, &format!("clusterIP: 10.96.1.{last}"));
        text += &slice(name, PORT, &[(&app, &ip, READY)]);
    }
    text += &service("split", "none", PORT, "clusterIP: 10.96.1.5");
    text + RULES
}

/// An answer as `curl` shows it.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Reply {
    /// A field of what an app says of the request it got.
    fn seen(&self, field: &str) -> String {
        let json: Value = serde_json::from_str(&self.body).unwrap_or_default();
        json.pointer(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }

    fn app(&self) -> String {
        self.seen("/app")
    }
}

/// Asks the service `web` for a path from a pod.
fn curl(mesh: &Fixture, from: &str, path: &str, more: &[&str]) -> Result<Reply> {
    let mut command = mesh.mesh.command_in(from, "curl")?;
    let output = command
        .args([
            "-s",
            "-i",
            "-m",
            "10",
            "--noproxy",
            "*",
            "-H",
            "host: web:8080",
        ])
        .args(more)
        .arg(format!("http://{WEB}{path}"))
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .with_context(|| format!("no answer to {path}: {text:?} {:?}", output.status))?;
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .with_context(|| format!("no status in {head:?}"))?;
    let headers = lines.filter_map(|line| line.split_once(": "));
    Ok(Reply {
        status,
        headers: headers
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect(),
        body: body.to_owned(),
    })
}

fn routed(mesh: &Fixture) -> Result<()> {
    let app = |from: &str, path: &str, more: &[&str]| -> Result<String> {
        Ok(curl(mesh, from, path, more)?.app())
    };
    assert_eq!(app("client", "/", &[])?, "web-1");
    assert_eq!(app("client", "/", &["-H", "x-team: blue"])?, "b-1");
    assert_eq!(app("client", "/", &["-H", "x-team: red"])?, "web-1");
    assert_eq!(app("client", "/", &["-X", "DELETE"])?, "b-1");
    assert_eq!(app("client", "/?v=2", &[])?, "b-1");
    assert_eq!(app("client", "/?v=3", &[])?, "web-1");
    assert_eq!(app("client", "/who", &[])?, "web-1");
    assert_eq!(app("other", "/who", &[])?, "b-1");
    // A delegate's routes, in its order.
    assert_eq!(app("client", "/shop/cart/1", &[])?, "b-1");
    assert_eq!(app("client", "/shop/list", &[])?, "a-1");
    Ok(())
}

fn changed(mesh: &Fixture) -> Result<()> {
    let reply = curl(mesh, "client", "/old/x", &[])?;
    assert_eq!(reply.seen("/path"), "/new/x");
    assert_eq!(reply.seen("/host"), "real.example.com");
    let reply = curl(mesh, "client", "/user/ann", &[])?;
    assert_eq!(reply.seen("/path"), "/users/by-name/ann");
    let reply = curl(mesh, "client", "/headers", &["-H", "x-old: 1"])?;
    assert_eq!(reply.seen("/headers/x-new"), "1");
    assert_eq!(reply.seen("/headers/x-old"), "");
    assert_eq!(reply.headers.get("x-back").map(String::as_str), Some("2"));
    Ok(())
}

fn answered(mesh: &Fixture) -> Result<()> {
    let reply = curl(mesh, "client", "/moved", &[])?;
    let location = reply.headers.get("location").map(String::as_str);
    assert_eq!(
        (reply.status, location),
        (302, Some("http://new.example.com/there"))
    );
    let reply = curl(mesh, "client", "/closed", &[])?;
    assert_eq!((reply.status, reply.body.as_str()), (418, "teapot"));
    let reply = curl(mesh, "client", "/broken", &[])?;
    assert_eq!((reply.status, reply.app().as_str()), (555, ""));
    let preflight = |origin: &str| {
        let origin = format!("origin: {origin}");
        let wanted = "access-control-request-method: PUT";
        let arguments = ["-X", "OPTIONS", "-H", &origin, "-H", wanted];
        curl(mesh, "client", "/cors", &arguments)
    };
    let reply = preflight("https://ok.example")?;
    let header = |name: &str| reply.headers.get(name).map(String::as_str);
    assert_eq!(reply.app(), "", "the proxy answers");
    assert_eq!(
        header("access-control-allow-origin"),
        Some("https://ok.example")
    );
    assert_eq!(header("access-control-allow-methods"), Some("PUT"));
    assert_eq!(header("access-control-max-age"), Some("60"));
    assert_eq!(preflight("https://bad.example")?.app(), "a-1", "forwarded");
    Ok(())
}

fn waited(mesh: &Fixture) -> Result<()> {
    let begin = now();
    assert_eq!(curl(mesh, "client", "/late", &[])?.app(), "a-1");
    assert!(begin.elapsed() >= Duration::from_millis(700));
    assert_eq!(curl(mesh, "client", "/slow/100", &[])?.status, 200);
    let begin = now();
    assert_eq!(curl(mesh, "client", "/slow/5000", &[])?.status, 504);
    assert!(begin.elapsed() < Duration::from_secs(4));
    assert_eq!(curl(mesh, "client", "/flaky/again/1", &[])?.status, 200);
    assert_eq!(curl(mesh, "client", "/flaky/once/1", &[])?.status, 503);
    Ok(())
}

fn mirrored(mesh: &Fixture) -> Result<()> {
    for _ in 0..20 {
        assert_eq!(curl(mesh, "client", "/copy", &[])?.app(), "a-1");
    }
    let copies = || -> Result<String> {
        let told = curl(mesh, "client", "/times/copy", &["-H", "x-team: blue"])?;
        ensure!(told.app() == "b-1", "{} answered", told.app());
        Ok(told.seen("/times"))
    };
    let all = || copies().is_ok_and(|count| count == "20");
    ensure!(comes_true(all), "{} copies", copies()?);
    Ok(())
}

#[test]
fn requests_go_where_the_rules_say() {
    let name = "traffic_http::requests_go_where_the_rules_say";
    isolated(name, |power| {
        let mesh = Fixture::of(power, &manifests())?;
        routed(&mesh)?;
        changed(&mesh)?;
        answered(&mesh)?;
        waited(&mesh)?;
        mirrored(&mesh)
    })
    .unwrap();
}

fn split() -> Call {
    Call {
        protocol: Http1,
        address: SPLIT.to_owned(),
        authority: "split:8080".to_owned(),
        path: "/".to_owned(),
    }
}

/// How many of 600 requests `b` answers.
fn share_of_b(mesh: &Fixture) -> Result<usize> {
    let mut count = 0;
    for _ in 0..600 {
        count += usize::from(mesh.mesh.call("client", &split())?.app == "b-1");
    }
    Ok(count)
}

#[test]
fn shares_move_under_load_without_a_failure() {
    let name = "traffic_http::shares_move_under_load_without_a_failure";
    isolated(name, |power| {
        let mut mesh = Fixture::of(power, &manifests())?;
        // 60 are expected, with a standard deviation of 7.3.
        let few = share_of_b(&mesh)?;
        assert!((25..=100).contains(&few), "{few} of 600 at 10%");
        let stats = |mesh: &Fixture| -> Result<[u64; 2]> {
            let names = [
                "cluster_manager\\.cds\\.update_success",
                "listener_manager\\.lds\\.update_success",
            ];
            Ok([
                mesh.mesh.envoy_stat("client", names[0])?,
                mesh.mesh.envoy_stat("client", names[1])?,
            ])
        };
        let before = stats(&mesh)?;
        under_traffic(&mesh, &split(), &["a-1", "b-1"], || {
            mesh.edit("weight: 90", "weight: 50")?;
            mesh.edit("weight: 10}", "weight: 50}")?;
            let path = "/config_dump?resource=dynamic_route_configs";
            let moved = || {
                let page = mesh.mesh.envoy_admin("client", path);
                page.is_ok_and(|page| page.matches("\"weight\": 50").count() == 2)
            };
            ensure!(comes_true(moved), "the shares stay");
            Ok(())
        })?;
        // 300 are expected, with a standard deviation of 12.2.
        let half = share_of_b(&mesh)?;
        assert!((240..=360).contains(&half), "{half} of 600 at 50%");
        assert_eq!(
            stats(&mesh)?,
            before,
            "neither clusters nor listeners moved"
        );
        mesh.settled()
    })
    .unwrap();
}
