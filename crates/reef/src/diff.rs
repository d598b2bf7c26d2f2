//! `reef diff`: what a change of the objects would do to every proxy, offline.
//!
//! Two directories are read with the code that serves them; every Pod of either is a proxy, and so is every node file. Of
//! each pair of classes the resources are compared: by version, then field by field. What Envoy does about a difference
//! is said from rules observed on Envoy 1.40 (`effect.rs`). Nothing listens, nothing is sent.

mod effect;
mod fields;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use reef_config::{Kind, ObjectKey, Problem, Severity};
use reef_mesh::{Locality, ProxyNode};
use reef_push::ClassView;
use reef_xds::json::to_json;
use reef_xds::{EncodedResource, ResourceType};
use serde::Serialize;
use serde_json::Value;

use self::effect::Effect;
use self::fields::FieldChange;
use crate::ask::print_json;
use crate::cli::{DiffArgs, Output};
use crate::offline::{self, Offline};
use crate::render;
use crate::serve::node;

/// Exit code where nothing changes.
const SAME: u8 = 0;
/// Exit code where something changes.
const CHANGED: u8 = 1;
/// Exit code for an input that could not be read in whole.
pub(crate) const BAD_INPUT: u8 = 2;

/// Prints what would change; returns the exit code. Errors of the inputs, and what the change makes wrong or mends, go
/// to `problems`, a line each.
///
/// # Errors
/// If a directory or a node file cannot be read, or `out` cannot be written.
pub fn run(args: &DiffArgs, out: &mut dyn Write, problems: &mut dyn Write) -> anyhow::Result<u8> {
    let mut nodes = Vec::new();
    for file in &args.node {
        nodes.push(read_proxy(file)?);
    }
    let domain = args.mesh.domain.as_str();
    let mut old = Side::read(&args.old, args)?;
    let mut new = Side::read(&args.new, args)?;
    for side in [&mut old, &mut new] {
        side.connect(domain, &nodes);
    }
    let difference = compare(&old, &new);
    let broken = tell_problems(&old, &new, problems)?;
    match args.output.output {
        Output::Json => print_json(&serde_json::to_value(&difference)?, out)?,
        Output::Text => out.write_all(text::text(&difference).as_bytes())?,
    }
    Ok(match (broken, difference.changed) {
        (true, _) => BAD_INPUT,
        (false, true) => CHANGED,
        (false, false) => SAME,
    })
}

/// Everything that differs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Difference {
    /// Whether anything does.
    changed: bool,
    /// Proxies that are there before and after.
    proxies: usize,
    /// Those of them whose resources differ.
    proxies_changed: usize,
    /// Bytes sent to all of them together.
    bytes: usize,
    /// Proxies that are only in the new directory.
    added_proxies: Vec<String>,
    /// Proxies that are only in the old directory.
    removed_proxies: Vec<String>,
    /// What differs, by class.
    classes: Vec<ClassChange>,
}

/// Proxies that go from one class to another, or whose class changes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClassChange {
    /// The proxies, `POD.NAMESPACE`, sorted.
    proxies: Vec<String>,
    /// Bytes sent to each.
    bytes: usize,
    /// The resources, in sending order.
    resources: Vec<ResourceChange>,
}

/// One resource that differs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceChange {
    /// `CDS`, `EDS`, `LDS`, `RDS`.
    r#type: &'static str,
    /// Its name.
    name: String,
    /// What happens to it.
    change: Fate,
    /// Bytes sent because of it.
    bytes: usize,
    /// What Envoy does about it.
    effect: Effect,
    /// The fields, of a changed resource.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<FieldChange>,
}

/// What happens to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Fate {
    /// It comes.
    Added,
    /// It is another.
    Changed,
    /// It goes.
    Removed,
}

/// One of the directories.
#[derive(Debug)]
struct Side {
    offline: Offline,
    problems: Vec<Problem>,
    views: BTreeMap<String, Arc<ClassView>>,
}

impl Side {
    fn read(dir: &Path, args: &DiffArgs) -> anyhow::Result<Self> {
        let offline = offline::load(&[PathBuf::from(dir)], &args.mesh)?;
        Ok(Self {
            offline,
            problems: Vec::new(),
            views: BTreeMap::new(),
        })
    }

    /// Seats every Pod, and the proxies of node files, whose word about themselves wins.
    fn connect(&mut self, domain: &str, nodes: &[ProxyNode]) {
        let pods: Vec<ProxyNode> = self
            .offline
            .keys
            .iter()
            .filter(|key| key.kind == Kind::Pod)
            .filter_map(|key| self.proxy_of_pod(key, domain))
            .collect();
        for node in pods.iter().chain(nodes) {
            let connected = self.offline.engine.connect(node.clone());
            self.views.insert(short_id(&node.id), connected.view);
        }
        let mut problems = self.offline.index.problems();
        problems.extend(self.offline.source_problems.iter().cloned());
        problems.extend(self.offline.engine.problems());
        self.problems = problems;
    }

    fn proxy_of_pod(&self, key: &ObjectKey, domain: &str) -> Option<ProxyNode> {
        let snapshot = self.offline.index.snapshot();
        let pod = snapshot.pod(&key.namespace, &key.name)?;
        let ip = pod.ips.first()?;
        let (name, namespace) = (&key.name, &key.namespace);
        let id = format!("sidecar~{ip}~{name}.{namespace}~{namespace}.svc.{domain}");
        // An odd name makes no node id; the object has its own problem.
        ProxyNode::parse(&id, reef_mesh::Metadata::default(), Locality::default()).ok()
    }
}

