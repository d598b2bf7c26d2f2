//! The encrypted port: who gets a stream and who does not (EF tests T24, T29, T34, T35), and tokens that change.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use reef_e2e::cluster::tokens::Signer;
use reef_e2e::mesh::{PATIENCE, SECURE_PORT, comes_true, wait};
use reef_e2e::namespace::isolated;
use reef_e2e::net::{HOST, PodNet};
use reef_e2e::stream::{Attempt, End, Kind, Stranger, certificate, node};
use serde_json::{Value, json};

use crate::objects::{WEB, pod, shop};
use crate::support::{AUDIENCE, Fixture, SERVER, lasting, metrics, sent};

/// A pod without Envoy, from whose address streams are opened.
pub(crate) const PROBE: (&str, Ipv4Addr) = ("probe-1", Ipv4Addr::new(10, 244, 1, 30));

/// The probe, one of the same name elsewhere, and their accounts.
pub(crate) fn probes() -> String {
    let account = |namespace: &str, name: &str| {
        format!(
            "---\napiVersion: v1\nkind: ServiceAccount\n\
             metadata: {{name: {name}, namespace: {namespace}}}\n"
        )
    };
    let near = pod(PROBE.0, &PROBE.1.to_string(), "");
    [
        "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: elsewhere}\n".to_owned(),
        account("shop", "probe"),
        account("elsewhere", "probe"),
        near.replace("namespace: shop", "namespace: elsewhere")
            .replace(&PROBE.1.to_string(), "10.244.1.31"),
        near,
    ]
    .concat()
}

/// Somebody at the probe's address.
pub(crate) fn stranger(fixture: &Fixture) -> Result<Stranger> {
    Ok(Stranger {
        net: PodNet::make(PROBE.0, PROBE.1)?,
        ca_file: fixture.authority(),
        server_name: SERVER.to_owned(),
    })
}

/// The probe's own node id.
pub(crate) fn own_node() -> String {
    node(PROBE.0, &PROBE.1.to_string(), "shop")
}

/// A token of a pod of an account.
fn token(fixture: &Fixture, namespace: &str, account: &str, pod: &str) -> Result<String> {
    fixture
        .cluster
        .token_for(namespace, account, Some(pod), AUDIENCE)
}

/// Seconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "tokens are made for the time of real servers"
)]
pub(crate) fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// What an attempt must end with: one of these statuses, and what is told.
pub(crate) type Wanted = (&'static str, &'static str);
pub(crate) const UNKNOWN: Wanted = ("UNAUTHENTICATED", "authentication failed");
pub(crate) const FORBIDDEN: Wanted = (
    "PERMISSION_DENIED",
    "this peer may not be served as this node",
);

