//! The grammars of names, addresses, labels and headers, as Istio has them.

use std::net::IpAddr;

use crate::labels::Labels;

/// Longest domain name in bytes.
const LONGEST_DOMAIN: usize = 255;

/// Longest label of a domain, and longest name of a Kubernetes label.
const LONGEST_LABEL: usize = 63;

/// Longest domain before the slash of a Kubernetes label.
const LONGEST_PREFIX: usize = 253;

/// One label of a domain: letters, digits and inner dashes.
pub(super) fn is_label(text: &str) -> bool {
    text.len() <= LONGEST_LABEL
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && text.starts_with(|c: char| c != '-')
        && !text.ends_with('-')
}

/// A first label, which may be `*` or begin with `*` or `*-`.
fn is_first_label(text: &str) -> bool {
    if text == "*" {
        return true;
    }
    let rest = text.strip_prefix('*').unwrap_or(text);
    text.len() <= LONGEST_LABEL
        && (is_label(rest)
            || (rest.len() < text.len() && rest.strip_prefix('-').is_some_and(is_label)))
}

fn length(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        Err("a domain name must not be empty")
    } else if name.len() > LONGEST_DOMAIN {
        Err("a domain name must not be longer than 255 bytes")
    } else {
        Ok(())
    }
}

fn labels(domain: &str) -> Result<(), &'static str> {
    let last = domain.rsplit('.').next().unwrap_or_default();
    if !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()) {
        return Err("the last label of a domain name must not be a number");
    }
    // One dot at the end says that the name is absolute.
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    if domain.split('.').all(is_label) {
        Ok(())
    } else {
        Err("every label of a domain name must be 1 to 63 letters, digits and inner dashes")
    }
}

/// A domain name without wildcards.
pub(super) fn domain(name: &str) -> Result<(), &'static str> {
    length(name)?;
    labels(name)
}

/// A domain name the first label of which may be a wildcard.
pub(super) fn domain_pattern(name: &str) -> Result<(), &'static str> {
    length(name)?;
    let (first, rest) = match name.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (name, None),
    };
    if !is_first_label(first) {
        return Err(
            "the first label must be *, or 1 to 63 letters, digits and inner dashes that * or *- may precede",
        );
    }
    match rest {
        None | Some("") => Ok(()),
        Some(rest) => labels(rest),
    }
}

/// An address.
pub(super) fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// An address or, with a slash, a prefix.
pub(super) fn is_address_or_prefix(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return is_address(text);
    };
    let plain = length == "0" || !length.starts_with(['0', '+']);
    match (address.parse::<IpAddr>(), length.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(length)) => plain && length <= 32,
        (Ok(IpAddr::V6(_)), Ok(length)) => plain && length <= 128,
        _ => false,
    }
}

/// The path of a socket after `unix://`.
pub(super) fn socket(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        Err("the path of a socket must not be empty")
    } else if path.starts_with('@') || (path.starts_with('/') && !path.ends_with('/')) {
        Ok(())
    } else {
        Err("the path of a socket must be absolute and name a file")
    }
}

/// The name of a header.
pub(super) fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The claim a name such as `@request.auth.claims.sub` stands for in a match.
pub(super) fn is_claim(name: &str) -> bool {
    const PREFIX: &str = "@request.auth.claims";
    let (Some(prefix), Some(rest)) = (name.get(..PREFIX.len()), name.get(PREFIX.len()..)) else {
        return false;
    };
    prefix.eq_ignore_ascii_case(PREFIX) && rest.len() > 1 && rest.starts_with(['.', '['])
}

fn is_qualified(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.iter().all(|b| inner(*b)) && edge(bytes.first()) && edge(bytes.last())
}

/// What is wrong with a set of labels of workloads, if anything.
pub(super) fn workload_labels(labels: &Labels) -> Result<(), (&str, &'static str)> {
    for (key, value) in labels.iter() {
        let (prefix, name) = match key.split_once('/') {
            Some((prefix, name)) => (Some(prefix), name),
            None => (None, &**key),
        };
        if name.len() > LONGEST_LABEL || !is_qualified(name) {
            return Err((
                key,
                "the name of a label must be 1 to 63 letters, digits and inner '-', '_', '.'",
            ));
        }
        if prefix.is_some_and(|p| p.len() > LONGEST_PREFIX || !p.split('.').all(is_label)) {
            return Err((
                key,
                "what precedes the slash of a label must be a domain name",
            ));
        }
        if !value.is_empty() && !is_qualified(value) {
            return Err((
                key,
                "the value of a label must be letters, digits and inner '-', '_', '.'",
            ));
        }
    }
    Ok(())
}

/// The application protocol a port names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP in any version, gRPC, or the proxy protocol `HTTP_PROXY`.
    Http,
    /// HTTPS and TLS.
    Tls,
    /// TCP and what is told apart from it only by name.
    Tcp,
    /// UDP.
    Udp,
}

/// Reads a protocol, whatever its case; `None` if there is none of that name.
pub(super) fn protocol(name: &str) -> Option<Protocol> {
    const NAMES: [(&str, Protocol); 12] = [
        ("http", Protocol::Http),
        ("http2", Protocol::Http),
        ("grpc", Protocol::Http),
        ("grpc-web", Protocol::Http),
        ("http_proxy", Protocol::Http),
        ("https", Protocol::Tls),
        ("tls", Protocol::Tls),
        ("tcp", Protocol::Tcp),
        ("mongo", Protocol::Tcp),
        ("redis", Protocol::Tcp),
        ("mysql", Protocol::Tcp),
        ("udp", Protocol::Udp),
    ];
    NAMES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, protocol)| *protocol)
}