fn read_proxy(file: &Path) -> anyhow::Result<ProxyNode> {
    let info = render::read_node(file)?;
    node::parse(&info).with_context(|| file.display().to_string())
}

/// `POD.NAMESPACE`.
fn short_id(id: &str) -> String {
    id.split('~').nth(2).unwrap_or(id).to_owned()
}

/// Says what is wrong after and was not before, and the reverse; whether an input could not be read in whole.
fn tell_problems(old: &Side, new: &Side, out: &mut dyn Write) -> anyhow::Result<bool> {
    // Where it stands may differ without it being another problem.
    let placeless = |side: &Side| -> BTreeMap<Problem, Problem> {
        let bare = |problem: &Problem| Problem {
            origin: None,
            ..problem.clone()
        };
        let all = side.problems.iter();
        all.map(|problem| (bare(problem), problem.clone()))
            .collect()
    };
    let (before, after) = (placeless(old), placeless(new));
    for (bare, problem) in &after {
        if !before.contains_key(bare) {
            writeln!(out, "new {}: {problem}", problem.severity)?;
        }
    }
    for (bare, problem) in &before {
        if !after.contains_key(bare) {
            writeln!(out, "gone {}: {problem}", problem.severity)?;
        }
    }
    let mut broken = false;
    for (side, word) in [(old, "old"), (new, "new")] {
        let unread = &side.offline.source_problems;
        for problem in unread.iter().filter(|one| one.severity == Severity::Error) {
            broken = true;
            writeln!(out, "{word} directory: {problem}")?;
        }
    }
    Ok(broken)
}

fn compare(old: &Side, new: &Side) -> Difference {
    let names = |side: &Side| side.views.keys().cloned().collect::<BTreeSet<String>>();
    let (before, after) = (names(old), names(new));
    let mut pairs: BTreeMap<(u64, u64), Vec<&String>> = BTreeMap::new();
    for (proxy, view) in &old.views {
        if let Some(other) = new.views.get(proxy) {
            let pair = (view.lineage(), other.lineage());
            pairs.entry(pair).or_default().push(proxy);
        }
    }
    let mut classes: Vec<ClassChange> = pairs
        .into_values()
        .filter_map(|proxies| {
            let first = proxies.first()?;
            let resources = resources(old.views.get(*first)?, new.views.get(*first)?);
            (!resources.is_empty()).then(|| ClassChange {
                bytes: resources.iter().map(|one| one.bytes).sum(),
                proxies: proxies.into_iter().cloned().collect(),
                resources,
            })
        })
        .collect();
    classes.sort_by(|a, b| a.proxies.cmp(&b.proxies));
    let added: Vec<String> = after.difference(&before).cloned().collect();
    let removed: Vec<String> = before.difference(&after).cloned().collect();
    Difference {
        changed: !(classes.is_empty() && added.is_empty() && removed.is_empty()),
        proxies: before.intersection(&after).count(),
        proxies_changed: classes.iter().map(|class| class.proxies.len()).sum(),
        bytes: classes
            .iter()
            .map(|class| class.bytes * class.proxies.len())
            .sum(),
        added_proxies: added,
        removed_proxies: removed,
        classes,
    }
}

/// What differs between two views.
fn resources(old: &ClassView, new: &ClassView) -> Vec<ResourceChange> {
    let mut found = Vec::new();
    for ty in ResourceType::ALL {
        let (before, after) = (held(old, ty), held(new, ty));
        let names: BTreeSet<&Arc<str>> = before.keys().chain(after.keys()).collect();
        for name in names {
            let (was, is) = (before.get(name), after.get(name));
            if was.map(EncodedResource::version) != is.map(EncodedResource::version) {
                found.push(change(ty, name, was, is, new));
            }
        }
    }
    found
}

fn held(view: &ClassView, ty: ResourceType) -> BTreeMap<Arc<str>, EncodedResource> {
    let mut held = BTreeMap::new();
    view.for_each(ty, &mut |resource| {
        held.insert(Arc::clone(resource.name()), resource.clone());
    });
    held
}

fn change(
    ty: ResourceType,
    name: &str,
    was: Option<&EncodedResource>,
    is: Option<&EncodedResource>,
    new: &ClassView,
) -> ResourceChange {
    let json = |one: Option<&EncodedResource>| one.map(|one| to_json(&one.any()));
    let (before, after) = (json(was), json(is));
    let change = match (&before, &after) {
        (None, _) => Fate::Added,
        (_, None) => Fate::Removed,
        _ => Fate::Changed,
    };
    // A cluster that is sent warms until its load assignment is sent, so that goes with it.
    let behind = match (ty, is) {
        (ResourceType::Cluster, Some(_)) => new.resource(ResourceType::Endpoint, name),
        _ => None,
    };
    let bytes = is.map_or(name.len(), |one| one.wire_delta_len())
        + behind.map_or(0, |one| one.wire_delta_len());
    let fields = match (&before, &after) {
        (Some(before), Some(after)) => fields::changes(before, after),
        _ => Vec::new(),
    };
    let null = Value::Null;
    ResourceChange {
        r#type: ty.short_name(),
        name: name.to_owned(),
        change,
        bytes,
        effect: effect::of(
            ty,
            before.as_ref().unwrap_or(&null),
            after.as_ref().unwrap_or(&null),
        ),
        fields,
    }
}
