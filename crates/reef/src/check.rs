//! `reef check`: a directory validated offline, with the code that serves it.
//!
//! The same source reads it, the same index links it, and the same engine generates for one imagined proxy per
//! namespace and one per pod, so that every scope somebody could have is built once. Nothing listens.

mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;

use anyhow::bail;
use reef_config::{Change, ChangeBatch, ClusterId, Kind, Namespace, ObjectKey, Problem};
use reef_mesh::{ChangeReport, Locality, MeshSnapshot, ProxyNode};
use reef_push::{PushEngine, PushOptions};

use crate::ask::print_json;
use crate::cli::{CheckArgs, Output};
use crate::mesh::MeshOptions;
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
    for dir in &args.dirs {
        if !dir.is_dir() {
            bail!("{} is not a directory", dir.display());
        }
    }
    let (objects, mesh_config, source_problems) =
        reef_source::load(&args.dirs, args.mesh.mesh_config.as_deref());
    let pods: BTreeSet<ObjectKey> = objects
        .iter()
        .map(|object| &object.key)
        .filter(|key| key.kind == Kind::Pod)
        .cloned()
        .collect();
    let mut namespaces: BTreeSet<Namespace> = objects
        .iter()
        .map(|object| object.key.namespace.clone())
        .collect();
    namespaces.insert(Namespace::from("default"));
    let changes = objects
        .into_iter()
        .map(Change::Apply)
        .chain(mesh_config.map(Change::MeshConfig))
        .collect();
    let mut index = MeshOptions {
        // The source reads for the default cluster; offline there is no other.
        cluster: ClusterId::default(),
        ..args.mesh.options()
    }
    .index();
    index.apply(ChangeBatch {
        changes,
        synced: true,
    });

    let snapshot = Arc::clone(index.snapshot());
    let mut engine = PushEngine::new(PushOptions { idle_classes: 0 });
    engine.apply(Arc::clone(&snapshot), &ChangeReport::default());
    let domain = args.mesh.domain.as_str();
    let imagined = namespaces
        .iter()
        .map(|namespace| imagined_proxy(namespace, "reef-check", "192.0.2.1", domain));
    let real = pods
        .iter()
        .filter_map(|key| proxy_of_pod(&snapshot, key, domain));
    for node in imagined.flatten().chain(real) {
        engine.connect(node);
    }
    let mut problems = index.problems();
    problems.extend(source_problems);
    problems.extend(engine.problems());
    let objects = index.object_counts();
    problems.extend(
        applied::not_applied(&objects)
            .into_iter()
            .map(|(_, problem)| problem),
    );
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
    ProxyNode::parse(&id, BTreeMap::new(), Locality::default()).ok()
}
