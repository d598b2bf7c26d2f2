//! What an entry of `simulate.yaml` claims, compared with an answer. `docs/simulate.md` tells the format.

use std::collections::BTreeMap;
use std::time::Duration;

use reef_simulate::{Answer, Headers, Outcome, Request};
use serde::Deserialize;

/// Percentages are equal within this.
const TOLERANCE: f64 = 0.01;

/// One entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Ids of the rules it proves.
    pub(crate) rule: Rules,
    /// The question.
    pub(crate) request: Request,
    /// What is claimed of the answer.
    expect: Expect,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Rules {
    One(String),
    Several(Vec<String>),
}

impl Rules {
    pub(crate) fn all(&self) -> Vec<&str> {
        match self {
            Self::One(id) => vec![id],
            Self::Several(ids) => ids.iter().map(String::as_str).collect(),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Expect {
    destination: Option<String>,
    through: Option<String>,
    listener: Option<String>,
    chain: Option<String>,
    clusters: Option<BTreeMap<String, f64>>,
    outcomes: Option<Vec<OneOf>>,
    #[serde(flatten)]
    all: Claims,
}

#[derive(Debug, Deserialize)]
struct OneOf {
    percent: Option<f64>,
    #[serde(flatten)]
    claims: Claims,
}

#[derive(Debug, Default, Deserialize)]
struct Claims {
    fate: Option<String>,
    route_config: Option<String>,
    virtual_host: Option<String>,
    route: Option<String>,
    route_index: Option<usize>,
    cluster: Option<String>,
    status: Option<u16>,
    grpc_status: Option<u16>,
    body: Option<String>,
    details: Option<String>,
    location: Option<String>,
    method: Option<String>,
    path: Option<String>,
    host: Option<String>,
    headers: Option<BTreeMap<String, Option<String>>>,
    response_headers: Option<BTreeMap<String, Option<String>>>,
    response_headers_removed: Option<Vec<String>>,
    timeout: Option<String>,
    per_try_timeout: Option<String>,
    attempts: Option<u32>,
    retry_on: Option<String>,
    mirrors: Option<BTreeMap<String, f64>>,
    delay: Option<DelayClaim>,
    hash: Option<Vec<String>>,
    objects: Option<Vec<String>>,
    endpoints: Option<BTreeMap<String, f64>>,
    transport: Option<String>,
    #[serde(flatten)]
    unknown: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum DelayClaim {
    Time(String),
    Part { time: String, percent: f64 },
}

/// Checks all claims; says what is wrong.
pub(crate) fn check(entry: &Entry, answer: &Answer) -> Result<(), String> {
    let expect = &entry.expect;
    same(
        "destination",
        &expect.destination,
        Some(&answer.destination),
    )?;
    same("through", &expect.through, answer.through.as_ref())?;
    same("listener", &expect.listener, answer.listener.as_ref())?;
    same("chain", &expect.chain, answer.chain.as_ref())?;
    if let Some(wanted) = &expect.clusters {
        let mut found: BTreeMap<String, f64> = BTreeMap::new();
        for one in &answer.outcomes {
            let name = one.cluster.clone().unwrap_or_default();
            *found.entry(name).or_default() += one.probability * 100.0;
        }
        percentages("clusters", wanted, &found)?;
    }
    for outcome in &answer.outcomes {
        hold(&expect.all, outcome)?;
    }
    for wanted in expect.outcomes.iter().flatten() {
        let mut reasons = Vec::new();
        let fits = answer.outcomes.iter().any(|outcome| {
            let percent = wanted
                .percent
                .is_none_or(|percent| near(percent, outcome.probability * 100.0));
            let held = hold(&wanted.claims, outcome);
            if let Err(why) = &held {
                reasons.push(why.clone());
            }
            percent && held.is_ok()
        });
        if !fits {
            return Err(format!("no outcome is {wanted:?}: {reasons:?}"));
        }
    }
    Ok(())
}

fn hold(claims: &Claims, found: &Outcome) -> Result<(), String> {
    if let Some(name) = claims.unknown.keys().next() {
        return Err(format!("`{name}` is no field of an expectation"));
    }
    let fate = serde_json::to_value(found.fate).unwrap_or_default();
    same(
        "fate",
        &claims.fate,
        fate.as_str().map(str::to_owned).as_ref(),
    )?;
    same(
        "route_config",
        &claims.route_config,
        found.route_config.as_ref(),
    )?;
    same(
        "virtual_host",
        &claims.virtual_host,
        found.virtual_host.as_ref(),
    )?;
    same("route", &claims.route, found.route.as_ref())?;
    same(
        "route_index",
        &claims.route_index,
        found.route_index.as_ref(),
    )?;
    same("cluster", &claims.cluster, found.cluster.as_ref())?;
    same("status", &claims.status, found.status.as_ref())?;
    same(
        "grpc_status",
        &claims.grpc_status,
        found.grpc_status.as_ref(),
    )?;
    same("body", &claims.body, found.body.as_ref())?;
    same("details", &claims.details, found.details.as_ref())?;
    same("location", &claims.location, found.location.as_ref())?;
    same("method", &claims.method, Some(&found.method))?;
    same("path", &claims.path, Some(&found.path))?;
    same("host", &claims.host, Some(&found.host))?;
    headers("headers", claims.headers.as_ref(), &found.headers)?;
    headers(
        "response_headers",
        claims.response_headers.as_ref(),
        &found.response_headers,
    )?;
    for name in claims.response_headers_removed.iter().flatten() {
        if !found.response_headers_removed.contains(name) {
            return Err(format!("response header {name} is not removed"));
        }
    }
    time("timeout", claims.timeout.as_ref(), found.timeout)?;
    time(
        "per_try_timeout",
        claims.per_try_timeout.as_ref(),
        found.per_try_timeout,
    )?;
    same("attempts", &claims.attempts, found.attempts.as_ref())?;
    same("retry_on", &claims.retry_on, found.retry_on.as_ref())?;
    if let Some(wanted) = &claims.mirrors {
        percentages("mirrors", wanted, &found.mirrors)?;
    }
    if let Some(wanted) = &claims.delay {
        let (wanted, percent) = match wanted {
            DelayClaim::Time(time) => (time, 100.0),
            DelayClaim::Part { time, percent } => (time, *percent),
        };
        let part = found.delay.map_or(0.0, |delay| delay.percent);
        time("delay", Some(wanted), found.delay.map(|delay| delay.time))?;
        if !near(percent, part) {
            return Err(format!("delay has {part} percent, not {percent}"));
        }
    }
    same("hash", &claims.hash, Some(&found.hash_policies))?;
    for object in claims.objects.iter().flatten() {
        if !found.objects.contains(object) {
            return Err(format!("objects are {:?}, without {object}", found.objects));
        }
    }
    if let Some(wanted) = &claims.endpoints {
        let shares = found.endpoints.iter();
        let found = shares
            .map(|one| (one.address.clone(), one.share * 100.0))
            .collect();
        percentages("endpoints", wanted, &found)?;
    }
    if let Some(wanted) = &claims.transport {
        let other = found.endpoints.iter().find(|one| one.transport != *wanted);
        if other.is_some() || found.endpoints.is_empty() {
            return Err(format!(
                "not all transports are {wanted}: {:?}",
                found.endpoints
            ));
        }
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(
    field: &str,
    wanted: &Option<T>,
    found: Option<&T>,
) -> Result<(), String> {
    match wanted {
        Some(wanted) if Some(wanted) != found => {
            Err(format!("{field} is {found:?}, not {wanted:?}"))
        }
        _ => Ok(()),
    }
}

fn headers(
    field: &str,
    wanted: Option<&BTreeMap<String, Option<String>>>,
    found: &Headers,
) -> Result<(), String> {
    for (name, value) in wanted.into_iter().flatten() {
        let there = found.joined(name);
        if there != *value {
            return Err(format!("{field}: {name} is {there:?}, not {value:?}"));
        }
    }
    Ok(())
}

fn time(field: &str, wanted: Option<&String>, found: Option<Duration>) -> Result<(), String> {
    let Some(wanted) = wanted else { return Ok(()) };
    let number = wanted.strip_suffix('s').and_then(|text| text.parse().ok());
    let Some(seconds) = number else {
        return Err(format!("{field}: `{wanted}` is not like 1.5s"));
    };
    match found {
        Some(found) if near(found.as_secs_f64(), seconds) => Ok(()),
        _ => Err(format!("{field} is {found:?}, not {wanted}")),
    }
}

fn percentages(
    field: &str,
    wanted: &BTreeMap<String, f64>,
    found: &BTreeMap<String, f64>,
) -> Result<(), String> {
    let equal = wanted.len() == found.len()
        && wanted
            .iter()
            .all(|(name, percent)| found.get(name).is_some_and(|one| near(*one, *percent)));
    if equal {
        Ok(())
    } else {
        Err(format!("{field} are {found:?}, not {wanted:?}"))
    }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < TOLERANCE
}

#[test]
fn a_claim_that_does_not_hold_is_told() {
    let mut outcome = Outcome::default();
    outcome.probability = 1.0;
    outcome.cluster = Some("a".to_owned());
    outcome.status = Some(200);
    let answer = Answer {
        outcomes: vec![outcome],
        ..Answer::default()
    };
    for (claim, holds) in [
        ("cluster: a", true),
        ("cluster: b", false),
        ("clusters: {a: 100}", true),
        ("clusters: {a: 90, b: 10}", false),
        ("outcomes: [{percent: 100, status: 200}]", true),
        ("outcomes: [{percent: 50, status: 200}]", false),
        ("outcomes: [{status: 201}]", false),
        ("headers: {x: null}", true),
        ("headers: {x: \"1\"}", false),
        ("timeout: 1s", false),
        ("objects: [\"VirtualService a/b\"]", false),
        ("bogus: 1", false),
    ] {
        let text = format!("rule: x\nrequest: {{host: a}}\nexpect: {{{claim}}}\n");
        let entry: Entry = serde_saphyr::from_str(&text).expect("an entry");
        assert_eq!(check(&entry, &answer).is_ok(), holds, "{claim}");
    }
}
