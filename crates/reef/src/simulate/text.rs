//! The answer for people.

use std::fmt::Write as _;
use std::time::Duration;

use reef_simulate::{Direction, Fate, Outcome, Protocol, Request};

use super::Told;

/// The page.
pub(super) fn page(told: &Told) -> String {
    let mut page = Page(String::new());
    let (request, answer) = (&told.request, &told.answer);
    page.line(&format!(
        "{} {} {}",
        question(request),
        preposition(request),
        told.proxy
    ));
    page.field("destination", &answer.destination);
    let through = answer.through.as_ref();
    let through = through
        .map(|name| format!(", through {name}"))
        .unwrap_or_default();
    match &answer.listener {
        Some(name) => page.field("listener", &format!("{name}{through}")),
        None => page.field("listener", "none"),
    }
    if let Some(chain) = &answer.chain {
        page.field("filter chain", chain);
    }
    for outcome in &answer.outcomes {
        page.line("");
        outcome_lines(&mut page, outcome, request);
    }
    for (host, reasons) in &told.reasons {
        page.line("");
        page.line(&format!("{host} is seen because of"));
        for reason in reasons {
            page.line(&format!("  {reason}"));
        }
    }
    page.0
}

struct Page(String);

impl Page {
    fn line(&mut self, text: &str) {
        // Writing to text cannot fail.
        let _written = writeln!(self.0, "{}", text.trim_end());
    }

    fn field(&mut self, name: &str, value: &str) {
        self.line(&format!("  {name:<13} {value}"));
    }
}

fn question(request: &Request) -> String {
    match request.protocol {
        Protocol::Tcp => format!("TCP to port {}", request.port),
        Protocol::Tls => match &request.sni {
            Some(name) => format!("TLS for {name} to port {}", request.port),
            None => format!("TLS without server name to port {}", request.port),
        },
        _ => format!("{} http://{}{}", request.method, request.host, request.path),
    }
}

fn preposition(request: &Request) -> &'static str {
    match request.direction {
        Direction::Outbound => "from",
        Direction::Inbound => "to",
    }
}

fn outcome_lines(page: &mut Page, outcome: &Outcome, request: &Request) {
    page.line(&format!(
        "{} {}",
        percent(outcome.probability * 100.0),
        fate(outcome)
    ));
    let place = [&outcome.route_config, &outcome.virtual_host];
    let place: Vec<&str> = place.into_iter().flatten().map(String::as_str).collect();
    if !place.is_empty() {
        let route = match (&outcome.route, outcome.route_index) {
            (Some(name), Some(index)) if name.is_empty() => format!(" / route {index}"),
            (Some(name), Some(index)) => format!(" / route {index}, {name}"),
            _ => " / no route".to_owned(),
        };
        page.field("routes", &format!("{}{route}", place.join(" / ")));
    }
    if let Some(cluster) = &outcome.cluster {
        page.field("cluster", cluster);
    }
    if let Some(location) = &outcome.location {
        page.field("location", location);
    }
    if outcome.fate == Fate::Forwarded && outcome.route_config.is_some() {
        sent(page, outcome, request);
    }
    for (name, value) in outcome.response_headers.iter() {
        page.field("answer gets", &format!("{name}: {value}"));
    }
    for name in &outcome.response_headers_removed {
        page.field("answer loses", name);
    }
    if let Some(delay) = &outcome.delay {
        let part = percent(delay.percent);
        page.field("delay", &format!("{} for {part}", time(delay.time)));
    }
    for (cluster, part) in &outcome.mirrors {
        page.field("copies", &format!("{} to {cluster}", percent(*part)));
    }
    for policy in &outcome.hash_policies {
        page.field("chosen by", policy);
    }
    for one in &outcome.endpoints {
        let mut text = format!("{} {}", percent(one.share * 100.0), one.address);
        for more in [&one.locality, &one.health, &one.transport] {
            if !more.is_empty() {
                text.push_str("  ");
                text.push_str(more);
            }
        }
        page.field("endpoint", &text);
    }
    for object in &outcome.objects {
        page.field("decided by", object);
    }
    for note in &outcome.notes {
        page.field("note", note);
    }
}

fn fate(outcome: &Outcome) -> String {
    let details = outcome.details.as_deref().unwrap_or_default();
    match outcome.fate {
        Fate::Forwarded => "forwarded".to_owned(),
        Fate::Answered => {
            let status = outcome.status.unwrap_or_default();
            let grpc = outcome.grpc_status;
            let grpc = grpc
                .map(|code| format!(", grpc-status {code}"))
                .unwrap_or_default();
            format!("answered {status}{grpc} by Envoy ({details})")
        }
        Fate::Closed if details.is_empty() => "closed".to_owned(),
        Fate::Closed => format!("closed ({details})"),
        Fate::NotCaptured => "not captured".to_owned(),
    }
}

fn sent(page: &mut Page, outcome: &Outcome, request: &Request) {
    if outcome.path != request.path || outcome.host != request.host {
        let to = format!("{} {}  host {}", outcome.method, outcome.path, outcome.host);
        page.field("sends", &to);
    }
    let before = request.headers.to_map();
    let after = outcome.headers.to_map();
    for (name, value) in &after {
        if before.get(name) != Some(value) {
            page.field("sends header", &format!("{name}: {value}"));
        }
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        page.field("drops header", name);
    }
    let mut limits = Vec::new();
    match outcome.timeout {
        Some(limit) if limit.is_zero() => limits.push("no timeout".to_owned()),
        Some(limit) => limits.push(format!("timeout {}", time(limit))),
        None => {}
    }
    if let Some(attempts) = outcome.attempts.filter(|attempts| *attempts > 1) {
        let on = outcome.retry_on.as_deref().unwrap_or_default();
        limits.push(format!("{attempts} attempts on {on}"));
    }
    if let Some(limit) = outcome.per_try_timeout {
        limits.push(format!("{} each", time(limit)));
    }
    page.field("limits", &limits.join(", "));
}

fn percent(number: f64) -> String {
    let text = format!("{number:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}%")
}

fn time(time: Duration) -> String {
    format!("{}s", time.as_secs_f64())
}
