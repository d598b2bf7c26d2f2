//! `reef check`: a directory validated offline, with the code that serves it.
//!
//! The same source reads it, the same index links it, and the same engine generates for one imagined proxy per
//! namespace and one per pod, so that every scope somebody could have is built once (the leader among replicas does
//! the same for the pods of its cluster). Then all objects are looked at together (`reef-analyze`). Nothing listens.

mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;

use anyhow::Context as _;
use reef_config::{Kind, Namespace, Problem};

use crate::ask::print_json;
use crate::cli::{CheckArgs, Output};
use crate::imagined::{self, Keep};
use crate::offline::{self, Offline};
use crate::places;
use crate::serve::applied;

/// Validates directories and prints what is wrong; returns the exit code.
///
/// # Errors
/// If a directory cannot be read at all, or `out` cannot be written.
pub fn run(args: &CheckArgs, out: &mut dyn Write) -> anyhow::Result<u8> {
    let checked = check(args)?;
    match args.output.output {
        Output::Text => out.write_all(report::text(&checked).as_bytes())?,
        Output::Json => print_json(&report::json(&checked), out)?,
    }
    Ok(report::exit_code(&checked.problems))
}

/// What a check found.
#[derive(Debug)]
struct Checked {
    problems: Vec<Problem>,
    objects: BTreeMap<Kind, usize>,
    services: usize,
    scopes: usize,
}

fn check(args: &CheckArgs) -> anyhow::Result<Checked> {
    let Offline {
        index,
        keys,
        objects: all,
        source_problems,
        ..
    } = if args.from_cluster {
        offline::load_cluster(&args.cluster.settings(), &args.mesh)?
    } else {
        offline::load(&args.dirs, &args.mesh)?
    };
    let pods = keys.iter().filter(|key| key.kind == Kind::Pod);
    let mut namespaces: BTreeSet<&Namespace> = keys.iter().map(|key| &key.namespace).collect();
    let default = Namespace::from("default");
    namespaces.insert(&default);
    let snapshot = Arc::clone(index.snapshot());
    let domain = args.mesh.domain.as_str();
    let imagined = namespaces
        .iter()
        .filter_map(|namespace| imagined::in_namespace(namespace, domain));
    let real = pods.filter_map(|key| {
        let pod = snapshot.pod(&key.namespace, &key.name)?;
        imagined::of_pod(pod, domain)
    });
    let found = imagined::find(&snapshot, imagined.chain(real), Keep::Everything, || true);
    let found = found.context("the check was ended")?;
    let mut problems = index.problems();
    problems.extend(source_problems);
    problems.extend(found.problems);
    problems.extend(reef_analyze::analyze(&all, &snapshot));
    let objects = index.object_counts();
    problems.extend(
        applied::not_applied(&objects)
            .into_iter()
            .map(|(_, problem)| problem),
    );
    places::fill_in(&index, &mut problems);
    problems.sort();
    problems.dedup();
    Ok(Checked {
        problems,
        services: snapshot.service_count(),
        scopes: found.classes,
        objects,
    })
}
