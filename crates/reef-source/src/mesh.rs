//! The mesh configuration and the networks of the mesh: a file of their own, or ConfigMap `istio`.
//!
//! Who gives the one gives the other: a file that is a whole ConfigMap has both keys, a bare mesh configuration says that
//! there are no networks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use reef_config::{
    Change, Kind, MeshConfig, MeshNetworks, Object, ObjectKey, Origin, Problem, Spec, parse,
};

use tokio::time::Instant;

use crate::doubt::{Doubts, Settle, Suspicion};
use crate::walk::{self, Stamp};

/// Its key with the mesh configuration.
const MESH: &str = "mesh";

/// Its key with the networks.
const NETWORKS: &str = "meshNetworks";

/// Where Istio keeps its ConfigMap. The root namespace is a field of what is in it, so it can't decide.
const NAMESPACE: &str = "istio-system";

/// Whether the object is the ConfigMap with the mesh configuration.
pub(crate) fn is_mesh_config(key: &ObjectKey) -> bool {
    key.kind == Kind::ConfigMap && &*key.name == "istio" && key.namespace == NAMESPACE
}

/// What `--mesh-config` names.
#[derive(Debug)]
pub(crate) struct MeshFile {
    path: PathBuf,
    /// The version that was read; the outer `None` before the first read.
    seen: Option<Option<Stamp>>,
}

impl MeshFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, seen: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file if it differs; what it holds wins over the ConfigMap.
    pub(crate) fn refresh(
        &mut self,
        doubts: &mut Doubts,
        settle: Option<(Instant, Settle)>,
        changes: &mut Vec<Change>,
    ) {
        let stamp = walk::stamp(&self.path);
        let source: Arc<str> = self.path.to_string_lossy().into();
        if self.seen == Some(stamp) {
            doubts.forget(&source);
            return;
        }
        // Fewer fields are fewer rules, so a shorter file waits as long as one that lacks objects.
        if let (Some(at), Some(Some(earlier))) = (settle, self.seen)
            && stamp.is_none_or(|stamp| stamp.is_shorter_than(&earlier))
            && !doubts.cleared(&source, stamp, Suspicion::Lacking, at)
        {
            return;
        }
        doubts.forget(&source);
        self.seen = Some(stamp);
        let origin = Origin {
            path: Arc::clone(&source),
            line: 1,
        };
        let read = match std::fs::read(&self.path) {
            Ok(bytes) => from_bytes(&bytes, &origin),
            Err(error) => Read::config(Err(Problem::error(
                parse::code::INPUT,
                format!("can't be read: {error}"),
            )
            .at(&origin))),
        };
        tell(source, read, changes);
    }
}

/// What was read, each part with what is wrong in it.
struct Read {
    config: Result<(MeshConfig, Vec<Problem>), Problem>,
    /// `None` if nobody knows: those of before stay.
    networks: Option<Result<(MeshNetworks, Vec<Problem>), Problem>>,
}

impl Read {
    /// A mesh configuration that brings no networks.
    fn config(config: Result<(MeshConfig, Vec<Problem>), Problem>) -> Self {
        let none = || Ok((MeshNetworks::default(), Vec::new()));
        Self {
            networks: config.is_ok().then(none),
            config,
        }
    }

    /// Nothing: the defaults.
    fn nothing() -> Self {
        Self::config(Ok((MeshConfig::default(), Vec::new())))
    }
}

fn from_bytes(bytes: &[u8], origin: &Origin) -> Read {
    let documents = match parse::documents(bytes) {
        Ok(documents) => documents,
        Err(problem) => return Read::config(Err(problem.at(origin))),
    };
    match documents.as_slice() {
        [] => Read::nothing(),
        [one] => {
            let origin = Origin {
                path: Arc::clone(&origin.path),
                line: one.line,
            };
            // `mesh: |` is not needed here, but a whole ConfigMap is what people have at hand.
            let parsed = parse::object(one.text, &origin);
            match parsed.objects.first() {
                Some(object) if object.key.kind == Kind::ConfigMap => from_object(object),
                _ => Read::config(parse::mesh_config(one.text, &origin)),
            }
        }
        _ => Read::config(Err(Problem::error(
            parse::code::INPUT,
            "a mesh configuration is one document",
        )
        .at(origin))),
    }
}

fn from_object(object: &Object) -> Read {
    let unknown = Origin {
        path: Arc::from("ConfigMap"),
        line: 1,
    };
    let origin = object.origin.as_ref().unwrap_or(&unknown);
    let Spec::ConfigMap(map) = &object.spec else {
        return Read::nothing();
    };
    let text = |key: &str| map.data.get(key).map_or("", String::as_str);
    // Lines within the block scalar are not lines of the file, so all problems carry the document's line.
    let place = |key: &str, mut problem: Problem| {
        problem.origin = Some(origin.clone());
        let field = if problem.field.is_empty() {
            String::new()
        } else {
            format!(".{}", problem.field)
        };
        problem.of(&object.key).field(format!("data.{key}{field}"))
    };
    let all = |key: &str, problems: Vec<Problem>| {
        problems
            .into_iter()
            .map(|problem| place(key, problem))
            .collect()
    };
    Read {
        config: parse::mesh_config(text(MESH), origin)
            .map(|(config, problems)| (config, all(MESH, problems)))
            .map_err(|problem| place(MESH, problem)),
        networks: Some(
            parse::mesh_networks(text(NETWORKS), origin)
                .map(|(networks, problems)| (networks, all(NETWORKS, problems)))
                .map_err(|problem| place(NETWORKS, problem)),
        ),
    }
}

/// Tells what the ConfigMap holds.
pub(crate) fn apply_object(object: &Object, changes: &mut Vec<Change>) {
    tell(source_of(&object.key), from_object(object), changes);
}

/// Tells that the ConfigMap is gone: the defaults are back.
pub(crate) fn delete_object(key: &ObjectKey, changes: &mut Vec<Change>) {
    tell(source_of(key), Read::nothing(), changes);
}

fn source_of(key: &ObjectKey) -> Arc<str> {
    key.to_string().into()
}

fn tell(source: Arc<str>, read: Read, changes: &mut Vec<Change>) {
    let mut problems = Vec::new();
    let kept = |mut problem: Problem, what: &str| {
        let kept = format!(" (the last good {what} in effect)");
        problem.reason.push_str(&kept);
        problem
    };
    match read.config {
        Ok((config, found)) => {
            changes.push(Change::MeshConfig(Arc::new(config)));
            problems.extend(found);
        }
        Err(problem) => problems.push(kept(problem, "mesh configuration, or the default, stays")),
    }
    match read.networks {
        Some(Ok((networks, found))) => {
            changes.push(Change::MeshNetworks(Arc::new(networks)));
            problems.extend(found);
        }
        Some(Err(problem)) => problems.push(kept(problem, "networks, or none, stay")),
        None => {}
    }
    changes.push(Change::Problems { source, problems });
}
