//! What the inspectors see of a connection, and the filter chain it matches.
//!
//! Envoy decides one criterion after the other and never goes back: a chain that has the better server
//! name and then the wrong protocol hides one that would match on both.

use std::net::{IpAddr, SocketAddr};

use xds_api::envoy::config::core::v3::CidrRange;
use xds_api::envoy::config::listener::v3::filter_chain_match::ConnectionSourceType;
use xds_api::envoy::config::listener::v3::listener_filter_chain_match_predicate::Rule;
use xds_api::envoy::config::listener::v3::{
    FilterChain, FilterChainMatch, Listener, ListenerFilter, ListenerFilterChainMatchPredicate,
    listener_filter,
};

use crate::address;
use crate::request::{Protocol, Request};

/// What is known of a connection when its chain is looked for.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    to: SocketAddr,
    from: IpAddr,
    server_name: String,
    transport: &'static str,
    protocols: Vec<String>,
}

/// A chain, and what it is called.
#[derive(Debug, Clone)]
pub(crate) struct Chosen<'a> {
    pub(crate) chain: &'a FilterChain,
    pub(crate) name: String,
}

/// Lets the listener filters look at a connection.
pub(crate) fn inspect(listener: &Listener, request: &Request, to: SocketAddr) -> Seen {
    let mut seen = Seen {
        to,
        // Whoever it is, it is not the proxy's own address.
        from: request.from.unwrap_or(IpAddr::from([10, 255, 255, 254])),
        server_name: String::new(),
        transport: "raw_buffer",
        protocols: Vec::new(),
    };
    for filter in &listener.listener_filters {
        let disabled = filter.filter_disabled.as_ref();
        if disabled.is_some_and(|predicate| holds(predicate, to.port())) {
            continue;
        }
        if is(filter, "TlsInspector") && request.protocol == Protocol::Tls {
            seen.transport = "tls";
            seen.server_name = request.sni.clone().unwrap_or_default().to_ascii_lowercase();
            seen.protocols.clone_from(&request.alpn);
        } else if is(filter, "HttpInspector") && seen.transport != "tls" {
            let protocol = request.protocol.plain_alpn();
            seen.protocols.extend(protocol.map(str::to_owned));
        }
    }
    seen
}

fn is(filter: &ListenerFilter, message: &str) -> bool {
    match &filter.config_type {
        Some(listener_filter::ConfigType::TypedConfig(any)) => {
            any.type_url.ends_with(&format!(".{message}"))
        }
        _ => false,
    }
}

fn holds(predicate: &ListenerFilterChainMatchPredicate, port: u16) -> bool {
    match &predicate.rule {
        Some(Rule::OrMatch(set)) => set.rules.iter().any(|rule| holds(rule, port)),
        Some(Rule::AndMatch(set)) => set.rules.iter().all(|rule| holds(rule, port)),
        Some(Rule::NotMatch(inner)) => !holds(inner, port),
        Some(Rule::AnyMatch(value)) => *value,
        Some(Rule::DestinationPortRange(range)) => {
            range.start <= i32::from(port) && i32::from(port) < range.end
        }
        None => false,
    }
}

/// Finds the chain; none if the connection is closed for want of one.
pub(crate) fn find<'a>(listener: &'a Listener, seen: &Seen) -> Option<Chosen<'a>> {
    let all: Vec<(usize, &FilterChain)> = listener.filter_chains.iter().enumerate().collect();
    match narrow(all, seen).first() {
        Some((index, chain)) => Some(Chosen {
            chain,
            name: called(&chain.name, &index.to_string()),
        }),
        None => listener.default_filter_chain.as_ref().map(|chain| Chosen {
            chain,
            name: called(&chain.name, "default"),
        }),
    }
}

fn called(name: &str, otherwise: &str) -> String {
    if name.is_empty() { otherwise } else { name }.to_owned()
}

type Candidates<'a> = Vec<(usize, &'a FilterChain)>;

