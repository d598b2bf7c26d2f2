//! `reef check`: a directory validated offline, with the code that serves it.
//!
//! The same source reads it, the same index links it, and the same engine generates for one imagined proxy per
//! namespace and one per pod, so that every scope somebody could have is built once. Then all objects are looked
//! at together (`reef-analyze`). Nothing listens.

mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;

use reef_config::{Kind, Namespace, ObjectKey, Problem};
use reef_mesh::{Locality, MeshSnapshot, ProxyNode};

use crate::ask::print_json;
use crate::cli::{CheckArgs, Output};
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
        mut engine,
        keys,
        objects: all,
        source_problems,
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
        .map(|namespace| imagined_proxy(namespace, "reef-check", "192.0.2.1", domain));
    let real = pods.filter_map(|key| proxy_of_pod(&snapshot, key, domain));
    for node in imagined.flatten().chain(real) {
        engine.connect(node);
    }
    let mut problems = index.problems();
    problems.extend(source_problems);
    problems.extend(engine.problems());
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
        scopes: engine.sizes().classes,
        objects,
    })
}

fn proxy_of_pod(snapshot: &MeshSnapshot, key: &ObjectKey, domain: &str) -> Option<ProxyNode> {
    let pod = snapshot.pod(&key.namespace, &key.name)?;
    let ip = pod.ips.first()?.to_string();
    imagined_proxy(&key.namespace, &key.name, &ip, domain)
}

fn imagined_proxy(namespace: &Namespace, pod: &str, ip: &str, domain: &str) -> Option<ProxyNode> {
    let id = format!("sidecar~{ip}~{pod}.{namespace}~{namespace}.svc.{domain}");
    // An odd namespace name makes no node id; the objects in it have their own problem.
    ProxyNode::parse(&id, reef_mesh::Metadata::default(), Locality::default()).ok()
}
