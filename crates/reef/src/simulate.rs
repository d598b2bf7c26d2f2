//! `reef simulate`: where would this request go? Asked of a running Reef, of a directory, or of a dump.

mod args;
mod source;
#[cfg(test)]
mod tests;
mod text;
mod url;

use std::collections::BTreeMap;
use std::io::Write;

use reef_simulate::{Answer, Request, simulate};
use serde::Serialize;

pub use args::SimulateArgs;

use crate::ask::print_json;
use crate::cli::Output;

/// The question and its answer.
#[derive(Debug, Serialize)]
struct Told {
    /// Whose request it is.
    proxy: String,
    request: Request,
    #[serde(flatten)]
    answer: Answer,
    /// Why the proxy sees the hosts of the clusters, by host.
    reasons: BTreeMap<String, Vec<String>>,
}

/// Prints where a request would go; problems of a directory go to `problems`, a line each.
///
/// # Errors
/// If the question cannot be understood, there is no such proxy, or `out` cannot be written.
pub fn run(
    args: &SimulateArgs,
    out: &mut dyn Write,
    problems: &mut dyn Write,
) -> anyhow::Result<()> {
    let request = url::request(args)?;
    let source = source::load(args, problems)?;
    let answer = simulate(&source.config, &request);
    let mut reasons = BTreeMap::new();
    for outcome in &answer.outcomes {
        let host = outcome.cluster.as_deref().and_then(host_of);
        let Some(host) = host.filter(|host| !reasons.contains_key(*host)) else {
            continue;
        };
        let told = source.reasons(host)?;
        if !told.is_empty() {
            reasons.insert(host.to_owned(), told);
        }
    }
    let told = Told {
        proxy: source.proxy,
        request,
        answer,
        reasons,
    };
    match args.output.output {
        Output::Json => print_json(&serde_json::to_value(&told)?, out),
        Output::Text => Ok(out.write_all(text::page(&told).as_bytes())?),
    }
}

/// The host in the name of an outbound cluster.
fn host_of(cluster: &str) -> Option<&str> {
    let mut parts = cluster.split('|');
    (parts.next()? == "outbound")
        .then(|| parts.nth(2))
        .flatten()
}
