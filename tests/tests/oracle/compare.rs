//! Whether what the real Envoy did is among what simulation says can happen.

use std::collections::BTreeMap;
use std::time::Duration;

use reef_simulate::{Answer, Config, Fate, Headers, Outcome, Request};

use crate::app::{HEADERS, SERIAL, Seen};
use crate::ask::Told;
use crate::proxy::TAKEN;
use crate::questions::{FAIL, SLEEP};

/// Headers of requests that every Envoy adds by itself.
const ADDED: [&str; 9] = [
    "host",
    "x-request-id",
    "x-forwarded-proto",
    "x-envoy-attempt-count",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-decorator-operation",
    "x-envoy-internal",
    "content-length",
    "transfer-encoding",
];
/// Headers of answers that are not the configuration's.
const OWN: [&str; 9] = [
    "server",
    "date",
    "content-length",
    "content-type",
    "connection",
    "transfer-encoding",
    "x-envoy-upstream-service-time",
    "x-envoy-decorator-operation",
    SERIAL,
];

/// Envoy's timers count from when its loop last looked at the clock.
const TIMER: Duration = Duration::from_millis(8);

/// Finds the outcome that happened.
pub(crate) fn find<'a>(
    request: &Request,
    answer: &'a Answer,
    told: &Told,
    seen: &[Seen],
) -> Result<&'a Outcome, String> {
    let mut reasons = Vec::new();
    for outcome in &answer.outcomes {
        match is(request, outcome, told, seen) {
            Ok(()) => return Ok(outcome),
            Err(why) => reasons.push(format!("{:?} {:?}: {why}", outcome.route, outcome.cluster)),
        }
    }
    Err(format!(
        "happened: {told:?}\nseen: {seen:?}\nreasons: {reasons:#?}"
    ))
}

fn is(request: &Request, outcome: &Outcome, told: &Told, seen: &[Seen]) -> Result<(), String> {
    match (outcome.fate, told) {
        (Fate::Closed | Fate::NotCaptured, Told::Closed) => Ok(()),
        (Fate::Forwarded, Told::Address(at)) => endpoint(outcome, at),
        (Fate::Answered, Told::Answer { status, .. }) if outcome.route_config.is_none() => {
            equal("status", &Some(*status), &outcome.status)
        }
        (
            Fate::Answered,
            Told::Answer {
                status,
                headers,
                body,
                took,
            },
        ) => {
            equal("status", &Some(*status), &outcome.status)?;
            equal("body", &Some(body), &outcome.body.as_ref())?;
            if outcome.details.as_deref() == Some("fault_filter_abort") {
                delayed(outcome, *took)?;
            }
            if !seen.is_empty() && outcome.mirrors.is_empty() {
                return Err("an app got it".to_owned());
            }
            let wanted = outcome.response_headers.to_map();
            same_headers("response", headers, &wanted, &OWN)
        }
        (
            Fate::Forwarded,
            Told::Answer {
                status,
                headers,
                body,
                took,
            },
        ) => forwarded(request, outcome, (*status, headers, body), *took, seen),
        _ => Err(format!("fate is {:?}", outcome.fate)),
    }
}

fn forwarded(
    request: &Request,
    outcome: &Outcome,
    (status, headers, body): (u16, &BTreeMap<String, String>, &str),
    took: Duration,
    seen: &[Seen],
) -> Result<(), String> {
    let taken = headers
        .get(TAKEN)
        .map(|text| text.split_once(';').unwrap_or((text, "")));
    let limit = outcome.timeout.filter(|time| !time.is_zero());
    // On a busy machine others may come too late as well.
    let late = status == 504 && limit.is_some_and(|limit| took + TIMER >= limit);
    if late || (limit.is_some() && request.headers.first(SLEEP).is_some()) {
        let text = "upstream request timeout";
        let kind = request.headers.first("content-type").unwrap_or_default();
        if kind.starts_with("application/grpc") {
            let found = ["grpc-status", "grpc-message"].map(|name| headers.get(name).cloned());
            return equal(
                "answer",
                &found,
                &[Some("14".to_owned()), Some(text.to_owned())],
            );
        }
        equal("status", &status, &504)?;
        return equal("body", &body, &text);
    }
    let wanted = request
        .headers
        .first(FAIL)
        .map_or(200, |text| text.parse().unwrap_or(0));
    equal("status", &status, &wanted)?;
    let serial = headers
        .get(SERIAL)
        .and_then(|text| text.parse::<usize>().ok());
    let Some(got) = serial.and_then(|at| seen.get(at)) else {
        return Err("no app says it answered".to_owned());
    };
    endpoint(outcome, &got.at)?;
    if outcome.route_config.is_none() {
        // Bytes were passed through.
        return equal("path", &got.path, &request.path);
    }
    let (cluster, route) = taken.ok_or("no routed answer")?;
    equal("cluster", &Some(cluster), &outcome.cluster.as_deref())?;
    let name = outcome.route.as_deref().filter(|name| !name.is_empty());
    equal("route", &route, &name.unwrap_or("-"))?;
    equal("method", &got.method, &outcome.method)?;
    equal("host", &got.host, &outcome.host)?;
    equal("path", &got.path, &outcome.path)?;
    same_headers("request", &got.headers, &outcome.headers.to_map(), &ADDED)?;
    let upstream: Headers = HEADERS.into_iter().collect();
    let wanted = outcome.response_to(&upstream).to_map();
    same_headers("response", headers, &wanted, &OWN)?;
    delayed(outcome, took)?;
    retried(request, outcome, got, seen)
}

