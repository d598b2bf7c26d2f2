//! One document → the objects in it.

use std::cell::RefCell;
use std::sync::Arc;

use serde::Deserialize;

use super::node::Node;
use super::typed::{self, Path};
use super::{code, name, time, yaml};
use crate::kind::Kind;
use crate::labels::Labels;
use crate::names::Namespace;
use crate::object::{Object, ObjectKey, ObjectMeta, Origin, Spec, Uid};
use crate::problem::{Problem, Severity};

/// What one document holds.
#[derive(Debug, Clone, Default)]
pub struct Parsed {
    /// The objects that can be used; a List has several.
    pub objects: Vec<Object>,
    /// What is wrong. An [`Severity::Error`] stands for an object that is not among `objects`; it names the
    /// object if its identity could be read.
    pub problems: Vec<Problem>,
}

impl Parsed {
    /// Whether some object of the document could not be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.problems
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }
}

/// Parses the text of one document that begins at `origin`.
///
/// Kinds of other groups (a Deployment beside its Service) are passed over; kinds of Istio and of the
/// Gateway API that Reef does not read are told about. Never fails: what is wrong is in the result.
#[must_use]
pub fn object(text: &str, origin: &Origin) -> Parsed {
    let mut parsed = Parsed::default();
    match yaml::read(text) {
        Ok(root) => add(&root, origin, &Path::Root, &mut parsed),
        Err(error) => parsed.problems.push(syntax(error, origin)),
    }
    parsed
}

/// Parses the text of one object whose kind is known, as an item of a list of an API server, which says it once for
/// all items. `apiVersion` and `kind` of the object are not read.
#[must_use]
pub fn object_of(kind: Kind, text: &str, origin: &Origin) -> Parsed {
    let mut parsed = Parsed::default();
    match yaml::read(text) {
        Ok(root) => {
            if let Err(problem) = of_kind(kind, &root, origin, &Path::Root, &mut parsed) {
                parsed.problems.push(problem.at(origin));
            }
        }
        Err(error) => parsed.problems.push(syntax(error, origin)),
    }
    parsed
}

/// What is no YAML, by its line in the whole file.
pub(super) fn syntax(error: yaml::SyntaxError, origin: &Origin) -> Problem {
    let line = origin
        .line()
        .map_or(0, |first| first + error.line.unwrap_or(1) - 1);
    Problem::error(code::SYNTAX, error.reason).at(&Origin {
        path: Arc::clone(&origin.path),
        line,
    })
}

fn add(root: &Node<'_>, origin: &Origin, path: &Path<'_>, parsed: &mut Parsed) {
    if *root == Node::Null {
        return;
    }
    if let Some(Node::List(items)) = root.field("items")
        && root
            .field("kind")
            .and_then(Node::text)
            .is_some_and(|kind| kind.ends_with("List"))
    {
        let items_path = Path::Key(path, "items");
        for (index, item) in items.iter().enumerate() {
            // Lists do not nest in the API; one level is enough and bounds the recursion.
            if matches!(path, Path::Root) {
                add(item, origin, &Path::Index(&items_path, index), parsed);
            }
        }
        return;
    }
    if let Err(problem) = one(root, origin, path, parsed) {
        parsed.problems.push(problem.at(origin));
    }
}

fn one(
    root: &Node<'_>,
    origin: &Origin,
    path: &Path<'_>,
    parsed: &mut Parsed,
) -> Result<(), Problem> {
    let at = |field: &str| Path::Key(path, field).to_string();
    let identity =
        |field: &str, reason: &str| Problem::error(code::IDENTITY, reason).field(at(field));
    if !matches!(root, Node::Map(_)) {
        return Err(no_object(root, path));
    }
    let text = |field: &str| {
        root.field(field)
            .and_then(Node::text)
            .ok_or_else(|| identity(field, "every object must name it as a string"))
    };
    let (api_version, kind_name) = (text("apiVersion")?, text("kind")?);
    let Some(kind) = Kind::from_api(api_version, kind_name) else {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        if group.ends_with("istio.io") || group == "gateway.networking.k8s.io" {
            let metadata = root.field("metadata").unwrap_or(&Node::Null);
            let name = metadata.field("name").and_then(Node::text);
            let name = name.unwrap_or_default();
            let reason = format!("{api_version} {kind_name} {name:?} is not read");
            parsed.problems.push(
                Problem::warning(code::NOT_APPLIED, reason)
                    .at(origin)
                    .field(at("kind")),
            );
        }
        return Ok(());
    };
    of_kind(kind, root, origin, path, parsed)
}

