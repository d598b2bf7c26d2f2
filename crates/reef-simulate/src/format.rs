//! Envoy's substitution format in header values, as far as a request decides it.
//!
//! Commands whose value only a running proxy knows stay as they are written.

use crate::headers::Headers;

/// What values are made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    /// Headers of the request, pseudo headers among them.
    pub(crate) request: &'a Headers,
    /// `HTTP/1.1`, ….
    pub(crate) protocol: &'a str,
    /// Name of the route.
    pub(crate) route: &'a str,
    /// Name of the cluster.
    pub(crate) cluster: &'a str,
}

/// Expands a value.
pub(crate) fn expand(text: &str, context: &Context<'_>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let Some(end) = command_end(after) else {
            out.push('%');
            rest = after;
            continue;
        };
        let (command, after) = after.split_at(end);
        match value(command, context) {
            Some(value) => out.push_str(&value),
            None => {
                out.push('%');
                out.push_str(command);
                out.push('%');
            }
        }
        rest = after.get(1..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// Where the closing percent sign is; those inside parentheses close nothing.
fn command_end(text: &str) -> Option<usize> {
    let mut inside = false;
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => inside = true,
            ')' => inside = false,
            '%' if !inside => return Some(at),
            _ => {}
        }
    }
    None
}

fn value(command: &str, context: &Context<'_>) -> Option<String> {
    let (name, rest) = command.split_once('(').unwrap_or((command, ""));
    let (argument, limit) = rest.rsplit_once(')').unwrap_or((rest, ""));
    let limit: Option<usize> = limit.strip_prefix(':').and_then(|text| text.parse().ok());
    let found = match name {
        "REQ" => {
            let (first, second) = argument.split_once('?').unwrap_or((argument, ""));
            let header = |name: &str| {
                (!name.is_empty())
                    .then(|| context.request.first(name).map(str::to_owned))
                    .flatten()
            };
            header(first).or_else(|| header(second)).unwrap_or_default()
        }
        "PROTOCOL" => context.protocol.to_owned(),
        "ROUTE_NAME" => context.route.to_owned(),
        "UPSTREAM_CLUSTER" => context.cluster.to_owned(),
        _ => return None,
    };
    Some(match limit {
        Some(limit) => found.chars().take(limit).collect(),
        None => found,
    })
}