fn endpoint(outcome: &Outcome, at: &str) -> Result<(), String> {
    if outcome.endpoints.iter().any(|one| one.address == at) {
        Ok(())
    } else {
        Err(format!("{at} is none of {:?}", outcome.endpoints))
    }
}

fn delayed(outcome: &Outcome, took: Duration) -> Result<(), String> {
    match outcome.delay {
        Some(delay) if delay.percent >= 100.0 && took + TIMER < delay.time => {
            Err(format!("took only {took:?} of {delay:?}"))
        }
        _ => Ok(()),
    }
}

/// The app fails as long as it is asked: the number of calls is the number of attempts.
fn retried(request: &Request, outcome: &Outcome, got: &Seen, seen: &[Seen]) -> Result<(), String> {
    let mirrored = outcome.mirrors.values().any(|percent| *percent > 0.0);
    if request.headers.first(FAIL).is_none() || mirrored {
        return Ok(());
    }
    let on = outcome.retry_on.as_deref().unwrap_or_default();
    // A list of statuses may have it; which ones is not told.
    let may = on.contains("retriable-status-codes") && !on.starts_with("connect-failure");
    let must = on.contains("5xx") || on.contains("gateway-error");
    let attempts = seen.iter().filter(|one| one.path == got.path).count();
    let most = usize::try_from(outcome.attempts.unwrap_or(1)).unwrap_or(1);
    let least = if must { most } else { 1 };
    let most = if must || may { most } else { 1 };
    if attempts < least || attempts > most {
        return Err(format!(
            "{attempts} attempts, not {least} to {most}, on {on:?}"
        ));
    }
    Ok(())
}

/// Whether copies were sent as they should; asked when all requests are over.
pub(crate) fn mirrored(config: &Config, outcome: &Outcome, seen: &[Seen]) -> Result<(), String> {
    if outcome.fate != Fate::Forwarded || outcome.route_config.is_none() {
        return Ok(());
    }
    // Copies to clusters that are not there go nowhere.
    let known = outcome.mirrors.iter();
    let known: Vec<f64> = known
        .filter(|(name, _)| config.clusters.contains_key(*name))
        .map(|(_, percent)| *percent)
        .collect();
    // Two copies to one cluster are 200 percent.
    let count = |round: fn(f64) -> f64| {
        let copies = known.iter().map(|percent| round(*percent / 100.0));
        let copies = copies.sum::<f64>().to_string();
        copies.parse::<usize>().unwrap_or(0)
    };
    let (certain, possible) = (count(f64::floor), count(f64::ceil));
    let attempts = usize::try_from(outcome.attempts.unwrap_or(1)).unwrap_or(1);
    // Attempts are counted elsewhere; here they are only left room.
    if seen.len() < 1 + certain || seen.len() > attempts + possible {
        return Err(format!(
            "{} requests arrived, mirrors are {:?}: {seen:?}",
            seen.len(),
            outcome.mirrors
        ));
    }
    Ok(())
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, wanted: &T) -> Result<(), String> {
    if found == wanted {
        Ok(())
    } else {
        Err(format!("{what} is {found:?}, not {wanted:?}"))
    }
}

/// Whether a time in milliseconds is what may be left of another: Envoy tells a second try less.
fn is_left_of(found: Option<&String>, wanted: Option<&String>) -> bool {
    let time = |text: Option<&String>| text?.strip_suffix('m')?.parse::<u64>().ok();
    time(found)
        .zip(time(wanted))
        .is_some_and(|(found, wanted)| found <= wanted)
}

fn same_headers(
    what: &str,
    found: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
    ignored: &[&str],
) -> Result<(), String> {
    let differs = |name: &String| {
        let known = ignored.contains(&name.as_str()) || name == TAKEN || name.starts_with(':');
        let left = name == "grpc-timeout" && is_left_of(found.get(name), wanted.get(name));
        !known && !left && found.get(name) != wanted.get(name)
    };
    match found.keys().chain(wanted.keys()).find(|name| differs(name)) {
        None => Ok(()),
        Some(name) => Err(format!(
            "{what} header {name} is {:?}, not {:?}",
            found.get(name),
            wanted.get(name)
        )),
    }
}