fn no_object(root: &Node<'_>, path: &Path<'_>) -> Problem {
    let reason = format!("{} where an object is wanted", root.description());
    Problem::error(code::IDENTITY, reason).field(path.to_string())
}

fn of_kind(
    kind: Kind,
    root: &Node<'_>,
    origin: &Origin,
    path: &Path<'_>,
    parsed: &mut Parsed,
) -> Result<(), Problem> {
    if !matches!(root, Node::Map(_)) {
        return Err(no_object(root, path));
    }
    let at = |field: &str| Path::Key(path, field).to_string();
    let identity =
        |field: &str, reason: &str| Problem::error(code::IDENTITY, reason).field(at(field));
    let metadata = root.field("metadata").unwrap_or(&Node::Null);
    let name = metadata.field("name").and_then(Node::text);
    let name = name.ok_or_else(|| identity("metadata.name", "every object must have a name"))?;
    let namespace = match metadata.field("namespace") {
        None | Some(Node::Null) => "default",
        Some(Node::Text(namespace)) if namespace.is_empty() => "default",
        Some(Node::Text(namespace)) => namespace,
        Some(_) => return Err(identity("metadata.namespace", "must be a string")),
    };
    let namespace = match kind {
        Kind::Namespace => name,
        Kind::Node => "default",
        _ => namespace,
    };
    name::check(name).map_err(|reason| identity("metadata.name", reason))?;
    name::check(namespace).map_err(|reason| identity("metadata.namespace", reason))?;
    let key = ObjectKey::new(kind, Namespace::new(crate::labels::intern(namespace)), name);

    let unknown = RefCell::new(Vec::new());
    let content = Content {
        root,
        path,
        unknown: &unknown,
    };
    let result = content
        .meta(kind, metadata)
        .and_then(|meta| Ok((meta, content.spec(kind)?)));
    let (meta, spec) = result.map_err(|problem| problem.of(&key))?;

    let object = Object {
        key,
        meta,
        origin: Some(origin.clone()),
        spec,
    };
    let mut findings = Vec::new();
    crate::validate::object(&object, &mut findings);
    let prefix = path.to_string();
    for finding in findings.iter_mut().filter(|_| !prefix.is_empty()) {
        finding.field = format!("{prefix}.{}", finding.field);
    }
    for field in unknown.into_inner().into_iter().filter(|_| kind.is_istio()) {
        findings.push(
            Problem::warning(
                code::UNKNOWN_FIELD,
                "the API has no such field, it is ignored",
            )
            .field(field),
        );
    }
    let unusable = findings
        .iter()
        .any(|problem| problem.severity == Severity::Error);
    parsed.problems.extend(
        findings
            .into_iter()
            .map(|problem| problem.of(&object.key).at(origin)),
    );
    if !unusable {
        parsed.objects.push(object);
    }
    Ok(())
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    labels: Labels,
    annotations: Labels,
    creation_timestamp: Option<String>,
    generation: Option<i64>,
    uid: Option<String>,
}

#[derive(Clone, Copy)]
struct Content<'a> {
    root: &'a Node<'a>,
    path: &'a Path<'a>,
    unknown: &'a RefCell<Vec<String>>,
}

