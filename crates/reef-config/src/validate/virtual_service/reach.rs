//! Routes and conditions of a `VirtualService` that no request reaches, because earlier ones take them all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};

use super::super::check::{Check, Shown};
use crate::istio::{
    HttpMatchRequest, L4MatchAttributes, StringMatch, TlsMatchAttributes, VirtualService,
};
use crate::kind::Kind;
use crate::parse::Path;

crate::validation_rules! {
    [Kind::VirtualService];
    Warning ("IST0130") ROUTE_UNREACHED "vs-route-unreached" "A route without match comes last, and not all matches of a route are those of earlier ones";
    Warning ("IST0131") MATCH_TWICE "vs-match-twice" "A match is not the same as an earlier one, names apart";
    Warning ("IST0131") MATCH_COVERED "vs-match-covered" "The path prefix of a match is not covered by that of an earlier one with the same further conditions";
}

/// Looks through all routes, in time linear in their number.
pub(super) fn check(service: &VirtualService, check: &mut Check<'_>, spec: &Path<'_>) {
    let http = spec.key("http");
    let routes = service.http.iter().map(|route| route.matches.as_slice());
    repeated(
        check,
        &http,
        routes.map(|all| all.iter().map(Http).collect()),
    );
    covered(check, &http, service);
    let tls = service.tls.iter().map(|route| &route.matches);
    repeated(
        check,
        &spec.key("tls"),
        tls.map(|all| all.iter().map(Tls).collect()),
    );
    let tcp = service.tcp.iter().map(|route| &route.matches);
    repeated(
        check,
        &spec.key("tcp"),
        tcp.map(|all| all.iter().map(Tcp).collect()),
    );
}

/// Routes without conditions, and conditions that are there twice.
fn repeated<M: Hash + Eq>(
    check: &mut Check<'_>,
    at: &Path<'_>,
    routes: impl ExactSizeIterator<Item = Vec<M>>,
) {
    if routes.len() < 2 {
        return;
    }
    let mut seen: HashMap<M, usize> = HashMap::new();
    let mut open = None;
    for (index, matches) in routes.enumerate() {
        let at = at.index(index);
        if matches.is_empty() {
            if let Some(first) = open {
                let reason =
                    format_args!("route {first} has no match either, so it takes every request");
                check.tell(&ROUTE_UNREACHED, &at, reason);
            }
            open = Some(index);
            continue;
        }
        let (all, mut twice) = (matches.len(), 0);
        for (number, condition) in matches.into_iter().enumerate() {
            match seen.get(&condition) {
                Some(first) => {
                    twice += 1;
                    let field = at.key("match");
                    let reason = format_args!("route {first} has the same match");
                    check.tell(&MATCH_TWICE, &field.index(number), reason);
                }
                None => {
                    seen.insert(condition, index);
                }
            }
        }
        if twice == all {
            check.tell(&ROUTE_UNREACHED, &at, "earlier routes have all its matches");
        }
    }
}

/// Conditions the path of which an earlier one has as prefix, everything else being equal.
fn covered(check: &mut Check<'_>, at: &Path<'_>, service: &VirtualService) {
    if service.http.len() < 2 {
        return;
    }
    /// Prefixes seen beside the same further conditions, and how long they are.
    #[derive(Default)]
    struct Seen<'s> {
        prefixes: BTreeMap<&'s str, usize>,
        lengths: BTreeSet<usize>,
    }
    let mut seen: HashMap<Rest<'_>, Seen<'_>> = HashMap::new();
    for (index, route) in service.http.iter().enumerate() {
        for (number, condition) in route.matches.iter().enumerate() {
            let Some(StringMatch::Prefix(prefix)) = &condition.uri else {
                continue;
            };
            let earlier = seen.entry(Rest(condition)).or_default();
            let shorter = earlier.lengths.range(..prefix.len()).find_map(|length| {
                let start = prefix.get(..*length)?;
                earlier.prefixes.get_key_value(start)
            });
            if let Some((start, first)) = shorter {
                let route = at.index(index);
                let field = route.key("match");
                let reason = format_args!(
                    "route {first} takes every path that begins with {}",
                    Shown(start)
                );
                check.tell(&MATCH_COVERED, &field.index(number), reason);
            }
            earlier.lengths.insert(prefix.len());
            earlier.prefixes.entry(prefix).or_insert(index);
        }
    }
}

/// A condition without its name and statistics.
struct Http<'m>(&'m HttpMatchRequest);

/// A condition without its path, too.
struct Rest<'m>(&'m HttpMatchRequest);

/// All fields that decide, in one tuple, so that equality and hash are of the same ones.
macro_rules! decides {
    ($match:expr) => {{
        let m: &HttpMatchRequest = $match;
        (
            (&m.scheme, &m.method, &m.authority, &m.headers),
            (m.port, &m.source_labels, &m.gateways, &m.query_params),
            (m.ignore_uri_case, &m.without_headers, &m.source_namespace),
        )
    }};
}

impl PartialEq for Http<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.uri == other.0.uri && decides!(self.0) == decides!(other.0)
    }
}

impl Eq for Http<'_> {}

impl Hash for Http<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.uri.hash(state);
        decides!(self.0).hash(state);
    }
}

impl PartialEq for Rest<'_> {
    fn eq(&self, other: &Self) -> bool {
        decides!(self.0) == decides!(other.0)
    }
}

impl Eq for Rest<'_> {}

impl Hash for Rest<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        decides!(self.0).hash(state);
    }
}

/// A condition of a tls route.
#[derive(PartialEq)]
struct Tls<'m>(&'m TlsMatchAttributes);

impl Eq for Tls<'_> {}

impl Hash for Tls<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let m = self.0;
        (
            &m.sni_hosts,
            &m.destination_subnets,
            m.port,
            &m.source_labels,
        )
            .hash(state);
        (&m.gateways, &m.source_namespace).hash(state);
    }
}

/// A condition of a tcp route.
#[derive(PartialEq)]
struct Tcp<'m>(&'m L4MatchAttributes);

impl Eq for Tcp<'_> {}

impl Hash for Tcp<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let m = self.0;
        (
            &m.destination_subnets,
            m.port,
            &m.source_subnet,
            &m.source_labels,
        )
            .hash(state);
        (&m.gateways, &m.source_namespace).hash(state);
    }
}