/// Checks how attempts ended.
pub(crate) fn judge(ends: &BTreeMap<String, End>, wanted: &[(Attempt, Wanted)]) -> Result<()> {
    let mut wrong = Vec::new();
    for (attempt, (code, error)) in wanted {
        let end = ends.get(&attempt.name).context("an attempt was left out")?;
        let is_one = code.split('|').any(|code| code == end.code);
        if !is_one || !end.error.contains(error) || (*code == "OK") != (end.names > 0) {
            wrong.push(format!("{}: {end:?}, not {code} {error}", attempt.name));
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// T29 over a real API server: tokens that are almost right.
fn bad_tokens(fixture: &Fixture, good: &str) -> Result<Vec<(Attempt, Wanted)>> {
    let now = seconds();
    let forged = |claim: &'static str, value: Value, signer: Signer| {
        let change = |claims: &mut Value| claims[claim] = value;
        fixture.cluster.forge(good, change, signer)
    };
    let tokens = [
        ("nonsense", "a.b.c".to_owned()),
        (
            "a token for another audience",
            fixture.cluster.token_for(
                "shop",
                "probe",
                Some(PROBE.0),
                "https://kubernetes.default.svc",
            )?,
        ),
        (
            "an expired token",
            forged("exp", json!(now - 3600), Signer::Cluster)?,
        ),
        (
            "a token for later",
            forged("nbf", json!(now + 3600), Signer::Cluster)?,
        ),
        (
            "an unknown issuer",
            forged("iss", json!("https://evil"), Signer::Cluster)?,
        ),
        (
            "a key nobody knows",
            forged("jti", json!("1"), Signer::Stranger)?,
        ),
        (
            "the public key as a secret",
            forged("jti", json!("2"), Signer::PublicKey)?,
        ),
        ("no signature", forged("jti", json!("3"), Signer::Nobody)?),
    ];
    let mut attempts = vec![(Attempt::new("no token", &own_node()), UNKNOWN)];
    // So much is refused before anybody looks at it; the client may know the limit, and not even send it.
    let long = Attempt::new("a megabyte", &own_node()).token(&"x".repeat(1 << 20));
    let refused = "INTERNAL|RESOURCE_EXHAUSTED|UNAUTHENTICATED|UNAVAILABLE|UNKNOWN";
    attempts.push((long, (refused, "")));
    for (name, token) in tokens {
        attempts.push((Attempt::new(name, &own_node()).token(&token), UNKNOWN));
    }
    Ok(attempts)
}

/// T35 over a real API server: good tokens, and nodes that are not theirs.
fn foreign_nodes(fixture: &Fixture, good: &str) -> Result<Vec<(Attempt, Wanted)>> {
    let own = own_node();
    let nodes = [
        (
            "a node of another namespace",
            node(PROBE.0, "10.244.1.31", "elsewhere"),
        ),
        ("another pod's node", node("web-1", "10.244.1.11", "shop")),
        (
            "another pod's address",
            node(PROBE.0, "10.244.1.11", "shop"),
        ),
        ("a node nobody has", node("nobody", "10.244.1.30", "shop")),
    ];
    let mut attempts = Vec::new();
    for kind in [Kind::Delta, Kind::Sotw] {
        for (name, node) in &nodes {
            let name = format!("{name}, {kind:?}");
            let attempt = Attempt::new(&name, node).token(good).by(kind);
            attempts.push((attempt, FORBIDDEN));
        }
        let name = format!("its own node, {kind:?}");
        let attempt = Attempt::new(&name, &own).token(good).by(kind);
        attempts.push((attempt, ("OK", "")));
    }
    // Its token and node are right, but it is somewhere else.
    let taken = Attempt::new("a stolen token", &node("web-1", "10.244.1.11", "shop"));
    let web = token(fixture, "shop", "web", "web-1")?;
    attempts.push((taken.token(&web), FORBIDDEN));
    let near = token(fixture, "elsewhere", "probe", PROBE.0)?;
    let namesake = Attempt::new("the token of a namesake", &own).token(&near);
    attempts.push((namesake, FORBIDDEN));
    // There are no calls that are no streams; who has no token is not told even that.
    let unary = Attempt::new("a call without a token", &own).by(Kind::Unary);
    attempts.push((unary, ("UNIMPLEMENTED", "")));
    Ok(attempts)
}

/// T34: certificates of clients are not asked for; whatever they are, they prove nothing and break nothing.
fn certificates(fixture: &Fixture, good: &str) -> Result<Vec<(Attempt, Wanted)>> {
    let right = "subjectAltName=URI:spiffe://cluster.local/ns/shop/sa/probe";
    let now = [-1, 1];
    let kinds = [
        ("another authority", now, right),
        ("expired", [-9, -1], right),
        ("not yet", [1, 9], right),
        (
            "two names",
            now,
            "subjectAltName=URI:spiffe://cluster.local/ns/shop/sa/probe,URI:spiffe://cluster.local/ns/shop/sa/web",
        ),
        (
            "a NUL",
            now,
            "subjectAltName=DER:30:24:86:22:73:70:69:66:66:65:3a:2f:2f:63:6c:75:73:74:65:72:2e:6c:6f:63:61:6c:2f:6e:73:\
             2f:61:00:2f:73:61:2f:62",
        ),
        (
            "a foreign domain",
            now,
            "subjectAltName=URI:spiffe://evil/ns/shop/sa/probe",
        ),
        (
            "no namespace",
            now,
            "subjectAltName=URI:spiffe://cluster.local/ns//sa/x",
        ),
    ];
    let mut attempts = Vec::new();
    for (place, (name, days, names)) in kinds.into_iter().enumerate() {
        let [key, chain] = certificate(fixture.work(), &format!("client{place}"), days, names)?;
        let attempt = Attempt {
            key: Some(key),
            chain: Some(chain),
            ..Attempt::new(&format!("a certificate: {name}"), &own_node())
        };
        let both = Attempt {
            name: format!("{}, and a token", attempt.name),
            token: Some(good.to_owned()),
            ..attempt.clone()
        };
        attempts.push((attempt, UNKNOWN));
        attempts.push((both, ("OK", "")));
    }
    Ok(attempts)
}

/// T24 over the encrypted port: requests that are none, or too much.
fn odd_requests(good: &str) -> Vec<(Attempt, Wanted)> {
    let own = |name: &str| Attempt::new(name, &own_node()).token(good);
    let raw = |name: &str, bytes: &str| Attempt {
        raw: Some(bytes.to_owned()),
        ..own(name)
    };
    let padded = |name: &str, padding: usize| Attempt {
        padding,
        ..own(name)
    };
    let mut names: Vec<String> = (0..100_000).map(|n| format!("cluster-{n}")).collect();
    names.push("outbound|80||web.shop.svc.cluster.local".to_owned());
    let many = Attempt {
        names,
        ..own("a hundred thousand names")
    };
    let no_message = ("INTERNAL|INVALID_ARGUMENT", "");
    let too_much = ("OUT_OF_RANGE|RESOURCE_EXHAUSTED", "");
    vec![
        (raw("half a field", "Cv//AQA="), no_message),
        (raw("text that is none", "EgL//g=="), no_message),
        (raw("no node", ""), ("INVALID_ARGUMENT", "node")),
        (many, ("OK", "")),
        (padded("a megabyte of metadata", 1 << 20), ("OK", "")),
        (padded("33 megabytes", 33 << 20), too_much),
    ]
}

#[test]
fn only_a_pod_with_its_token_gets_its_stream() {
    let name = "channel::only_a_pod_with_its_token_gets_its_stream";
    isolated(name, |power| {
        let mut fixture = Fixture::start(power, &shop())?;
        fixture.cluster.apply(&probes())?;
        let stranger = stranger(&fixture)?;
        let good = token(&fixture, "shop", "probe", PROBE.0)?;
        let unused = token(&fixture, "shop", "probe", PROBE.0)?;
        let elsewhere = token(&fixture, "elsewhere", "probe", PROBE.0)?;
        let wanted = [
            bad_tokens(&fixture, &good)?,
            foreign_nodes(&fixture, &good)?,
            certificates(&fixture, &good)?,
            odd_requests(&good),
        ]
        .concat();
        let attempts: Vec<Attempt> = wanted.iter().map(|(attempt, _)| attempt.clone()).collect();
        fixture.under_traffic("client-1", WEB, &["web-1", "web-2"], |fixture| {
            judge(&stranger.open(&attempts)?, &wanted)?;

            // Whose pod or account is gone is gone, too: at once where nobody asked before, else soon.
            fixture
                .cluster
                .delete(&pod(PROBE.0, &PROBE.1.to_string(), ""))?;
            let account = ["delete", "serviceaccount", "probe", "-n", "elsewhere"];
            fixture.cluster.kubectl(&account)?;
            let there = node(PROBE.0, "10.244.1.31", "elsewhere");
            let either = ("UNAUTHENTICATED|PERMISSION_DENIED", "");
            let wanted = [
                (Attempt::new("known", &own_node()).token(&good), either),
                (Attempt::new("unused", &own_node()).token(&unused), UNKNOWN),
                (Attempt::new("account", &there).token(&elsewhere), UNKNOWN),
            ];
            let attempts = wanted.clone().map(|(attempt, _)| attempt);
            judge(&stranger.open(&attempts)?, &wanted)
        })?;
        let panics = metrics("reef_xds_stream_panics_total")?;
        ensure!(panics.values().all(|count| *count == 0.0), "{panics:?}");
        Ok(())
    })
    .unwrap();
}

/// What `istioctl proxy-status` asks for, with a token or without; `question` is a type and names.
fn istioctl(fixture: &Fixture, question: &[&str], token: Option<&str>) -> Result<Value> {
    let set = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/istioctl.py");
    let mut command = Command::new(set("REEF_GRPC_PYTHON")?);
    command
        .arg("-B")
        .arg(script)
        .arg(format!("{HOST}:{SECURE_PORT}"))
        .args(question)
        .env("PYTHONPATH", set("REEF_GRPC_SITE")?)
        .env("ISTIOCTL_CA", fixture.authority())
        .env("ISTIOCTL_NAME", SERVER);
    if let Some(token) = token {
        command.env("ISTIOCTL_TOKEN", token);
    }
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).context(said)
}

/// What `proxy-status` and `proxy-status POD` ask, and a page of `internal-debug`.
const SYNCZ: &[&str] = &["istio.io/debug/syncz"];
const DUMP: &[&str] = &["istio.io/debug/config_dump", "client-1.shop"];
const PAGE: &[&str] = &["istio.io/debug", "config_dump?proxyID=client-1.shop"];

/// The pods whose proxies somebody sees in sync.
fn pods_seen(fixture: &Fixture, token: &str) -> Result<Vec<String>> {
    let answer = istioctl(fixture, SYNCZ, Some(token))?;
    let resources = answer["resources"].as_array();
    let resources = resources.with_context(|| answer.to_string())?;
    let ids = resources.iter().map(|one| one["client"]["id"].to_string());
    let pod = |id: String| id.split('~').nth(2).unwrap_or_default().to_owned();
    let mut pods: Vec<String> = ids.map(pod).collect();
    pods.sort();
    Ok(pods)
}

/// The three dumps of a proxy, of which Envoy's own dump says the same, and the page.
fn dumps_are_those_of_envoy(fixture: &Fixture, token: &str) -> Result<()> {
    let dump = istioctl(fixture, DUMP, Some(token))?;
    ensure!(dump["type_url"] == DUMP[0], "{dump}");
    let resources = dump["resources"].as_array();
    let own = fixture.mesh.envoy_admin("client-1", "/config_dump")?;
    let mut kinds = Vec::new();
    for resource in resources.into_iter().flatten() {
        let kind = resource["type"].as_str().unwrap_or_default();
        let names = resource["names"].as_array().cloned().unwrap_or_default();
        ensure!(!names.is_empty(), "{kind} is empty");
        for name in names.iter().filter_map(Value::as_str) {
            let quoted = format!("\"name\": \"{name}\"");
            ensure!(own.contains(&quoted), "Envoy has no {name}, {kind} has");
        }
        kinds.push(kind.rsplit('.').next().unwrap_or_default().to_owned());
    }
    let all = [
        "ClustersConfigDump",
        "ListenersConfigDump",
        "RoutesConfigDump",
    ];
    ensure!(kinds == all, "{kinds:?}: {dump}");
    let web = "outbound|80||web.shop.svc.cluster.local";
    ensure!(dump["resources"][0].to_string().contains(web), "{dump}");
    let page = istioctl(fixture, PAGE, Some(token))?;
    let text = page["resources"][0]["text"].as_str().unwrap_or_default();
    ensure!(text.contains(web), "{page}");
    Ok(())
}

#[test]
fn proxy_status_over_the_encrypted_port_shows_each_its_own() {
    let name = "channel::proxy_status_over_the_encrypted_port_shows_each_its_own";
    isolated(name, |power| {
        let fixture = Fixture::start(power, &shop())?;
        let of = |namespace: &str, account: &str| {
            let cluster = &fixture.cluster;
            cluster.token_for(namespace, account, None, AUDIENCE)
        };
        let all = ["client-1.shop", "web-1.shop", "web-2.shop"];
        for (namespace, account) in [("reef-system", "reef"), ("shop", "client")] {
            let token = of(namespace, account)?;
            let pods = pods_seen(&fixture, &token)?;
            ensure!(pods == all, "{namespace} sees {pods:?}");
            dumps_are_those_of_envoy(&fixture, &token).context(namespace)?;
        }
        let account = ["create", "serviceaccount", "other", "-n", "default"];
        fixture.cluster.kubectl(&account)?;
        let elsewhere = of("default", "other")?;
        let pods = pods_seen(&fixture, &elsewhere)?;
        ensure!(pods.is_empty(), "another namespace sees {pods:?}");
        // No more than of a proxy that is not there; by these words istioctl asks the next replica.
        let none = istioctl(&fixture, DUMP, Some(&elsewhere))?;
        let nobody = istioctl(&fixture, &[DUMP[0], "nobody.shop"], Some(&elsewhere))?;
        let told = "Proxy not connected to this Pilot instance";
        for dump in [&none, &nobody] {
            let one = dump["resources"]
                .as_array()
                .is_some_and(|all| all.len() == 1);
            let text = dump["resources"][0]["text"].as_str().unwrap_or_default();
            ensure!(one && text.contains(told), "{dump}");
        }
        let page = istioctl(&fixture, PAGE, Some(&elsewhere))?;
        ensure!(!page.to_string().contains("web.shop"), "{page}");
        let for_others = "https://kubernetes.default.svc";
        let for_others = fixture
            .cluster
            .token_for("reef-system", "reef", None, for_others)?;
        for question in [SYNCZ, DUMP, PAGE] {
            for token in [None, Some("a.b.c"), Some(for_others.as_str())] {
                let refused = istioctl(&fixture, question, token)?;
                ensure!(
                    refused["code"] == "UNAUTHENTICATED",
                    "{question:?}: {refused}"
                );
            }
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_rotated_token_is_that_of_the_next_stream() {
    let name = "channel::a_rotated_token_is_that_of_the_next_stream";
    isolated(name, |power| {
        let mut fixture = Fixture::start(power, &shop())?;
        fixture.follows("client-1", WEB, &["web-1", "web-2"])?;
        let mounted = |fixture: &Fixture| {
            let token = fixture.tokens.get("client-1").map(str::to_owned);
            token.context("client-1 has no token")
        };
        let first = mounted(&fixture)?;
        let connected = |fixture: &Fixture| {
            let proxies = fixture.mesh.reef_proxies().unwrap_or_default();
            let of_client =
                |proxy: &Value| proxy["id"].as_str().map(|id| id.contains("~client-1."));
            proxies.iter().any(|proxy| of_client(proxy) == Some(true))
        };
        let expired = || -> Result<f64> {
            let ended = metrics("reef_xds_streams_ended_total")?;
            let of =
                |(labels, count): (&String, &f64)| labels.contains("expired").then_some(*count);
            Ok(ended.iter().filter_map(of).sum())
        };
        fixture.under_traffic("client-1", WEB, &["web-1", "web-2"], |fixture| {
            // A short one, which only the cluster's own key can make, and a new stream for it.
            let life = lasting(40, 120).as_secs();
            let until = json!(seconds() + life);
            let short =
                fixture
                    .cluster
                    .forge(&first, |claims| claims["exp"] = until, Signer::Cluster)?;
            fixture.tokens.put("client-1", &short)?;
            fixture.mesh.kill_reef();
            fixture.mesh.start_reef()?;
            let back = wait(Duration::from_secs(life), || connected(fixture));
            ensure!(
                back,
                "no stream with the short token\n{}",
                fixture.reef_tail()
            );
            let before = sent()?;
            ensure!(expired()? == 0.0, "expired already");

            // The next one is there before it is needed, as a kubelet does it.
            fixture.tokens.put("client-1", &first)?;
            let ended = wait(Duration::from_secs(life) + PATIENCE, || {
                expired().is_ok_and(|count| count > 0.0)
            });
            ensure!(
                ended,
                "a stream outlived its token\n{}",
                fixture.reef_tail()
            );
            let again = comes_true(|| connected(fixture));
            ensure!(
                again,
                "no stream with the next token\n{}",
                fixture.reef_tail()
            );
            ensure!(sent()? == before, "what a proxy has was sent again");
            Ok(())
        })
    })
    .unwrap();
}