impl<'a> Content<'a> {
    fn meta(&self, kind: Kind, metadata: &'a Node<'a>) -> Result<ObjectMeta, Problem> {
        let path = Path::Key(self.path, "metadata");
        // The API server adds fields here that nobody reads, so unknown ones are not reported.
        let ignored = RefCell::new(Vec::new());
        let read: Metadata = typed::read(metadata, &path, &ignored).map_err(field_problem)?;
        let created = match read.creation_timestamp {
            None => None,
            Some(text) => Some(time::seconds(&text).ok_or_else(|| {
                Problem::error(code::FIELD, format!("{text:?} is not an RFC 3339 time"))
                    .field(Path::Key(&path, "creationTimestamp").to_string())
            })?),
        };
        Ok(ObjectMeta {
            labels: read.labels,
            annotations: read.annotations,
            created,
            generation: read.generation,
            uid: read
                .uid
                .filter(|_| kind == Kind::Pod)
                .and_then(|uid| Uid::parse(&uid)),
        })
    }

    fn spec(&self, kind: Kind) -> Result<Spec, Problem> {
        Ok(match kind {
            Kind::Namespace => Spec::Namespace(self.whole()?),
            Kind::Node => Spec::Node(self.whole()?),
            Kind::Pod => Spec::Pod(self.whole()?),
            Kind::Service => Spec::Service(self.whole()?),
            Kind::EndpointSlice => Spec::EndpointSlice(self.whole()?),
            Kind::Endpoints => Spec::Endpoints(self.whole()?),
            Kind::ConfigMap => Spec::ConfigMap(self.whole()?),
            Kind::ServiceEntry => {
                let mut entry: Box<crate::istio::ServiceEntry> = self.inner("spec")?;
                entry.status = self
                    .root
                    .field("status")
                    .map(|_| self.inner("status"))
                    .transpose()?
                    .map(|s| *s);
                Spec::ServiceEntry(entry)
            }
            Kind::WorkloadEntry => {
                let mut entry: Box<crate::istio::WorkloadEntry> = self.inner("spec")?;
                entry.healthy = self.condition("Healthy");
                Spec::WorkloadEntry(entry)
            }
            Kind::WorkloadGroup => Spec::WorkloadGroup(self.inner("spec")?),
            Kind::Sidecar => Spec::Sidecar(self.inner("spec")?),
            Kind::VirtualService => Spec::VirtualService(self.inner("spec")?),
            Kind::DestinationRule => Spec::DestinationRule(self.inner("spec")?),
            Kind::Gateway => Spec::Gateway(self.inner("spec")?),
            Kind::PeerAuthentication => Spec::PeerAuthentication(self.inner("spec")?),
            Kind::RequestAuthentication => Spec::RequestAuthentication(self.inner("spec")?),
            Kind::AuthorizationPolicy => Spec::AuthorizationPolicy(self.inner("spec")?),
            Kind::EnvoyFilter => Spec::EnvoyFilter(self.inner("spec")?),
            Kind::Telemetry => Spec::Telemetry(self.inner("spec")?),
            Kind::ProxyConfig => Spec::ProxyConfig(self.inner("spec")?),
        })
    }

    /// Whether a condition of the object's status is `True`, if it is there.
    fn condition(&self, name: &str) -> Option<bool> {
        let Node::List(conditions) = self.root.field("status")?.field("conditions")? else {
            return None;
        };
        let text = |node: &'a Node<'a>, key| node.field(key).and_then(Node::text);
        let found = conditions
            .iter()
            .find(|condition| text(condition, "type") == Some(name))?;
        Some(text(found, "status") == Some("True"))
    }

    /// The whole object as one struct, as Kubernetes kinds are.
    fn whole<T: Deserialize<'a>>(&self) -> Result<Box<T>, Problem> {
        typed::read(self.root, self.path, self.unknown)
            .map(Box::new)
            .map_err(field_problem)
    }

    /// One field of the object as a struct; absent or `null` gives the default.
    fn inner<T: Deserialize<'a> + Default>(&self, field: &'static str) -> Result<Box<T>, Problem> {
        match self.root.field(field) {
            None | Some(Node::Null) => Ok(Box::default()),
            Some(node) => {
                let path = Path::Key(self.path, field);
                typed::read(node, &path, self.unknown)
                    .map(Box::new)
                    .map_err(field_problem)
            }
        }
    }
}

pub(super) fn field_problem(error: typed::TypeError) -> Problem {
    Problem::error(code::FIELD, error.reason).field(error.field)
}