fn narrow<'a>(all: Candidates<'a>, seen: &Seen) -> Candidates<'a> {
    let port = u32::from(seen.to.port());
    let left = exact_or_unset(
        all,
        |rule| rule.destination_port == Some(port),
        |rule| rule.destination_port.is_none(),
    );
    let left = by_range(left, seen.to.ip(), |rule| &rule.prefix_ranges);
    let left = by_server_name(left, &seen.server_name);
    let left = exact_or_unset(
        left,
        |rule| rule.transport_protocol == seen.transport,
        |rule| rule.transport_protocol.is_empty(),
    );
    let left = by_protocol(left, &seen.protocols);
    let left = by_range(left, seen.from, |rule| &rule.direct_source_prefix_ranges);
    let left = by_source(left, seen);
    let left = by_range(left, seen.from, |rule| &rule.source_prefix_ranges);
    // The port of a caller is chance: no chain is expected to name it.
    keep(&left, |rule| rule.source_ports.is_empty())
}

fn rule(chain: &FilterChain) -> &FilterChainMatch {
    static EVERYTHING: std::sync::LazyLock<FilterChainMatch> =
        std::sync::LazyLock::new(FilterChainMatch::default);
    chain.filter_chain_match.as_ref().unwrap_or(&EVERYTHING)
}

fn keep<'a>(all: &Candidates<'a>, suits: impl Fn(&FilterChainMatch) -> bool) -> Candidates<'a> {
    let kept = all.iter().filter(|(_, chain)| suits(rule(chain)));
    kept.copied().collect()
}

/// Those that name the value, if there is one; else those that name none.
fn exact_or_unset<'a>(
    all: Candidates<'a>,
    exact: impl Fn(&FilterChainMatch) -> bool,
    unset: impl Fn(&FilterChainMatch) -> bool,
) -> Candidates<'a> {
    let named = keep(&all, exact);
    if named.is_empty() {
        keep(&all, unset)
    } else {
        named
    }
}

/// Those with the narrowest range around the address; no range is the widest.
fn by_range<'a>(
    all: Candidates<'a>,
    address: IpAddr,
    ranges: impl Fn(&FilterChainMatch) -> &Vec<CidrRange>,
) -> Candidates<'a> {
    let narrowest = |(_, chain): &(usize, &FilterChain)| {
        let ranges = ranges(rule(chain));
        if ranges.is_empty() {
            return Some(0);
        }
        let around = ranges.iter().filter_map(address::range);
        let around = around.filter(|range| address::contains(*range, address));
        around.map(|(_, len)| len).max()
    };
    let best = all.iter().filter_map(narrowest).max();
    all.into_iter()
        .filter(|one| best.is_some() && narrowest(one) == best)
        .collect()
}

/// Those with the name itself, else with the longest wildcard for it, else with none.
fn by_server_name<'a>(all: Candidates<'a>, name: &str) -> Candidates<'a> {
    if !name.is_empty() {
        let exact = keep(&all, |rule| names(rule, name));
        if !exact.is_empty() {
            return exact;
        }
        let dots = name.char_indices().skip(1).filter(|(_, one)| *one == '.');
        for (at, _) in dots {
            let (_, suffix) = name.split_at(at);
            let wildcard = keep(&all, |rule| {
                suffix.len() > 1 && names(rule, &format!("*{suffix}"))
            });
            if !wildcard.is_empty() {
                return wildcard;
            }
        }
    }
    keep(&all, |rule| rule.server_names.is_empty())
}

fn names(rule: &FilterChainMatch, name: &str) -> bool {
    let mut all = rule.server_names.iter();
    all.any(|one| one.eq_ignore_ascii_case(name))
}

fn by_protocol<'a>(all: Candidates<'a>, offered: &[String]) -> Candidates<'a> {
    for protocol in offered {
        let named = keep(&all, |rule| rule.application_protocols.contains(protocol));
        if !named.is_empty() {
            return named;
        }
    }
    keep(&all, |rule| rule.application_protocols.is_empty())
}

fn by_source<'a>(all: Candidates<'a>, seen: &Seen) -> Candidates<'a> {
    let local = seen.from.is_loopback() || seen.from == seen.to.ip();
    let wanted = if local {
        ConnectionSourceType::SameIpOrLoopback
    } else {
        ConnectionSourceType::External
    };
    exact_or_unset(
        all,
        |rule| rule.source_type() == wanted,
        |rule| rule.source_type() == ConnectionSourceType::Any,
    )
}
