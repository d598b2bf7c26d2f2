//! The mesh configuration: a file of its own, or ConfigMap `istio`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use reef_config::{Change, Kind, MeshConfig, Object, ObjectKey, Origin, Problem, Spec, parse};

use tokio::time::Instant;

use crate::doubt::{Doubts, Settle, Suspicion};
use crate::walk::{self, Stamp};

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
            Err(error) => Err(Problem::error(
                parse::code::INPUT,
                format!("can't be read: {error}"),
            )
            .at(&origin)),
        };
        tell(source, read, changes);
    }
}

fn from_bytes(bytes: &[u8], origin: &Origin) -> Result<(MeshConfig, Vec<Problem>), Problem> {
    let documents = parse::documents(bytes).map_err(|problem| problem.at(origin))?;
    match documents.as_slice() {
        [] => Ok((MeshConfig::default(), Vec::new())),
        [one] => {
            let origin = Origin {
                path: Arc::clone(&origin.path),
                line: one.line,
            };
            // `mesh: |` is not needed here, but a whole ConfigMap is what people have at hand.
            let parsed = parse::object(one.text, &origin);
            match parsed.objects.first() {
                Some(object) if object.key.kind == Kind::ConfigMap => from_object(object),
                _ => parse::mesh_config(one.text, &origin),
            }
        }
        _ => Err(
            Problem::error(parse::code::INPUT, "a mesh configuration is one document").at(origin),
        ),
    }
}

fn from_object(object: &Object) -> Result<(MeshConfig, Vec<Problem>), Problem> {
    let unknown = Origin {
        path: Arc::from("ConfigMap"),
        line: 1,
    };
    let origin = object.origin.as_ref().unwrap_or(&unknown);
    let Spec::ConfigMap(map) = &object.spec else {
        return Ok((MeshConfig::default(), Vec::new()));
    };
    let text = map.data.get("mesh").map_or("", String::as_str);
    // Lines within the block scalar are not lines of the file, so all problems carry the document's line.
    let place = |mut problem: Problem| {
        problem.origin = Some(origin.clone());
        let field = if problem.field.is_empty() {
            String::new()
        } else {
            format!(".{}", problem.field)
        };
        problem.of(&object.key).field(format!("data.mesh{field}"))
    };
    parse::mesh_config(text, origin)
        .map(|(config, problems)| (config, problems.into_iter().map(place).collect()))
        .map_err(place)
}

/// Tells what the ConfigMap holds.
pub(crate) fn apply_object(object: &Object, changes: &mut Vec<Change>) {
    tell(source_of(&object.key), from_object(object), changes);
}

/// Tells that the ConfigMap is gone: the defaults are back.
pub(crate) fn delete_object(key: &ObjectKey, changes: &mut Vec<Change>) {
    tell(
        source_of(key),
        Ok((MeshConfig::default(), Vec::new())),
        changes,
    );
}

fn source_of(key: &ObjectKey) -> Arc<str> {
    key.to_string().into()
}

fn tell(
    source: Arc<str>,
    read: Result<(MeshConfig, Vec<Problem>), Problem>,
    changes: &mut Vec<Change>,
) {
    let problems = match read {
        Ok((config, problems)) => {
            changes.push(Change::MeshConfig(Arc::new(config)));
            problems
        }
        Err(mut problem) => {
            problem
                .reason
                .push_str(" (the last good mesh configuration, or the default, stays in effect)");
            vec![problem]
        }
    };
    changes.push(Change::Problems { source, problems });
}
